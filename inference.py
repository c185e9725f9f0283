"""Rank all O*NET-SOC occupations for a job title and description.

    python inference.py                                  # demo: ten postings and a summary
    python inference.py "ICU Nurse"                      # one title
    python inference.py "Data Analyst" "Builds reports and dashboards in SQL." --top-k 3
    python inference.py --input jobs.csv --output coded.csv        # a whole file

or from Python:

    from inference import JobClassifier
    JobClassifier().predict("ICU Nurse", top_k=3)        # [{"rank", "score", "code", "title"}, ...]

The label text of every occupation and the 53,209 titles and 17,491 tasks that O*NET lists for them
are encoded once and kept as matrices. A job is compared with the label texts (title and description
together), with the known titles (title alone, and both together) and, if it has a description, with
the known tasks. Its score for an occupation is the mean of these cosines, from -1 to 1: it ranks,
it is no probability.
"""

import argparse
import copy
import csv
import hashlib
import json
import math
import os
import shutil
import sys
import time
from collections import Counter
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple, TextIO

import numpy as np
import onnxruntime
from onnx import TensorProto, helper, numpy_helper
from safetensors import safe_open
from safetensors.numpy import save_file
from tokenizers import Tokenizer
from tqdm import tqdm

# ------------------------------------------------------------------------------ settings

MODEL_DIR = "output/job_classifier"
DATA_DIR = "processed_data"
MANIFEST_FILE = "manifest.json"  # in the model folder, written by train.py
INDEX_VERSION = "2"  # raise it when the index holds other things
THREADS = 0  # of onnxruntime; 0: as many as there are cores
ENCODE_TOKENS = 1024  # encoded at a time; what a layer makes of more does not stay in the cache
ENCODE_BLOCK = 8192  # jobs whose texts are put in order of length together
RANK_BLOCK = 256  # jobs ranked at a time: 256 x 65,186 title cosines are 67 MB
KINDS = ("title", "task")  # of known texts
EVIDENCE = 3  # known texts of each kind that explain an answer
# Sharpness of the soft maximum over an occupation's known texts. At 30 a few close titles count for
# more than a single one; from 20 to 50 the accuracy on validation hardly changes.
SHARPNESS = 30.0


class Backend(NamedTuple):
    weights: str  # file in the model folder
    index: str  # file in the model folder, and in the data folder as a cache: made by these very weights


BACKENDS = {
    "onnx": Backend("model_int8.onnx", "label_index_int8.safetensors"),
    "onnx-float32": Backend("model_float32.onnx", "label_index_float32.safetensors"),
    "torch": Backend("model.safetensors", "label_index.safetensors"),
}

# ------------------------------------------------------------------------------ encoders


class Graph:
    """An ONNX graph in the making. Every operation returns the name of its output."""

    OPERATIONS = [helper.make_opsetid("", 20), helper.make_opsetid("com.microsoft", 1)]
    OWN = ("MatMulIntegerToFloat", "MultiHeadAttention")  # of onnxruntime, not of the standard

    def __init__(self) -> None:
        self.nodes, self.constants = [], []

    def add(self, operation: str, *inputs: str | np.ndarray, outputs: int = 1, **attributes: Any) -> Any:
        """Add an operation; an array among its inputs becomes a constant. With several outputs, a list of names."""
        names = []
        for value in inputs:
            if not isinstance(value, str):
                self.constants.append(numpy_helper.from_array(np.asarray(value, order="C"), f"c{len(self.constants)}"))
                value = self.constants[-1].name
            names.append(value)
        results = [f"n{len(self.nodes)}.{i}" for i in range(outputs)]
        domain = "com.microsoft" if operation in self.OWN else ""
        self.nodes.append(helper.make_node(operation, names, results, domain=domain, **attributes))
        return results[0] if outputs == 1 else results

    def int8_product(self, x: str, weights: np.ndarray, scales: np.ndarray) -> str:
        """x @ (weights * scales): weights int8, shape (in, out), scales float32, shape (out,) or (1,).

        x is rounded to 8 bits as well, row by row: so a row's result does not depend on the others.
        """
        largest = self.add("ReduceMax", self.add("Abs", x), np.array([-1]), keepdims=1)
        zero, step = np.uint8(128), np.float32(1 / 127)
        rounded = self.add("QuantizeLinear", self.add("Div", x, largest), step, zero)
        product = self.add("MatMulIntegerToFloat", rounded, weights, step, scales, zero)
        return self.add("Mul", product, largest)

    def model(self, inputs: tuple[str, int, list], result: str, dimensions: int) -> bytes:
        """The finished graph, from an input (name, element type, shape) to a float matrix of so many columns."""
        values = [
            helper.make_tensor_value_info(*inputs),
            helper.make_tensor_value_info(result, TensorProto.FLOAT, [inputs[2][0], dimensions]),
        ]
        graph = helper.make_graph(self.nodes, "graph", values[:1], values[1:], self.constants)
        return helper.make_model(graph, opset_imports=self.OPERATIONS, ir_version=10).SerializeToString()


def session_of(model: bytes | Path) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = THREADS
    # Threads that wait for the next run in a loop would hold up whoever computes in between
    options.add_session_config_entry("session.force_spinning_stop", "1")
    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])


class OnnxEncoder:
    """The trained encoder as train.py exports it, run by onnxruntime: needs neither torch nor sentence-transformers."""

    def __init__(self, weights: Path, max_seq_length: int) -> None:
        self.tokenizer = Tokenizer.from_file(str(weights.with_name("tokenizer.json")))
        self.tokenizer.enable_truncation(max_seq_length)
        self.tokenizer.no_padding()
        self.session = session_of(weights)

    def encode(self, texts: list[str], show_progress_bar: bool = False) -> np.ndarray:
        """Unit embeddings, float32, shape (texts, dimensions)."""
        ids = [encoding.ids for encoding in self.tokenizer.encode_batch(texts)]
        lengths = np.array([len(tokens) for tokens in ids])
        embeddings = np.empty((len(texts), self.session.get_outputs()[0].shape[1]), dtype=np.float32)
        with tqdm(total=len(texts), desc="encoding", unit="text", disable=not show_progress_bar) as progress:
            for length in np.unique(lengths):  # texts of one length need no padding, which costs as much as text
                rows = np.flatnonzero(lengths == length)
                for part in np.array_split(rows, math.ceil(len(rows) * length / ENCODE_TOKENS)):
                    inputs = {"input_ids": np.array([ids[row] for row in part])}
                    embeddings[part] = self.session.run(None, inputs)[0]
                    progress.update(len(part))
        return embeddings


class TorchEncoder:
    """The trained encoder as sentence-transformers runs it, in float32."""

    def __init__(self, weights: Path, max_seq_length: int) -> None:
        try:
            import torch  # takes seconds, so only where it is asked for
            from sentence_transformers import SentenceTransformer
            from transformers.utils import logging
        except ImportError as error:
            raise ImportError(f"backend torch needs more packages ({error}): pip install -r requirements.txt") from None
        logging.disable_progress_bar()  # it would show the loading of 103 tensors, a third of a second
        # The file holds half precision; a CPU computes faster and more exactly in float32.
        self.model = SentenceTransformer(
            str(weights.parent), model_kwargs={"dtype": torch.float32}, local_files_only=True
        )
        self.model.max_seq_length = max_seq_length

    def encode(self, texts: list[str], show_progress_bar: bool = False) -> np.ndarray:
        """Unit embeddings, float32, shape (texts, dimensions)."""
        embeddings = self.model.encode(
            texts, normalize_embeddings=True, convert_to_numpy=True, show_progress_bar=show_progress_bar
        )
        return embeddings.astype(np.float32, copy=False)


# ------------------------------------------------------------------------------ classifier


class KnownTexts:
    """Texts of one kind, titles or tasks, that O*NET lists for its occupations."""

    def __init__(
        self, embeddings: np.ndarray, step: np.ndarray, rows: np.ndarray, counts: np.ndarray, texts: list[str] | None
    ) -> None:
        """
        Args:
            embeddings: unit embeddings of the distinct texts, int8, shape (texts, dimensions), in units of `step`.
            rows: which of them is meant by each listing, occupation by occupation, shape (listings,).
            counts: listings of each occupation, shape (occupations,).
            texts: of the listings, where data_dir has them.
        """
        # A text that stands under several occupations comes several times: so each has its own side by side
        self.embeddings, self.step, self.texts = embeddings[rows], step, texts
        self.starts = np.concatenate([[0], np.cumsum(counts)])
        self.hidden = np.empty(0, dtype=int)  # listings that do not count
        graph, (listings, dimensions) = Graph(), self.embeddings.shape
        exponents = graph.int8_product("queries", self.embeddings.T, step * np.float32(SHARPNESS))
        model = graph.model(("queries", TensorProto.FLOAT, ["queries", dimensions]), exponents, listings)
        self.session = session_of(model)

    def soft_maximum(self, queries: np.ndarray, otherwise: np.ndarray) -> np.ndarray:
        """Log-sum-exp of the cosines to each occupation's texts, shape (queries, occupations).

        Cut off at 1: many close texts say more than one, but none is closer than the text itself.

        Args:
            queries: unit embeddings, shape (queries, dimensions).
            otherwise: stands in for an occupation that has no texts, shape (queries, occupations).
        """
        sums, has_texts = np.zeros_like(otherwise), np.diff(self.starts) > 0
        if len(queries):
            (exponents,) = self.session.run(None, {"queries": queries})
            exponents[:, self.hidden] = -np.inf
            np.exp(exponents, out=exponents)
            sums[:, has_texts] = np.add.reduceat(exponents, self.starts[:-1][has_texts], axis=1)
        with np.errstate(divide="ignore"):
            return np.where(sums > 0, np.minimum(1, np.log(sums) / SHARPNESS), otherwise)

    def listings(self, codes: list[str]) -> list[tuple[str, str]]:
        """All listings as (code, text), given the codes of the occupations."""
        return list(zip(np.repeat(codes, np.diff(self.starts)).tolist(), self.texts, strict=True))

    def closest(self, query: np.ndarray, occupation: int) -> list[tuple[str, float]]:
        """The occupation's texts closest to a unit embedding, best first, each with its cosine."""
        listings = np.setdiff1d(np.arange(*self.starts[occupation : occupation + 2]), self.hidden)
        cosines = self.embeddings[listings] * self.step @ query
        return [(self.texts[listings[i]], float(cosines[i])) for i in np.argsort(-cosines, kind="stable")[:EVIDENCE]]


class JobClassifier:
    """Ranks occupations by how close a job is to their label texts, their known titles and their known tasks."""

    def __init__(
        self,
        model_dir: str | Path = MODEL_DIR,
        data_dir: str | Path = DATA_DIR,
        label_mode: str = "title_desc",
        backend: str = "auto",
        max_seq_length: int | None = None,
    ) -> None:
        """
        Args:
            model_dir: folder that train.py saved.
            data_dir: folder that data_preparation.py wrote. It need not exist: the model folder
                has its own index. Where it exists, the texts of the known titles and tasks are at hand.
            label_mode: "title", "title_desc" or "full_text"; must be the one the model was trained with.
            backend: what runs the encoder: "onnx" in 8 bits, "onnx-float32", or "torch" in float32. "auto"
                takes "onnx" if the model folder has its file, else "torch".
            max_seq_length: tokens that are read of a text, by default as many as in training; fewer make
                long postings faster.

        Raises:
            FileNotFoundError: no trained model in model_dir, or no index and no data either.
            ValueError: the model was trained with another label_mode, the data are of an earlier version,
                or backend or max_seq_length is none there is.
            ImportError: backend torch is asked for, but only requirements-inference.txt is installed.
        """
        self.model_dir, self.data_dir, self.label_mode = Path(model_dir), Path(data_dir), label_mode
        if backend != "auto" and backend not in BACKENDS:
            raise ValueError(f"backend is {backend!r}, but must be one of auto, {', '.join(BACKENDS)}")
        if backend == "auto":
            backend = "onnx" if (self.model_dir / BACKENDS["onnx"].weights).is_file() else "torch"
        self.backend = backend
        weights = self.model_dir / BACKENDS[backend].weights
        for path in (self.model_dir / MANIFEST_FILE, weights):
            if not path.is_file():
                raise FileNotFoundError(
                    f"no trained model in {self.model_dir} ({path.name} is missing): {how_to_get(path)}"
                )
        manifest = json.loads((self.model_dir / MANIFEST_FILE).read_text(encoding="utf-8"))
        trained_mode = manifest["settings"]["label_mode"]
        if label_mode != trained_mode:
            raise ValueError(f"label_mode is {label_mode!r}, but {self.model_dir} was trained with {trained_mode!r}")
        trained_length = manifest["settings"]["max_seq_length"]
        self.max_seq_length = trained_length if max_seq_length is None else max_seq_length
        if not 3 <= self.max_seq_length <= trained_length:  # the first and the last token only frame the text
            raise ValueError(f"max_seq_length is {max_seq_length}, but must be from 3 to {trained_length}, as trained")
        self.encoder = (TorchEncoder if backend == "torch" else OnnxEncoder)(weights, self.max_seq_length)
        self.codes: list[str] = []
        self.titles: list[str] = []
        self.label_embeddings = np.empty((0, 0), dtype=np.float32)  # (occupations, dimensions), unit rows
        self.known: dict[str, KnownTexts] = {}  # by kind
        self._build_index()

    def _build_index(self) -> None:
        """Set all that jobs are compared with: from a saved index that fits, else by encoding.

        A saved index fits when it was made by these weights and this label mode and, where
        data_dir has a corpus, from its label texts, titles and tasks. A new one is saved with the
        model if that has none yet (so train.py gets it there), else in data_dir.

        Raises:
            FileNotFoundError: there is neither a fitting index nor a corpus to build one from.
        """
        weights, index_file = BACKENDS[self.backend]
        with open(self.model_dir / weights, "rb") as file:
            model = hashlib.file_digest(file, "sha256").hexdigest()
        made_from = {"version": INDEX_VERSION, "label_mode": self.label_mode, "model": model}
        corpus_path = self.data_dir / "corpus.json"
        corpus = json.loads(corpus_path.read_text(encoding="utf-8")) if corpus_path.is_file() else None
        if corpus is not None:
            if any("tasks" not in texts for texts in corpus.values()):
                raise ValueError(f"{corpus_path} is of an earlier version: run python data_preparation.py again")
            used = ("title", self.label_mode, *(f"{kind}s" for kind in KINDS))
            labels = {code: [texts[name] for name in used] for code, texts in corpus.items()}
            made_from["labels"] = hashlib.sha256(json.dumps(labels).encode()).hexdigest()

        shipped, cached = self.model_dir / index_file, self.data_dir / index_file
        for path in (shipped, cached):
            if path.is_file():
                with safe_open(path, framework="numpy") as index:
                    metadata = index.metadata()
                    if made_from.items() <= metadata.items():
                        self._set_index(metadata, {name: index.get_tensor(name) for name in index.keys()}, corpus)
                        return
        if corpus is None:
            raise FileNotFoundError(
                f"no {index_file} in {self.model_dir} fits its model, and {corpus_path} is missing: "
                "run python data_preparation.py and try again"
            )
        tensors = {"label_embeddings": self.encoder.encode([texts[self.label_mode] for texts in corpus.values()])}
        for kind in KINDS:
            listed = [texts[f"{kind}s"] for texts in corpus.values()]
            row_of = {text: row for row, text in enumerate(dict.fromkeys(text for texts in listed for text in texts))}
            embeddings = self.encoder.encode(list(row_of), show_progress_bar=True)
            step = np.abs(embeddings).max() / 127  # known texts are kept in 8 bits: a quarter of the size
            tensors |= {
                f"{kind}_embeddings": np.round(embeddings / step).astype(np.int8),
                f"{kind}_step": np.array([step], dtype=np.float32),
                f"{kind}_rows": np.array([row_of[text] for texts in listed for text in texts], dtype=np.int32),
                f"{kind}_counts": np.array([len(texts) for texts in listed], dtype=np.int32),
            }
        titles = [texts["title"] for texts in corpus.values()]
        metadata = made_from | {"codes": json.dumps(list(corpus)), "titles": json.dumps(titles)}
        path = cached if shipped.is_file() else shipped
        staged = path.with_name(f".{path.name}.{os.getpid()}")  # several processes may do this at once
        save_file(tensors, staged, metadata=metadata)
        os.replace(staged, path)
        self._set_index(metadata, tensors, corpus)

    def _set_index(self, metadata: dict[str, str], tensors: dict[str, np.ndarray], corpus: dict | None) -> None:
        self.codes, self.titles = json.loads(metadata["codes"]), json.loads(metadata["titles"])
        self.label_embeddings = tensors["label_embeddings"]
        graph, (labels, dimensions) = Graph(), self.label_embeddings.shape
        cosines = graph.add("MatMul", "queries", self.label_embeddings.T)
        model = graph.model(("queries", TensorProto.FLOAT, ["queries", dimensions]), cosines, labels)
        self.label_product = session_of(model)
        self.known = {
            kind: KnownTexts(
                *(tensors[f"{kind}_{name}"] for name in ("embeddings", "step", "rows", "counts")),
                texts=corpus and [text for texts in corpus.values() for text in texts[f"{kind}s"]],
            )
            for kind in KINDS
        }

    def without(self, held_out: set[tuple[str, str]]) -> "JobClassifier":
        """A classifier that does not know some titles and tasks, so that it can be measured on them.

        Args:
            held_out: {(O*NET-SOC code, known title or task), ...}

        Raises:
            FileNotFoundError: data_dir, which has the texts of the known titles and tasks, is missing.
        """
        self._require_known_texts()
        fewer = copy.copy(self)
        fewer.known = {}
        for kind, known in self.known.items():
            fewer.known[kind] = copy.copy(known)
            listings = enumerate(known.listings(self.codes))
            fewer.known[kind].hidden = np.array([i for i, listing in listings if listing in held_out], dtype=int)
        return fewer

    def _scores(self, whole: np.ndarray, titles: np.ndarray, described: np.ndarray) -> np.ndarray:
        """Scores of all occupations for some jobs, shape (jobs, occupations).

        The mean of the cosines of the whole text to the label text, of the title to the known titles,
        of the whole text to the known titles (where there is no description the same once more) and,
        for a job with a description, of the whole text to the known tasks.

        Args:
            whole, titles: unit embeddings of title and description together, and of the title alone,
                shape (jobs, dimensions) each.
            described: whether a job has a description, shape (jobs,).
        """
        jobs = len(titles)
        (labels,) = self.label_product.run(None, {"queries": whole})
        # An occupation of which no texts of a kind are known is judged by the rest
        by_titles = self.known["title"].soft_maximum(
            np.concatenate([titles, whole[described]]), np.concatenate([labels, labels[described]])
        )
        by_whole = by_titles[:jobs].copy()
        by_whole[described] = by_titles[jobs:]
        scores = (labels + by_titles[:jobs] + by_whole) / 3
        by_tasks = self.known["task"].soft_maximum(whole[described], scores[described])
        scores[described] = (3 * scores[described] + by_tasks) / 4
        return scores

    def predict(self, job_title: str, job_description: str = "", top_k: int = 5, explain: bool = False) -> list[dict]:
        """The top_k occupations for one job, best first.

        Args:
            job_title: as it stands on the posting; must not be blank.
            job_description: any length; the model reads its first 256 tokens, about 200 words.
            top_k: from 1 to the number of occupations.
            explain: add "evidence", the occupation's known titles that are closest to the job title
                and, where there is a description, its known tasks that are closest to the whole.

        Returns:
            [{"rank": 1, "score": mean cosine, "code": O*NET-SOC code, "title": occupation}, ...]
            and with explain also "evidence": [{"kind": "title" or "task", "text", "score": cosine}, ...]

        Raises:
            TypeError: a text is not a string, or top_k not an integer.
            ValueError: a blank title, or top_k out of range.
            FileNotFoundError: explain needs the texts of the known titles and tasks, and data_dir is missing.
        """
        return self._rank([job_texts(job_title, job_description)], top_k, explain)[0]

    def predict_batch(self, jobs: list[dict], top_k: int = 3, explain: bool = False) -> list[list[dict]]:
        """The top_k occupations for each of many jobs, faster than one by one.

        Args:
            jobs: [{"title": ..., "description": ...}, ...]; the description may be left out.
            top_k, explain: as for predict.

        Returns:
            One list per job, in the order of jobs, as from predict.

        Raises:
            TypeError, ValueError: as from predict, naming the job by its place; or jobs is empty.
            FileNotFoundError: as from predict.
        """
        if not isinstance(jobs, list | tuple):
            raise TypeError(
                f"jobs must be a list of dicts, not {type(jobs).__name__} (of a table: df.to_dict('records'))"
            )
        if not jobs:
            raise ValueError("jobs is empty: give at least one {'title': ..., 'description': ...}")
        texts = []
        for i, job in enumerate(jobs):
            if not isinstance(job, dict) or "title" not in job:
                raise TypeError(
                    f"jobs[{i}] must be a dict with a 'title' (and perhaps a 'description'), not {job!r:.80}"
                )
            try:
                texts.append(job_texts(job["title"], job.get("description")))
            except (TypeError, ValueError) as error:
                raise type(error)(f"jobs[{i}]: {error}") from None
        return self._rank(texts, top_k, explain)

    def _rank(self, texts: list[tuple[str, str]], top_k: int, explain: bool) -> list[list[dict]]:
        """Rank the occupations for pairs as job_texts returns them."""
        self.check_top_k(top_k)
        if explain:
            self._require_known_texts()
        ranked = [
            [
                {"rank": rank, "score": score, "code": self.codes[i], "title": self.titles[i]}
                for rank, (i, score) in enumerate(zip(*best, strict=True), start=1)
            ]
            for best in zip(*(found.tolist() for found in self.best(texts, top_k)), strict=True)
        ]
        if explain:
            for (whole, title), rows in zip(texts, ranked, strict=True):
                compared = {"title": title} | ({"task": whole} if whole != title else {})
                queries = dict(zip(compared, self.encoder.encode(list(compared.values())), strict=True))
                for row in rows:
                    row["evidence"] = [
                        {"kind": kind, "text": text, "score": score}
                        for kind, query in queries.items()
                        for text, score in self.known[kind].closest(query, self.codes.index(row["code"]))
                    ]
        return ranked

    def best(self, texts: list[tuple[str, str]], top_k: int) -> tuple[np.ndarray, np.ndarray]:
        """Rows of the top_k occupations and their scores for pairs as job_texts returns them, shape (jobs, top_k) each.

        Works through blocks, so that memory does not grow with the number of jobs.
        """
        job_of = {pair: job for job, pair in enumerate(dict.fromkeys(texts))}  # repeated jobs are ranked once
        jobs, rows, scores = list(job_of), [], []
        for start in range(0, len(jobs), ENCODE_BLOCK):
            encoded = jobs[start : start + ENCODE_BLOCK]
            row_of = {text: row for row, text in enumerate(dict.fromkeys(text for pair in encoded for text in pair))}
            queries = self.encoder.encode(list(row_of))
            whole_rows, title_rows = np.array([[row_of[text] for text in pair] for pair in encoded]).T
            for block in np.array_split(np.arange(len(encoded)), math.ceil(len(encoded) / RANK_BLOCK)):
                whole, titles = queries[whole_rows[block]], queries[title_rows[block]]
                found = self._scores(whole, titles, whole_rows[block] != title_rows[block])
                best = np.argpartition(-found, top_k - 1, axis=1)[:, :top_k]
                # argpartition leaves the best in no order: sort them, equal scores by code
                best = np.take_along_axis(best, np.lexsort((best, -np.take_along_axis(found, best, axis=1))), axis=1)
                rows.append(best)
                scores.append(np.take_along_axis(found, best, axis=1))
        order = [job_of[pair] for pair in texts]
        return np.concatenate(rows)[order], np.concatenate(scores)[order]

    def check_top_k(self, top_k: int) -> None:
        if isinstance(top_k, bool) or not isinstance(top_k, (int, np.integer)):
            raise TypeError(f"top_k must be an integer, not {top_k!r:.80}")
        if not 1 <= top_k <= len(self.codes):
            raise ValueError(f"top_k is {top_k}, but must be from 1 to {len(self.codes):,}, the number of occupations")

    def _require_known_texts(self) -> None:
        if any(known.texts is None for known in self.known.values()):
            raise FileNotFoundError(
                f"the texts of the known titles and tasks are in {self.data_dir / 'corpus.json'}, which is missing: "
                "run python data_preparation.py"
            )


def how_to_get(weights: Path) -> str:
    if weights.name == BACKENDS["onnx-float32"].weights:
        return f"""run python -c "import train; train.export_onnx('{weights.parent}', 'float32')\""""
    return "run python train.py"


def job_texts(title: str, description: str | None = "") -> tuple[str, str]:
    """The two texts that are encoded for a job: title and description joined as in the label texts, and the title."""
    if description is None or description != description:  # a table's missing value: None or NaN
        description = ""
    for name, text in (("title", title), ("description", description)):
        if not isinstance(text, str):
            raise TypeError(f"the job {name} must be a string, not {type(text).__name__} ({text!r:.80})")
        try:
            text.encode()
        except UnicodeEncodeError:
            raise ValueError(f"the job {name} has broken characters: it is not in UTF-8") from None
    title, description = title.strip(), description.strip()
    if not title:
        raise ValueError("the job title is empty")
    return f"{title}. {description}" if description else title, title


# ------------------------------------------------------------------------------ files

ROWS_PER_PART = 2000  # rows kept at a time; an interrupted run loses no more
REMEMBERED = 100_000  # jobs whose answers are kept, since files name the same titles again and again
ADDED = ("soc_code", "soc_title", "soc_score")  # columns of an answer; each ends in its rank
PROBLEM = "soc_problem"  # column that says why a row was not coded
BAD_LINE = "soc_line"  # column that keeps a line that is no JSON object


class DelimitedFile:
    """A CSV or TSV file with a header. Its parts are lists of rows, each with what is wrong about it, if anything."""

    def __init__(self, path: Path) -> None:
        self.path = path
        with open(path, "rb") as file:
            self.bom = file.read(3) == b"\xef\xbb\xbf"  # Excel knows UTF-8 by it
        csv.field_size_limit(2**31 - 1)
        with self.open() as file:
            header = file.readline()
            self.delimiter = "\t" if path.suffix.lower() == ".tsv" else max(",;", key=header.count)
            file.seek(0)
            self.columns = next(csv.reader(file, delimiter=self.delimiter), [])

    def open(self) -> TextIO:
        # Bytes that are no UTF-8 are read as surrogates, and so written as they were
        return open(self.path, encoding="utf-8-sig", errors="surrogateescape", newline="")

    def rows(self) -> Iterator[tuple[Any, str]]:
        n = len(self.columns)
        with self.open() as file:
            for fields in islice(filter(None, csv.reader(file, delimiter=self.delimiter)), 1, None):
                problem = f"{len(fields)} fields, but the header has {n}" if len(fields) > n else ""
                # Nothing is lost: what is too much stays in the last column
                fields[n - 1 :] = [self.delimiter.join(fields[n - 1 :])]
                yield fields + [""] * (n - len(fields)), problem

    def __len__(self) -> int:
        return sum(1 for _ in self.rows())

    def parts(self) -> Iterator[list[tuple[Any, str]]]:
        rows = self.rows()
        while part := list(islice(rows, ROWS_PER_PART)):
            yield part

    def column(self, part: list[tuple[Any, str]], name: str) -> list[Any]:
        place = self.columns.index(name)
        return [fields[place] for fields, _ in part]

    def problems(self, part: list[tuple[Any, str]]) -> list[str]:
        return [problem for _, problem in part]

    def write(self, path: Path, part: list[tuple[Any, str]], added: dict[str, list], first: bool) -> None:
        encoding = "utf-8-sig" if first and self.bom else "utf-8"
        with open(path, "w", encoding=encoding, errors="surrogateescape", newline="") as file:
            writer = csv.writer(file, delimiter=self.delimiter, lineterminator="\n")
            if first:
                writer.writerow([*self.columns, *added])
            for (fields, _), *values in zip(part, *added.values(), strict=True):
                writer.writerow([*fields, *values])

    def join(self, parts: list[Path], path: Path) -> None:
        with open(path, "wb") as whole:
            for part in parts:
                with open(part, "rb") as file:
                    shutil.copyfileobj(file, whole)


class JsonLinesFile(DelimitedFile):
    """A file with a JSON object in every line."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.columns = list(next((row for row, problem in self.rows() if not problem), {}))

    def rows(self) -> Iterator[tuple[Any, str]]:
        with self.open() as file:
            for line in filter(str.strip, file):
                try:
                    row = json.loads(line)
                except (ValueError, RecursionError):
                    row = None
                yield (row, "") if isinstance(row, dict) else ({BAD_LINE: line.rstrip("\r\n")}, "no JSON object")

    def column(self, part: list[tuple[Any, str]], name: str) -> list[Any]:
        return [row.get(name) for row, _ in part]

    def write(self, path: Path, part: list[tuple[Any, str]], added: dict[str, list], first: bool) -> None:
        with open(path, "wb") as file:
            for (row, _), *values in zip(part, *added.values(), strict=True):
                row |= zip(added, values, strict=True)
                try:
                    line = json.dumps(row, ensure_ascii=False).encode(errors="surrogateescape")
                except UnicodeEncodeError:  # half a pair of surrogates, which JSON can name but UTF-8 cannot hold
                    line = json.dumps(row).encode()
                file.write(line + b"\n")


class ParquetFile:
    """A Parquet file, read and written by pyarrow. Its parts are record batches."""

    def __init__(self, path: Path) -> None:
        try:
            import pyarrow.parquet
        except ImportError:
            raise ImportError(f"{path} needs pyarrow: pip install pyarrow") from None
        self.arrow = pyarrow
        try:
            self.file = pyarrow.parquet.ParquetFile(path)
        except pyarrow.ArrowInvalid as error:
            raise ValueError(f"{path} is no Parquet file ({error})") from None
        self.columns = self.file.schema_arrow.names

    def __len__(self) -> int:
        return self.file.metadata.num_rows

    def parts(self) -> Iterator[Any]:
        yield from self.file.iter_batches(ROWS_PER_PART)

    def column(self, part: Any, name: str) -> list[Any]:
        return part.column(name).to_pylist()

    def problems(self, part: Any) -> list[str]:
        return [""] * part.num_rows

    def write(self, path: Path, part: Any, added: dict[str, list], first: bool) -> None:
        table = self.arrow.Table.from_batches([part])
        for name, values in added.items():
            kind = self.arrow.float64() if name.startswith("soc_score") else self.arrow.string()
            table = table.append_column(name, self.arrow.array(values, kind))
        self.arrow.parquet.write_table(table, path)

    def join(self, parts: list[Path], path: Path) -> None:
        with self.arrow.parquet.ParquetWriter(path, self.arrow.parquet.read_schema(parts[0])) as writer:
            for part in parts:
                writer.write_table(self.arrow.parquet.read_table(part))


FILES = {".csv": DelimitedFile, ".tsv": DelimitedFile, ".jsonl": JsonLinesFile, ".parquet": ParquetFile}


def code_file(
    classifier: JobClassifier,
    input_path: str | Path,
    output_path: str | Path,
    title_column: str = "title",
    description_column: str | None = None,
    top_k: int = 3,
) -> dict[str, int]:
    """Code every row of a CSV, TSV, JSON Lines or Parquet file.

    The output, of the same kind, has all columns of the input, then for each rank soc_code_1,
    soc_title_1, soc_score_1, ..., and soc_problem, which says why a row was not coded. It is written
    in parts, into a folder beside it, and put together at the end: a run that was interrupted goes
    on when it is started again.

    Args:
        input_path, output_path: .csv, .tsv (both with a header, in UTF-8), .jsonl or .parquet.
        title_column: column with the job titles.
        description_column: column with the job descriptions; by default "description" if there is one.
        top_k: occupations for each row.

    Returns:
        How many rows have which problem; those that were coded count under "".

    Raises:
        FileNotFoundError: there is no such input.
        FileExistsError: the output exists.
        ValueError: the file cannot be read, a column is missing, or an unfinished run is of another input.
    """
    path, output = Path(input_path), Path(output_path)
    kind = FILES.get(path.suffix.lower())
    if kind is None or output.suffix.lower() != path.suffix.lower():
        raise ValueError(f"{path} and {output} must have the same ending, one of {', '.join(FILES)}")
    if output.exists():
        raise FileExistsError(f"{output} exists already: delete it or give another name")
    table = kind(path)
    if description_column is None and "description" in table.columns:
        description_column = "description"
    for name in filter(None, (title_column, description_column)):
        if name not in table.columns:
            raise ValueError(f"{path} has no column {name!r}, but {', '.join(map(repr, table.columns)) or 'none'}")
        if table.columns.count(name) > 1:
            raise ValueError(f"{path} has several columns {name!r}: rename all but one")
    classifier.check_top_k(top_k)
    added = list(new_columns(classifier, [], [], top_k))
    for name in added:
        if name in table.columns:
            raise ValueError(f"{path} has a column {name!r}, which is to be added: rename it")

    total = len(table)
    if not total:
        raise ValueError(f"{path} has no rows")

    # What is done already, if an earlier run of just this was interrupted
    folder = output.with_name(f".{output.name}.parts")
    run = {
        "input": [str(path.resolve()), path.stat().st_size, path.stat().st_mtime_ns],
        "columns": [title_column, description_column, *added],
        "classifier": [str(classifier.model_dir.resolve()), classifier.backend, classifier.max_seq_length],
    }
    run_file = folder / "run.json"
    if run_file.is_file() and json.loads(run_file.read_text()) != run:
        raise ValueError(f"{folder} holds an unfinished run of another input or other settings: delete it")
    folder.mkdir(exist_ok=True)
    write_whole(run_file, json.dumps(run))

    counts: Counter[str] = Counter()
    answers: dict[tuple[str, str], tuple[list, list]] = {}
    paths = []
    with tqdm(total=total, desc="coding", unit="row", smoothing=0) as progress:
        for part in table.parts():
            paths.append(folder / f"{len(paths):06}{output.suffix}")
            tally = paths[-1].with_suffix(".json")
            if not tally.is_file():  # it comes after the part
                titles = table.column(part, title_column)
                descriptions = table.column(part, description_column) if description_column else [None] * len(titles)
                columns = new_columns(classifier, titles, descriptions, top_k, table.problems(part), answers)
                table.write(paths[-1], part, columns, first=len(paths) == 1)
                write_whole(tally, json.dumps(Counter(columns[PROBLEM])))
            done = Counter(json.loads(tally.read_text()))
            counts += done
            progress.update(done.total())
    table.join(paths, folder / output.name)
    os.replace(folder / output.name, output)
    shutil.rmtree(folder)
    return counts


def write_whole(path: Path, text: str) -> None:
    staged = path.with_name(f".{path.name}")
    staged.write_text(text, encoding="utf-8")
    os.replace(staged, path)


def new_columns(
    classifier: JobClassifier,
    titles: list[Any],
    descriptions: list[Any],
    top_k: int,
    problems: list[str] | None = None,
    answers: dict[tuple[str, str], tuple[list, list]] | None = None,
) -> dict[str, list]:
    """The columns that coding adds to a table: for each rank ADDED, and PROBLEM.

    Args:
        titles, descriptions: of the rows; None where there is none.
        problems: what is wrong with rows already, "" for nothing; those with a problem are not coded.
        answers: of jobs that came before, by their texts; looked up, and added to.
    """
    problems, answers = list(problems or [""] * len(titles)), {} if answers is None else answers
    pairs = {}
    for row, (title, description) in enumerate(zip(titles, descriptions, strict=True)):
        if not problems[row]:
            try:
                pairs[row] = job_texts("" if title is None else title, description)
            except (TypeError, ValueError) as error:
                problems[row] = str(error)
    if len(answers) > REMEMBERED:
        answers.clear()
    if new := [pair for pair in dict.fromkeys(pairs.values()) if pair not in answers]:
        found = (values.tolist() for values in classifier.best(new, top_k))
        answers.update(zip(new, zip(*found, strict=True), strict=True))

    columns = {f"{name}_{rank}": [None] * len(titles) for rank in range(1, top_k + 1) for name in ADDED}
    for row, pair in pairs.items():
        best = zip(*answers[pair], strict=True)
        values = [value for i, score in best for value in (classifier.codes[i], classifier.titles[i], round(score, 4))]
        for column, value in zip(columns.values(), values, strict=True):
            column[row] = value
    return columns | {PROBLEM: problems}


# ------------------------------------------------------------------------------ demo

# Postings of our own, each with the codes that a careful human coder would accept.
DEMO = [
    (
        "Senior Software Engineer",
        "You will design and build the services behind our booking platform in Python and Go, review the code of "
        "your colleagues, write automated tests and keep the systems fast while traffic grows. Five years of "
        "experience with distributed systems and relational databases are expected.",
        {"15-1252.00", "15-1254.00"},
    ),
    (
        "ICU Nurse",
        "Our 24-bed intensive care unit is looking for a registered nurse to care for critically ill patients: "
        "monitor vital signs and ventilators, titrate drips, respond to emergencies and keep families informed. "
        "An RN licence, ACLS and one year in critical care are required. Rotating shifts.",
        {"29-1141.03", "29-1141.00"},
    ),
    (
        "Marketing Manager",
        "Lead a team of four, plan the yearly marketing budget, set campaign strategy across search, social media "
        "and trade fairs, and report to the board what each channel brought in new customers.",
        {"11-2021.00"},
    ),
    (
        "Electrician",
        "Install and repair wiring, lighting, breaker panels and motors in commercial buildings. Read blueprints, "
        "bend conduit, test circuits and keep to the electrical code. Journeyman licence and own hand tools needed.",
        {"47-2111.00"},
    ),
    (
        "Data Scientist",
        "Turn large sets of customer data into predictions: build and validate machine learning models in Python, "
        "design experiments, and explain to product teams what the statistics do and do not say.",
        {"15-2051.00"},
    ),
    (
        "HR Coordinator",
        "Support recruiting and onboarding: post vacancies, schedule interviews, check references, keep personnel "
        "files in order and answer the questions of employees about benefits and leave.",
        {"13-1071.00", "43-4161.00"},
    ),
    (
        "Construction Project Manager",
        "Run the building of a school from groundwork to handover: schedule subcontractors, control costs, hold the "
        "site meetings, see that plans and safety rules are kept, and report progress to the owner.",
        {"11-9021.00"},
    ),
    (
        "Customer Service Representative",
        "Answer calls and chats of customers about orders, invoices and returns, settle complaints, enter changes "
        "in the system and pass on what you cannot solve to the right department.",
        {"43-4051.00"},
    ),
    (
        "Financial Analyst",
        "Build forecasts and valuation models, analyse the quarterly figures of companies and the variance against "
        "budget, and prepare recommendations on investments for the finance committee.",
        {"13-2051.00"},
    ),
    (
        "Mechanical Engineer",
        "Design pumps and drive units in SolidWorks, calculate stress and heat, choose materials, supervise "
        "prototype tests and work with manufacturing until the part can be made in series.",
        {"17-2141.00"},
    ),
]


def run_demo(classifier: JobClassifier, top_k: int) -> None:
    """Classify the demo postings one by one, as a user would, and sum up how that went."""
    first, among, scores, seconds = 0, 0, [], []
    for title, description, accepted in DEMO:
        start = time.perf_counter()
        ranked = classifier.predict(title, description, top_k=top_k)
        seconds.append(time.perf_counter() - start)
        scores.append(ranked[0]["score"])
        first += ranked[0]["code"] in accepted
        among += any(row["code"] in accepted for row in ranked)
        print(f"\n{title}\n    {description[:90]}...")
        print_ranking(ranked, accepted)
    n = len(DEMO)
    print(f"\nTop-1 accuracy           {first / n:.0%} ({first}/{n})")
    print(f"Top-{top_k} relevance          {among / n:.0%} ({among}/{n} have an accepted code among the first {top_k})")
    print(f"Average top-1 score      {np.mean(scores):.3f}")
    print(f"Time per prediction      {1000 * np.mean(seconds):.0f} ms (median {1000 * np.median(seconds):.0f} ms)")


def print_ranking(ranked: list[dict], accepted: set[str] = frozenset()) -> None:
    for row in ranked:
        mark = "*" if row["code"] in accepted else " "
        print(f"  {mark} {row['rank']}. {row['score']:.3f}  {row['code']}  {row['title']}")
        for known in row.get("evidence", []):
            print(f"         {known['score']:.3f}  {known['kind']}: {known['text']}")


def print_counts(counts: dict[str, int], output: str) -> None:
    problems = Counter(counts)
    coded = problems.pop("", 0)
    print(f"{coded:,} of {sum(counts.values()):,} rows coded, written to {output}")
    for problem, count in problems.most_common(5):
        print(f"{count:>9,} not coded: {problem}")
    if len(problems) > 5:
        print(f"          and others: see column {PROBLEM}")


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description="Rank O*NET-SOC occupations for a job, or for every row of a file; without either, run the demo.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument("title", nargs="?", help="job title")
    parser.add_argument("description", nargs="?", default="", help="job description")
    parser.add_argument("--input", metavar="FILE", help=f"file to code, {', '.join(FILES)}")
    parser.add_argument("--output", metavar="FILE", help="file to write, of the same kind")
    parser.add_argument("--title-column", default="title", help="column of the file with the job titles")
    parser.add_argument("--description-column", help="column with the descriptions; description if there is one")
    parser.add_argument("--top-k", type=int, default=3, help="occupations to list")
    parser.add_argument("--explain", action="store_true", help="list the known titles and tasks closest to the job")
    parser.add_argument("--model-dir", default=MODEL_DIR, help="folder that train.py saved")
    parser.add_argument("--data-dir", default=DATA_DIR, help="folder that data_preparation.py wrote; need not exist")
    parser.add_argument("--label-mode", default="title_desc", help="the one the model was trained with")
    parser.add_argument("--backend", default="auto", choices=["auto", *BACKENDS], help="what runs the encoder")
    parser.add_argument("--max-seq-length", type=int, help="tokens that are read of a text; as trained, or fewer")
    args = parser.parse_args(argv)
    if bool(args.input) != bool(args.output) or (args.input and args.title is not None):
        parser.error("a file is coded by --input and --output together, without a title")
    try:
        classifier = JobClassifier(args.model_dir, args.data_dir, args.label_mode, args.backend, args.max_seq_length)
        if args.input:
            columns = args.title_column, args.description_column
            print_counts(code_file(classifier, args.input, args.output, *columns, args.top_k), args.output)
        elif args.title is None:
            run_demo(classifier, args.top_k)
        else:
            print_ranking(classifier.predict(args.title, args.description, args.top_k, args.explain))
    except KeyboardInterrupt:
        print("\nstopped" + (": the same command goes on where it was" if args.input else ""), file=sys.stderr)
        return 130
    except (ImportError, OSError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
