"""Training pairs per second: the plain recipe against train.py's, turn about in one run.

    python -m benchmarks.training_speed            # as benchmarks.speed does on made-up data

Plain is what sentence-transformers' examples do: random batches of 32 (anchor, label text) pairs,
both padded to the longest of the batch, float32 (and the same in bf16). Needs processed_data/;
takes about 3 minutes on two laptop cores.
"""

import os
import platform
import statistics
import time
from collections import defaultdict
from pathlib import Path

import numpy as np
import torch
from sentence_transformers.sentence_transformer.losses import MultipleNegativesRankingLoss

import train
from common.batches import DistinctLabelCollator
from common.losses import DistinctLabelRankingLoss
from common.samples import load_data
from common.validation import embed

ROUNDS = 7  # of which the first, slower one does not count
SECONDS_PER_TURN = 6.0


def features_of(
    batch: dict[str, torch.Tensor],
) -> tuple[list[dict[str, torch.Tensor]], torch.Tensor]:
    """The groups of texts in a DistinctLabelCollator's batch, and what they are, for the loss."""
    labels = batch.pop("label")
    groups = defaultdict(dict)
    for key, value in batch.items():
        _, group, name = key.split("_", 2)
        groups[group][name] = value
    return list(groups.values()), labels


def compare(data_dir: str) -> None:
    """Measure the recipes on the data in a folder, and print them."""
    settings = train.Settings(data_dir=data_dir)
    data = load_data(Path(settings.data_dir))
    label_map = data["label_map"]
    label_texts = [texts[settings.label_mode] for texts in data["corpus"].values()]
    listed = train.listed_labels(data["train"], label_map)
    dataset = train.pairs_dataset(
        train.of_sources(data["train"], list(train.SOURCES[:4])), label_map
    )
    model, _ = train.load_base_model(settings.base_model)
    model.max_seq_length = settings.max_seq_length
    sampler = train.neighbour_sampler(settings, embed(model, label_texts))(
        dataset,
        batch_size=settings.batch_size * settings.anchors_per_label,
        drop_last=False,
        seed=settings.seed,
    )
    make_anchors = train.anchor_maker(settings, data)
    collator = DistinctLabelCollator(
        model, label_texts, listed, make_anchors, settings.length_ratio
    )
    ours, plain = DistinctLabelRankingLoss(model), MultipleNegativesRankingLoss(model)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-9, fused=True)
    rng = np.random.default_rng(settings.seed)

    def plain_batches():
        while True:
            rows = dataset[rng.choice(len(dataset), 32, replace=False).tolist()]
            columns = (rows["anchor"], [label_texts[label] for label in rows["label"]])
            yield [model.preprocess(column) for column in columns], None, len(rows["anchor"])

    def our_batches():
        for indices in sampler:
            yield *features_of(collator([dataset[i] for i in indices])), len(indices)

    recipes = {
        "plain, float32": (plain_batches(), plain, False),
        "plain, bf16": (plain_batches(), plain, True),
        "train.py, float32": (our_batches(), ours, False),
        "train.py, bf16": (our_batches(), ours, True),
    }
    rates = {name: [] for name in recipes}
    model.train()
    for _ in range(ROUNDS):
        for name, (batches, loss, bf16) in recipes.items():
            pairs, start = 0, time.perf_counter()
            while (elapsed := time.perf_counter() - start) < SECONDS_PER_TURN:
                features, labels, count = next(batches)
                with torch.autocast(model.device.type, dtype=torch.bfloat16, enabled=bf16):
                    value = loss(features, labels)
                value.backward()
                optimizer.step()
                optimizer.zero_grad()
                pairs += count
            rates[name].append(pairs / elapsed)

    machine = f"{platform.machine()}, {os.cpu_count()} cores, {model.device.type}"
    print(f"{machine}, torch {torch.__version__}, {ROUNDS - 1} rounds, seed {settings.seed}")
    print(f"{'recipe':<20}{'pairs/s (median)':>18}{'range':>14}{'times plain':>14}{'3 epochs':>12}")
    baseline = statistics.median(rates["plain, float32"][1:])
    for name, values in rates.items():
        middle = statistics.median(values[1:])
        spread = f"{min(values[1:]):.0f}-{max(values[1:]):.0f}"
        print(
            f"{name:<20}{middle:>18.0f}{spread:>14}{middle / baseline:>14.1f}"
            f"{3 * len(dataset) / middle / 60:>8.0f} min"
        )


if __name__ == "__main__":
    compare(train.Settings().data_dir)
