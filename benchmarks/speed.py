"""How fast data are prepared, models trained and jobs coded, each beside its baseline in one run.

    python -m benchmarks.speed                 # 5 minutes on two laptop cores
    python -m benchmarks.speed --rounds 2      # a first look
    python -m benchmarks.speed --rounds 0 --rows 100000 1000000     # whole files
    python -m benchmarks.speed --rounds 0 --pipeline         # data preparation, training: 8 minutes

Each way of coding runs in a process of its own, and all take turns, so that a machine that is
slower for a while slows all of them. Baselines are sentence-transformers as its examples use it
(encode, one matrix product with the label texts), and a character TF-IDF over the known titles, for
which processed_data/ is needed. The input is made on the spot: occupations' titles with what
employers add to them, and postings of 200 words of the demo's sentences. So are the workbooks: as
many rows for an occupation as O*NET has, of the same words, for a third of the occupations.
"""

import argparse
import csv
import json
import multiprocessing
import os
import platform
import random
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from importlib.metadata import version
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np
from onnx import TensorProto

from common.demo import DEMO_FILE
from common.encoders import Graph, session_of
from common.files import read_json
from inference import DATA_DIR, INDEX_FILE, MODEL_DIR, JobClassifier

SEED = 42
LATENCIES = 40  # calls a turn, one job each
TITLES, POSTINGS = 1024, 48  # jobs in a batch
WORDS = 200  # in a posting
TOP_K = 5
PREPARATIONS = 3  # rounds of data preparation
MIB = 1024 if sys.platform == "linux" else 1024**2  # in what getrusage counts


def demo_texts() -> list[str]:
    return [posting["description"] for posting in read_json(DEMO_FILE)]


def made_up_jobs(occupations: list[str]) -> tuple[list[str], list[str]]:
    """Distinct titles, and postings of 200 words."""
    from common.anchors import noisy_title

    rng = random.Random(SEED)
    titles = list(
        dict.fromkeys(noisy_title(rng.choice(occupations), rng) for _ in range(20 * TITLES))
    )
    sentences = [sentence for text in demo_texts() for sentence in text.split(". ")]
    texts = [". ".join(rng.sample(sentences, len(sentences))).split() for _ in titles]
    return titles, [" ".join(words[:WORDS]) for words in texts]


# ------------------------------------------------------------------------------ ways of coding


def ours(backend: str, max_seq_length: int | None = None) -> Callable[[list[tuple[str, str]]], Any]:
    classifier = JobClassifier(backend=backend, max_seq_length=max_seq_length)

    def code(jobs: list[tuple[str, str]]) -> Any:
        return classifier.predict_batch(
            [{"title": title, "description": text} for title, text in jobs], TOP_K
        )

    return code


def plain() -> Callable[[list[tuple[str, str]]], Any]:
    """sentence-transformers and the label texts, as in its examples."""
    from safetensors.numpy import load_file
    from sentence_transformers import SentenceTransformer

    model = SentenceTransformer(MODEL_DIR, model_kwargs={"dtype": "float32"})
    labels = load_file(f"{MODEL_DIR}/{INDEX_FILE}")["label_embeddings"]

    def code(jobs: list[tuple[str, str]]) -> Any:
        texts = [f"{title}. {text}" if text else title for title, text in jobs]
        scores = model.encode(texts, normalize_embeddings=True, show_progress_bar=False) @ labels.T
        return np.argsort(-scores, axis=1)[:, :TOP_K]

    return code


def look_up() -> Callable[[list[tuple[str, str]]], Any]:
    """A character TF-IDF over the known titles."""
    from benchmarks.accuracy import tfidf

    corpus = json.loads(Path(DATA_DIR, "corpus.json").read_text(encoding="utf-8"))
    rank = tfidf([(title, code) for code, texts in corpus.items() for title in texts["titles"]])
    return lambda jobs: rank([title for title, _ in jobs], [text for _, text in jobs])


WAYS: dict[str, Callable[[], Callable]] = {
    "onnx (8 bits)": lambda: ours("onnx"),
    "onnx, 128 tokens": lambda: ours("onnx", 128),
    "torch": lambda: ours("torch"),
    "plain sentence-transformers": plain,
    "TF-IDF look-up": look_up,
}
START_UP = {
    "onnx (8 bits)": [sys.executable, "inference.py", "Barista", "--backend", "onnx"],
    "torch": [sys.executable, "inference.py", "Barista", "--backend", "torch"],
    "plain sentence-transformers": [
        sys.executable, "-c",
        "from benchmarks.speed import plain; print(plain()([('Barista', '')]))",
    ],
}  # fmt: skip

# ------------------------------------------------------------------------------ measuring


def serve(way: str, pipe: Connection) -> None:
    """Code the batches that come; send back the seconds each took, at the end the peak in MiB."""
    code = WAYS[way]()
    while (batches := pipe.recv()) is not None:
        seconds = []
        for jobs in batches:
            start = time.perf_counter()
            code(jobs)
            seconds.append(time.perf_counter() - start)
        pipe.send(seconds)
    pipe.send(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / MIB)


def turn(pipe: Connection, batches: list[list[tuple[str, str]]]) -> list[float]:
    pipe.send(batches)
    return pipe.recv()


def matrix_rate(int8: bool) -> float:
    """Operations a second, in billions, of the encoder's largest product on 256 tokens."""
    rng = np.random.default_rng(SEED)
    weights, graph = rng.integers(-63, 64, (384, 1536)).astype(np.int8), Graph()
    if int8:
        product = graph.int8_product("x", weights, np.ones(1, np.float32))
    else:
        product = graph.add("MatMul", "x", weights.astype(np.float32))
    session = session_of(graph.model(("x", TensorProto.FLOAT, ["rows", 384]), product, 1536))
    x, seconds = rng.normal(size=(256, 384)).astype(np.float32), []
    for _ in range(200):
        start = time.perf_counter()
        session.run(None, {"x": x})
        seconds.append(time.perf_counter() - start)
    return 2 * x.shape[0] * weights.size / statistics.median(seconds) / 1e9


def code_files(sizes: list[int], titles: list[str]) -> None:
    """Code made-up CSV files by the command line; prints seconds and peak memory."""
    rng = random.Random(SEED)
    with tempfile.TemporaryDirectory() as folder:
        for rows in sorted(sizes):
            jobs, coded = Path(folder, f"{rows}.csv"), Path(folder, f"{rows}-coded.csv")
            with open(jobs, "w", encoding="utf-8", newline="") as file:
                csv.writer(file).writerows(
                    [["title"], *([rng.choice(titles)] for _ in range(rows))]
                )
            start = time.perf_counter()
            # By way of a small process: its child's peak is not mixed up with this one's
            code = (
                "import resource, subprocess, sys; "
                "subprocess.run(sys.argv[1:], check=True, stdout=subprocess.DEVNULL); "
                "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)"
            )
            command = [sys.executable, "inference.py", "--input", str(jobs), "--output", str(coded)]
            result = subprocess.run(
                [sys.executable, "-c", code, *command], check=True, stdout=subprocess.PIPE
            )
            seconds, peak = time.perf_counter() - start, int(result.stdout) / MIB
            print(
                f"A file of {rows:,} rows, {len(titles):,} distinct titles: "
                f"{seconds:.0f} s, {peak:,.0f} MiB."
            )


def made_up_release(folder: Path, occupations: list[tuple[str, str]]) -> None:
    """Write eight workbooks with rows like those of O*NET for some occupations (code, title)."""
    import pandas as pd  # in here: the processes whose memory is measured import this module too

    from common.anchors import noisy_title
    from common.onet import CODE, RATING_COLUMNS, TITLE

    rng = random.Random(SEED)
    words = sorted({word.strip(",.:") for text in demo_texts() for word in text.split()})

    def phrase(n: int) -> str:
        return " ".join(rng.choices(words, k=n))

    def listed(columns: list[str], rows: int, *values: Callable[[str], str]) -> Any:
        found = [(c, *(value(t) for value in values)) for c, t in occupations for _ in range(rows)]
        return pd.DataFrame(found, columns=[CODE, *columns])

    def ratings(elements: int) -> Any:
        names = [phrase(2) for _ in range(elements)]
        rows = [
            (c, name, s, rng.uniform(1, 5), "N", "N")
            for c, _ in occupations
            for name in names
            for s in ("IM", "LV")
        ]
        return pd.DataFrame(rows, columns=list(RATING_COLUMNS))

    example = ["Example", "Commodity Title"]
    tables = {
        "Occupation Data": listed(
            [TITLE, "Description"], 1, lambda title: title, lambda _: phrase(30)
        ),
        "Alternate Titles": listed(["Alternate Title"], 56, lambda title: noisy_title(title, rng)),
        "Task Statements": listed(["Task"], 18, lambda _: phrase(15)),
        "Skills": ratings(35),
        "Knowledge": ratings(33),
        "Abilities": ratings(52),
        "Technology Skills": listed(
            [*example, "Hot Technology"], 32, *[lambda _: phrase(2)] * 2, lambda _: "Y"
        ),
        "Tools Used": listed(example, 41, *[lambda _: phrase(2)] * 2),
    }
    for name, table in tables.items():
        table.to_excel(folder / f"{name}.xlsx", index=False)


def pipeline() -> None:
    """Measure data preparation and training on made-up workbooks; prints both."""
    from benchmarks import training_speed

    classifier = JobClassifier()
    occupations = list(zip(classifier.codes, classifier.titles, strict=True))[::3]
    with tempfile.TemporaryDirectory() as folder:
        made_up_release(Path(folder), occupations)
        prepare = [
            sys.executable,
            "data_preparation.py",
            "--onet-dir",
            folder,
            "--output-dir",
            f"{folder}/data",
        ]
        read = "import pandas, sys; [pandas.read_excel(path) for path in sys.argv[1:]]"
        baseline = [sys.executable, "-c", read, *map(str, Path(folder).glob("*.xlsx"))]
        seconds = {"data_preparation.py": [], "reading by pandas and openpyxl": []}
        for _ in range(PREPARATIONS):
            for way, command in zip(seconds, (prepare, baseline), strict=True):
                start = time.perf_counter()
                subprocess.run(command, check=True, capture_output=True)
                seconds[way].append(time.perf_counter() - start)
        manifest = json.loads(Path(folder, "data", "manifest.json").read_text())
        samples = sum(sum(counts.values()) for counts in manifest["samples"].values())
        print(
            f"Data preparation: {len(occupations)} occupations, {samples:,} samples, "
            f"{PREPARATIONS} rounds"
        )
        for way, values in seconds.items():
            print(f"{way:<32}{with_range(values, 1)} s")
        print("\nTraining: ", end="")
        training_speed.compare(f"{folder}/data")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--rounds", type=int, default=6, help="turns of each way of coding")
    parser.add_argument(
        "--rows", type=int, nargs="+", default=[], help="also code CSV files of so many rows"
    )
    parser.add_argument(
        "--pipeline", action="store_true", help="also measure data preparation and training"
    )
    args = parser.parse_args()
    if args.pipeline:
        pipeline()
    if args.rounds:
        compare(args.rounds)
    if args.rows:
        code_files(args.rows, made_up_jobs(JobClassifier().titles)[0])


def compare(rounds: int) -> None:
    ways = dict(WAYS)
    if not Path(DATA_DIR, "corpus.json").is_file():
        del ways["TF-IDF look-up"]

    # Before this process grows: what it holds by then counts as theirs
    context, pipes = multiprocessing.get_context("spawn"), {}
    for way in ways:
        pipes[way], end = context.Pipe()
        context.Process(target=serve, args=(way, end), daemon=True).start()
        turn(pipes[way], [])  # answered when it is ready

    start_up = {way: [] for way in START_UP}
    for _ in range(rounds):
        for way, command in START_UP.items():
            start = time.perf_counter()
            subprocess.run(command, check=True, capture_output=True)
            start_up[way].append(time.perf_counter() - start)

    titles, texts = made_up_jobs(JobClassifier().titles)
    for pipe in pipes.values():
        turn(pipe, [[(titles[0], texts[0])]])  # the first call is slower
    title, posting, titles_rate, postings_rate = ({way: [] for way in ways} for _ in range(4))
    rng = random.Random(SEED)
    for _ in range(rounds):
        drawn = [rng.randrange(len(titles)) for _ in range(LATENCIES)]
        batch = rng.sample(titles, TITLES)
        described = rng.sample(list(zip(titles, texts, strict=True)), POSTINGS)
        for way, pipe in pipes.items():
            title[way] += turn(pipe, [[(titles[i], "")] for i in drawn])
            posting[way] += turn(pipe, [[(titles[i], texts[i])] for i in drawn])
            titles_rate[way].append(TITLES / turn(pipe, [[(text, "") for text in batch]])[0])
            postings_rate[way].append(POSTINGS / turn(pipe, [described])[0])
    memory = {}
    for way, pipe in pipes.items():
        pipe.send(None)
        memory[way] = pipe.recv()

    packages = ", ".join(
        f"{name} {version(name)}" for name in ("onnxruntime", "torch", "sentence-transformers")
    )
    print(
        f"{platform.machine()}, {os.cpu_count()} cores, {packages}, seed {SEED}, {rounds} rounds\n"
    )
    print(
        "| | start-up, s | a title, ms: p50 / 95 / 99 | a posting, ms: p50 / 95 / 99 "
        "| titles/s | postings/s | MiB |"
    )
    print("|---|---|---|---|---|---|---|")
    for way in ways:
        begin = with_range(start_up[way], 2) if way in start_up else ""
        cells = [begin, percentiles(title[way]), percentiles(posting[way])]
        cells += [with_range(rate[way], 0) for rate in (titles_rate, postings_rate)]
        print(f"| {way} | {' | '.join(cells)} | {memory[way]:,.0f} |")

    tokens = JobClassifier(backend="onnx").encoder.tokenizer.encode_batch
    mean = [np.mean([len(encoding.ids) for encoding in tokens(part)]) for part in (titles, texts)]
    print(f"\nTokens in the mean: a title {mean[0]:.1f}, a posting's description {mean[1]:.0f}.")
    rates = f"{matrix_rate(True):,.0f} billion operations a second in 8 bits"
    rates += f", {matrix_rate(False):,.0f} in float32"
    print(f"Products of the encoder: {rates}. A token takes 21 million.")


def with_range(values: list[float], digits: int) -> str:
    """Median, and the smallest and the largest value."""
    middle, low, high = statistics.median(values), min(values), max(values)
    return f"{middle:,.{digits}f} ({low:,.{digits}f}–{high:,.{digits}f})"


def percentiles(seconds: list[float]) -> str:
    return " / ".join(f"{1000 * value:.1f}" for value in np.percentile(seconds, (50, 95, 99)))


if __name__ == "__main__":
    main()
