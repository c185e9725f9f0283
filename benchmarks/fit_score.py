"""Fit how much each view counts in the score, on validation.

    python -m benchmarks.fit_score                    # prints the weights to set as inference.SCORE

The weights are those at which the right occupations of validation are most probable under a softmax
over the weighted sum of the views (a conditional logit, McFadden 1974), none below zero. The jobs
are held out: of a title that is known, the known titles alone would tell all. Takes a minute on two
cores.
"""

import argparse
import random
from collections import Counter
from pathlib import Path

import numpy as np
from scipy.optimize import minimize

from common.anchors import made_up_postings, noisy_title
from common.files import read_json
from common.samples import (
    LABELLED_DESCRIPTION,
    LABELLED_TITLE,
    WRITTEN_TITLE,
    Sample,
    listed_codes,
    pairs_of,
)
from common.text import job_texts, normalize
from inference import DATA_DIR, MODEL_DIR, SCORE, VIEWS, JobClassifier

BLOCK = 256  # jobs compared at a time
# Titles of each source and occupation, so that no occupation drowns the others
PER_OCCUPATION = {LABELLED_TITLE: 20, WRITTEN_TITLE: 2, "alternate_title": 1}
AGREED = 0.7  # share of the cases of a title, from which on its coders agree
SEVERAL = 2.0  # weight, of three cases: one case often tells what its title does not

Job = tuple[str, str, set[str]]  # title, description, accepted codes


def validation_jobs(samples: list[Sample]) -> dict[str, list[Job]]:
    """Jobs of validation, "title" without and "posting" with a description.

    Titles coded by others come as they are, if their coders agreed; half of the others are noisy.
    Postings are made-up ones and labelled descriptions.
    """
    rng, listed = random.Random(0), listed_codes(samples)
    taken: Counter[tuple[str, str]] = Counter()
    jobs: dict[str, list[Job]] = {"title": [], "posting": []}
    for sample in rng.sample(samples, len(samples)):
        title, source = sample["anchor"], sample["source"]
        codes = listed[normalize(title)]
        if source == LABELLED_DESCRIPTION:
            description = title.removeprefix(f"{sample['title']}. ")
            jobs["posting"].append((sample["title"], description, codes))
            continue
        if source == LABELLED_TITLE:
            shares = sample.get("shares", {sample["code"]: 1.0})
            if max(shares.values()) < AGREED or sample["weight"] < SEVERAL:
                continue
        elif rng.random() < 0.5:
            title = noisy_title(title, rng)
        taken[source, sample["code"]] += 1
        if taken[source, sample["code"]] <= PER_OCCUPATION.get(source, 0):
            jobs["title"].append((title, "", codes))
    for title, description, code in made_up_postings(samples):
        codes = {code} | listed.get(normalize(title), set())
        jobs["posting"].append((title, description, codes))
    return jobs


def views_of(classifier: JobClassifier, pairs: list[tuple[str, str]]) -> np.ndarray:
    """The views of some jobs, shape (jobs, occupations, views)."""
    read = [classifier.read(pair) for pair in pairs]
    wholes, titles = (classifier.encoder.encode([pair[i] for pair in read]) for i in (0, 1))
    described = np.array([whole != title for whole, title in read])
    parts = []
    for start in range(0, len(pairs), BLOCK):
        block = slice(start, start + BLOCK)
        logits = classifier.logits(read[block], wholes[block])
        views = classifier.views(wholes[block], titles[block], logits, described[block])
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
    classifier = JobClassifier(args.model_dir, args.data_dir).without(pairs_of(samples))
    for kind, jobs in validation_jobs(samples).items():
        views = views_of(classifier, [job_texts(title, text) for title, text, _ in jobs])
        right = np.array([[code in codes for code in classifier.codes] for *_, codes in jobs])
        names = list(SCORE[kind])
        weights = fitted(views[:, :, [VIEWS.index(name) for name in names]], right)
        shown = {n: round(float(w / weights.sum()), 3) for n, w in zip(names, weights, strict=True)}
        print(f'"{kind}": {shown}, sharpness {weights.sum():.1f}, {len(right):,} jobs')


if __name__ == "__main__":
    main()
