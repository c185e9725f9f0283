"""What is no occupation is not coded, and the reason is told."""

import csv

import pytest

from common.coding import PROBLEM, code_file
from common.no_occupation import PREFIX, REASONS, reason_of
from common.written import read_no_occupation
from inference import NO_ANSWER

# Not in written/no_occupation.tsv
NONE = ["retired since 2015", "N/A", "-", "12345", "unemployed at the moment", "护士", "Медсестра"]
OCCUPATIONS = ["ICU Nurse", "plumber", "retired persons' home cook", "Student Advisor", "RN"]


def test_every_reason_has_texts():
    assert {reason for reason, _ in read_no_occupation()} == set(REASONS)


@pytest.mark.parametrize("title", ["-", "99", "🙂", "12/05/2019"])
def test_a_title_without_letters_is_no_answer(title):
    assert reason_of(title) == "refusal"


def test_a_title_in_another_script_is_not_in_english():
    assert reason_of("护士") == "language"
    assert reason_of("Café Manager") == ""


@pytest.mark.parametrize("title", NONE)
def test_what_is_no_occupation_gets_no_code_but_a_reason(shipped, title):
    [answer] = shipped.predict(title, min_confidence=0.5)
    assert answer == NO_ANSWER | {"reason": answer["reason"]}
    assert answer["reason"].removeprefix(PREFIX) in REASONS.values()


@pytest.mark.parametrize("title", OCCUPATIONS)
def test_occupations_get_a_code(shipped, title):
    assert shipped.predict(title)[0]["code"]


def test_a_description_tells_what_a_title_does_not(shipped):
    duties = "Give medicines to patients in intensive care and watch ventilators."
    assert shipped.predict("99", duties)[0]["code"]


@pytest.mark.parametrize("placeholder", ["nan", "None", "-", "N/A"])
def test_a_placeholder_is_no_description(shipped, placeholder):
    assert shipped.predict("Plumber", placeholder) == shipped.predict("Plumber")


def test_a_file_tells_the_reason_and_counts_it_apart(shipped, tmp_path):
    (tmp_path / "jobs.csv").write_text("title\nplumber\nretired\n", encoding="utf-8")
    counts = code_file(shipped, tmp_path / "jobs.csv", tmp_path / "coded.csv", min_confidence=0.99)
    with open(tmp_path / "coded.csv", encoding="utf-8", newline="") as file:
        plumber, retired = csv.DictReader(file)
    reason = PREFIX + REASONS["status"]
    assert retired[PROBLEM] == reason
    assert not retired["soc_code_1"] and not retired["soc_review"]
    assert plumber["soc_code_1"] and not plumber[PROBLEM]
    assert counts[reason] == 1
