"""How often each way of coding finds the right occupation, in one run.

    python -m benchmarks.accuracy                     # on the validation split
    python -m benchmarks.accuracy --sets FOLDER       # and on every .tsv file in a folder
    python -m benchmarks.accuracy --model-dirs output/job_classifier output/plain   # several models
    python -m benchmarks.accuracy --backends onnx torch                             # both engines

A set is a tab-separated file with the columns title, description (may be empty) and code
('|' between accepted codes). Validation accepts every code that O*NET lists for the text; the
row "ceiling" is what a perfect coder reaches that must guess among them, own code alone accepted.
Its postings are made up of titles and tasks of the validation split. Measured on validation, every
way knows the titles and tasks of the training split alone.
"""

import argparse
import csv
import json
import os
import platform
import tempfile
from collections import defaultdict
from collections.abc import Callable, Iterator
from importlib.metadata import version
from pathlib import Path
from typing import NamedTuple

import numpy as np
from sentence_transformers import SentenceTransformer
from sklearn.feature_extraction.text import TfidfVectorizer
from tqdm import tqdm

from common.anchors import made_up_postings as made_up
from common.evaluation import EVALUATED, TOP_K, hits, wilson
from common.files import write_json
from common.samples import MANIFEST_FILE, TITLE_SOURCES, listed_codes, load_data, pairs_of
from common.text import normalize
from inference import DATA_DIR, MODEL_DIR, JobClassifier
from train import MINILM, hashes_of, load_base_model

BLOCK = 500  # rows scored at a time, so that the matrix of 500 x 57,500 titles stays small


class Set(NamedTuple):
    name: str
    titles: list[str]
    descriptions: list[str]
    accepted: list[set[str]]


Ranker = Callable[
    [list[str], list[str]], np.ndarray
]  # (titles, descriptions) -> (n, 5) codes, "" for no answer


def read_set(path: Path) -> Set:
    csv.field_size_limit(2**31 - 1)
    with open(path, encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file, delimiter="\t"))
    accepted = [set(row["code"].split("|")) for row in rows]
    return Set(
        path.stem, [row["title"] for row in rows], [row["description"] for row in rows], accepted
    )


def made_up_postings(data: dict) -> Set:
    """Postings made up of titles and tasks of the validation split."""
    listed = listed_codes(data["train"] + data["val"])
    titles, descriptions, _ = zip(*made_up(data["val"]), strict=True)
    return Set(
        "validation: postings", titles, descriptions, [listed[normalize(title)] for title in titles]
    )


def titles_of(samples: list[dict[str, str]]) -> list[tuple[str, str]]:
    return [
        (sample["anchor"], sample["code"])
        for sample in samples
        if sample["source"] in TITLE_SOURCES
    ]


def blocks(n: int, name: str) -> Iterator[slice]:
    for start in tqdm(range(0, n, BLOCK), desc=name, unit="block", leave=False, disable=n <= BLOCK):
        yield slice(start, start + BLOCK)


def exact_lookup(known: list[tuple[str, str]]) -> Ranker:
    """Codes that a known title equal to the job title stands under, in ascending order."""
    codes = defaultdict(list)
    for title, code in sorted(known):
        codes[normalize(title)].append(code)

    def rank(titles: list[str], descriptions: list[str]) -> np.ndarray:
        found = [
            list(dict.fromkeys(codes.get(normalize(title), [])))[: max(TOP_K)] for title in titles
        ]
        return np.array([row + [""] * (max(TOP_K) - len(row)) for row in found])

    return rank


def tfidf(known: list[tuple[str, str]]) -> Ranker:
    """Occupations by their known title that shares most character n-grams with the job title."""
    known = sorted(known, key=lambda pair: pair[1])
    vectorizer = TfidfVectorizer(
        analyzer="char_wb", ngram_range=(2, 5), sublinear_tf=True, dtype=np.float32
    )
    matrix = vectorizer.fit_transform([title for title, _ in known]).T.tocsr()
    codes, starts = np.unique([code for _, code in known], return_index=True)

    def rank(titles: list[str], descriptions: list[str]) -> np.ndarray:
        best = []
        for block in blocks(len(titles), "TF-IDF"):
            scores = (vectorizer.transform(titles[block]) @ matrix).toarray()
            best.append(
                codes[
                    np.argsort(-np.maximum.reduceat(scores, starts, axis=1), axis=1)[
                        :, : max(TOP_K)
                    ]
                ]
            )
        return np.concatenate(best)

    return rank


def classifier_of(
    model: SentenceTransformer, label_mode: str, data_dir: str | Path
) -> JobClassifier:
    """A classifier for a model that is not saved yet."""
    with tempfile.TemporaryDirectory() as folder:
        model.save_pretrained(folder, create_model_card=False)
        settings = {"label_mode": label_mode, "max_seq_length": model.max_seq_length}
        manifest = {"settings": settings, "files": hashes_of(Path(folder))}
        write_json(Path(folder) / MANIFEST_FILE, manifest)
        return JobClassifier(folder, data_dir, label_mode)


def remember_embeddings(classifier: JobClassifier) -> None:
    """Let the classifier, and those made from it by without, encode every text only once."""
    encode, known = classifier.encoder.encode, {}

    def remembered(texts: list[str]) -> np.ndarray:
        new = [text for text in dict.fromkeys(texts) if text not in known]
        if new:
            known.update(zip(new, encode(new, show_progress_bar=True), strict=True))
        return np.stack([known[text] for text in texts])

    classifier.encoder.encode = remembered


def coder(classifier: JobClassifier) -> Ranker:
    """Occupations as the classifier ranks them."""

    def rank(titles: list[str], descriptions: list[str]) -> np.ndarray:
        jobs = [
            {"title": title, "description": text}
            for title, text in zip(titles, descriptions, strict=True)
        ]
        return np.array(
            [
                [row["code"] for row in ranked]
                for ranked in classifier.predict_batch(jobs, max(TOP_K))
            ]
        )

    return rank


def shares(ranked: np.ndarray, accepted: list[set[str]], digits: int = 8) -> np.ndarray:
    """Top-1/3/5 accuracy, a code counted as right if it is in so many digits."""
    right = hits(ranked, accepted, digits)
    return np.array([right[:, :k].any(axis=1).mean() for k in TOP_K])


def with_interval(share: float, n: int) -> str:
    """Per cent and half the width of the 95 % Wilson interval."""
    low, high = wilson(share, n)
    return f"{100 * share:.1f} ±{50 * (high - low):.1f}"


def print_table(
    name: str, ranked: dict[str, np.ndarray], accepted: list[set[str]], ceiling: bool
) -> None:
    """One set as a Markdown table, a row for each way of coding."""
    n = len(accepted)
    print(f"\n### {name}, n = {n:,}\n")
    print("| | " + " | ".join(f"{digits} digits: top-1 / 3 / 5" for digits in EVALUATED) + " |")
    print("|---|" + "---|" * len(EVALUATED))
    for way, codes in ranked.items():
        cells = [
            " / ".join(with_interval(share, n) for share in shares(codes, accepted, digits))
            for digits in EVALUATED
        ]
        print(f"| {way} | " + " | ".join(cells) + " |")
    if ceiling:
        best = [100 * np.mean([min(1, k / len(codes)) for codes in accepted]) for k in TOP_K]
        print(
            f"| ceiling, own code | {' / '.join(f'{share:.1f}' for share in best)} |"
            + " |" * (len(EVALUATED) - 1)
        )


def print_summary(parts: dict[str, tuple[dict[str, np.ndarray], list[set[str]]]]) -> None:
    """All sets in one Markdown table: top-1 and top-5 at 8 digits."""
    print("\n| top-1 / top-5, 8 digits | " + " | ".join(parts) + " |\n|---|" + "---|" * len(parts))
    for way in next(iter(parts.values()))[0]:
        cells = []
        for ranked, accepted in parts.values():
            first, _, fifth = shares(ranked[way], accepted)
            cells.append(f"{100 * first:.1f} / {100 * fifth:.1f}")
        print(f"| {way} | " + " | ".join(cells) + " |")


def print_agreement(
    parts: dict[str, tuple[dict[str, np.ndarray], list[set[str]]]], ways: list[str]
) -> None:
    """How often each way agrees with the last one: in the first answer, in all five in order."""
    print(
        "\n| same first / same five in order, % | "
        + " | ".join(parts)
        + " |\n|---|"
        + "---|" * len(parts)
    )
    for way in ways[:-1]:
        same = [ranked[way] == ranked[ways[-1]] for ranked, _ in parts.values()]
        cells = [
            f"{100 * hits[:, 0].mean():.2f} / {100 * hits.all(axis=1).mean():.2f}" for hits in same
        ]
        print(f"| {way} | {' | '.join(cells)} |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--sets", type=Path, help="folder with labelled .tsv files")
    parser.add_argument(
        "--model-dirs", nargs="+", default=[MODEL_DIR], help="folders that train.py saved"
    )
    parser.add_argument(
        "--base-models", nargs="+", default=[MINILM], help="encoders as they are before training"
    )
    parser.add_argument(
        "--backends", nargs="+", default=["auto"], help="engines that run their encoders"
    )
    parser.add_argument(
        "--max-seq-length", type=int, help="tokens that they read of a text; as trained, or fewer"
    )
    parser.add_argument(
        "--data-dir", default=DATA_DIR, help="folder that data_preparation.py wrote"
    )
    args = parser.parse_args()

    data = load_data(Path(args.data_dir))
    listed = listed_codes(data["train"] + data["val"])
    anchors = [sample["anchor"] for sample in data["val"]]
    validation = Set(
        "validation",
        anchors,
        [""] * len(anchors),
        [listed[normalize(anchor)] for anchor in anchors],
    )
    sources = np.array([sample["source"] for sample in data["val"]])
    postings = made_up_postings(data)
    sets = [validation, postings]
    if args.sets:
        sets += [read_set(path) for path in sorted(args.sets.glob("*.tsv"))]

    # Each way of coding twice: for validation, knowing texts of the training split; knowing all
    known = {True: titles_of(data["train"]), False: titles_of(data["train"] + data["val"])}
    held_out = pairs_of(data["val"])
    every_title, every_task = (
        {(code, text) for code, texts in data["corpus"].items() for text in texts[kind]}
        for kind in ("titles", "tasks")
    )
    ways: dict[str, dict[bool, Ranker]] = {
        "exact look-up": {is_val: exact_lookup(titles) for is_val, titles in known.items()},
        "character TF-IDF": {is_val: tfidf(titles) for is_val, titles in known.items()},
    }
    classifiers = {}
    for name in args.base_models:
        untouched, _ = load_base_model(name)
        short = "MiniLM" if name == MINILM else Path(name).name
        classifiers[f"untouched {short}"] = classifier_of(untouched, "title_desc", args.data_dir)
    for folder in args.model_dirs:
        label_mode = json.loads((Path(folder) / MANIFEST_FILE).read_text())["settings"][
            "label_mode"
        ]
        for backend in args.backends:
            classifier = JobClassifier(
                folder, args.data_dir, label_mode, backend, args.max_seq_length
            )
            classifiers[f"{Path(folder).name} on {classifier.backend}"] = classifier
    engines = [f"{name}, with known titles and tasks" for name in classifiers][
        len(args.base_models) :
    ]
    for name, classifier in classifiers.items():
        remember_embeddings(classifier)
        for variant, left_out in {
            "label text alone": every_title | every_task,
            "with known titles": every_task,
            "with known titles and tasks": set(),
        }.items():
            ways[f"{name}, {variant}"] = {
                True: coder(classifier.without(left_out | held_out)),
                False: coder(classifier.without(left_out)),
            }

    manifest, cores = data["manifest"], f"{platform.machine()}, {os.cpu_count()} cores"
    names = ("torch", "sentence-transformers", "onnxruntime", "scikit-learn")
    packages = ", ".join(f"{name} {version(name)}" for name in names)
    print(f"O*NET {manifest['release']}, seed {manifest['seed']}, {cores}, {packages}")
    parts = {}
    for texts in sets:
        is_val = texts.name.startswith(validation.name)
        ranked = {name: way[is_val](texts.titles, texts.descriptions) for name, way in ways.items()}
        parts[texts.name] = (ranked, texts.accepted)
        for source in dict.fromkeys(sources) if texts is validation else ():
            rows = np.flatnonzero(sources == source)
            part = {name: found[rows] for name, found in ranked.items()}
            parts[f"validation: {source}"] = (part, [texts.accepted[i] for i in rows])
    print_summary(parts)
    if len(engines) > 1:
        print_agreement(parts, engines)
    for name, (ranked, accepted) in parts.items():
        print_table(name, ranked, accepted, ceiling=name.startswith(validation.name))


if __name__ == "__main__":
    main()
