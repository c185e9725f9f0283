"""common/anchors.py: titles made noisy, and postings made up around them."""

import random

from common.anchors import AnchorMaker, noisy_title

SAMPLES = [
    {"anchor": "Tax Manager", "code": "A", "source": "alternate_title"},
    {"anchor": "Check the returns of firms.", "code": "A", "source": "task"},
    {"anchor": "Accountants uses technology: QuickBooks", "code": "A", "source": "technology"},
]


def anchors_of(noise, postings, sample, times=50):
    """What becomes of a sample in many batches."""
    make_anchors = AnchorMaker(SAMPLES, {"A": 0}, noise, postings, seed=42)
    row = {"anchor": sample["anchor"], "label": 0, "source": sample["source"]}
    return make_anchors([row] * times)


def test_without_noise_and_postings_anchors_stay_as_they_are():
    assert set(anchors_of(0, 0, SAMPLES[0])) == {"Tax Manager"}


def test_noise_makes_titles_but_not_tasks_noisy():
    assert len(set(anchors_of(0.9, 0, SAMPLES[0]))) > 10
    assert set(anchors_of(0.9, 0.9, SAMPLES[1])) == {SAMPLES[1]["anchor"]}


def test_postings_hold_title_tasks_and_technologies():
    postings = [anchor for anchor in anchors_of(0, 0.9, SAMPLES[0]) if anchor != "Tax Manager"]
    assert len(postings) > 30
    assert all(
        text.startswith("Tax Manager. ") and "Check the returns of firms." in text
        for text in postings
    )
    assert any("QuickBooks" in text for text in postings)
    assert not any("{" in text for text in postings)


def test_the_same_batch_becomes_the_same_anchors():
    assert anchors_of(0.5, 0.5, SAMPLES[0]) == anchors_of(0.5, 0.5, SAMPLES[0])


def test_noise_never_makes_a_manager():
    rng = random.Random(0)
    assert not any("Manager" in noisy_title("Barista", rng) for _ in range(500))
