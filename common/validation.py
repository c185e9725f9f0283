"""How well an encoder ranks the occupations by their label texts: measured, told and drawn."""

import logging
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")  # the curve goes to a file; most training machines have no screen
import matplotlib.pyplot as plt
import numpy as np
import torch
from sentence_transformers import SentenceTransformer
from sentence_transformers.base.evaluation import BaseEvaluator
from transformers import ProgressCallback

from common.evaluation import TOP_K
from common.samples import Sample
from common.text import normalize

BEST_METRIC = "any_listed/all/top1"  # by which the best checkpoint is chosen

log = logging.getLogger("train")


def embed(model: SentenceTransformer, texts: list[str]) -> torch.Tensor:
    """Unit embeddings, shape (texts, dimensions)."""
    return model.encode(
        texts,
        batch_size=128,
        normalize_embeddings=True,
        convert_to_tensor=True,
        show_progress_bar=False,
    )


class OccupationEvaluator(BaseEvaluator):
    """Top-1/3/5 accuracy on all validation samples, overall and by source, by the label text alone.

    Counted twice: "own_code" accepts only the sample's own code, "any_listed" any occupation that
    O*NET lists for that very text (6,819 titles of O*NET 30.1 stand under several).
    """

    def __init__(
        self,
        samples: list[Sample],
        label_map: dict[str, int],
        label_texts: list[str],
        listed: dict[str, set[int]],
    ) -> None:
        super().__init__()
        self.primary_metric = BEST_METRIC
        self.label_texts = label_texts
        self.anchors = [sample["anchor"] for sample in samples]
        self.own = np.array([label_map[sample["code"]] for sample in samples])
        self.listed = [listed[normalize(anchor)] for anchor in self.anchors]
        self.sources = np.array([sample["source"] for sample in samples])

    def __call__(
        self,
        model: SentenceTransformer,
        output_path: str | None = None,
        epoch: int = -1,
        steps: int = -1,
    ) -> dict[str, float]:
        return self.accuracy(model, embed(model, self.label_texts))

    def accuracy(self, model: SentenceTransformer, labels: torch.Tensor) -> dict[str, float]:
        """The same, given the model's unit embeddings of the label texts."""
        scores = embed(model, self.anchors) @ labels.T
        ranked = scores.topk(min(max(TOP_K), scores.shape[1])).indices.cpu().numpy()
        listed = [
            [label in right for label in row]
            for row, right in zip(ranked.tolist(), self.listed, strict=True)
        ]
        metrics = {}
        hits = {"own_code": ranked == self.own[:, None], "any_listed": np.array(listed)}
        for counting, hit in hits.items():
            for source in ["all", *dict.fromkeys(self.sources)]:
                rows = hit if source == "all" else hit[self.sources == source]
                for k in TOP_K:
                    share = float(rows[:, :k].any(axis=1).mean())
                    metrics[f"{counting}/{source}/top{k}"] = share
        return metrics


def accuracy_table(metrics: dict[str, float], counts: dict[str, int]) -> str:
    """Top-1/3/5 by source as lines of text, own code and any listed code side by side."""
    headings = "own code: top-1/3/5", "any listed: top-1/3/5"
    lines = [f"{'source':<20}{'n':>8}   {headings[0]:>24}   {headings[1]:>24}"]
    for source, n in {"all": sum(counts.values()), **counts}.items():
        line = f"{source:<20}{n:>8,}"
        for counting in ("own_code", "any_listed"):
            shares = [metrics[f"{counting}/{source}/top{k}"] for k in TOP_K]
            line += "   " + "".join(f"{share:>8.1%}" for share in shares)
        lines.append(line)
    return "\n".join(lines)


class ReadableProgress(ProgressCallback):
    """The trainer's progress bar, with its logged dictionaries written as lines for people."""

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **kwargs: Any) -> None:
        where = f"step {state.global_step:>6,}/{state.max_steps:,}  epoch {state.epoch:.2f}"
        if "loss" in logs:
            rate = f"learning rate {logs['learning_rate']:.2e}"
            log.info(f"{where}  loss {logs['loss']:.4f}  {rate}")
        elif f"eval_{BEST_METRIC}" in logs:
            shares = []
            for counting in ("own_code", "any_listed"):
                found = [logs[f"eval_{counting}/all/top{k}"] for k in TOP_K]
                shares.append(" / ".join(f"{share:.1%}" for share in found))
            log.info(f"{where}  top-1/3/5: own code {shares[0]}, any listed {shares[1]}")


def plot_curve(history: list[dict], before: dict[str, float], path: Path) -> None:
    """Draw the training loss and the validation accuracy, by the label text alone."""
    figure, (left, right) = plt.subplots(1, 2, figsize=(10, 3.6), layout="constrained")
    losses = [(row["epoch"], row["loss"]) for row in history if "loss" in row]
    left.plot(*zip(*losses, strict=True), color="tab:gray")
    left.set(xlabel="epoch", ylabel="training loss", ylim=(0, None))
    colors = dict(zip(TOP_K, ("tab:blue", "tab:orange", "tab:green"), strict=True))
    for counting, style, meaning in (
        ("any_listed", "-", "any listed code"),
        ("own_code", ":", "own code"),
    ):
        for k, color in colors.items():
            key = f"{counting}/all/top{k}"
            points = [(0, before[key])]
            points += [
                (row["epoch"], row[f"eval_{key}"]) for row in history if f"eval_{key}" in row
            ]
            epochs, shares = zip(*points, strict=True)
            label = f"top-{k}, {meaning}: {shares[-1]:.1%}"
            right.plot(epochs, shares, style, color=color, marker=".", label=label)
    right.set(xlabel="epoch", ylabel="validation accuracy", ylim=(0, 1))
    right.grid(alpha=0.3)
    right.legend(fontsize=8)
    figure.savefig(path, dpi=120)
    plt.close(figure)
