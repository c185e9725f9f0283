"""written/ and benchmarks/sets/: our own text is complete, well-formed and repeats no other."""

import re
import subprocess
import sys
from collections import Counter

import pytest
from conftest import PROJECT

from benchmarks.accuracy import NO_OCCUPATION, OWN_SETS, read_sets
from benchmarks.near_copies import near_copies
from common.written import (
    BLOCKS,
    DUTIES,
    LINE_BREAK,
    SHORT_DUTIES,
    TITLES,
    read_blocks,
    read_calibration,
    read_duties,
    read_short_duties,
    read_titles,
    read_vague_titles,
    rows_of,
)

SETS = PROJECT.parent / "shared" / "eval"
ONET = PROJECT.parent / "shared" / "onet"


PATHS = [(TITLES, 2), (DUTIES, 3), (SHORT_DUTIES, 3), (BLOCKS, 3)]  # and how many columns


@pytest.fixture(scope="module")
def codes(shipped):
    return set(shipped.codes)


@pytest.mark.parametrize(("path", "columns"), PATHS)
def test_every_line_has_its_fields(path, columns):
    rows = rows_of(path)
    assert {len(row) for row in rows} == {columns}
    assert all(cell and cell == " ".join(cell.split()) for row in rows for cell in row)


def test_every_occupation_has_titles_and_duties_in_two_forms(codes):
    titles = Counter(code for _, code in read_titles())
    assert set(titles) == codes
    assert min(titles.values()) >= 12
    forms = {(code, form) for code, form, _ in rows_of(DUTIES)}
    assert forms >= {(code, form) for code in codes for form in ("sentences", "bullets")}


def test_every_occupation_has_short_duties_in_both_forms(codes):
    forms = Counter((code, form) for code, form, _ in rows_of(SHORT_DUTIES))
    assert set(forms) == {(code, form) for code in codes for form in ("ad", "answer")}
    assert max(forms.values()) == 1


def test_short_duties_have_ten_to_fifty_five_words():
    for text, _ in read_short_duties():
        assert 10 <= len(text.split()) <= 55


def test_jobs_to_calibrate_on_have_known_codes_and_no_title_twice(codes):
    jobs = read_calibration()
    assert all(accepted and accepted <= codes for *_, accepted in jobs)
    titles = Counter(title for title, description, _ in jobs if not description)
    assert max(titles.values()) == 1
    assert min(len(titles), len(jobs) - len(titles)) > 100


def test_no_title_stands_twice():
    titles = Counter(title.casefold() for _, title in rows_of(TITLES))
    assert max(titles.values()) == 1


def test_duties_have_sixty_to_a_hundred_and_twenty_words():
    for text, _ in read_duties():
        assert 55 <= len(text.replace(LINE_BREAK, " ").split()) <= 125


def test_parts_of_postings_have_only_placeholders_that_are_filled_in():
    blocks = read_blocks()
    assert sum(map(len, blocks.values())) >= 400
    texts = [text for texts in blocks.values() for text in texts]
    names = {name for text in texts for name in re.findall(r"\{.*?\}", text)}
    assert names <= {"{title}", "{company}", "{place}"}


def test_vague_titles_fit_some_occupation(codes):
    for _, fits in read_vague_titles():
        assert any(code.startswith(fits) for code in codes)


def test_benchmark_has_postings_of_every_major_group_titles_and_answers_that_are_none(codes):
    sets = {labelled.name: labelled for labelled in read_sets(OWN_SETS)}
    postings = sets["postings"]
    groups = Counter(code[:2] for accepted in postings.accepted for code in {min(accepted)})
    assert len(postings.titles) >= 200
    assert len(groups) >= 22 and all(groups[group] >= 3 for group in groups if group != "55")
    assert all(80 <= len(text.split()) <= 460 for text in postings.descriptions)
    assert len(sets["titles"].titles) >= 300
    assert len(sets["no_occupation"].titles) >= 60
    for labelled in sets.values():
        for accepted in labelled.accepted:
            assert accepted <= codes | set(NO_OCCUPATION)


def test_a_run_of_eight_words_is_a_near_copy():
    sentence = "Grind the beans and draw espresso for guests all day"
    ours = {"ours": [f"You will {sentence.upper()}!"], "clean": ["Grind the beans, then clean up"]}
    (found,) = near_copies(ours, {"theirs": [sentence]})
    assert found.startswith("ours: 'grind the beans and draw espresso for guests'")


@pytest.mark.slow
@pytest.mark.skipif(not (SETS.is_dir() and ONET.is_dir()), reason="no text to compare with")
def test_our_text_repeats_no_other(tmp_path):
    prepare = ["data_preparation.py", "--onet-dir", ONET, "--output-dir", tmp_path]
    compare = ["-m", "benchmarks.near_copies", "--sets", SETS, "--data-dir", tmp_path]
    for command in (prepare, compare):
        command = [sys.executable, *map(str, command)]
        result = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True)
        assert result.returncode == 0, result.stdout
