"""What each part of the classifier gains: the same model with one part left out at a time.

    python -m benchmarks.parts                     # on our own benchmark
    python -m benchmarks.parts --sets FOLDER       # and on every .tsv file in a folder

Prints top-1 in per cent, one row for each part that is left out. Takes five minutes on two cores.
"""

import argparse
import copy
import math
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import NamedTuple
from unittest.mock import patch

import inference
from benchmarks.accuracy import OWN_SETS, coder, is_occupation, name_of, read_sets, shares
from common.written import read_duties, read_short_duties, read_titles
from inference import DATA_DIR, MODEL_DIR, SCORE, JobClassifier


class Part(NamedTuple):
    views: tuple[str, ...] = ()  # of the score, that it adds
    without: Callable[[JobClassifier], JobClassifier] = lambda classifier: classifier
    no_occupation: float = inference.NO_OCCUPATION


def as_given(name: str, method: str) -> Callable[[JobClassifier], JobClassifier]:
    """Replaces a part of the classifier by one whose method leaves a text as it is."""

    def replaced(classifier: JobClassifier) -> JobClassifier:
        changed = copy.copy(classifier)
        setattr(changed, name, SimpleNamespace(**{method: lambda text: text}))
        return changed

    return replaced


def without_written(classifier: JobClassifier) -> JobClassifier:
    texts = read_titles() + read_duties() + read_short_duties()
    return classifier.without({(code, text) for text, code in texts})


PARTS = {
    "nothing": Part(),
    "label texts": Part(("label",)),
    "known titles": Part(("title", "whole")),
    "known tasks and duties": Part(("task",)),
    "our own titles and duties among them": Part(without=without_written),
    "layer on embeddings": Part(("layer",)),
    "layer on letters": Part(("letters",)),
    "both layers": Part(("layer", "letters")),
    "employment": Part(("employment",)),
    "choice of sentences (the first 160 tokens are read)": Part(
        without=as_given("chooser", "read")
    ),
    "spelling": Part(without=as_given("speller", "corrected")),
    "answers that are no occupation": Part(no_occupation=math.inf),  # all are coded
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--sets", type=Path, help="folder with labelled .tsv files")
    parser.add_argument("--model-dir", default=MODEL_DIR, help="folder that train.py saved")
    parser.add_argument("--data-dir", default=DATA_DIR, help="what data_preparation.py wrote")
    args = parser.parse_args()
    sets = read_sets(OWN_SETS) + (read_sets(args.sets) if args.sets else [])
    sets = [texts for texts in sets if is_occupation(texts).all()]
    classifier = JobClassifier(args.model_dir, args.data_dir)

    print("| left out | " + " | ".join(name_of(texts.name) for texts in sets) + " |")
    print("|---|" + "---:|" * len(sets))
    for name, part in PARTS.items():
        rank, row = coder(part.without(classifier)), []
        fewer = {
            kind: {view: weight for view, weight in SCORE[kind].items() if view not in part.views}
            for kind in ("title", "posting")
        }
        with patch.dict(SCORE, fewer), patch.object(inference, "NO_OCCUPATION", part.no_occupation):
            for texts in sets:
                share = shares(rank(texts.titles, texts.descriptions), texts.accepted)[0]
                row.append(f"{100 * share:.1f}")
        print(f"| {name} | " + " | ".join(row) + " |", flush=True)


if __name__ == "__main__":
    main()
