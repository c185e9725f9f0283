"""Titles made noisy, and postings made up around them, as employers and people write them.

The words are in words.json and in written/blocks.tsv, all of our own invention. "Manager",
"Supervisor" and "Director" are not among the levels: they change the occupation.
"""

import html
import json
import random
import re
from collections import defaultdict
from pathlib import Path
from typing import Any

from common.samples import TITLE_SOURCES, WRITTEN_DUTIES, WRITTEN_TITLE, Sample
from common.sentences import SentenceChooser
from common.written import LINE_BREAK, read_blocks, read_vague_titles

WORDS: dict[str, Any] = json.loads(Path(__file__).with_name("words.json").read_text("utf-8"))
ABBREVIATIONS: dict[str, str] = WORDS["abbreviations"]  # long form, in small letters -> short form
HEAD_NOUN = re.compile(rf"(.+) ((?:{'|'.join(WORDS['head_nouns'])})s?)", re.IGNORECASE)

# How often a noisy title has each kind of noise. Levels and additions are what employers write
# most; slips of the pen and turned word order are rare.
TURNED, ABBREVIATED, MISSPELT, LEVEL, ADDITION = 0.1, 0.2, 0.08, 0.4, 0.3
LEVEL_BEFORE = 0.6  # rather than after the title

# How often a posting has each trait. Real ones tell of the company before the job about as often as
# not, and a fifth keep marks of the page that they were copied from.
VAGUE, HEAD, HEADING, MARKUP, ONE_LINE = 0.1, 0.6, 0.6, 0.15, 0.3
DUTIES_LAST = 0.25  # what stands after the duties in others stands before them
LINES, TAIL = (1, 5), (0, 6)  # lines of duties where they are single tasks; blocks after them
HEAD_BLOCKS = ("story", "intro", "agency", "government", "culture")
TAIL_BLOCKS = ("requirement", "benefits", "pay", "schedule", "eeo", "physical", "apply", "notice")
BULLETS = ("• ", "- ", "* ", "– ", "")
MEASURED_POSTINGS = 1500  # made up of validation samples at most, to calibrate and measure on


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


class PostingMaker:
    """Puts postings together: duties of an occupation among what else employers write."""

    def __init__(self, samples: list[Sample]) -> None:
        """
        Args:
            samples: those with the duties and the titles to use. Where none are written for an
                occupation, its tasks are its duties.
        """
        self.blocks, self.vague_titles = read_blocks(), read_vague_titles()
        self.duties, self.tasks, self.titles = (defaultdict(list) for _ in range(3))
        for sample in samples:
            code, text = sample["code"], sample["anchor"]
            if sample["source"] == WRITTEN_DUTIES:
                self.duties[code].append(text)
            elif sample["source"] == "task":
                self.tasks[code].append(text)
            elif sample["source"] in ("alternate_title", WRITTEN_TITLE):
                self.titles[code].append(text)

    def lines(self, code: str, rng: random.Random) -> list[str]:
        """Duties of an occupation, line by line; none if there are none."""
        if self.duties[code]:
            return rng.choice(self.duties[code]).split(LINE_BREAK)
        tasks = self.tasks[code]
        return rng.sample(tasks, min(len(tasks), rng.randint(*LINES)))

    def title(self, code: str, rng: random.Random) -> str:
        """A title of the occupation, or now and then one that only the duties make clear."""
        vague = [title for title, fits in self.vague_titles if code.startswith(fits)]
        if not self.titles[code] or (vague and rng.random() < VAGUE):
            return rng.choice(vague or [title for title, _ in self.vague_titles])
        return rng.choice(self.titles[code])

    def description(self, title: str, lines: list[str], rng: random.Random) -> str:
        """The text of a posting with these duties, in some layout and order."""
        blocks = self.blocks
        head = [rng.choice(blocks[rng.choice(HEAD_BLOCKS)])] if rng.random() < HEAD else []
        duties = [rng.choice(blocks["heading"])] if rng.random() < HEADING else []
        bullet = rng.choice(BULLETS) if len(lines) > 1 else ""
        duties += [bullet + line for line in lines]
        tail = [rng.choice(blocks[kind]) for kind in TAIL_BLOCKS]
        tail = rng.sample(tail, rng.randint(*TAIL))
        before, after = (tail, []) if rng.random() < DUTIES_LAST else ([], tail)
        parts = [*head, *before, *duties, *after]

        fill = {"{title}": title, "{company}": rng.choice(blocks["company"])}
        fill["{place}"] = rng.choice(WORDS["places"])
        text = "\n".join(parts).replace(LINE_BREAK, "\n")
        for name, value in fill.items():
            text = text.replace(name, value)
        if rng.random() < MARKUP:
            text = marked_up(text, rng)
        return text.replace("\n", " ") if rng.random() < ONE_LINE else text


def marked_up(text: str, rng: random.Random) -> str:
    """The text as a page's source has it."""
    tag = rng.choice(["p", "li", "div"])
    lines = [f"<{tag}>{html.escape(line, quote=False)}</{tag}>" for line in text.split("\n")]
    return "\n".join(lines).replace(". ", rng.choice([". ", ".&nbsp;", ".<br>"]))


def made_up_postings(samples: list[Sample]) -> list[tuple[str, str, str]]:
    """(title, description, code) of postings made up of the titles and duties among the samples."""
    maker, rng, postings = PostingMaker(samples), random.Random(0), []
    codes = sorted({*maker.duties, *maker.tasks} & maker.titles.keys())
    for code in codes * 2:  # each under two titles
        lines, title = maker.lines(code, rng), maker.title(code, rng)
        if lines:
            postings.append((title, maker.description(title, lines, rng), code))
    return rng.sample(postings, min(MEASURED_POSTINGS, len(postings)))


class AnchorMaker:
    """Turns some of the anchors in a batch into what users send: noisy titles and whole postings.

    Duties become postings, each under a title of its occupation, and so do some of the titles.
    Anchors of other sources stay as they are. The choice depends on the seed and the batch alone,
    so that a resumed run sees the same anchors.
    """

    def __init__(
        self,
        samples: list[Sample],
        codes: list[str],
        chooser: SentenceChooser,
        noise: float,
        postings: float,
        seed: int,
    ) -> None:
        """
        Args:
            samples: of training.
            codes: of the occupations, in the order of their labels.
            chooser: of what is read of postings.
            noise, postings: parts of the titles that are made noisy, and that become postings.
        """
        self.codes, self.noise, self.postings, self.seed = codes, noise, postings, seed
        self.maker, self.chooser = PostingMaker(samples), chooser

    def __call__(self, rows: list[dict]) -> list[str]:
        """The anchors of a batch: rows with "anchor", "label" and "source"."""
        rng = random.Random(f"{self.seed} {[row['anchor'] for row in rows]}")
        return [
            self.anchor(row["anchor"], self.codes[row["label"]], row["source"], rng) for row in rows
        ]

    def anchor(self, text: str, code: str, source: str, rng: random.Random) -> str:
        if source == WRITTEN_DUTIES:
            title, lines = self.maker.title(code, rng), text.split(LINE_BREAK)
        elif source in TITLE_SOURCES:
            title, lines = text, []
            if rng.random() < self.postings:
                lines = self.maker.lines(code, rng)
        else:
            return text
        if rng.random() < self.noise:
            title = noisy_title(title, rng)
        if not lines:
            return title
        return f"{title}. {self.chooser.read(self.maker.description(title, lines, rng))}"
