"""Text written for this project: titles and duties of all occupations, other parts of postings.

written/README.md says how it was written and checked.
"""

from collections import defaultdict
from pathlib import Path

from common.samples import Sample
from common.sentences import SentenceChooser, sentences_of

FOLDER = Path(__file__).parent.with_name("written")
TITLES, DUTIES, BLOCKS = FOLDER / "titles.tsv", FOLDER / "duties.tsv", FOLDER / "blocks.tsv"
SHORT_DUTIES = FOLDER / "short_duties.tsv"
NO_OCCUPATION, CALIBRATION = FOLDER / "no_occupation.tsv", FOLDER / "calibration.tsv"
LINE_BREAK = " | "  # in a text


def read_titles() -> list[tuple[str, str]]:
    """(title, code) pairs; a title that fits several occupations comes with each."""
    pairs = []
    for codes, title in rows_of(TITLES):
        pairs += [(title, code) for code in codes.split("|")]
    return pairs


def by_code(pairs: list[tuple[str, str]]) -> dict[str, list[str]]:
    """The texts of (text, code) pairs by code."""
    texts = defaultdict(list)
    for text, code in pairs:
        texts[code].append(text)
    return texts


def read_duties() -> list[tuple[str, str]]:
    """(duties, code) pairs; LINE_BREAK stands between bullets."""
    return [(text, code) for code, _, text in rows_of(DUTIES)]


def read_short_duties() -> list[tuple[str, str]]:
    """(duties, code) pairs, as advertisements and answers to surveys tell them in a line."""
    return [(text, code) for code, _, text in rows_of(SHORT_DUTIES)]


def samples_of(source: str, pairs: list[tuple[str, str]], codes: set[str]) -> list[Sample]:
    """Samples of the (text, code) pairs of some occupations."""
    return [
        {"anchor": text, "code": code, "source": source} for text, code in pairs if code in codes
    ]


def read_blocks() -> dict[str, list[str]]:
    """The other parts of postings by kind, such as "story", "benefits" and "apply"."""
    blocks = defaultdict(list)
    for kind, _, text in rows_of(BLOCKS):
        if kind != "vague":
            blocks[kind].append(text)
    return dict(blocks)


def read_vague_titles() -> list[tuple[str, tuple[str, ...]]]:
    """Titles that say next to nothing, each with how the codes begin that it may stand for."""
    return [
        (text, tuple(fits.split("|"))) for kind, fits, text in rows_of(BLOCKS) if kind == "vague"
    ]


def read_no_occupation() -> list[tuple[str, str]]:
    """Answers to the question for a job that are no occupation, as (reason, text)."""
    return [(reason, text) for reason, text in rows_of(NO_OCCUPATION)]


def read_calibration() -> list[tuple[str, str, set[str]]]:
    """Jobs to calibrate on, as (title, description or "", accepted codes)."""
    return [
        (title, description.replace(LINE_BREAK, "\n"), set(codes.split("|")))
        for codes, _, title, description in rows_of(CALIBRATION)
    ]


def sentence_chooser() -> SentenceChooser:
    """One that tells our own duties from the other parts of postings."""
    duties = [line for text, _ in read_duties() for line in text.split(LINE_BREAK)]
    blocks = read_blocks()
    others = [text for kind in blocks if kind != "company" for text in blocks[kind]]
    return SentenceChooser.fitted(
        [sentence for line in duties for sentence in sentences_of(line)],
        [sentence for text in others for sentence in sentences_of(text.replace(LINE_BREAK, "\n"))],
    )


def rows_of(path: Path) -> list[list[str]]:
    _, *lines = path.read_text(encoding="utf-8").splitlines()  # below the header
    return [line.split("\t") for line in lines]
