"""Fits the two layers of common/layers.py to all text of training, in minutes on a laptop."""

import logging
import math
import random
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from scipy.sparse import csr_matrix
from tqdm import tqdm

from common.anchors import AnchorMaker
from common.encoders import ENCODERS, default_backend
from common.layers import BUCKETS, LAYERS_FILE, SCALE, ngrams, save_layers
from common.no_occupation import REASONS
from common.samples import WRITTEN_DUTIES, Sample
from common.sentences import SENTENCES_FILE
from common.written import read_no_occupation

OTHERS_WEIGHT = 3.0  # of a text that is not of coders, as of a title that they coded ten times
BATCH = 2048  # texts a step
EPOCHS, LEARNING_RATE = 6, 3e-3  # of the layer on embeddings; the rate falls linearly to zero
NGRAM_EPOCHS, NGRAM_LEARNING_RATE = 8, 5e-3
WIDTH = 256  # of an n-gram's row; with 128 a point is lost, more would not fit the cache
# Without these the layer knows texts by heart. Left-out n-grams also teach it misspelt words.
DROPOUT, LEFT_OUT = 0.3, 0.2


log = logging.getLogger("train")

Row = tuple[str, dict[str, float], float]  # text, shares of the classes, weight


def fit_layers(
    folder: Path,
    samples: list[Sample],
    make_anchors: AnchorMaker,
    duties_repeated: int,
    max_seq_length: int,
) -> dict[str, int]:
    """Fit the layers and save them beside a saved encoder, with what chooses sentences.

    The layer on embeddings is fitted to anchors as the encoder's training has them, the layer on
    letters to the texts as they are, and both to answers that are no occupation.

    Args:
        samples: of training.
        duties_repeated: anchors that are made of the same duties.

    Returns:
        For the manifest: how many texts and anchors, and the seconds it took.
    """
    start, rng, classes = time.perf_counter(), random.Random(make_anchors.seed), make_anchors.codes
    anchors: list[Row] = []
    texts: list[Row] = []
    for sample in samples:
        text, code, source = sample["anchor"], sample["code"], sample["source"]
        shares, weight = sample.get("shares", {code: 1.0}), sample.get("weight", OTHERS_WEIGHT)
        texts.append((text, shares, weight))
        for _ in range(duties_repeated if source == WRITTEN_DUTIES else 1):
            anchors.append((make_anchors.anchor(text, code, source, rng), shares, weight))
    none = [(text, {reason: 1.0}, OTHERS_WEIGHT) for reason, text in read_no_occupation()]
    if len(texts) > len(none):  # beside a few texts the layers would take all for none
        classes = [*classes, *REASONS]
        anchors, texts = anchors + none, texts + none
    log.info(f"fitting two layers to {len(texts):,} texts and {len(anchors):,} anchors")
    to_anchors, to_texts = fitted(anchors, classes), fitted(texts, classes)
    encoder = ENCODERS[default_backend(folder)](folder, max_seq_length)
    embeddings = encoder.encode(to_anchors.texts, show_progress_bar=True)
    tensors = fit_embedding_layer(embeddings, to_anchors, make_anchors.seed)
    tensors |= fit_ngram_layer(to_texts, make_anchors.seed)
    save_layers(tensors, classes, folder / LAYERS_FILE)
    make_anchors.chooser.save(folder / SENTENCES_FILE)
    seconds = round(time.perf_counter() - start)
    return {"texts": len(texts), "anchors": len(anchors), "seconds": seconds}


class Fitted(NamedTuple):
    """What a layer is fitted to."""

    texts: list[str]
    targets: csr_matrix  # share of each class, shape (texts, classes)
    weights: np.ndarray  # shape (texts,)


def fitted(rows: list[Row], classes: list[str]) -> Fitted:
    """The rows as a layer is fitted to them."""
    column_of = {name: column for column, name in enumerate(classes)}
    texts, shares, weights = zip(*rows, strict=True)
    places = [(row, column_of[name]) for row, of in enumerate(shares) for name in of]
    values = [share for of in shares for share in of.values()]
    shape = (len(rows), len(classes))
    targets = csr_matrix((values, tuple(zip(*places, strict=True))), shape, dtype=np.float32)
    return Fitted(list(texts), targets, np.array(weights, dtype=np.float32))


def fit_embedding_layer(embeddings: np.ndarray, to: Fitted, seed: int) -> dict[str, np.ndarray]:
    """The tensors "weight" and "bias", given the unit embeddings of the texts."""
    torch.manual_seed(seed)
    inputs = torch.from_numpy(embeddings)
    layer = torch.nn.Linear(embeddings.shape[1], to.targets.shape[1])
    torch.nn.init.zeros_(layer.weight)
    optimizer = torch.optim.Adam(layer.parameters(), LEARNING_RATE)
    minimise(lambda rows: layer(inputs[rows] * SCALE), to, [optimizer], EPOCHS, "embedding layer")
    return halved({"weight": layer.weight, "bias": layer.bias})


def fit_ngram_layer(to: Fitted, seed: int) -> dict[str, np.ndarray]:
    """The tensors "rows", "steps", "ngram_weight" and "ngram_bias"."""
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    found = [ngrams(text) for text in tqdm(to.texts, desc="n-grams", unit="title")]
    bags = torch.nn.EmbeddingBag(BUCKETS, WIDTH, mode="sum", sparse=True)
    torch.nn.init.normal_(bags.weight, 0, 0.05)
    layer = torch.nn.Linear(WIDTH, to.targets.shape[1])

    def logits(batch: torch.Tensor) -> torch.Tensor:
        kept = [found[i][rng.random(len(found[i])) >= LEFT_OUT] for i in batch]
        counts = np.array([len(terms) for terms in kept])
        starts = torch.from_numpy(np.cumsum(counts) - counts)
        shares = np.repeat(counts.clip(1) ** -0.5, counts).astype(np.float32)
        terms = torch.from_numpy(np.concatenate(kept))
        means = bags(terms, starts, per_sample_weights=torch.from_numpy(shares))
        return layer(torch.nn.functional.dropout(means, DROPOUT))

    optimizers = [
        torch.optim.SparseAdam(bags.parameters(), NGRAM_LEARNING_RATE),
        torch.optim.Adam(layer.parameters(), NGRAM_LEARNING_RATE),
    ]
    minimise(logits, to, optimizers, NGRAM_EPOCHS, "n-gram layer")
    rows = bags.weight.detach().numpy()
    rows[np.bincount(np.concatenate(found), minlength=BUCKETS) == 0] = 0  # never seen
    steps = np.abs(rows).max(axis=1, keepdims=True).clip(1e-6) / 127
    tensors = {"rows": np.round(rows / steps).astype(np.int8), "steps": steps.astype(np.float32)}
    return tensors | halved({"ngram_weight": layer.weight, "ngram_bias": layer.bias})


def minimise(
    logits: Callable[[torch.Tensor], torch.Tensor],
    to: Fitted,
    optimizers: list[torch.optim.Optimizer],
    epochs: int,
    name: str,
) -> None:
    """Minimise the weighted cross-entropy, given what computes the logits of some texts."""
    n = len(to.texts)
    steps = epochs * math.ceil(n / BATCH)
    schedules = [torch.optim.lr_scheduler.LinearLR(o, 1, 0, steps) for o in optimizers]
    with tqdm(total=steps, desc=name, unit="step") as bar:
        for _ in range(epochs):
            for rows in torch.randperm(n).split(BATCH):
                shares = torch.from_numpy(to.targets[rows.numpy()].toarray())
                weights = torch.from_numpy(to.weights[rows.numpy()])
                losses = torch.nn.functional.cross_entropy(logits(rows), shares, reduction="none")
                loss = (losses * weights).sum() / weights.sum()
                for optimizer in optimizers:
                    optimizer.zero_grad()
                loss.backward()
                for optimizer, schedule in zip(optimizers, schedules, strict=True):
                    optimizer.step()
                    schedule.step()
                bar.update()
                bar.set_postfix(loss=f"{loss.item():.3f}", refresh=False)


def halved(parameters: dict[str, torch.Tensor]) -> dict[str, np.ndarray]:
    return {name: value.detach().half().numpy() for name, value in parameters.items()}
