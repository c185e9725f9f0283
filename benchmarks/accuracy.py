"""How often each way of coding finds the right occupation, in one run.

    python -m benchmarks.accuracy                     # on the validation split
    python -m benchmarks.accuracy --sets FOLDER       # and on every .tsv file in a folder

A set is a tab-separated file with the columns title, description (may be empty) and code
('|' between accepted codes). Validation accepts every code that O*NET lists for the text; the
row "ceiling" is what a perfect coder reaches that must guess among them, own code alone accepted.
Every way but the trained model knows training titles alone when it is measured on validation.
"""

import argparse
import csv
import os
import platform
from collections import defaultdict
from collections.abc import Callable, Iterator
from importlib.metadata import version
from pathlib import Path
from typing import NamedTuple

import numpy as np
from scipy.stats import binomtest
from sklearn.feature_extraction.text import TfidfVectorizer
from tqdm import tqdm

import train
from data_preparation import normalize
from inference import DATA_DIR, MODEL_DIR, JobClassifier, job_text

TOP_K = (1, 3, 5)
LEVELS = {8: 10, 6: 7, 2: 2}  # digits of the code -> characters of "15-1252.00"
TITLE_SOURCES = ("standard_title", "alternate_title")
BLOCK = 500  # rows scored at a time, so that the matrix of 500 x 57,500 titles stays small


class Set(NamedTuple):
    name: str
    titles: list[str]
    descriptions: list[str]
    accepted: list[set[str]]


Ranker = Callable[[list[str], list[str]], np.ndarray]  # (titles, descriptions) -> (n, 5) codes, "" for no answer


def read_set(path: Path) -> Set:
    with open(path, encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE))
    accepted = [set(row["code"].split("|")) for row in rows]
    return Set(path.stem, [row["title"] for row in rows], [row["description"] for row in rows], accepted)


def titles_of(samples: list[dict[str, str]]) -> list[tuple[str, str]]:
    return [(sample["anchor"], sample["code"]) for sample in samples if sample["source"] in TITLE_SOURCES]


def blocks(n: int, name: str) -> Iterator[slice]:
    for start in tqdm(range(0, n, BLOCK), desc=name, unit="block", leave=False):
        yield slice(start, start + BLOCK)


def exact_lookup(known: list[tuple[str, str]]) -> Ranker:
    """Codes that a known title equal to the job title stands under, in ascending order."""
    codes = defaultdict(list)
    for title, code in sorted(known):
        codes[normalize(title)].append(code)

    def rank(titles: list[str], descriptions: list[str]) -> np.ndarray:
        found = [list(dict.fromkeys(codes.get(normalize(title), [])))[: max(TOP_K)] for title in titles]
        return np.array([row + [""] * (max(TOP_K) - len(row)) for row in found])

    return rank


def tfidf(known: list[tuple[str, str]]) -> Ranker:
    """Occupations by their known title that shares most character n-grams with the job title."""
    known = sorted(known, key=lambda pair: pair[1])
    vectorizer = TfidfVectorizer(analyzer="char_wb", ngram_range=(2, 5), sublinear_tf=True, dtype=np.float32)
    matrix = vectorizer.fit_transform([title for title, _ in known]).T.tocsr()
    codes, starts = np.unique([code for _, code in known], return_index=True)

    def rank(titles: list[str], descriptions: list[str]) -> np.ndarray:
        best = []
        for block in blocks(len(titles), "TF-IDF"):
            scores = (vectorizer.transform(titles[block]) @ matrix).toarray()
            best.append(codes[np.argsort(-np.maximum.reduceat(scores, starts, axis=1), axis=1)[:, : max(TOP_K)]])
        return np.concatenate(best)

    return rank


def encoder(model: train.SentenceTransformer, codes: list[str], labels: np.ndarray) -> Ranker:
    """Occupations by the cosine of job and label embedding."""

    def rank(titles: list[str], descriptions: list[str]) -> np.ndarray:
        texts = [job_text(title, description) for title, description in zip(titles, descriptions, strict=True)]
        queries = model.encode(texts, normalize_embeddings=True, show_progress_bar=True)
        return np.array(codes)[np.argsort(-(queries @ labels.T), axis=1)[:, : max(TOP_K)]]

    return rank


def figures(ranked: np.ndarray, accepted: list[set[str]]) -> list[str]:
    """Top-1/3/5 at each level; top-1 with its 95 % Wilson interval."""
    cells = []
    for length in LEVELS.values():
        prefixes = [{code[:length] for code in codes} for codes in accepted]
        hit = np.array([[code[:length] in codes for code in row] for row, codes in zip(ranked, prefixes, strict=True)])
        counts = [int(hit[:, :k].any(axis=1).sum()) for k in TOP_K]
        low, high = binomtest(counts[0], len(hit)).proportion_ci(method="wilson")
        cells.append(
            " / ".join(f"{100 * count / len(hit):.1f}" for count in counts) + f" ({100 * low:.1f}-{100 * high:.1f})"
        )
    return cells


def print_table(name: str, ranked: dict[str, np.ndarray], accepted: list[set[str]], ceiling: bool) -> None:
    """One set as a Markdown table, a row for each way of coding."""
    print(f"\n{name}, n = {len(accepted):,}\n")
    print("| | " + " | ".join(f"{digits} digits: top-1/3/5 (95 % of top-1)" for digits in LEVELS) + " |")
    print("|---|" + "---|" * len(LEVELS))
    for way, codes in ranked.items():
        print(f"| {way} | " + " | ".join(figures(codes, accepted)) + " |")
    if ceiling:
        shares = [100 * np.mean([min(1, k / len(codes)) for codes in accepted]) for k in TOP_K]
        print(
            "| ceiling, own code | " + " / ".join(f"{share:.1f}" for share in shares) + " |" + " |" * (len(LEVELS) - 1)
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--sets", type=Path, help="folder with labelled .tsv files")
    parser.add_argument("--model-dir", type=Path, default=MODEL_DIR, help="folder that train.py saved")
    parser.add_argument("--data-dir", type=Path, default=DATA_DIR, help="folder that data_preparation.py wrote")
    args = parser.parse_args()

    data = train.load_data(Path(args.data_dir))
    classifier = JobClassifier(args.model_dir, args.data_dir)
    untouched, _ = train.load_base_model(train.MINILM)
    labels = [texts[classifier.label_mode] for texts in data["corpus"].values()]
    untouched_labels = untouched.encode(labels, normalize_embeddings=True)
    codes = classifier.codes
    listed = train.listed_occupations(data["train"] + data["val"], dict(zip(codes, codes, strict=True)))
    anchors = [sample["anchor"] for sample in data["val"]]
    validation = Set("validation", anchors, [""] * len(anchors), [listed[normalize(anchor)] for anchor in anchors])
    sources = np.array([sample["source"] for sample in data["val"]])
    sets = [validation, *(read_set(path) for path in sorted(args.sets.glob("*.tsv")))] if args.sets else [validation]

    known_in = {True: titles_of(data["train"]), False: titles_of(data["train"] + data["val"])}
    rankers: dict[str, dict[bool, Ranker]] = {
        "exact look-up": {is_val: exact_lookup(known) for is_val, known in known_in.items()},
        "character TF-IDF": {is_val: tfidf(known) for is_val, known in known_in.items()},
        "untouched MiniLM": dict.fromkeys((True, False), encoder(untouched, classifier.codes, untouched_labels)),
        "this model": dict.fromkeys(
            (True, False), encoder(classifier.model, classifier.codes, classifier.label_embeddings)
        ),
    }
    manifest, cores = data["manifest"], f"{platform.machine()}, {os.cpu_count()} cores"
    packages = ", ".join(f"{name} {version(name)}" for name in ("torch", "sentence-transformers", "scikit-learn"))
    print(f"O*NET {manifest['release']}, seed {manifest['seed']}, {cores}, {packages}")
    for texts in sets:
        is_val = texts is validation
        ranked = {name: by_known[is_val](texts.titles, texts.descriptions) for name, by_known in rankers.items()}
        parts = {texts.name: np.arange(len(texts.titles))}
        if is_val:
            parts |= {f"validation: {source}": np.flatnonzero(sources == source) for source in dict.fromkeys(sources)}
        for name, rows in parts.items():
            print_table(
                name, {way: codes[rows] for way, codes in ranked.items()}, [texts.accepted[i] for i in rows], is_val
            )


if __name__ == "__main__":
    main()
