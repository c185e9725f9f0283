"""The shipped model is as often right as the results say, on our own benchmark and on others."""

import csv

import pytest
from conftest import PROJECT

from benchmarks.accuracy import OWN_SETS, coder, is_occupation, read_sets, shares

EVAL = PROJECT.parent / "shared" / "eval"
SHIPPED = "job_classifier on onnx"
TOLERANCE = 0.01  # rounding differs between processors


def figures():
    """Top-1 at 8 digits by set, as measured."""
    with open(PROJECT / "benchmarks/accuracy.csv", encoding="utf-8", newline="") as file:
        rows = [row for row in csv.DictReader(file) if (row["digits"], row["k"]) == ("8", "1")]
    return {row["set"]: float(row["share"]) for row in rows if row["way"] == SHIPPED}


def sets():
    labelled = read_sets(OWN_SETS) + read_sets(EVAL)
    return [texts for texts in labelled if is_occupation(texts).all()]


@pytest.mark.parametrize("texts", sets(), ids=lambda texts: texts.name)
def test_top_1_is_within_a_point_of_the_results(shipped, texts):
    ranked = coder(shipped)(texts.titles, texts.descriptions)
    one_row = 1 / len(texts.titles)  # which in a small set is more than a point
    tolerance = max(TOLERANCE, one_row) + 0.0001
    assert shares(ranked, texts.accepted)[0] == pytest.approx(figures()[texts.name], abs=tolerance)
