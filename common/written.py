"""Text written for this project: titles and duties of all occupations, other parts of postings.

written/README.md says how it was written and checked.
"""

from collections import defaultdict
from pathlib import Path

from common.samples import WRITTEN_DUTIES, WRITTEN_TITLE, Sample
from common.sentences import SentenceChooser, sentences_of

FOLDER = Path(__file__).parent.with_name("written")
TITLES, DUTIES, BLOCKS = FOLDER / "titles.tsv", FOLDER / "duties.tsv", FOLDER / "blocks.tsv"
NO_OCCUPATION = FOLDER / "no_occupation.tsv"
LINE_BREAK = " | "  # in a text


def read_titles() -> list[tuple[str, str]]:
    """(title, code) pairs; a title that fits several occupations comes with each."""
    pairs = []
    for codes, title in rows_of(TITLES):
        pairs += [(title, code) for code in codes.split("|")]
    return pairs


def titles_by_code() -> dict[str, list[str]]:
    titles = defaultdict(list)
    for title, code in read_titles():
        titles[code].append(title)
    return titles


def read_duties() -> list[tuple[str, str]]:
    """(duties, code) pairs; LINE_BREAK stands between bullets."""
    return [(text, code) for code, _, text in rows_of(DUTIES)]


def written_samples(codes: set[str]) -> list[Sample]:
    """Samples of the titles and duties of some occupations."""
    samples = []
    for source, pairs in ((WRITTEN_TITLE, read_titles()), (WRITTEN_DUTIES, read_duties())):
        for text, code in pairs:
            if code in codes:
                samples.append({"anchor": text, "code": code, "source": source})
    return samples


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
