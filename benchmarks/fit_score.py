"""Fit how much each view counts in the score, on validation.

    python -m benchmarks.fit_score                    # prints the weights to set as inference.SCORE

The weights are those at which the right occupations of validation are most probable under a softmax
over the weighted sum of the views (a conditional logit, McFadden 1974), none below zero. The jobs
are those to which the confidence is calibrated. Takes a minute on two cores.
"""

import argparse
from pathlib import Path

import numpy as np
from scipy.optimize import minimize

from common.files import read_json
from common.samples import pairs_of
from inference import DATA_DIR, MODEL_DIR, SCORE, VIEWS, JobClassifier, validation_jobs

BLOCK = 256  # jobs compared at a time


def views_of(classifier: JobClassifier, pairs: list[tuple[str, str]]) -> np.ndarray:
    """The views of some jobs, shape (jobs, occupations, views)."""
    read = [classifier.read(pair) for pair in pairs]
    wholes, titles = (classifier.encoder.encode([pair[i] for pair in read]) for i in (0, 1))
    described = np.array([whole != title for whole, title in read])
    parts = []
    for start in range(0, len(pairs), BLOCK):
        block = slice(start, start + BLOCK)
        views = classifier.views(wholes[block], titles[block], described[block])
        parts.append(views.transpose(1, 2, 0))
    return np.concatenate(parts)


def fitted(views: np.ndarray, right: np.ndarray) -> np.ndarray:
    """The weights, none below zero, at which the accepted codes are most probable."""

    def loss(weights: np.ndarray) -> tuple[float, np.ndarray]:
        logits = views @ weights.astype(np.float32)
        powers = np.exp(logits - logits.max(axis=1, keepdims=True))
        shares = powers / powers.sum(axis=1, keepdims=True)
        found = (shares * right).sum(axis=1, keepdims=True).clip(1e-12)
        slope = shares - shares * right / found
        return -float(np.log(found).mean()), np.einsum("jo,jov->v", slope, views) / len(views)

    start = np.full(views.shape[2], 5.0)
    return minimize(loss, start, jac=True, method="L-BFGS-B", bounds=[(0, None)] * len(start)).x


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--model-dir", default=MODEL_DIR, help="folder that train.py saved")
    parser.add_argument("--data-dir", default=DATA_DIR, help="what data_preparation.py wrote")
    args = parser.parse_args()

    samples = read_json(Path(args.data_dir) / "val.json")
    classifier = JobClassifier(args.model_dir, args.data_dir)
    held_out = classifier.without(pairs_of(samples))
    for kind, jobs in validation_jobs(samples).items():
        views = np.empty((len(jobs.pairs), len(classifier.codes), len(VIEWS)), dtype=np.float32)
        for one, rows in ((classifier, jobs.known), (held_out, ~jobs.known)):
            views[rows] = views_of(one, [jobs.pairs[row] for row in np.flatnonzero(rows)])
        right = np.array([[code in codes for code in classifier.codes] for codes in jobs.accepted])
        names = list(SCORE[kind])
        weights = fitted(views[:, :, [VIEWS.index(name) for name in names]], right)
        shown = {n: round(float(w / weights.sum()), 3) for n, w in zip(names, weights, strict=True)}
        print(f'"{kind}": {shown}, sharpness {weights.sum():.1f}, {len(right):,} jobs')


if __name__ == "__main__":
    main()
