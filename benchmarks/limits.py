"""How far a title alone can lead: what limits the accuracy on titles that others coded.

    python -m benchmarks.limits --sets FOLDER

For every .tsv file in the folder (columns as for benchmarks.accuracy):
- titles that stand verbatim in O*NET under one occupation, and how often the coders chose that one;
- pairs of titles that the model finds nearly the same, and how often the coders gave both one code;
- the model's accuracy, and what it would be if it also knew all other titles of the set with
  their codes. That is no way of coding, since it learns from the set: it shows what is left.
"""

import argparse
from collections import defaultdict
from pathlib import Path

import numpy as np

from benchmarks.accuracy import read_set
from common.text import job_texts, normalize
from inference import DATA_DIR, MODEL_DIR, RANK_BLOCK, SCORE, JobClassifier

NEAR = (0.95, 0.9, 0.8)  # cosines from which two titles count as nearly the same
WEIGHTS = (0.125, 0.25, 0.5)  # of the set's other titles against the score


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--sets", type=Path, required=True, help="folder with labelled .tsv files")
    parser.add_argument("--model-dir", default=MODEL_DIR, help="folder that train.py saved")
    parser.add_argument(
        "--data-dir", default=DATA_DIR, help="folder that data_preparation.py wrote"
    )
    args = parser.parse_args()

    classifier = JobClassifier(args.model_dir, args.data_dir)
    listed = defaultdict(set)
    for code, title in classifier.index.known["title"].pairs(classifier.codes):
        listed[normalize(title)].add(code)

    for texts in (read_set(path) for path in sorted(args.sets.glob("*.tsv"))):
        known = [listed.get(normalize(title), set()) for title in texts.titles]
        alone = [
            codes <= accepted
            for codes, accepted in zip(known, texts.accepted, strict=True)
            if len(codes) == 1
        ]
        among = [
            bool(codes & accepted)
            for codes, accepted in zip(known, texts.accepted, strict=True)
            if codes
        ]
        print(f"\n{texts.name}, n = {len(texts.titles):,}")
        print(
            f"in O*NET under one occupation: {len(alone):,}, "
            f"coded as that one: {np.mean(alone):.1%}"
        )
        print(
            f"in O*NET at all: {len(among):,}, "
            f"coded as one of the listed occupations: {np.mean(among):.1%}"
        )

        pairs = [
            job_texts(title, text)
            for title, text in zip(texts.titles, texts.descriptions, strict=True)
        ]
        wholes, titles = (classifier.encoder.encode([pair[i] for pair in pairs]) for i in (0, 1))
        described = np.array([whole != title for whole, title in pairs])
        cosines = titles @ titles.T
        np.fill_diagonal(cosines, -1)
        nearest = cosines.argmax(axis=1)
        same = np.array(
            [bool(texts.accepted[i] & texts.accepted[j]) for i, j in enumerate(nearest)]
        )
        for near in NEAR:
            close = cosines.max(axis=1) >= near
            share = f", the same code: {same[close].mean():.1%}" if close.any() else ""
            print(f"a title of cosine {near} or more beside it: {close.sum():,}{share}")

        blocks = [slice(start, start + RANK_BLOCK) for start in range(0, len(pairs), RANK_BLOCK)]
        scores = np.concatenate(
            [
                classifier.mean(classifier.views(wholes[b], titles[b], described[b]), described[b])
                for b in blocks
            ]
        )
        sharpness = SCORE["sharpness"]
        own = np.array(
            [[code in accepted for code in classifier.codes] for accepted in texts.accepted]
        )
        others = (
            1
            + np.log(np.exp(sharpness * (cosines - 1)) @ own.astype(np.float32) + 1e-9) / sharpness
        )
        for weight in (0.0, *WEIGHTS):
            best = np.argsort(-(scores + weight * others), axis=1)[:, :5]
            hit = np.take_along_axis(own, best, axis=1)
            first, fifth = hit[:, 0].mean(), hit.any(axis=1).mean()
            print(
                f"weight {weight} of the set's other titles: top-1 {first:.1%}, top-5 {fifth:.1%}"
            )


if __name__ == "__main__":
    main()
