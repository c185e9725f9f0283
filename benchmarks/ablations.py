"""What each part of the training recipe gains: short runs that differ from a base in one thing.

    python -m benchmarks.ablations                     # every variant, 7 minutes each on two cores
    python -m benchmarks.ablations --sets FOLDER       # also measured on the .tsv files in a folder
    python -m benchmarks.ablations --variants base "random batches" --steps 300

All variants see the same number of anchors, 256 a step (the plain recipe 32). Each is measured on
validation (titles, tasks, and postings made up of both) and on the sets, all in 16-bit arithmetic
where the hardware has it. Finished variants are kept in --results and are not run again.
"""

import argparse
import json
import os
import platform
from collections import defaultdict
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from tqdm import tqdm
from transformers import get_linear_schedule_with_warmup, set_seed

import train
from benchmarks.accuracy import Set, classifier_of, coder, made_up_postings, read_set, shares
from benchmarks.training_speed import features_of
from common.batches import DistinctLabelCollator as Collator
from common.files import write_json
from common.losses import NO_PAIR, POSITIVE, DistinctLabelRankingLoss
from common.samples import listed_codes, load_data, pairs_of
from common.text import normalize
from common.validation import embed

RESULTS = Path("output/ablations.json")
VALIDATION = ("titles", "tasks", "postings")

ANCHORS_PER_STEP = 256
ALL_SOURCES = ["standard_title", "alternate_title", "title_description", "task", "skill",
               "knowledge", "ability", "technology", "tool"]  # fmt: skip
# What sentence-transformers' examples do: random batches of 32 pairs, at their learning rate
PLAIN = {
    "sources": ALL_SOURCES, "noise": 0.0, "postings": 0.0, "neighbours": 1,
    "batch_size": 32, "anchors_per_label": 1, "learning_rate": 2e-5,
}  # fmt: skip
# The recipe that the variants depart from, where it differs from train.py's defaults
BASE = {
    "sources": ["standard_title", "alternate_title", "title_description", "task"],
    "noise": 0.3,
    "postings": 0.15,
}


class LabelLoss(DistinctLabelRankingLoss):
    """Ranks the label texts alone."""

    def rank(self, embeddings: torch.Tensor, relation: torch.Tensor) -> torch.Tensor:
        return self.rank_labels(embeddings, relation)


class SymmetricLoss(DistinctLabelRankingLoss):
    """Also asks each label text to find its own anchors among those of the batch."""

    def rank(self, embeddings: torch.Tensor, relation: torch.Tensor) -> torch.Tensor:
        positive, pair = relation == POSITIVE, relation != NO_PAIR
        scores = (self.similarity_fct(embeddings, embeddings) * self.scale).masked_fill(
            ~pair, -torch.inf
        )
        is_label = positive.any(dim=0)
        own = scores.masked_fill(~positive, -torch.inf)[:, is_label].logsumexp(0)
        backward = (scores[:, is_label].logsumexp(0) - own).mean()
        return (self.rank_labels(embeddings, relation) + backward) / 2


class Variant(NamedTuple):
    settings: dict[str, Any] = {}
    loss: type[DistinctLabelRankingLoss] = LabelLoss
    mask_listed: bool = True  # other occupations listed for an anchor's very text are no negatives
    mine_every: int = (
        0  # steps after which neighbours are looked up again with the model as it is then
    )
    averaging: float = (
        0.0  # decay, by step, of a moving average of the weights, which is what is measured
    )


VARIANTS = {
    "base": Variant(),
    "another seed": Variant({"seed": 43}),
    "all sources": Variant({"sources": ALL_SOURCES}),
    "titles alone": Variant({"sources": ["standard_title", "alternate_title"]}),
    "no noise": Variant({"noise": 0.0}),
    "no postings": Variant({"postings": 0.0}),
    "random batches": Variant({"neighbours": 1}),
    "title to title": Variant(loss=DistinctLabelRankingLoss),
    "symmetric loss": Variant(loss=SymmetricLoss),
    "listed as negatives": Variant(mask_listed=False),
    "title labels": Variant({"label_mode": "title"}),
    "full_text labels": Variant({"label_mode": "full_text"}),
    "64 occupations x 4": Variant({"batch_size": 64, "anchors_per_label": 4}),
    "learning rate 5e-5": Variant({"learning_rate": 5e-5}),
    "learning rate 3e-4": Variant({"learning_rate": 3e-4}),
    "mined again": Variant(mine_every=50),
    "averaged weights": Variant(averaging=0.97),
    "16 occupations x 16": Variant({"batch_size": 16, "anchors_per_label": 16}),
    "scale 30": Variant({"scale": 30.0}),
    "plain recipe": Variant(PLAIN, mask_listed=False),
}


def fit(variant: Variant, settings: train.Settings, data: dict, steps: int) -> tuple[Any, int]:
    """Train for some steps as train.py would; returns the model and the tokens it read."""
    set_seed(settings.seed)
    label_map, label_texts = (
        data["label_map"],
        [texts[settings.label_mode] for texts in data["corpus"].values()],
    )
    listed = train.listed_labels(data["train"] + data["val"], label_map)
    dataset = train.pairs_dataset(train.of_sources(data["train"], settings.sources), label_map)
    model, _ = train.load_base_model(settings.base_model)
    model.max_seq_length = settings.max_seq_length
    sampler = train.neighbour_sampler(settings, embed(model, label_texts))(
        dataset,
        batch_size=settings.batch_size * settings.anchors_per_label,
        drop_last=False,
        seed=settings.seed,
    )
    collator = Collator(
        model,
        label_texts,
        listed if variant.mask_listed else defaultdict(set),
        train.anchor_maker(settings, data),
        settings.length_ratio,
    )
    loss = variant.loss(model, scale=settings.scale)
    optimizer = torch.optim.AdamW(
        model.parameters(), lr=settings.learning_rate, weight_decay=0.0, fused=True
    )
    schedule = get_linear_schedule_with_warmup(optimizer, int(settings.warmup * steps), steps)
    if variant.averaging:
        average = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(variant.averaging))
    bf16, tokens = train.bf16_supported(model.device), 0
    model.train()
    batches = iter(sampler)
    for step in tqdm(range(1, steps + 1), desc="training", unit="step"):
        features, labels = features_of(collator([dataset[i] for i in next(batches)]))
        tokens += sum(int(group["attention_mask"].sum()) for group in features)
        with torch.autocast(model.device.type, dtype=torch.bfloat16, enabled=bf16):
            value = loss(features, labels)
        value.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        optimizer.zero_grad()
        if variant.averaging:
            average.update_parameters(model)
        if variant.mine_every and step % variant.mine_every == 0:
            sampler.nearest = train.nearest_labels(settings, embed(model.eval(), label_texts))
            model.train()
    if variant.averaging:
        model = average.module
    return model.eval(), tokens


def validation_sets(data: dict) -> list[Set]:
    """Titles and tasks of the validation split, and postings made up of both."""
    listed = listed_codes(data["train"] + data["val"])
    sets = []
    for name, source in (("titles", "alternate_title"), ("tasks", "task")):
        anchors = [sample["anchor"] for sample in data["val"] if sample["source"] == source]
        sets.append(
            Set(
                name,
                anchors,
                [""] * len(anchors),
                [listed[normalize(anchor)] for anchor in anchors],
            )
        )
    return [*sets, made_up_postings(data)._replace(name="postings")]


def measure(
    model: Any, settings: train.Settings, data: dict, sets: list[Set]
) -> dict[str, list[float]]:
    """Top-1 and top-5 on every set; on validation, only texts of the training split are known."""
    result = {}
    with torch.autocast(
        model.device.type, dtype=torch.bfloat16, enabled=train.bf16_supported(model.device)
    ):
        classifier = classifier_of(model, settings.label_mode, settings.data_dir)
        without = classifier.without(pairs_of(data["val"]))
        for texts in sets:
            rank = coder(without if texts.name in VALIDATION else classifier)
            first, _, fifth = shares(rank(texts.titles, texts.descriptions), texts.accepted)
            result[texts.name] = [float(first), float(fifth)]
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--sets", type=Path, help="folder with labelled .tsv files")
    parser.add_argument(
        "--data-dir", default="processed_data", help="folder that data_preparation.py wrote"
    )
    parser.add_argument("--steps", type=int, default=140, help="steps of 256 anchors")
    parser.add_argument(
        "--variants", nargs="+", choices=VARIANTS, default=list(VARIANTS), metavar="VARIANT"
    )
    parser.add_argument("--results", type=Path, default=RESULTS, help="figures, kept as they come")
    args = parser.parse_args()

    data = load_data(Path(args.data_dir))
    sets = validation_sets(data)
    if args.sets:
        sets += [read_set(path) for path in sorted(args.sets.glob("*.tsv"))]
    columns = [texts.name for texts in sets]
    results = json.loads(args.results.read_text()) if args.results.is_file() else {}
    for name in args.variants:
        done = results.get(name, {"steps": 0, "figures": {}})
        if done["steps"] != args.steps or not set(columns) <= set(done["figures"]):
            print(f"\n{name}", flush=True)
            settings = replace(
                train.Settings(data_dir=args.data_dir), **BASE | VARIANTS[name].settings
            )
            steps = (
                args.steps * ANCHORS_PER_STEP // (settings.batch_size * settings.anchors_per_label)
            )
            model, tokens = fit(VARIANTS[name], settings, data, steps)
            figures = measure(model, settings, data, sets)
            results[name] = {"steps": args.steps, "tokens": tokens, "figures": figures}
            args.results.parent.mkdir(parents=True, exist_ok=True)
            write_json(args.results, results)

    print(
        f"\n{platform.machine()}, {os.cpu_count()} cores, torch {torch.__version__}, "
        f"{args.steps} steps\n"
    )
    print("| variant | tokens | " + " | ".join(columns) + " |\n|---|---|" + "---|" * len(columns))
    for name in args.variants:
        row = results[name]
        cells = [
            " / ".join(f"{100 * share:.1f}" for share in row["figures"][column])
            for column in columns
        ]
        print(f"| {name} | {row['tokens']:,} | " + " | ".join(cells) + " |")


if __name__ == "__main__":
    main()
