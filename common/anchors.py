"""Titles made noisy, and postings made up around them, as employers and people write them.

The words are in words.json, all of our own invention. "Manager", "Supervisor" and "Director" are
not among the levels: they change the occupation.
"""

import json
import random
import re
from collections import defaultdict
from pathlib import Path
from typing import Any

from common.samples import TITLE_SOURCES, Sample

WORDS: dict[str, Any] = json.loads(Path(__file__).with_name("words.json").read_text("utf-8"))
ABBREVIATIONS: dict[str, str] = WORDS["abbreviations"]  # long form, in small letters -> short form
HEAD_NOUN = re.compile(rf"(.+) ((?:{'|'.join(WORDS['head_nouns'])})s?)", re.IGNORECASE)

# How often a noisy title has each kind of noise. Levels and additions are what employers write
# most; slips of the pen and turned word order are rare.
TURNED, ABBREVIATED, MISSPELT, LEVEL, ADDITION = 0.1, 0.2, 0.08, 0.4, 0.3
LEVEL_BEFORE = 0.6  # rather than after the title

# How often a made-up posting has each part, and how much of it: all tell duties, many no tools
OPENING, TOOLS = 0.6, 0.4
TASKS_PER_POSTING, TOOLS_PER_POSTING, CLOSINGS = (1, 5), (1, 4), (0, 0, 1, 2)
MEASURED_POSTINGS = 1500  # made up of validation titles and tasks, to calibrate and measure on


def noisy_title(title: str, rng: random.Random) -> str:
    """A title as on a posting: turned, abbreviated, misspelt, with a level, a place or a note."""
    match = HEAD_NOUN.fullmatch(title)
    if rng.random() < TURNED and match:
        title = f"{match[2]}{rng.choice([', ', ' - ', ' of '])}{match[1]}"  # Manager, Tax
    if rng.random() < ABBREVIATED:
        title = abbreviated(title)
    if rng.random() < MISSPELT and len(title) > 5:
        title = misspelt(title, rng)
    if rng.random() < LEVEL:
        if rng.random() < LEVEL_BEFORE:
            title = f"{rng.choice(WORDS['levels_before'])} {title}"
        else:
            title = f"{title} {rng.choice(WORDS['levels_after'])}"
    if rng.random() < ADDITION:
        kind = rng.choice(["notes", "places", "employers"])
        title += " " if kind == "notes" else rng.choice([" - ", ", ", " | "])
        title += rng.choice(WORDS[kind])
    return title


def abbreviated(title: str) -> str:
    """The title with its longest word that has a short form in that form."""
    found = [form for form in ABBREVIATIONS if re.search(rf"\b{form}\b", title, re.IGNORECASE)]
    if not found:
        return title
    form = max(found, key=len)
    return re.sub(rf"\b{form}\b", ABBREVIATIONS[form], title, flags=re.IGNORECASE)


def misspelt(title: str, rng: random.Random) -> str:
    """The title with two letters turned, one left out or both doubled."""
    i = rng.randrange(1, len(title) - 2)
    turned = title[i + 1] + title[i]
    return title[:i] + rng.choice([turned, title[i], title[i : i + 2] * 2]) + title[i + 2 :]


def made_up_description(
    title: str, tasks: list[str], technologies: list[str], rng: random.Random
) -> str:
    """The text of a posting: some of the occupation's tasks and tools among the usual phrases."""
    fill = {
        "title": title,
        "employer": rng.choice(WORDS["employers"]),
        "place": rng.choice(WORDS["places"]),
    }
    parts = [rng.choice(WORDS["openings"])] if rng.random() < OPENING else []
    parts += rng.sample(tasks, min(len(tasks), rng.randint(*TASKS_PER_POSTING)))
    if technologies and rng.random() < TOOLS:
        count = min(len(technologies), rng.randint(*TOOLS_PER_POSTING))
        fill["tools"] = ", ".join(rng.sample(technologies, count))
        parts.append(rng.choice(WORDS["skill_phrases"]))
    parts += rng.sample(WORDS["closings"], rng.choice(CLOSINGS))
    text = " ".join(parts)
    for name, value in fill.items():
        text = text.replace(f"{{{name}}}", value)
    return text


def made_up_postings(samples: list[Sample]) -> list[tuple[str, str, str]]:
    """(title, description, code) of postings made up of the titles and tasks among the samples."""
    tasks = defaultdict(list)
    for sample in samples:
        if sample["source"] == "task":
            tasks[sample["code"]].append(sample["anchor"])
    usable = []
    for sample in samples:
        if sample["source"] == "alternate_title" and tasks[sample["code"]]:
            usable.append(sample)
    rng = random.Random(0)
    postings = []
    for sample in rng.sample(usable, min(MEASURED_POSTINGS, len(usable))):
        title, code = sample["anchor"], sample["code"]
        postings.append((title, made_up_description(title, tasks[code], [], rng), code))
    return postings


class AnchorMaker:
    """Turns some of the titles in a batch into what users send: noisy titles and whole postings.

    The rest, and anchors of other sources, stay as they are. The choice depends on the seed and
    the batch alone, so that a resumed run sees the same anchors.
    """

    def __init__(
        self,
        samples: list[Sample],
        label_map: dict[str, int],
        noise: float,
        postings: float,
        seed: int,
    ) -> None:
        self.noise, self.postings, self.seed = noise, postings, seed
        self.tasks, self.technologies = defaultdict(list), defaultdict(list)
        for sample in samples:
            label, anchor = label_map[sample["code"]], sample["anchor"]
            if sample["source"] == "task":
                self.tasks[label].append(anchor)
            elif sample["source"] == "technology":
                self.technologies[label].append(anchor.split(" uses technology: ")[1])

    def __call__(self, rows: list[dict]) -> list[str]:
        """The anchors of a batch: rows with "anchor", "label" and "source"."""
        rng = random.Random(f"{self.seed} {[row['anchor'] for row in rows]}")
        anchors = []
        for row in rows:
            anchor, label = row["anchor"], row["label"]
            if row["source"] in TITLE_SOURCES:
                if rng.random() < self.noise:
                    anchor = noisy_title(anchor, rng)
                tasks = self.tasks[label]
                if tasks and rng.random() < self.postings:
                    text = made_up_description(anchor, tasks, self.technologies[label], rng)
                    anchor = f"{anchor}. {text}"
            anchors.append(anchor)
        return anchors
