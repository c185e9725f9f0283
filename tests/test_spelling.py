"""common/spelling.py: misspelt and shortened words of titles."""

import pytest

from common.spelling import Speller, slips

KNOWN = ["Staff Accountant", "Accountant", "Tax Accountant", "Book Keeper", "Bookkeeper"] * 3
SPELLER = Speller(
    [*KNOWN, *["Warehouse Worker", "Secretary", "Electrician"] * 3], ["rn", "zamboni"]
)


@pytest.mark.parametrize(
    ("title", "meant"),
    [
        ("Acountant", "accountant"),
        ("Secratary", "secretary"),
        ("Electricain", "electrician"),
        ("Whse wrkr", "warehouse worker"),
        ("Bkkpr", "bookkeeper"),
    ],
)
def test_slips_and_short_forms_become_the_word_that_is_meant(title, meant):
    assert SPELLER.corrected(title) == meant


@pytest.mark.parametrize(
    "title", ["RN", "Zamboni Driver", "Tax Accountant", "Xylographer", "12 - !"]
)
def test_known_and_altogether_unknown_words_stay(title):
    assert SPELLER.corrected(title) == title


@pytest.mark.parametrize(
    ("word", "known", "count"),
    [("nurse", "nurse", 0), ("nurce", "nurse", 1), ("nusre", "nurse", 1), ("nrs", "nurse", 2)],
)
def test_slips_are_counted(word, known, count):
    assert slips(word, known, most=3) == count


def test_many_slips_are_not_counted_to_the_end():
    assert slips("electrician", "bookkeeper", most=2) == 3
