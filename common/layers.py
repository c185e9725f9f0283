"""Two layers that tell how likely a job is each occupation, or none: one reads the embedding of a
text, the other the letters of a title."""

import json
import zlib
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np
from safetensors import safe_open
from safetensors.numpy import save_file

from common.no_occupation import REASONS

LAYERS_FILE = "layers.safetensors"
SCALE = 20.0  # of unit embeddings before their layer, as of the cosines in training
LENGTHS = (3, 4, 5)  # letters of an n-gram
BUCKETS = 1 << 16  # that words and n-grams are hashed to; twice as many gain nothing
UNKNOWN = -100.0  # logit of an occupation that the layers were not fitted to


def ngrams(title: str) -> np.ndarray:
    """Hashes of the words of a title, the pairs of neighbours, and the words' n-grams of letters.

    Each once and in ascending order, as in fastText (Joulin et al. 2017,
    https://arxiv.org/abs/1607.01759).
    """
    letters = (c if c.isalnum() else " " if c.isspace() else f" {c} " for c in title.casefold())
    words = "".join(letters).split()
    found = {bucket(" ".join(pair)) for pair in zip(["^", *words], [*words, "$"], strict=True)}
    found.update(*map(of_word, words))
    return np.array(sorted(found), dtype=np.int64)


@lru_cache(100_000)
def of_word(word: str) -> tuple[int, ...]:
    framed = f"<{word}>"
    parts = (framed[i : i + n] for n in LENGTHS for i in range(len(framed) - n + 1))
    return tuple(map(bucket, (word, *parts)))


def bucket(term: str) -> int:
    return zlib.crc32(term.encode()) % BUCKETS


class Layers:
    """Both layers, for the occupations of an index.

    The tensors are "weight" and "bias" of the layer on embeddings, shape (classes, dimensions) and
    (classes,); "rows", int8, and "steps" of the hashed n-grams, (BUCKETS, width) and (BUCKETS, 1);
    "ngram_weight" and "ngram_bias" of the layer on their mean, (classes, width) and (classes,).
    """

    def __init__(
        self, tensors: dict[str, np.ndarray], classes: Sequence[str], codes: Sequence[str]
    ) -> None:
        """
        Args:
            classes: that the layers were fitted to: O*NET-SOC codes and REASONS.
            codes: of the occupations to tell, whose logits come first, those of the reasons after.
        """
        row_of = {name: row for row, name in enumerate(classes)}
        rows = [row_of.get(name, -1) for name in [*codes, *REASONS]]
        tensors = {name: value.astype(np.float32) if name != "rows" else value
                   for name, value in tensors.items()}  # fmt: skip
        self.occupations = len(codes)
        self.rows, self.steps = tensors["rows"], tensors["steps"]
        self.weight = tensors["weight"][rows].T * SCALE
        self.bias = tensors["bias"][rows]
        self.ngram_weight = tensors["ngram_weight"][rows].T
        self.ngram_bias = tensors["ngram_bias"][rows]
        for bias in (self.bias, self.ngram_bias):
            bias[np.array(rows) < 0] = UNKNOWN

    @classmethod
    def load(cls, path: Path, codes: Sequence[str]) -> "Layers":
        with safe_open(path, "numpy") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}
            return cls(tensors, json.loads(file.metadata()["classes"]), codes)

    def by_embedding(self, embeddings: np.ndarray) -> np.ndarray:
        """Logits, given unit embeddings: of the occupations and then of REASONS, (texts, both)."""
        return embeddings @ self.weight + self.bias

    def by_letters(self, titles: list[str]) -> np.ndarray:
        """The same, given titles."""
        means = np.zeros((len(titles), len(self.ngram_weight)), dtype=np.float32)
        for mean, title in zip(means, titles, strict=True):
            found = ngrams(title)
            mean[:] = self.steps[found, 0] @ self.rows[found].astype(np.float32)
            mean /= len(found) ** 0.5
        return means @ self.ngram_weight + self.ngram_bias

    def log_probabilities(self, logits: np.ndarray) -> np.ndarray:
        """Of the occupations, as if every text were one, shape (texts, occupations)."""
        occupations = logits[:, : self.occupations]
        return occupations - log_sum_exp(occupations)

    def no_occupation(
        self, by_embedding: np.ndarray, by_letters: np.ndarray
    ) -> tuple[np.ndarray, list[str]]:
        """The log-odds that titles are no occupation, shape (titles,), and the likeliest reasons.

        By the mean of both layers' logits, since each is unsure of other titles.
        """
        logits = (by_embedding + by_letters) / 2
        occupations, reasons = np.split(logits, [self.occupations], axis=1)
        names = list(REASONS)
        odds = (log_sum_exp(reasons) - log_sum_exp(occupations))[:, 0]
        return odds, [names[column] for column in reasons.argmax(axis=1)]


def log_sum_exp(logits: np.ndarray) -> np.ndarray:
    """Shape (texts, 1)."""
    largest = logits.max(axis=1, keepdims=True)
    return largest + np.log(np.exp(logits - largest).sum(axis=1, keepdims=True))


def save_layers(tensors: dict[str, np.ndarray], classes: Sequence[str], path: Path) -> None:
    # safetensors writes what is not C-ordered wrongly
    tensors = {name: np.ascontiguousarray(value) for name, value in tensors.items()}
    save_file(tensors, path, metadata={"classes": json.dumps(list(classes))})
