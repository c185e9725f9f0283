"""Does our own text repeat O*NET's, or that of a set to measure on, eight words in a row?

    python -m benchmarks.near_copies                     # against the occupations and their tasks
    python -m benchmarks.near_copies --sets FOLDER       # and against every .tsv file in a folder

Looks at written/ (but its blocks, which tell of no occupation) and at benchmarks/sets/, and at
written/ against benchmarks/sets/ too. Prints each near copy, and ends with 1 if there is one.
"""

import argparse
import re
import sys
from collections.abc import Iterator
from pathlib import Path

from benchmarks.accuracy import OWN_SETS, read_sets
from common.samples import load_data
from common.written import read_calibration, read_duties, read_short_duties, read_titles
from inference import DATA_DIR

WORDS_IN_A_ROW = 8


def runs_of_words(text: str) -> Iterator[str]:
    words = re.findall(r"[a-z0-9]+", text.casefold())
    for start in range(len(words) - WORDS_IN_A_ROW + 1):
        yield " ".join(words[start : start + WORDS_IN_A_ROW])


def texts_of(folder: Path) -> list[str]:
    """Titles and descriptions of all sets in a folder."""
    texts = []
    for labelled in read_sets(folder):
        pairs = zip(labelled.titles, labelled.descriptions, strict=True)
        texts += [f"{title}. {description}" for title, description in pairs]
    return texts


def near_copies(ours: dict[str, list[str]], theirs: dict[str, list[str]]) -> list[str]:
    """A line for each of our texts that shares a run of words with one of theirs."""
    source_of = {}
    for name, texts in theirs.items():
        for text in texts:
            source_of |= dict.fromkeys(runs_of_words(text), name)
    found = []
    for name, texts in ours.items():
        for text in texts:
            shared = next((run for run in runs_of_words(text) if run in source_of), None)
            if shared:
                found.append(f"{name}: {shared!r} is also in {source_of[shared]}")
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--sets", type=Path, help="folder with labelled .tsv files")
    parser.add_argument("--data-dir", type=Path, default=Path(DATA_DIR), help="O*NET's text")
    args = parser.parse_args()

    data = load_data(args.data_dir)
    onet = [occupation["description"] for occupation in data["corpus"].values()]
    onet += [s["anchor"] for s in data["train"] + data["val"] if s["source"] == "task"]
    written = [text for text, _ in read_titles() + read_duties() + read_short_duties()]
    written += [description for _, description, _ in read_calibration()]
    benchmark = texts_of(OWN_SETS)
    theirs = {"O*NET": onet}
    if args.sets:
        theirs[str(args.sets)] = texts_of(args.sets)
    found = near_copies({"written/": written, "benchmarks/sets/": benchmark}, theirs)
    found += near_copies({"written/": written}, {"benchmarks/sets/": benchmark})
    print(*found, sep="\n", end="\n" if found else "")
    print(f"{len(found)} near copies in {len(written) + len(benchmark):,} texts of ours")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
