"""How often each way of coding finds the right occupation, in one run.

    python -m benchmarks.accuracy                     # on validation and on our own benchmark
    python -m benchmarks.accuracy --sets FOLDER       # and on every .tsv file in a folder
    python -m benchmarks.accuracy --model-dirs output/job_classifier output/plain   # several models
    python -m benchmarks.accuracy --backends onnx torch                             # both engines

A set is a tab-separated file with the columns title, description (may be empty), code ('|' between
accepted codes) and perhaps kind. Validation accepts every code that O*NET lists for the text; the
row "ceiling" is what a perfect coder reaches that must guess among them, own code alone accepted.
Its postings are made up of titles and tasks of the validation split. Measured on validation, every
way knows the titles and tasks of the training split alone.

Rows coded NONE or VAGUE are no occupation. For these the last table tells how many get a code, and
how many right answers to the other rows are withheld as taken for no occupation.

Prints top-1 / top-5 at 8 digits, and writes all figures to --csv: for each set and each kind in it
top-1/3/5 at 8, 6 and 2 digits with 95 % intervals. Takes 15 minutes on two laptop cores.
"""

import argparse
import csv
import json
import os
import platform
import random
import tempfile
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path
from typing import NamedTuple

import numpy as np
from sentence_transformers import SentenceTransformer
from sklearn.feature_extraction.text import TfidfVectorizer
from tqdm import tqdm

from common.anchors import made_up_postings as made_up
from common.encoders import Progress, export_onnx
from common.evaluation import EVALUATED, TOP_K, hits, wilson
from common.files import InputError, read_json, write_json
from common.layers import BUCKETS, LAYERS_FILE, save_layers
from common.samples import (
    LABELLED_TITLE,
    MANIFEST_FILE,
    TITLE_SOURCES,
    WRITTEN_DUTIES,
    WRITTEN_TITLE,
    Sample,
    listed_codes,
    load_data,
    pairs_of,
)
from common.sentences import SENTENCES_FILE
from common.text import job_texts, normalize
from common.written import read_titles, sentence_chooser
from inference import DATA_DIR, MODEL_DIR, JobClassifier
from train import MINILM, hashes_of, load_base_model

OWN_SETS = Path(__file__).with_name("sets")  # our own benchmark
NAMES = {  # of sets, for people
    "postings": "benchmark: postings",
    "titles": "benchmark: titles",
    "no_occupation": "benchmark: no occupation",
    "esco_exact_dev": "ESCO titles with description",
    "perm_consensus_dev": "employers' titles, coders agreed",
    "perm_titles_dev": "employers' titles, all",
    "real_postings_dev": "real postings of 1999 to 2012",
    "noisy_postings_dev": "noisy postings",
    "modern_titles_dev": "modern titles",
    "short_forms_dev": "short forms and slang",
    "no_occupation_dev": "no occupation",
}
ONET_TITLES = ("standard_title", "alternate_title")  # sources
# Sources of validation that are measured, and how many samples of each at most
MEASURED = ("alternate_title", "task", WRITTEN_TITLE, WRITTEN_DUTIES, LABELLED_TITLE)
SAMPLES = 1000
NO_OCCUPATION = ("NONE", "VAGUE")
BLOCK = 500  # rows scored at a time, so that the matrix of 500 x 76,000 titles stays small


class Set(NamedTuple):
    name: str
    titles: list[str]
    descriptions: list[str]
    accepted: list[set[str]]
    kinds: list[str] = []


Ranker = Callable[[list[str], list[str]], np.ndarray]  # (titles, descriptions) -> (n, 5) codes


# ------------------------------------------------------------------------------ sets


def read_sets(folder: Path) -> list[Set]:
    return [read_set(path) for path in sorted(folder.glob("*.tsv"))]


def read_set(path: Path) -> Set:
    csv.field_size_limit(2**31 - 1)
    with open(path, encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file, delimiter="\t"))
    return Set(
        path.stem,
        [row["title"] for row in rows],
        [row["description"] or "" for row in rows],
        [set(row["code"].split("|")) for row in rows],
        [row["kind"] for row in rows] if rows and "kind" in rows[0] else [],
    )


def name_of(stem: str) -> str:
    """A set's name for people, given its file's."""
    name, _, kind = stem.partition(": ")
    return NAMES.get(name, name) + (f": {kind}" if kind else "")


def is_occupation(texts: Set) -> np.ndarray:
    return np.array([not codes & set(NO_OCCUPATION) for codes in texts.accepted])


def validation_sets(data: dict) -> list[Set]:
    """The validation samples by source, and postings made up of their titles and tasks."""
    listed = listed_codes(data["train"] + data["val"])
    rng, sampled = random.Random(0), []
    for source in MEASURED:
        rows = [sample for sample in data["val"] if sample["source"] == source]
        sampled += rng.sample(rows, min(len(rows), SAMPLES))
    anchors = [sample["anchor"] for sample in sampled]
    accepted = [listed[normalize(anchor)] for anchor in anchors]
    sources = [sample["source"] for sample in sampled]
    samples = Set("validation", anchors, [""] * len(anchors), accepted, sources)
    return [samples, made_up_postings(data)]


def made_up_postings(data: dict) -> Set:
    """Postings made up of titles and tasks of the validation split."""
    listed = listed_codes(data["train"] + data["val"])
    titles, descriptions, codes = zip(*made_up(data["val"]), strict=True)
    accepted = [
        {code} | listed.get(normalize(title), set())
        for title, code in zip(titles, codes, strict=True)
    ]
    return Set("validation: made-up postings", titles, descriptions, accepted)


# ------------------------------------------------------------------------------ ways of coding


def exact_lookup(known: list[tuple[str, str]]) -> Ranker:
    """Codes that a known title equal to the job title stands under, in ascending order."""
    codes = defaultdict(list)
    for title, code in sorted(known):
        codes[normalize(title)].append(code)

    def rank(titles: list[str], descriptions: list[str]) -> np.ndarray:
        ranked = np.full((len(titles), max(TOP_K)), "", dtype="U10")
        for row, title in enumerate(titles):
            found = list(dict.fromkeys(codes.get(normalize(title), [])))[: max(TOP_K)]
            ranked[row, : len(found)] = found
        return ranked

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
            cosines = (vectorizer.transform(titles[block]) @ matrix).toarray()
            scores = np.maximum.reduceat(cosines, starts, axis=1)
            best.append(codes[np.argsort(-scores, axis=1)[:, : max(TOP_K)]])
        return np.concatenate(best)

    return rank


def blocks(n: int, name: str) -> Iterator[slice]:
    for start in tqdm(range(0, n, BLOCK), desc=name, unit="block", leave=False, disable=n <= BLOCK):
        yield slice(start, start + BLOCK)


def coder(classifier: JobClassifier) -> Ranker:
    """Occupations as the classifier ranks them."""

    def rank(titles: list[str], descriptions: list[str]) -> np.ndarray:
        pairs = [job_texts(*job) for job in zip(titles, descriptions, strict=True)]
        return classifier.codes_of(classifier.best(pairs, max(TOP_K)))

    return rank


def silent_layers(occupations: int, dimensions: int) -> dict[str, np.ndarray]:
    """Layers for an encoder that has none: all occupations are alike to them."""
    shapes = {"weight": (occupations, dimensions), "ngram_weight": (occupations, 1)}
    shapes |= {"bias": (occupations,), "ngram_bias": (occupations,)}
    shapes |= {"rows": (BUCKETS, 1), "steps": (BUCKETS, 1)}
    return {name: np.zeros(shape, dtype=np.int8) for name, shape in shapes.items()}


def classifier_of(
    model: SentenceTransformer, label_mode: str, data_dir: str | Path
) -> JobClassifier:
    """A classifier for a model that is not saved yet, in 8 bits where it can be exported."""
    with tempfile.TemporaryDirectory() as folder:
        model.save_pretrained(folder, create_model_card=False)
        with suppress(InputError):
            export_onnx(Path(folder))
        sentence_chooser().save(Path(folder) / SENTENCES_FILE)
        codes = list(read_json(Path(data_dir) / "label_map.json"))
        layers = silent_layers(len(codes), model.get_sentence_embedding_dimension())
        save_layers(layers, codes, Path(folder) / LAYERS_FILE)
        settings = {"label_mode": label_mode, "max_seq_length": model.max_seq_length}
        manifest = {"settings": settings, "files": hashes_of(Path(folder))}
        write_json(Path(folder) / MANIFEST_FILE, manifest)
        return JobClassifier(folder, data_dir, label_mode)


def remember_embeddings(classifier: JobClassifier) -> None:
    """Let the classifier, and those made from it by without, encode every text only once."""
    encode, known = classifier.encoder.encode, {}

    def remembered(texts: list[str], progress: Progress = None) -> np.ndarray:
        new = [text for text in dict.fromkeys(texts) if text not in known]
        if new:
            known.update(zip(new, encode(new, show_progress_bar=True), strict=True))
        return np.stack([known[text] for text in texts])

    classifier.encoder.encode = remembered


# ------------------------------------------------------------------------------ figures


def shares(ranked: np.ndarray, accepted: list[set[str]], digits: int = 8) -> np.ndarray:
    """Top-1/3/5 accuracy, a code counted as right if it is in so many digits."""
    right = hits(ranked, accepted, digits)
    return np.array([right[:, :k].any(axis=1).mean() for k in TOP_K])


def figures_of(name: str, way: str, ranked: np.ndarray, accepted: list[set[str]]) -> list[dict]:
    """Rows of the CSV file for a set and a way of coding."""
    rows, n = [], len(accepted)
    for digits in EVALUATED:
        for k, share in zip(TOP_K, shares(ranked, accepted, digits), strict=True):
            low, high = wilson(share, n)
            row = {"set": name, "n": n, "way": way, "digits": digits, "k": k}
            rows.append(row | {"share": f"{share:.6f}", "low": f"{low:.4f}", "high": f"{high:.4f}"})
    return rows


def print_summary(figures: list[dict]) -> None:
    """All sets in one Markdown table: top-1 / top-5 at 8 digits."""
    cells = defaultdict(dict)
    for row in figures:
        if row["digits"] == 8:
            share = f"{100 * float(row['share']):.1f}"
            cells[row["set"], row["n"]].setdefault(row["way"], {})[row["k"]] = share
    ways = list(dict.fromkeys(row["way"] for row in figures))
    print("\n| set | n | " + " | ".join(ways) + " |\n|---|---:|" + "---|" * len(ways))
    for (name, n), found in cells.items():
        shown = [f"{found[way][1]} / {found[way][5]}" if way in found else "" for way in ways]
        print(f"| {name_of(name)} | {n:,} | " + " | ".join(shown) + " |")


def print_passed(classifiers: dict[str, JobClassifier], sets: list[Set]) -> None:
    """How many answers that are no occupation are coded, and how many right codes are not told."""
    print("\n| classifier | what | n | share |\n|---|---|---:|---:|")
    for name, classifier in classifiers.items():
        right, withheld = 0, 0
        for texts in sets:
            pairs = [job_texts(*job) for job in zip(texts.titles, texts.descriptions, strict=True)]
            ranking = classifier.best(pairs, 1)
            coded = ranking.reasons == ""
            found = hits(np.array(classifier.codes)[ranking.rows], texts.accepted, 8)[:, 0]
            right, withheld = right + int(found.sum()), withheld + int((found & ~coded).sum())
            for kind in NO_OCCUPATION:
                rows = np.array([kind in codes for codes in texts.accepted])
                if rows.any():
                    share = f"{rows.sum()} | {coded[rows].mean():.1%} |"
                    print(f"| {name} | coded of {name_of(texts.name)}, {kind} | {share}")
        print(f"| {name} | right answers withheld | {right:,} | {withheld / right:.1%} |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    add = parser.add_argument
    add("--sets", type=Path, help="folder with labelled .tsv files")
    add("--model-dirs", nargs="+", default=[MODEL_DIR], help="folders that train.py saved")
    add("--base-models", nargs="*", default=[MINILM], help="encoders as they are before training")
    add("--backends", nargs="+", default=["auto"], help="engines that run the encoders")
    add("--max-seq-length", type=int, help="tokens that are read of a text; as trained, or fewer")
    add("--data-dir", default=DATA_DIR, help="folder that data_preparation.py wrote")
    add("--csv", type=Path, default=Path("output/accuracy.csv"), help="file for all figures")
    args = parser.parse_args()

    data = load_data(Path(args.data_dir))
    validation = validation_sets(data)
    labelled = read_sets(OWN_SETS) + (read_sets(args.sets) if args.sets else [])

    # Each way of coding twice: knowing texts of the training split alone, for validation, and all
    sides = {True: data["train"], False: data["train"] + data["val"]}
    ways: dict[str, dict[bool, Ranker]] = {}
    for name, sources in (("O*NET's titles", ONET_TITLES), ("all titles", TITLE_SOURCES)):
        known = {is_val: titles_of(samples, sources) for is_val, samples in sides.items()}
        ways[f"look-up in {name}"] = {is_val: exact_lookup(t) for is_val, t in known.items()}
        ways[f"TF-IDF over {name}"] = {is_val: tfidf(t) for is_val, t in known.items()}
    classifiers = {}
    for name in args.base_models:
        untouched, _ = load_base_model(name)
        short = "MiniLM" if name == MINILM else Path(name).name
        classifiers[f"untouched {short}"] = classifier_of(untouched, "title_desc", args.data_dir)
    for folder in args.model_dirs:
        manifest = json.loads((Path(folder) / MANIFEST_FILE).read_text())
        label_mode = manifest["settings"]["label_mode"]
        for backend in args.backends:
            classifier = JobClassifier(
                folder, args.data_dir, label_mode, backend, args.max_seq_length
            )
            classifiers[f"{Path(folder).name} on {classifier.backend}"] = classifier
    every_text = {
        (code, text)
        for code, texts in data["corpus"].items()
        for text in [*texts["titles"], *texts["tasks"]]
    }
    onet = [sample for sample in sides[False] if sample["source"] in ONET_TITLES]
    written = {(code, title) for title, code in read_titles()} - pairs_of(onet)
    held_out = pairs_of(data["val"])
    for name, classifier in classifiers.items():
        remember_embeddings(classifier)
        label_alone = coder(classifier.without(every_text))
        ways[f"{name}, label text alone"] = {True: label_alone, False: label_alone}
        for way, left_out in ((f"{name}, without written titles", written), (name, set())):
            validated, whole = classifier.without(held_out | left_out), classifier.without(left_out)
            ways[way] = {True: coder(validated), False: coder(whole)}

    names = ("torch", "sentence-transformers", "onnxruntime", "scikit-learn")
    packages = ", ".join(f"{name} {version(name)}" for name in names)
    manifest, cores = data["manifest"], f"{platform.machine()}, {os.cpu_count()} cores"
    print(f"O*NET {manifest['release']}, seed {manifest['seed']}, {cores}, {packages}")
    figures = []
    for texts in [*labelled, *validation]:
        rows = is_occupation(texts)
        if not rows.any():
            continue
        parts = {texts.name: rows}
        for kind in dict.fromkeys(texts.kinds):
            parts[f"{texts.name}: {kind}"] = rows & (np.array(texts.kinds) == kind)
        for way, ranker in ways.items():
            ranked = ranker[texts in validation](texts.titles, texts.descriptions)
            for name, part in parts.items():
                if part.any():
                    accepted = [texts.accepted[i] for i in np.flatnonzero(part)]
                    figures += figures_of(name, way, ranked[part], accepted)
        if texts in validation:
            reached = [np.mean([min(1, k / len(codes)) for codes in texts.accepted]) for k in TOP_K]
            row = {"set": texts.name, "n": len(rows), "way": "ceiling, own code", "digits": 8}
            for k, share in zip(TOP_K, reached, strict=True):
                figures.append(row | {"k": k, "share": f"{share:.6f}"})
    order = {row["set"]: i for i, row in reversed(list(enumerate(figures)))}
    figures.sort(key=lambda row: order[row["set"]])
    print_summary(figures)
    print_passed(classifiers, labelled)
    args.csv.parent.mkdir(parents=True, exist_ok=True)
    with open(args.csv, "w", encoding="utf-8", newline="") as file:
        columns = ["set", "n", "way", "digits", "k", "share", "low", "high"]
        writer = csv.DictWriter(file, columns, lineterminator="\n")
        writer.writeheader()
        writer.writerows(figures)
    print(f"\nall figures: {args.csv}")


def titles_of(samples: list[Sample], sources: tuple[str, ...]) -> list[tuple[str, str]]:
    titles = [sample for sample in samples if sample["source"] in sources]
    return [(sample["anchor"], sample["code"]) for sample in titles]


if __name__ == "__main__":
    main()
