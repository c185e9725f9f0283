"""What jobs are compared with: label texts, known titles and known tasks, on disk and ready."""

import copy
import hashlib
import json
import os
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from onnx import TensorProto
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from common.encoders import Graph, session_of

INDEX_FILE = "label_index.safetensors"  # with the model; of other data, in the data folder
VERSION = "5"  # raise it when the file holds other things
KINDS = ("title", "task")  # of known texts
# Numbers in embeddings are cut off at so many times their mean size: one text in a thousand has any
LARGEST = 5
EVIDENCE = 3  # known texts of each kind that explain an answer

Corpus = dict[str, dict[str, Any]]  # as data_preparation.py writes it, by code


class IndexFile(NamedTuple):
    """What is saved: the tensors, and what they were made from."""

    metadata: dict[str, str]
    tensors: dict[str, np.ndarray]


def fingerprint(corpus: Corpus, label_mode: str) -> str:
    """Hash of what an index takes from the corpus."""
    used = ("title", label_mode, *(f"{kind}s" for kind in KINDS))
    labels = {code: [texts[name] for name in used] for code, texts in corpus.items()}
    return hashlib.sha256(json.dumps(labels).encode()).hexdigest()


def encode_corpus(encoder: Any, corpus: Corpus, label_mode: str) -> IndexFile:
    """Encode the label texts and the known texts of all occupations."""
    tensors = {
        "label_embeddings": encoder.encode([texts[label_mode] for texts in corpus.values()]),
        "employment": log_shares([texts.get("employment", 0) for texts in corpus.values()]),
    }
    for kind in KINDS:
        listed = [texts[f"{kind}s"] for texts in corpus.values()]
        texts = [text for occupation in listed for text in occupation]
        row_of = {text: row for row, text in enumerate(dict.fromkeys(texts))}
        embeddings = encoder.encode(list(row_of), show_progress_bar=True)
        step = np.abs(embeddings).max() / 127  # in 8 bits they take a quarter of the room
        rows, counts = [row_of[text] for text in texts], [len(texts) for texts in listed]
        tensors |= {
            f"{kind}_embeddings": np.round(embeddings / step).astype(np.int8),
            f"{kind}_step": np.array([step], dtype=np.float32),
            f"{kind}_rows": np.array(rows, dtype=np.int32),
            f"{kind}_counts": np.array(counts, dtype=np.int32),
        }
    titles = [texts["title"] for texts in corpus.values()]
    return IndexFile({"codes": json.dumps(list(corpus)), "titles": json.dumps(titles)}, tensors)


def log_shares(counts: Sequence[float]) -> np.ndarray:
    """Logarithms of the shares of counts, float32; no count is half of the smallest, all are one.

    Raises:
        ValueError: a count is negative.
    """
    employed = np.array(counts, dtype=np.float64)
    if (employed < 0).any():
        raise ValueError("a count of employed people is negative")
    least = employed[employed > 0].min() / 2 if employed.any() else 1.0
    employed = employed.clip(least)
    return np.log(employed / employed.sum()).astype(np.float32)


def read_index(path: Path, made_from: dict[str, str]) -> IndexFile | None:
    """The index in a file; None if it is missing, damaged or made from other things."""
    with suppress(FileNotFoundError, SafetensorError), safe_open(path, "numpy") as file:
        metadata = file.metadata()
        if made_from.items() <= metadata.items():
            return IndexFile(metadata, {name: file.get_tensor(name) for name in file.keys()})
    return None


def save_index(index: IndexFile, path: Path) -> None:
    staged = path.with_name(f".{path.name}.{os.getpid()}")  # several processes may do this at once
    try:
        save_file(index.tensors, staged, metadata=index.metadata)
        os.replace(staged, path)
    except SafetensorError as error:  # it hides the system's own
        raise OSError(f"{path} cannot be written: {error}") from error
    finally:
        staged.unlink(missing_ok=True)


class Index:
    """The occupations, ready to be compared with."""

    def __init__(self, saved: IndexFile, corpus: Corpus | None, label_mode: str, sharpness: float):
        """
        Args:
            corpus: the texts; None where they are not at hand.
            sharpness: of the soft maximum over an occupation's known texts.
        """
        metadata, tensors = saved
        self.codes: list[str] = json.loads(metadata["codes"])  # in ascending order
        self.titles: list[str] = json.loads(metadata["titles"])
        self.label_texts = self.titles
        if corpus is not None:
            self.label_texts = [texts[label_mode] for texts in corpus.values()]
        self.label_embeddings = tensors["label_embeddings"]  # shape (occupations, dimensions)
        self.employment = tensors["employment"]  # logarithms of shares, shape (occupations,)

        self.known: dict[str, KnownTexts] = {}
        for kind in KINDS:
            embeddings, step, rows, counts = (
                tensors[f"{kind}_{name}"] for name in ("embeddings", "step", "rows", "counts")
            )
            texts: list[str | None] = [None] * len(rows)
            if corpus is not None:
                texts = [text for listed in corpus.values() for text in listed[f"{kind}s"]]
            # A text of several occupations comes several times: so each has its own side by side
            self.known[kind] = KnownTexts(embeddings[rows], step, counts, texts, sharpness)

    def with_titles(self, embeddings: np.ndarray, rows: list[int], titles: list[str]) -> "Index":
        """This one with more known titles of some occupations."""
        more = copy.copy(self)
        more.known = dict(self.known)
        more.known["title"] = self.known["title"].extended(embeddings, np.array(rows), titles)
        return more

    def without(self, held_out: set[tuple[str, str]]) -> "Index":
        """This one without some known texts, {(code, text), ...}."""
        fewer = copy.copy(self)
        fewer.known = {
            kind: texts.without(held_out, self.codes) for kind, texts in self.known.items()
        }
        return fewer


class KnownTexts:
    """Texts of one kind, titles or tasks, that O*NET lists for its occupations."""

    def __init__(
        self,
        embeddings: np.ndarray,
        step: np.ndarray,
        counts: np.ndarray,
        texts: list[str | None],
        sharpness: float,
    ) -> None:
        """
        Args:
            embeddings: unit embeddings, occupation by occupation, int8, shape (texts, dimensions),
                in units of `step`.
            counts: texts of each occupation, shape (occupations,).
            texts: None where they are not at hand.
            sharpness: of the soft maximum.
        """
        self.embeddings, self.step, self.texts = embeddings, step, texts
        self.counts, self.sharpness = counts, sharpness
        self.starts = np.concatenate([[0], np.cumsum(counts)])
        self.hidden = np.empty(0, dtype=int)  # texts that do not count
        graph, (count, dimensions) = Graph(), embeddings.shape
        scales = step * np.float32(sharpness)
        largest = LARGEST / dimensions**0.5
        product = graph.int8_product("queries", embeddings.T, scales, largest)
        powers = graph.add("Exp", product)
        inputs = ("queries", TensorProto.FLOAT, ["queries", dimensions])
        self.session = session_of(graph.model(inputs, powers, count))

    def soft_maximum(self, queries: np.ndarray, otherwise: np.ndarray) -> np.ndarray:
        """Log-sum-exp of the cosines to each occupation's texts, shape (queries, occupations).

        Cut off at 1: many close texts say more than one, but none is closer than the text itself.

        Args:
            queries: unit embeddings, shape (queries, dimensions).
            otherwise: stands in for an occupation without texts, shape (queries, occupations).
        """
        sums, has_texts = np.zeros_like(otherwise), self.counts > 0
        if len(queries):
            (powers,) = self.session.run(None, {"queries": queries})
            powers[:, self.hidden] = 0
            sums[:, has_texts] = np.add.reduceat(powers, self.starts[:-1][has_texts], axis=1)
        with np.errstate(divide="ignore"):
            maximum = np.minimum(1, np.log(sums) / self.sharpness)
        return np.where(sums > 0, maximum, otherwise)

    def extended(self, embeddings: np.ndarray, rows: np.ndarray, texts: list[str]) -> "KnownTexts":
        """These and some more, given the rows of their occupations."""
        owners = np.concatenate([np.repeat(np.arange(len(self.counts)), self.counts), rows])
        order = np.argsort(owners, kind="stable")
        rounded = np.round(embeddings / self.step).clip(-127, 127).astype(np.int8)
        every = [*self.texts, *texts]
        return KnownTexts(
            np.concatenate([self.embeddings, rounded])[order],
            self.step,
            np.bincount(owners, minlength=len(self.counts)),
            [every[i] for i in order],
            self.sharpness,
        )

    def without(self, held_out: set[tuple[str, str]], codes: list[str]) -> "KnownTexts":
        fewer = copy.copy(self)
        hidden = [i for i, pair in enumerate(self.pairs(codes)) if pair in held_out]
        fewer.hidden = np.array(hidden, dtype=int)
        return fewer

    def pairs(self, codes: list[str]) -> list[tuple[str, str | None]]:
        """All of them as (code, text), given the codes of the occupations."""
        return list(zip(np.repeat(codes, self.counts).tolist(), self.texts, strict=True))

    def closest(self, query: np.ndarray, occupation: int) -> list[tuple[str, float]]:
        """The occupation's texts closest to a unit embedding, best first, each with its cosine."""
        rows = np.setdiff1d(np.arange(*self.starts[occupation : occupation + 2]), self.hidden)
        rows = np.array([row for row in rows if self.texts[row] is not None], dtype=int)
        cosines = self.embeddings[rows] * self.step @ query
        best = np.argsort(-cosines, kind="stable")[:EVIDENCE]
        return [(self.texts[rows[i]], float(cosines[i])) for i in best]
