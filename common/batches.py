"""Batches for training: neighbouring occupations together, every label text once, lengths alike."""

import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from datasets import Dataset
from sentence_transformers import SentenceTransformer
from sentence_transformers.base.sampler import DefaultBatchSampler

from common.text import normalize


class NeighbourBatchSampler(DefaultBatchSampler):
    """Batches of neighbouring occupations, a few anchors each; every anchor once an epoch.

    Occupations that are alike in the label space are each other's hard negatives. An occupation
    comes up as often as it has anchors left, so all run out at about the same time.
    """

    def __init__(
        self,
        dataset: Dataset,
        *args: Any,
        nearest: np.ndarray,
        anchors_per_label: int,
        neighbours: int,
        **kwargs: Any,
    ) -> None:
        """
        Args:
            dataset: with a column "label", the row of the occupation.
            nearest: (occupations, n) rows of each occupation's n nearest, itself first.
            anchors_per_label, neighbours: see Settings; `batch_size` counts anchors here.
        """
        super().__init__(dataset, *args, **kwargs)
        self.nearest, self.neighbours = nearest, neighbours
        self.anchors: list[list[int]] = [[] for _ in nearest]
        for i, label in enumerate(dataset["label"]):
            self.anchors[label].append(i)
        counts = np.array([len(anchors) for anchors in self.anchors])
        self.chunks = np.ceil(counts / anchors_per_label).astype(int)
        self.labels_per_batch = self.batch_size // anchors_per_label

    def __len__(self) -> int:
        return math.ceil(self.chunks.sum() / self.labels_per_batch)

    def __iter__(self) -> Iterator[list[int]]:
        rng = np.random.default_rng((self.seed, self.epoch))
        queues = []
        for anchors, chunks in zip(self.anchors, self.chunks, strict=True):
            queues.append(np.array_split(rng.permutation(anchors), chunks) if chunks else [])
        left = self.chunks.copy()
        for _ in range(len(self)):
            # free: chunks of occupations that are not in this batch yet
            batch, free = [], left.copy()
            while len(batch) < self.labels_per_batch and left.any():
                if not free.any():
                    free = left.copy()  # few occupations remain: they may come twice
                first = rng.choice(len(free), p=free / free.sum())
                near = self.nearest[first][1:]
                near = near[free[near] > 0]
                if len(near):  # much left is preferred, so that none is left over in the end
                    count = min(self.neighbours - 1, len(near))
                    shares = free[near] / free[near].sum()
                    near = rng.choice(near, count, replace=False, p=shares)
                for label in [first, *near][: self.labels_per_batch - len(batch)]:
                    batch.append(queues[label].pop())
                    left[label] -= 1
                    free[label] = 0
            yield np.concatenate(batch).tolist()


class DistinctLabelCollator:
    """Tokenise a batch: its anchors and its distinct label texts, in groups of similar length.

    All texts stand in descending order of length, cut into groups text_0, text_1, ... that are
    encoded one after the other. "label" says what they are, shape (texts, 2 + n): the row of the
    occupation, 1 for its label text or 0 for an anchor, and the rows of all occupations that O*NET
    lists for an anchor's very text, filled up with NONE.
    """

    NONE = -1
    valid_label_columns = ("label",)  # asked for by SentenceTransformerTrainer

    def __init__(
        self,
        model: SentenceTransformer,
        label_texts: list[str],
        listed: dict[str, set[int]],
        make_anchors: Callable[[list[dict]], list[str]],
        length_ratio: float,
    ) -> None:
        self.tokenizer, self.max_length = model.tokenizer, model.max_seq_length
        self.label_texts, self.listed, self.length_ratio = label_texts, listed, length_ratio
        self.make_anchors = make_anchors
        self.most_listed = max(map(len, listed.values()), default=0)

    def __call__(self, rows: list[dict]) -> dict[str, torch.Tensor]:
        labels = list(dict.fromkeys(row["label"] for row in rows))
        texts = self.make_anchors(rows) + [self.label_texts[label] for label in labels]
        encoded = self.tokenizer(texts, truncation=True, max_length=self.max_length)
        lengths = np.array([len(ids) for ids in encoded["input_ids"]])
        order = np.argsort(-lengths, kind="stable")

        kinds = torch.full((len(texts), 2 + self.most_listed), self.NONE)
        kinds[:, 0] = torch.tensor([row["label"] for row in rows] + labels)
        kinds[:, 1] = torch.tensor([0] * len(rows) + [1] * len(labels))
        for i, row in enumerate(rows):
            listed = list(self.listed.get(normalize(row["anchor"]), ()))
            kinds[i, 2 : 2 + len(listed)] = torch.tensor(listed)
        batch = {"label": kinds[order]}

        start, group = 0, 0
        while start < len(order):
            similar = lengths * self.length_ratio >= lengths[order[start]]
            end = int(np.count_nonzero(similar))
            part = [{key: encoded[key][i] for key in encoded} for i in order[start:end]]
            for key, value in self.tokenizer.pad(part, return_tensors="pt").items():
                batch[f"text_{group}_{key}"] = value
            start, group = end, group + 1
        return batch
