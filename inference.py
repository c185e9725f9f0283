"""Rank all O*NET-SOC occupations for a job title and description.

    python inference.py                                  # demo: ten postings and a summary
    python inference.py "ICU Nurse"                      # one title
    python inference.py "Data Analyst" "Builds reports and dashboards in SQL." --top-k 3
    python inference.py --input jobs.csv --output coded.csv        # a whole file
    python inference.py --evaluate labelled.csv                    # accuracy on labelled jobs of one's own

or from Python:

    from inference import JobClassifier
    JobClassifier().predict("ICU Nurse", top_k=3)   # [{"rank", "score", "code", "title", "confidence"}, ...]

The label text of every occupation and the 53,209 titles and 17,491 tasks that O*NET lists for them
are encoded once and kept as matrices. A job is compared with the label texts (title and description
together), with the known titles (title alone, and both together) and, if it has a description, with
the known tasks. Its score for an occupation is the mean of these cosines, from -1 to 1. A softmax
over the scores of all occupations, as sharp as train.py fitted it to validation jobs, gives the
confidence: the probability that the occupation is the right one.
"""

import argparse
import copy
import csv
import hashlib
import json
import math
import os
import re
import shutil
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence, Set
from contextlib import suppress
from itertools import islice
from pathlib import Path
from textwrap import shorten
from typing import Any, NamedTuple, TextIO

import numpy as np
import onnxruntime
from onnx import TensorProto, helper, numpy_helper
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file
from tokenizers import Tokenizer
from tqdm import tqdm

# ------------------------------------------------------------------------------ settings

MODEL_DIR = "output/job_classifier"
DATA_DIR = "processed_data"
MANIFEST_FILE = "manifest.json"  # in the model folder, written by train.py
TOKENIZER_FILE = "tokenizer.json"  # likewise
INDEX_VERSION = "2"  # raise it when the index holds other things
THREADS = 0  # of onnxruntime; 0: as many as there are cores
ENCODE_TOKENS = 1024  # encoded at a time; what a layer makes of more does not stay in the cache
ENCODE_BLOCK = 8192  # jobs whose texts are put in order of length together
RANK_BLOCK = 256  # jobs ranked at a time: 256 x 65,186 title cosines are 67 MB
KINDS = ("title", "task")  # of known texts
EVIDENCE = 3  # known texts of each kind that explain an answer
NO_FALLBACK = {"fallback_code": None, "fallback_title": None, "fallback_confidence": None}
UNCALIBRATED = {"title": 1.0, "posting": 1.0}  # of a model not calibrated yet: no occupation is likelier than others
# Sharpness of the soft maximum over an occupation's known texts. At 30 a few close titles count for
# more than a single one; from 20 to 50 the accuracy on validation hardly changes.
SHARPNESS = 30.0


class Backend(NamedTuple):
    weights: str  # file in the model folder
    index_file: str  # file in the model folder, and in the data folder as a cache: made by these very weights


BACKENDS = {
    "onnx": Backend("model_int8.onnx", "label_index_int8.safetensors"),
    "onnx-float32": Backend("model_float32.onnx", "label_index_float32.safetensors"),
    "torch": Backend("model.safetensors", "label_index.safetensors"),
}

# Digits of a SOC code -> characters of 15-1252.00: O*NET-SOC occupation, SOC occupation, minor and major group
DIGITS = {8: 10, 6: 7, 3: 4, 2: 2}
GROUPS = (6, 3, 2)  # digits of the groups that an unsure answer may fall back to, deepest first
MINOR_GROUPS = {"15-1": "15-1200", "31-1": "31-1100", "51-5": "51-5100"}  # codes that do not end in 000
MAJOR_GROUPS = {
    "11": "Management", "13": "Business and Financial Operations", "15": "Computer and Mathematical",
    "17": "Architecture and Engineering", "19": "Life, Physical, and Social Science",
    "21": "Community and Social Service", "23": "Legal", "25": "Educational Instruction and Library",
    "27": "Arts, Design, Entertainment, Sports, and Media", "29": "Healthcare Practitioners and Technical",
    "31": "Healthcare Support", "33": "Protective Service", "35": "Food Preparation and Serving Related",
    "37": "Building and Grounds Cleaning and Maintenance", "39": "Personal Care and Service",
    "41": "Sales and Related", "43": "Office and Administrative Support", "45": "Farming, Fishing, and Forestry",
    "47": "Construction and Extraction", "49": "Installation, Maintenance, and Repair", "51": "Production",
    "53": "Transportation and Material Moving", "55": "Military Specific",
}  # fmt: skip

# ------------------------------------------------------------------------------ encoders


class Graph:
    """An ONNX graph in the making. Every operation returns the name of its output."""

    OPERATIONS = [helper.make_opsetid("", 20), helper.make_opsetid("com.microsoft", 1)]
    OWN = ("MatMulIntegerToFloat", "MultiHeadAttention")  # of onnxruntime, not of the standard

    def __init__(self) -> None:
        self.nodes, self.constants = [], []

    def add(self, operation: str, *inputs: str | np.ndarray | np.generic, outputs: int = 1, **attributes: Any) -> Any:
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
        # Processors without VNNI add the products of two neighbours in 16 bits: 255 times 128 is the most that fits.
        # Outputs whose neighbouring weights exceed that together are kept in larger steps.
        weights = np.array(weights, order="C")
        sizes = np.abs(weights).view(np.uint8)
        largest_pairs = np.add(sizes[::2], sizes[1::2], dtype=np.uint8).max(axis=0)
        over = largest_pairs > 128
        steps = np.where(over, largest_pairs / np.float32(127), np.float32(1))  # 127, since rounding may add 1
        weights[:, over] = np.round(weights[:, over] / steps[over])
        largest = self.add("ReduceMax", self.add("Abs", x), np.array([-1]), keepdims=1)
        zero, step = np.uint8(128), np.float32(1 / 127)
        rounded = self.add("QuantizeLinear", self.add("Div", x, largest), step, zero)
        product = self.add("MatMulIntegerToFloat", rounded, weights, step, scales * steps, zero)
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
        self.tokenizer = Tokenizer.from_file(str(weights.with_name(TOKENIZER_FILE)))
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
        self, embeddings: np.ndarray, step: np.ndarray, rows: np.ndarray, counts: np.ndarray, texts: list[str | None]
    ) -> None:
        """
        Args:
            embeddings: unit embeddings of the distinct texts, int8, shape (texts, dimensions), in units of `step`.
            rows: which of them is meant by each listing, occupation by occupation, shape (listings,).
            counts: listings of each occupation, shape (occupations,).
            texts: of the listings, None where they are not at hand.
        """
        # A text that stands under several occupations comes several times: so each has its own side by side
        self.embeddings, self.step, self.texts = embeddings[rows], step, texts
        self.starts = np.concatenate([[0], np.cumsum(counts)])
        self.hidden = np.empty(0, dtype=int)  # listings that do not count
        graph, (listings, dimensions) = Graph(), self.embeddings.shape
        exponents = graph.int8_product("queries", self.embeddings.T, step * np.float32(SHARPNESS))
        powers = graph.add("Exp", exponents)
        model = graph.model(("queries", TensorProto.FLOAT, ["queries", dimensions]), powers, listings)
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
            (powers,) = self.session.run(None, {"queries": queries})
            powers[:, self.hidden] = 0
            sums[:, has_texts] = np.add.reduceat(powers, self.starts[:-1][has_texts], axis=1)
        with np.errstate(divide="ignore"):
            return np.where(sums > 0, np.minimum(1, np.log(sums) / SHARPNESS), otherwise)

    def extended(self, embeddings: np.ndarray, occupations: np.ndarray, texts: list[str]) -> "KnownTexts":
        """These and some more.

        Args:
            embeddings: unit embeddings, shape (more texts, dimensions).
            occupations: row of each one's occupation, shape (more texts,).
        """
        counts = np.diff(self.starts)
        owners = np.concatenate([np.repeat(np.arange(len(counts)), counts), occupations])
        order = np.argsort(owners, kind="stable")
        rounded = np.round(embeddings / self.step).clip(-127, 127).astype(np.int8)
        every = [*self.texts, *texts]
        return KnownTexts(
            np.concatenate([self.embeddings, rounded]),
            self.step,
            order,
            np.bincount(owners, minlength=len(counts)),
            [every[i] for i in order],
        )

    def listings(self, codes: list[str]) -> list[tuple[str, str | None]]:
        """All listings as (code, text), given the codes of the occupations."""
        return list(zip(np.repeat(codes, np.diff(self.starts)).tolist(), self.texts, strict=True))

    def closest(self, query: np.ndarray, occupation: int) -> list[tuple[str, float]]:
        """The occupation's texts closest to a unit embedding, best first, each with its cosine."""
        listings = np.setdiff1d(np.arange(*self.starts[occupation : occupation + 2]), self.hidden)
        listings = np.array([i for i in listings if self.texts[i] is not None], dtype=int)
        cosines = self.embeddings[listings] * self.step @ query
        return [(self.texts[listings[i]], float(cosines[i])) for i in np.argsort(-cosines, kind="stable")[:EVIDENCE]]


class Ranking(NamedTuple):
    """The best occupations of some jobs, and the most probable SOC groups. Rows are those of the label matrix."""

    rows: np.ndarray  # shape (jobs, top_k), best first
    scores: np.ndarray  # mean cosines, shape (jobs, top_k)
    confidences: np.ndarray  # probabilities, shape (jobs, top_k)
    groups: np.ndarray  # row of the first occupation of the most probable group of 6, 3 and 2 digits, shape (jobs, 3)
    group_confidences: np.ndarray  # summed probability of that group, shape (jobs, 3)


class JobClassifier:
    """Ranks occupations by how close a job is to their label texts, their known titles and their known tasks."""

    def __init__(
        self,
        model_dir: str | Path = MODEL_DIR,
        data_dir: str | Path = DATA_DIR,
        label_mode: str = "title_desc",
        backend: str = "auto",
        max_seq_length: int | None = None,
        own_titles: str | Path | Sequence[tuple[str, str]] = (),
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
            own_titles: further known titles, [(job title, O*NET-SOC code), ...] or a file with the columns
                title and code. A job of such a title, if it stands there under one code, gets this code;
                others profit where they resemble it.

        Raises:
            FileNotFoundError: no trained model in model_dir, or no index and no data either; no such file.
            ValueError: the model was trained with another label_mode, the data are of an earlier version,
                a file is damaged or does not belong to the model, backend or max_seq_length is none there
                is, or an own title is blank or its code unknown.
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
        manifest = read_json(self.model_dir / MANIFEST_FILE)
        trained_mode = manifest["settings"]["label_mode"]
        if label_mode != trained_mode:
            raise ValueError(f"label_mode is {label_mode!r}, but {self.model_dir} was trained with {trained_mode!r}")
        trained_length = manifest["settings"]["max_seq_length"]
        self.max_seq_length = trained_length if max_seq_length is None else max_seq_length
        if not 3 <= self.max_seq_length <= trained_length:  # the first and the last token only frame the text
            raise ValueError(f"max_seq_length is {max_seq_length}, but must be from 3 to {trained_length}, as trained")
        self.calibration = manifest.get("calibration", UNCALIBRATED)
        tokenizer = self.model_dir / TOKENIZER_FILE
        if manifest.get("tokenizer_sha256", digest := sha256(tokenizer)) != digest:
            raise ValueError(f"{tokenizer} is not the one that the model was trained with: {how_to_get(weights)}")
        try:
            self.encoder = (TorchEncoder if backend == "torch" else OnnxEncoder)(weights, self.max_seq_length)
        except (ImportError, OSError):
            raise
        except Exception as error:  # each library has its own errors for a damaged file
            raise ValueError(f"{weights} is damaged ({error}): {how_to_get(weights)}") from error
        self.codes: list[str] = []
        self.titles: list[str] = []
        self.label_embeddings = np.empty((0, 0), dtype=np.float32)  # (occupations, dimensions), unit rows
        self.known: dict[str, KnownTexts] = {}  # by kind
        self._build_index()
        self.own: dict[str, int] = {}  # row of the occupation, by own title
        pairs = read_own_titles(own_titles) if isinstance(own_titles, str | Path) else own_titles
        if pairs:
            self._add_titles(pairs)
        # What answers depend on: the rest of a file must be coded by the same
        self.identity = [self.made_from, self.calibration, self.max_seq_length, [list(pair) for pair in pairs]]

    def _build_index(self) -> None:
        """Set all that jobs are compared with: from a saved index that fits, else by encoding.

        A saved index fits when it was made by these weights and this label mode and, where
        data_dir has a corpus, from its label texts, titles and tasks. A new one is saved with the
        model if that has none yet (so train.py gets it there), else in data_dir.

        Raises:
            FileNotFoundError: there is neither a fitting index nor a corpus to build one from.
        """
        weights, index_file = BACKENDS[self.backend]
        model = sha256(self.model_dir / weights)
        made_from = {"version": INDEX_VERSION, "label_mode": self.label_mode, "model": model}
        corpus_path = self.data_dir / "corpus.json"
        corpus = read_json(corpus_path) if corpus_path.is_file() else None
        if corpus is not None:
            if any("tasks" not in texts for texts in corpus.values()):
                raise ValueError(f"{corpus_path} is of an earlier version: run python data_preparation.py again")
            used = ("title", self.label_mode, *(f"{kind}s" for kind in KINDS))
            labels = {code: [texts[name] for name in used] for code, texts in corpus.items()}
            made_from["labels"] = hashlib.sha256(json.dumps(labels).encode()).hexdigest()

        shipped, cached = self.model_dir / index_file, self.data_dir / index_file
        for path in (shipped, cached):
            with suppress(FileNotFoundError, SafetensorError), safe_open(path, framework="numpy") as index:
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
        try:
            save_file(tensors, staged, metadata=metadata)
            os.replace(staged, path)
        except SafetensorError as error:  # it hides the system's own
            raise OSError(f"{path} cannot be written: {error}") from error
        finally:
            staged.unlink(missing_ok=True)
        self._set_index(metadata, tensors, corpus)

    def _set_index(self, metadata: dict[str, str], tensors: dict[str, np.ndarray], corpus: dict | None) -> None:
        self.codes, self.titles = json.loads(metadata.pop("codes")), json.loads(metadata.pop("titles"))
        self.made_from = metadata
        self.label_texts = self.titles if corpus is None else [texts[self.label_mode] for texts in corpus.values()]
        self.label_embeddings = tensors["label_embeddings"]
        graph, (labels, dimensions) = Graph(), self.label_embeddings.shape
        cosines = graph.add("MatMul", "queries", self.label_embeddings.T)
        model = graph.model(("queries", TensorProto.FLOAT, ["queries", dimensions]), cosines, labels)
        self.label_product = session_of(model)
        for kind in KINDS:
            embeddings, step, rows, counts = (
                tensors[f"{kind}_{name}"] for name in ("embeddings", "step", "rows", "counts")
            )
            texts: list[str | None] = [None] * len(rows)
            if corpus is not None:
                texts = [text for occupation in corpus.values() for text in occupation[f"{kind}s"]]
            self.known[kind] = KnownTexts(embeddings, step, rows, counts, texts)
        # Codes are in ascending order, so a group is a run of rows: where each begins
        self.group_starts = [
            np.unique([code[: DIGITS[digits]] for code in self.codes], return_index=True)[1] for digits in GROUPS
        ]

    def _add_titles(self, own_titles: Sequence[tuple[str, str]]) -> None:
        row_of, titles, listed = {code: row for row, code in enumerate(self.codes)}, [], defaultdict(set)
        for i, (title, code) in enumerate(own_titles, start=1):
            try:
                titles.append(job_texts(title)[1])
            except (TypeError, ValueError) as error:
                raise type(error)(f"own title {i}: {error}") from None
            if code not in row_of:
                raise ValueError(f"own title {i} ({title}): {code!r} is no O*NET-SOC code, such as {self.codes[0]}")
            listed[normalize(title)].add(row_of[code])
        rows = np.array([row_of[code] for _, code in own_titles])
        self.known["title"] = self.known["title"].extended(self.encoder.encode(titles), rows, titles)
        self.own = {title: rows.pop() for title, rows in listed.items() if len(rows) == 1}

    def without(self, held_out: set[tuple[str, str]]) -> "JobClassifier":
        """A classifier that does not know some titles and tasks, so that it can be measured on them.

        Args:
            held_out: {(O*NET-SOC code, known title or task), ...}

        Raises:
            FileNotFoundError: data_dir, which has the texts of the known titles and tasks, is missing.
        """
        if any(None in known.texts for known in self.known.values()):
            raise FileNotFoundError(
                f"the texts of the known titles and tasks are in {self.data_dir / 'corpus.json'}, which is missing: "
                "run python data_preparation.py"
            )
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
        return scores.clip(-1, 1)  # rounding may exceed a cosine's bounds

    def predict(
        self,
        job_title: str,
        job_description: str = "",
        top_k: int = 5,
        explain: bool = False,
        min_confidence: float | None = None,
    ) -> list[dict]:
        """The top_k occupations for one job, best first.

        Args:
            job_title: as it stands on the posting; must not be blank.
            job_description: any length; the model reads its first 256 tokens, about 200 words.
            top_k: from 1 to the number of occupations.
            explain: also say how the job came to each answer, see below.
            min_confidence: mark the job for review if the first answer's confidence is lower, from 0 to 1.

        Returns:
            [{"rank": 1, "score": mean cosine, "code": O*NET-SOC code, "title": occupation,
            "confidence": probability that it is the right one, from 0 to 1}, ...]

            With explain also "margin": score less that of the next (None for the last of all),
            "soc": 6-digit SOC code, "major_group": such as 29-0000, "major_group_title", and
            "evidence": [{"kind": "label", "title" or "task", "text", "score": cosine}, ...]: the
            occupation's label text, its known titles closest to the job title and, for a job with a
            description, its known tasks closest to the whole. Without data_dir, which has their texts,
            it is the occupation's title, for its label text, and own titles.

            With min_confidence also, the same in all rows, "review": True or False, and for a job to
            review "fallback_code", "fallback_title" and "fallback_confidence" of the deepest SOC group,
            of 6, 3 or 2 digits (29-1141, 29-1000, 29-0000), of which one can be as sure as that, else
            None; a group of 3 digits has its major group's title.

        Raises:
            TypeError: a text is not a string, or top_k not an integer.
            ValueError: a blank title, or top_k or min_confidence out of range.
        """
        return self._rank([job_texts(job_title, job_description)], top_k, explain, min_confidence)[0]

    def predict_batch(
        self, jobs: list[dict], top_k: int = 3, explain: bool = False, min_confidence: float | None = None
    ) -> list[list[dict]]:
        """The top_k occupations for each of many jobs, faster than one by one.

        Args:
            jobs: [{"title": ..., "description": ...}, ...]; the description may be left out.
            top_k, explain, min_confidence: as for predict.

        Returns:
            One list per job, in the order of jobs, as from predict.

        Raises:
            TypeError, ValueError: as from predict, naming the job by its place; or jobs is empty.
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
        return self._rank(texts, top_k, explain, min_confidence)

    def _rank(
        self, texts: list[tuple[str, str]], top_k: int, explain: bool, min_confidence: float | None
    ) -> list[list[dict]]:
        """Rank the occupations for pairs as job_texts returns them."""
        self.check_top_k(top_k)
        check_min_confidence(min_confidence)
        ranking = self.best(texts, min(top_k + explain, len(self.codes)))  # the last one's margin needs one more
        ranked = []
        for job, pair in enumerate(texts):
            best = zip(*(values[job].tolist() for values in ranking[:3]), strict=True)
            answers = [
                {"rank": rank, "score": score, "code": self.codes[row], "title": self.titles[row], "confidence": share}
                for rank, (row, score, share) in enumerate(best, start=1)
            ]
            if explain:
                self._explain(pair, answers, ranking.rows[job])
            if min_confidence is not None:
                review = answers[0]["confidence"] < min_confidence
                groups = ranking.groups[job], ranking.group_confidences[job]
                fallback = self.fallback(*groups, min_confidence) if review else NO_FALLBACK
                for answer in answers:
                    answer |= {"review": review} | fallback
            ranked.append(answers[:top_k])
        return ranked

    def _explain(self, pair: tuple[str, str], answers: list[dict], rows: np.ndarray) -> None:
        """Add to the answers for a job what explains them."""
        whole, title = self.encoder.encode(list(pair))
        compared = {"title": title} if pair[0] == pair[1] else {"title": title, "task": whole}
        for answer, following, row in zip(answers, [*answers[1:], None], rows, strict=True):
            label = {"kind": "label", "text": self.label_texts[row], "score": float(whole @ self.label_embeddings[row])}
            known = [
                {"kind": kind, "text": text, "score": score}
                for kind, query in compared.items()
                for text, score in self.known[kind].closest(query, row)
            ]
            answer |= {
                "margin": answer["score"] - following["score"] if following else None,
                "soc": group_code(answer["code"], 6),
                "major_group": group_code(answer["code"], 2),
                "major_group_title": MAJOR_GROUPS.get(answer["code"][: DIGITS[2]], ""),
                "evidence": [label, *known],
            }

    def fallback(self, groups: np.ndarray, confidences: np.ndarray, min_confidence: float) -> dict[str, Any]:
        """The deepest SOC group of which one can be sure enough, given a job's groups and confidences as in Ranking."""
        for row, confidence, digits in zip(groups, confidences.tolist(), GROUPS, strict=True):
            if confidence >= min_confidence:
                code = self.codes[row]
                title = self.titles[row] if digits == 6 else MAJOR_GROUPS.get(code[: DIGITS[2]], "")
                answer = (group_code(code, digits), title, confidence)
                return dict(zip(NO_FALLBACK, answer, strict=True))
        return NO_FALLBACK

    def best(self, texts: list[tuple[str, str]], top_k: int) -> Ranking:
        """The top_k occupations for pairs as job_texts returns them.

        Works through blocks, so that memory does not grow with the number of jobs.
        """
        job_of = {pair: job for job, pair in enumerate(dict.fromkeys(texts))}  # repeated jobs are ranked once
        blocks = []
        for scores, described in self.scores(list(job_of)):
            sharpness = np.where(described, self.calibration["posting"], self.calibration["title"])[:, None]
            shares = np.exp(sharpness * (scores - scores.max(axis=1, keepdims=True)))
            shares /= shares.sum(axis=1, keepdims=True)
            rows = np.argpartition(-scores, top_k - 1, axis=1)[:, :top_k]
            # argpartition leaves the best in no order: sort them, equal scores by code
            rows = np.take_along_axis(rows, np.lexsort((rows, -np.take_along_axis(scores, rows, axis=1))), axis=1)
            groups, sums = [], []
            for starts in self.group_starts:
                by_group = np.add.reduceat(shares, starts, axis=1)
                groups.append(starts[by_group.argmax(axis=1)])
                sums.append(by_group.max(axis=1))
            best = [np.take_along_axis(values, rows, axis=1) for values in (scores, shares)]
            blocks.append((rows, *best, np.stack(groups, axis=1), np.stack(sums, axis=1)))
        order = [job_of[pair] for pair in texts]
        return Ranking(*(np.concatenate(parts)[order] for parts in zip(*blocks, strict=True)))

    def scores(self, texts: list[tuple[str, str]]) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Scores of all occupations for pairs as job_texts returns them, block by block.

        Yields:
            scores, shape (jobs, occupations), and which of these jobs have a description, shape (jobs,)
        """
        for start in range(0, len(texts), ENCODE_BLOCK):
            encoded = texts[start : start + ENCODE_BLOCK]
            row_of = {text: row for row, text in enumerate(dict.fromkeys(text for pair in encoded for text in pair))}
            queries = self.encoder.encode(list(row_of))
            whole_rows, title_rows = np.array([[row_of[text] for text in pair] for pair in encoded]).T
            for block in np.array_split(np.arange(len(encoded)), math.ceil(len(encoded) / RANK_BLOCK)):
                described = whole_rows[block] != title_rows[block]
                scores = self._scores(queries[whole_rows[block]], queries[title_rows[block]], described)
                for row, job in enumerate(block):
                    if (own := self.own.get(normalize(encoded[job][1]))) is not None:
                        scores[row, own] = 1
                yield scores, described

    def check_top_k(self, top_k: int) -> None:
        if isinstance(top_k, bool) or not isinstance(top_k, (int, np.integer)):
            raise TypeError(f"top_k must be an integer, not {top_k!r:.80}")
        if not 1 <= top_k <= len(self.codes):
            raise ValueError(f"top_k is {top_k}, but must be from 1 to {len(self.codes):,}, the number of occupations")


def group_code(code: str, digits: int) -> str:
    """The SOC code of an occupation's group, as SOC tables have it: 29-1141, 29-1000 or 29-0000."""
    prefix = code[: DIGITS[digits]]
    if digits == 3:
        return MINOR_GROUPS.get(prefix, f"{prefix}000")
    return f"{prefix}-0000" if digits == 2 else prefix


def check_min_confidence(min_confidence: float | None) -> None:
    if min_confidence is not None and not 0 <= min_confidence <= 1:
        raise ValueError(f"min_confidence is {min_confidence}, but must be from 0 to 1")


def how_to_get(weights: Path) -> str:
    if weights.name == BACKENDS["onnx-float32"].weights:
        return f"""run python -c "import train; train.export_onnx('{weights.parent}', 'float32')\""""
    return "run python train.py"


def sha256(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def read_json(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path} is damaged ({error})") from None


def in_one_line(error: Exception, output: str | Path) -> str:
    """What an error says; of a write that failed, as on a full disk, the system does not say where it was to go."""
    nameless = isinstance(error, OSError) and error.errno is not None and error.filename is None
    return " ".join(f"{error}{f', writing {output}' if nameless else ''}".split())


def normalize(text: str) -> str:
    """The form in which two texts count as the same: letter case and spacing aside."""
    return " ".join(text.casefold().split())


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
    if not any(letter.isprintable() and not letter.isspace() for letter in title):  # others the encoder does not read
        raise ValueError("the job title is empty")
    return f"{title}. {description}" if description else title, title


# ------------------------------------------------------------------------------ files

ROWS_PER_PART = 2000  # rows kept at a time; an interrupted run loses no more
REMEMBERED = 100_000  # jobs whose answers are kept, since files name the same titles again and again
ADDED = ("soc_code", "soc_title", "soc_score", "soc_confidence")  # columns of an answer; each ends in its rank
# Columns where there is a least confidence: "review" or "", and the SOC group to fall back to
REVIEW = ("soc_review", *(f"soc_{name}" for name in NO_FALLBACK))
NUMBERS = ("soc_score", "soc_confidence", "soc_fallback_confidence")  # columns, or how their names begin
FORMULA = ("=", "+", "-", "@", "\t", "\r")  # what a cell begins with that a spreadsheet takes for a formula
PROBLEM = "soc_problem"  # column that says why a row was not coded
BAD_LINE = "soc_line"  # column that keeps a line that is no JSON object


def without_formula(cell: Any) -> Any:
    """A cell that no spreadsheet runs as a formula: an apostrophe before it makes it text. Numbers stay."""
    if not (isinstance(cell, str) and cell.startswith(FORMULA)):
        return cell
    try:
        float(cell)
    except ValueError:
        return f"'{cell}"
    return cell


class DelimitedFile:
    """A CSV or TSV file with a header. Its parts are lists of rows, each with what is wrong about it, if anything."""

    keep_formulas = False

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
            rows = [[*fields, *values] for (fields, _), *values in zip(part, *added.values(), strict=True)]
            for row in [[*self.columns, *added], *rows] if first else rows:
                writer.writerow(row if self.keep_formulas else map(without_formula, row))

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

    keep_formulas = True

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
            kind = self.arrow.float64() if name.startswith(NUMBERS) else self.arrow.string()
            table = table.append_column(name, self.arrow.array(values, kind))
        self.arrow.parquet.write_table(table, path)

    def join(self, parts: list[Path], path: Path) -> None:
        with self.arrow.parquet.ParquetWriter(path, self.arrow.parquet.read_schema(parts[0])) as writer:
            for part in parts:
                writer.write_table(self.arrow.parquet.read_table(part))


Table = DelimitedFile | ParquetFile
FILES: dict[str, type[Table]] = {
    ".csv": DelimitedFile, ".tsv": DelimitedFile, ".jsonl": JsonLinesFile, ".parquet": ParquetFile
}  # fmt: skip


def read_table(path: str | Path, *names: str | None) -> Table:
    """A file that has some columns; None names none.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it cannot be read, has no rows, or not just one column of a name.
    """
    path = Path(path)
    if path.suffix.lower() not in FILES:
        raise ValueError(f"{path} must end in one of {', '.join(FILES)}")
    table = FILES[path.suffix.lower()](path)
    for name in filter(None, names):
        if name not in table.columns:
            raise ValueError(f"{path} has no column {name!r}, but {', '.join(map(repr, table.columns)) or 'none'}")
        if table.columns.count(name) > 1:
            raise ValueError(f"{path} has several columns {name!r}: rename all but one")
    if not len(table):
        raise ValueError(f"{path} has no rows")
    return table


def read_own_titles(path: str | Path) -> list[tuple[str, str]]:
    """[(job title, O*NET-SOC code), ...] from a file with the columns title and code.

    Raises:
        FileNotFoundError, ValueError: as from read_table, or a row has too many fields.
    """
    table, pairs = read_table(path, "title", "code"), []
    for part in table.parts():
        for title, code, problem in zip(
            table.column(part, "title"), table.column(part, "code"), table.problems(part), strict=True
        ):
            if problem:
                raise ValueError(f"{path}, row {len(pairs) + 1}: {problem}")
            pairs.append((title or "", str(code).strip()))
    return pairs


def code_file(
    classifier: JobClassifier,
    input_path: str | Path,
    output_path: str | Path,
    title_column: str = "title",
    description_column: str | None = None,
    top_k: int = 3,
    min_confidence: float | None = None,
    keep_formulas: bool = False,
) -> dict[str, int]:
    """Code every row of a CSV, TSV, JSON Lines or Parquet file.

    The output, of the same kind, has all columns of the input, then for each rank soc_code_1,
    soc_title_1, soc_score_1, soc_confidence_1, ..., and soc_problem, which says why a row was not
    coded; with min_confidence also soc_review ("review" where the first answer's confidence is lower)
    and for these soc_fallback_code, soc_fallback_title and soc_fallback_confidence, the deepest SOC
    group that is sure enough. It is written in parts, into a folder beside it, and put together at
    the end: a run that was interrupted goes on when it is started again.

    Args:
        input_path, output_path: .csv, .tsv (both with a header, in UTF-8), .jsonl or .parquet.
        title_column: column with the job titles.
        description_column: column with the job descriptions; by default "description" if there is one.
        top_k: occupations for each row.
        min_confidence: as for predict.
        keep_formulas: of CSV and TSV, write cells that begin with =, +, -, @, tab or carriage return as they
            are. Else all but numbers get an apostrophe before them, so that no spreadsheet runs them.

    Returns:
        How many rows were "coded", coded but marked for "review", or not coded for which reason.

    Raises:
        FileNotFoundError: there is no such input.
        FileExistsError: the output exists.
        ValueError: the file cannot be read, a column is missing, or an unfinished run is of another input.
    """
    path, output = Path(input_path), Path(output_path)
    if output.suffix.lower() != path.suffix.lower():
        raise ValueError(f"{path} and {output} must have the same ending, one of {', '.join(FILES)}")
    if output.exists():
        raise FileExistsError(f"{output} exists already: delete it or give another name")
    table = read_table(path, title_column, description_column)
    if description_column is None and "description" in table.columns:
        description_column = "description"
    table.keep_formulas = keep_formulas
    classifier.check_top_k(top_k)
    check_min_confidence(min_confidence)
    added = list(new_columns(classifier, [], [], top_k, min_confidence))
    for name in added:
        if name in table.columns:
            raise ValueError(f"{path} has a column {name!r}, which is to be added: rename it")

    # What is done already, if an earlier run of just this was interrupted
    folder = output.with_name(f".{output.name}.parts")
    run = {
        "input": [str(path.resolve()), path.stat().st_size, path.stat().st_mtime_ns],
        "columns": [title_column, description_column, *added],
        "min_confidence": min_confidence,
        "keep_formulas": keep_formulas,
        "classifier": classifier.identity,
    }
    run_file = folder / "run.json"
    if run_file.is_file() and json.loads(run_file.read_text()) != run:
        raise ValueError(f"{folder} holds an unfinished run of another input or other settings: delete it")
    folder.mkdir(exist_ok=True)
    write_whole(run_file, json.dumps(run))

    counts = Counter({"coded": 0})
    answers: dict[tuple[str, str], tuple[list, list]] = {}
    paths = []
    with tqdm(total=len(table), desc="coding", unit="row", smoothing=0) as progress:
        for part in table.parts():
            paths.append(folder / f"{len(paths):06}{output.suffix}")
            tally = paths[-1].with_suffix(".json")
            if not tally.is_file():  # it comes after the part
                titles = table.column(part, title_column)
                descriptions = table.column(part, description_column) if description_column else [None] * len(titles)
                problems = table.problems(part)
                columns = new_columns(classifier, titles, descriptions, top_k, min_confidence, problems, answers)
                table.write(paths[-1], part, columns, first=len(paths) == 1)
                reviews = columns.get(REVIEW[0]) or [None] * len(titles)
                outcomes = (why or review or "coded" for why, review in zip(columns[PROBLEM], reviews, strict=True))
                write_whole(tally, json.dumps(Counter(outcomes)))
            done = Counter(json.loads(tally.read_text()))
            counts.update(done)
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
    min_confidence: float | None = None,
    problems: list[str] | None = None,
    answers: dict[tuple[str, str], tuple] | None = None,
) -> dict[str, list]:
    """The columns that coding adds to a table: for each rank ADDED, with min_confidence REVIEW, and PROBLEM.

    Args:
        titles, descriptions: of the rows; None where there is none.
        top_k, min_confidence: as for predict.
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
        answers.update(zip(new, zip(*classifier.best(new, top_k), strict=True), strict=True))

    names = [f"{name}_{rank}" for rank in range(1, top_k + 1) for name in ADDED]
    names += REVIEW if min_confidence is not None else ()
    columns = {name: [None] * len(titles) for name in names}
    for row, pair in pairs.items():
        occupations, scores, confidences, groups, group_confidences = answers[pair]
        values = []
        for i, score, confidence in zip(occupations, scores.tolist(), confidences.tolist(), strict=True):
            values += [classifier.codes[i], classifier.titles[i], round(score, 4), round(confidence, 4)]
        if min_confidence is not None:
            review = confidences[0] < min_confidence
            fallback = classifier.fallback(groups, group_confidences, min_confidence) if review else NO_FALLBACK
            code, group_title, share = fallback.values()
            values += ["review" if review else "", code, group_title, share and round(share, 4)]
        for column, value in zip(columns.values(), values, strict=True):
            column[row] = value
    return columns | {PROBLEM: problems}


# ------------------------------------------------------------------------------ evaluation

TOP_K = (1, 3, 5)
EVALUATED = (8, 6, 2)  # digits that have to agree
THRESHOLDS = (0.0, 0.3, 0.5, 0.7, 0.9)  # least confidences at which coverage and accuracy are told
CONFUSIONS = 10  # pairs of codes to list
CODE = re.compile(r"\d\d-\d{4}(\.\d\d)?")  # 8 digits, or 6


def hits(ranked: list[list[str]], accepted: list[set[str]], digits: int) -> np.ndarray:
    """Whether codes are right, in so many digits like one that is accepted for the job, shape (jobs, ranks)."""
    length = DIGITS[digits]
    return np.array(
        [
            [code[:length] in prefixes for code in codes]
            for codes, prefixes in zip(ranked, ({code[:length] for code in codes} for codes in accepted), strict=True)
        ]
    )


def wilson(share: float, n: int) -> tuple[float, float]:
    """The 95 % Wilson interval of a share of n (Wilson 1927, https://doi.org/10.1080/01621459.1927.10502953)."""
    z = 1.959964
    middle, half = share + z**2 / (2 * n), z * math.sqrt(share * (1 - share) / n + (z / (2 * n)) ** 2)
    return (middle - half) / (1 + z**2 / n), (middle + half) / (1 + z**2 / n)


def evaluate(
    classifier: JobClassifier,
    path: str | Path,
    title_column: str = "title",
    description_column: str | None = None,
    code_column: str = "code",
) -> dict[str, Any]:
    """How often the classifier is right on labelled jobs.

    Args:
        path: .csv, .tsv (both with a header, in UTF-8), .jsonl or .parquet.
        title_column, description_column: as for code_file.
        code_column: column with the right code, of 8 or 6 digits, or several with '|' between them.

    Returns:
        {"rows": jobs evaluated, "skipped": {reason: rows},
        "accuracy": [{"digits": 8, 6 or 2, "n": jobs labelled that deep, "k": 1, 3 or 5, "share", "low", "high"}, ...]
            with the 95 % interval,
        "coverage": [{"min_confidence", "covered": share of the jobs, "right": share of these, or None}, ...],
        "confidence": its mean,
        "confusions": [{"code", "title", "instead_of": codes accepted, "instead_of_title": of the first of them,
            "rows", "example": a job title}, ...], the most frequent ones.
        } Confidence and confusions are about the first answer, counted at 6 digits where no label has 8.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it cannot be read, a column is missing, or no row can be evaluated.
    """
    table = read_table(path, title_column, description_column, code_column)
    if description_column is None and "description" in table.columns:
        description_column = "description"
    pairs, accepted, skipped = [], [], Counter()
    for part in table.parts():
        titles, labels = table.column(part, title_column), table.column(part, code_column)
        descriptions = table.column(part, description_column) if description_column else [None] * len(titles)
        for title, description, label, problem in zip(titles, descriptions, labels, table.problems(part), strict=True):
            codes = {code.strip() for code in str(label).split("|")}
            try:
                if problem or not all(map(CODE.fullmatch, codes)):
                    raise ValueError(problem or f"the code {label!r} is none such as 15-1252.00 or 15-1252")
                pairs.append(job_texts("" if title is None else title, description))
                accepted.append(codes)
            except (TypeError, ValueError) as error:
                skipped[str(error)] += 1
    if not pairs:
        raise ValueError(f"{path} has no row that can be evaluated: {skipped.most_common(1)[0][0]}")

    ranking = classifier.best(pairs, min(max(TOP_K), len(classifier.codes)))
    ranked = [[classifier.codes[row] for row in rows] for rows in ranking.rows]
    depth = np.array([min(len(code) for code in codes) for codes in accepted])
    accuracy: list[dict[str, Any]] = []
    for digits in EVALUATED:
        right = hits(ranked, accepted, digits)[depth >= DIGITS[digits]]
        for k in TOP_K if len(right) else ():
            share = float(right[:, :k].any(axis=1).mean())
            low, high = wilson(share, len(right))
            row = {"digits": digits, "n": len(right), "k": k, "share": share, "low": low, "high": high}
            accuracy.append(row)

    deepest = accuracy[0]["digits"]
    judged = depth >= DIGITS[deepest]
    right, confidences = hits(ranked, accepted, deepest)[:, 0], ranking.confidences[:, 0]
    coverage = []
    for threshold in THRESHOLDS:
        sure = judged & (confidences >= threshold)
        covered = float(sure.sum() / judged.sum())
        hit = float(right[sure].mean()) if covered else None
        coverage.append({"min_confidence": threshold, "covered": covered, "right": hit})
    wrong = defaultdict(list)
    for i in np.flatnonzero(judged & ~right):
        wrong[ranking.rows[i, 0], "|".join(sorted(accepted[i]))].append(pairs[i][1])
    most = sorted(wrong.items(), key=lambda confusion: -len(confusion[1]))[:CONFUSIONS]
    title_of = dict(zip(classifier.codes, classifier.titles, strict=True))
    return {
        "rows": len(pairs),
        "skipped": dict(skipped),
        "accuracy": accuracy,
        "coverage": coverage,
        "confidence": float(confidences[judged].mean()),
        "confusions": [
            {
                "code": classifier.codes[row],
                "title": classifier.titles[row],
                "instead_of": codes,
                "instead_of_title": title_of.get(f"{codes.split('|')[0]}.00"[: DIGITS[8]], ""),
                "rows": len(titles),
                "example": titles[0],
            }
            for (row, codes), titles in most
        ],
    }


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


def print_ranking(ranked: list[dict], accepted: Set[str] = frozenset()) -> None:
    width = max(len(row["title"]) for row in ranked)
    print(f"     O*NET-SOC   {'occupation':<{width}}  confidence  score")
    for row in ranked:
        mark = "*" if row["code"] in accepted else " "
        answer = f"{mark}{row['rank']:>3} {row['code']}  {row['title']:<{width}}"
        print(f"{answer}  {row['confidence']:>10.0%}  {row['score']:.3f}")
        for known in row.get("evidence", []):
            print(f"           {known['score']:.3f}  {known['kind']}: {shorten(known['text'], 90, placeholder=' ...')}")
    if ranked[0].get("review"):
        print("     To be reviewed: ", end="")
        if code := ranked[0]["fallback_code"]:
            print(f"sure enough is {code} {ranked[0]['fallback_title']} ({ranked[0]['fallback_confidence']:.0%})")
        else:
            print("not even the major group is sure enough")


def summary(counts: dict[str, int]) -> str:
    """What became of the rows of a file, by the counts of `code_file`: how many were coded, and why others were not."""
    problems = Counter(counts)
    sure, review = problems.pop("coded"), problems.pop("review", 0)
    marked = f", {review:,} of them marked for review" if review else ""
    lines = [f"{sure + review:,} of {sum(counts.values()):,} rows coded{marked}"]
    lines += [f"{count:>9,} not coded: {problem}" for problem, count in problems.most_common(5)]
    if len(problems) > 5:
        lines.append(f"          and others: see column {PROBLEM}")
    return "\n".join(lines)


def print_evaluation(result: dict[str, Any]) -> None:
    print(f"{result['rows']:,} rows evaluated")
    for problem, count in result["skipped"].items():
        print(f"{count:>9,} left out: {problem}")
    print("\ndigits       n  " + "".join(f"  {f'top-{k}':<20}" for k in TOP_K))
    for digits in dict.fromkeys(row["digits"] for row in result["accuracy"]):
        rows = [row for row in result["accuracy"] if row["digits"] == digits]
        cells = (f"  {row['share']:.1%} ({row['low']:.1%}–{row['high']:.1%})".ljust(22) for row in rows)
        print(f"{digits:>6}{rows[0]['n']:>8,}  " + "".join(cells))
    print("In brackets: 95 % intervals.")
    print(f"\nMean confidence {result['confidence']:.1%}\n\nconfidence   share of rows   right")
    for row in result["coverage"]:
        right = f"{row['right']:>6.1%}" if row["right"] is not None else "     –"
        print(f"from {row['min_confidence']:>5.0%}{row['covered']:>16.1%}  {right}")
    if result["confusions"]:
        print("\n  rows  answer, instead of, such as")
    for row in result["confusions"]:
        print(f"{row['rows']:>6,}  {row['code']}  {row['title']}")
        print(f"        {row['instead_of']}  {row['instead_of_title']}   {row['example']!r}")


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description="Rank O*NET-SOC occupations for a job, or for every row of a file; without either, run the demo.",
        epilog="Examples:\n"
        '  python inference.py "ICU Nurse" --explain\n'
        '  python inference.py "Data Analyst" "Builds dashboards in SQL." --json\n'
        "  python inference.py --input jobs.csv --output coded.csv --min-confidence 0.5\n"
        "  python inference.py --evaluate labelled.csv --own-titles titles.csv",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    job = parser.add_argument_group("one job")
    job.add_argument("title", nargs="?", help="job title")
    job.add_argument("description", nargs="?", default="", help="job description")
    job.add_argument("--explain", action="store_true", help="say which known titles and tasks are closest to the job")
    job.add_argument("--json", action="store_true", help="print JSON; also with --evaluate")
    files = parser.add_argument_group("files", f"They end in one of {', '.join(FILES)}.")
    files.add_argument("--input", metavar="FILE", help="code every row of it")
    files.add_argument("--output", metavar="FILE", help="the coded rows, of the same kind as the input")
    files.add_argument("--evaluate", metavar="FILE", help="tell the accuracy on its rows, which are labelled")
    files.add_argument("--title-column", default="title", metavar="NAME", help="job titles (title)")
    files.add_argument("--description-column", metavar="NAME", help="descriptions (description, if there is one)")
    files.add_argument("--code-column", default="code", metavar="NAME", help="right codes, for --evaluate (code)")
    files.add_argument("--keep-formulas", action="store_true",
                       help="do not put an apostrophe before cells that a spreadsheet would run")  # fmt: skip
    answers = parser.add_argument_group("answers")
    answers.add_argument("--top-k", type=int, default=3, metavar="K", help="occupations to list (3)")
    answers.add_argument("--min-confidence", type=float, metavar="P", help="mark what is less sure for review, 0 to 1")
    answers.add_argument("--own-titles", metavar="FILE", default=(), help="titles of your own, columns title and code")
    model = parser.add_argument_group("model")
    model.add_argument("--model-dir", default=MODEL_DIR, metavar="DIR", help=f"that train.py saved ({MODEL_DIR})")
    model.add_argument("--data-dir", default=DATA_DIR, metavar="DIR",
                       help=f"that data_preparation.py wrote; need not exist ({DATA_DIR})")  # fmt: skip
    model.add_argument("--label-mode", default="title_desc", metavar="MODE", help="as trained (title_desc)")
    model.add_argument("--backend", default="auto", choices=["auto", *BACKENDS], help="what runs the encoder")
    model.add_argument("--max-seq-length", type=int, metavar="N", help="tokens that are read of a text (as trained)")
    args = parser.parse_args(argv)
    if sum([args.title is not None, bool(args.input), bool(args.evaluate)]) > 1:
        parser.error("give a title, or --input with --output, or --evaluate: one of them")
    if bool(args.input) != bool(args.output):
        parser.error("--input and --output belong together")
    if args.json and args.title is None and not args.evaluate:
        parser.error("--json is for a title or --evaluate")
    try:
        classifier = JobClassifier(
            args.model_dir, args.data_dir, args.label_mode, args.backend, args.max_seq_length, args.own_titles
        )
        columns = args.title_column, args.description_column
        if args.input:
            counts = code_file(
                classifier, args.input, args.output, *columns, args.top_k, args.min_confidence, args.keep_formulas
            )
            print(summary(counts), f"written to {args.output}", sep="\n")
        elif args.evaluate:
            result = evaluate(classifier, args.evaluate, *columns, args.code_column)
            print(json.dumps(result, indent=2)) if args.json else print_evaluation(result)
        elif args.title is None:
            run_demo(classifier, args.top_k)
        else:
            ranked = classifier.predict(args.title, args.description, args.top_k, args.explain, args.min_confidence)
            print(json.dumps(ranked, indent=2, ensure_ascii=False)) if args.json else print_ranking(ranked)
            if args.explain and None in classifier.known["title"].texts:
                print("known titles and tasks are named once python data_preparation.py has run", file=sys.stderr)
        sys.stdout.flush()
    except BrokenPipeError:  # whoever reads the output has read enough, such as head
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or Python would try once more at its end
    except KeyboardInterrupt:
        print("\nstopped" + (": the same command goes on where it was" if args.input else ""), file=sys.stderr)
        return 130
    except (ImportError, OSError, ValueError) as error:
        print(f"error: {in_one_line(error, args.output or 'the answer')}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
