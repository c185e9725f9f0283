"""The classifier takes any text, with the tiny model of conftest.py: properties, by hypothesis."""

import math

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from inference import NO_ANSWER, JobClassifier

KEYS = {"rank", "score", "code", "title", "confidence"}
CHECKS = settings(max_examples=60, deadline=None, derandomize=True)

odd = st.sampled_from([
    "Krankenpfleger (m/w/d) – 100 %", "软件工程师", "مهندس برمجيات", "מהנדסת תוכנה", "👩‍⚕️ Nurse 🏥",
    "\u200fRN\u200e", "<b>Nurse</b><script>alert(1)</script>", "Nurse\x00\x07", "12345", "=1+1",
    "a" * 5000, "e\u0301" * 300, "\ufeffRN",
])  # fmt: skip
texts = st.text(max_size=200) | odd
cased = st.text(
    st.characters(max_codepoint=0x24F, categories=["L", "N", "P", "S", "Zs"]),
    min_size=1,
    max_size=60,
)


@pytest.fixture(scope="module")
def classifier(trained_dir, tmp_path_factory):
    return JobClassifier(trained_dir, tmp_path_factory.mktemp("no_data"))


def answers_of(classifier, title, description=""):
    """All ranked occupations, or None for a title that has nothing to read."""
    try:
        return classifier.predict(title, description, top_k=8)
    except ValueError as error:
        assert str(error) == "the job title is empty"
        assert not any(letter.isalnum() for letter in title)


@CHECKS
@given(texts, texts)
@example("Nurse", "Gives medicines. " * 60_000)  # 1 MB
@example("\x00 \x01", "")
@example("\u200b", "Nurse")
def test_any_text_gets_a_ranking_of_the_documented_form(classifier, title, description):
    ranked = answers_of(classifier, title, description)
    if ranked is not None and ranked[0]["code"] is None:
        assert ranked == [NO_ANSWER | {"reason": ranked[0]["reason"]}]
    elif ranked is not None:
        assert [row["rank"] for row in ranked] == list(range(1, 9))
        assert {row["code"] for row in ranked} == set(classifier.codes)
        assert all(set(row) == KEYS for row in ranked)
        assert all(math.isfinite(row["score"]) and -1 <= row["score"] <= 1 for row in ranked)
        assert [row["score"] for row in ranked] == sorted(
            (row["score"] for row in ranked), reverse=True
        )
        assert sum(row["confidence"] for row in ranked) == pytest.approx(1)
        assert ranked == classifier.predict(title, description, top_k=8)


@CHECKS
@given(st.lists(st.tuples(texts, texts | st.none() | st.just(math.nan)), min_size=1, max_size=6))
def test_a_batch_gives_what_single_calls_give(classifier, jobs):
    jobs = [
        (title, description)
        for title, description in jobs
        if any(letter.isalnum() for letter in title)
    ]
    rows = [{"title": title, "description": description} for title, description in jobs]
    for (title, description), ranked in zip(
        jobs, classifier.predict_batch(rows, 8) if rows else [], strict=True
    ):
        single = {
            row["code"]: row["score"] for row in classifier.predict(title, description, top_k=8)
        }
        assert {row["code"]: row["score"] for row in ranked} == pytest.approx(single, abs=1e-5)


@CHECKS
@given(
    cased.filter(lambda text: text.upper().lower() == text.lower()),
    st.text(" \t\n\u00a0\u3000", max_size=3),
)
def test_letter_case_and_surrounding_space_change_nothing(classifier, title, space):
    ranked = answers_of(classifier, title)
    for same in (title.upper(), title.lower(), f"{space}{title}{space}"):
        assert answers_of(classifier, same) == ranked


@pytest.mark.parametrize("encoded", ["caf\udce9", "\ud800"])
def test_broken_characters_are_named(classifier, encoded):
    with pytest.raises(ValueError, match="the job title has broken characters"):
        classifier.predict(encoded)
