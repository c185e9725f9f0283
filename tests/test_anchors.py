"""common/anchors.py: titles made noisy, and postings made up around them."""

import random

from common.anchors import AnchorMaker, PostingMaker, made_up_postings, noisy_title
from common.written import sentence_chooser

CHOOSER = sentence_chooser()
SAMPLES = [
    {"anchor": "Tax Manager", "code": "13-2011.00", "source": "alternate_title"},
    {"anchor": "Check the returns of firms.", "code": "13-2011.00", "source": "task"},
]
DUTIES = {
    "anchor": "Posts journals | Closes the month",
    "code": "13-2011.00",
    "source": "written_duties",
}


def anchors_of(noise, postings, sample, times=50, samples=SAMPLES):
    """What becomes of a sample in many batches."""
    make_anchors = AnchorMaker(samples, ["13-2011.00"], CHOOSER, noise, postings, seed=42)
    row = {"anchor": sample["anchor"], "label": 0, "source": sample["source"]}
    return make_anchors([row] * times)


def test_without_noise_and_postings_anchors_stay_as_they_are():
    assert set(anchors_of(0, 0, SAMPLES[0])) == {"Tax Manager"}


def test_noise_makes_titles_but_not_tasks_noisy():
    assert len(set(anchors_of(0.9, 0, SAMPLES[0]))) > 10
    assert set(anchors_of(0.9, 0.9, SAMPLES[1])) == {SAMPLES[1]["anchor"]}


def test_postings_hold_title_and_tasks_where_no_duties_are_written():
    postings = [anchor for anchor in anchors_of(0, 0.9, SAMPLES[0]) if anchor != "Tax Manager"]
    assert len(postings) > 30
    assert len(set(postings)) > len(postings) / 2
    for text in postings:
        assert text.startswith("Tax Manager. ")
        assert "Check the returns of firms." in text.replace("&nbsp;", " ").replace("<br>", "")
        assert not any(name in text for name in ("{title}", "{company}", "{place}"))


def test_written_duties_become_postings_under_a_title_of_the_occupation_or_a_vague_one():
    postings = anchors_of(0, 0, DUTIES, samples=[*SAMPLES, DUTIES])
    assert all("Posts journals" in text and "Closes the month" in text for text in postings)
    titles = [text.split(". ")[0] for text in postings]
    assert titles.count("Tax Manager") > len(titles) / 2
    assert len(set(titles)) > 1


def test_written_duties_come_before_tasks():
    postings = anchors_of(0, 0.9, SAMPLES[0], samples=[*SAMPLES, DUTIES])
    assert any("Posts journals" in text for text in postings)
    assert not any("Check the returns" in text for text in postings)


def test_vague_titles_fit_the_occupation():
    maker = PostingMaker([])
    rng = random.Random(0)
    vague = {title: fits for title, fits in maker.vague_titles}
    for code in ("35-3023.01", "47-2111.00", "11-2021.00"):
        for _ in range(20):
            assert code.startswith(vague[maker.title(code, rng)])


def test_postings_to_measure_on_are_the_same_every_time():
    samples = [*SAMPLES, DUTIES]
    assert made_up_postings(samples) == made_up_postings(samples)
    assert {code for *_, code in made_up_postings(samples)} == {"13-2011.00"}


def test_the_same_batch_becomes_the_same_anchors():
    assert anchors_of(0.5, 0.5, SAMPLES[0]) == anchors_of(0.5, 0.5, SAMPLES[0])


def test_noise_never_makes_a_manager():
    rng = random.Random(0)
    assert not any("Manager" in noisy_title("Barista", rng) for _ in range(500))
