"""common/sentences.py: what is read of a posting."""

import pytest

from common.sentences import WORDS_READ, SentenceChooser, sentences_of
from common.written import sentence_chooser

DUTIES = (
    "Draw blood samples from patients, label the tubes and enter them in the laboratory system."
)
STORY = (
    "For more than sixty years our family company has believed that people come first, and we are "
    "proud to be an equal opportunity employer. "
)


@pytest.fixture(scope="module")
def chooser():
    return sentence_chooser()


def test_markup_entities_and_bullets_do_not_remain():
    text = (
        "<style>p {color: red}</style><p>Sweep&nbsp;floors</p><li>Cash &amp;amp; carry</li>• Lift"
    )
    assert sentences_of(text) == ["Sweep floors", "Cash & carry", "Lift"]


def test_a_comparison_is_no_markup():
    assert sentences_of("Lifts < 20 kg and > 5 kg") == ["Lifts < 20 kg and > 5 kg"]


def test_of_a_short_description_all_is_read(chooser):
    assert chooser.read("We are a happy team. Sweep the floor.") == (
        "We are a happy team. Sweep the floor."
    )


@pytest.mark.parametrize("place", ["first", "last"])
def test_duties_are_read_wherever_they_stand(chooser, place):
    story = STORY * 12
    text = f"{DUTIES} {story}" if place == "first" else f"{story}{DUTIES}"
    assert DUTIES in chooser.read(text)
    assert len(chooser.read(text).split()) < WORDS_READ + len(STORY.split())


def test_something_is_read_even_where_no_duties_are_told(chooser):
    assert chooser.read(STORY * 20)


def test_a_saved_chooser_reads_the_same(chooser, tmp_path):
    chooser.save(tmp_path / "chooser")
    loaded = SentenceChooser.load(tmp_path / "chooser")
    assert loaded.read(STORY * 9 + DUTIES) == chooser.read(STORY * 9 + DUTIES)
