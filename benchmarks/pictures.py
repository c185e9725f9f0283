"""How far the confidence can be believed, and where the classifier errs: pictures and a table.

    python -m benchmarks.pictures                     # on validation and on our own benchmark
    python -m benchmarks.pictures --sets FOLDER       # confidence on the .tsv files in a folder too

Writes three pictures to benchmarks/pictures/, and prints how many jobs are covered at a least
confidence, and how many of these are right. Validation is made of alternate titles and made-up
postings; there the classifier knows the titles and tasks of the training split alone.
"""

import argparse
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.colors import PowerNorm
from matplotlib.ticker import PercentFormatter
from sklearn.calibration import calibration_curve
from sklearn.metrics import confusion_matrix

from benchmarks.accuracy import OWN_SETS, Set, is_occupation, name_of, read_sets
from common.anchors import made_up_postings
from common.evaluation import THRESHOLDS, hits, wilson
from common.samples import listed_codes, load_data, pairs_of
from common.soc import MAJOR_GROUPS
from common.text import job_texts, normalize
from inference import DATA_DIR, MODEL_DIR, JobClassifier, Ranking

BINS, JOBS_PER_BIN = 10, 30  # of the reliability diagram: fewer bins where there are fewer jobs
DRAWN = 200  # jobs in a set from which it is drawn; the table has all
TOP_K = 5
SHOWN = 0.02  # share of a group's titles from which a confusion is written into its cell


def reliability(results: dict[str, tuple[np.ndarray, np.ndarray]]) -> plt.Figure:
    """Share of right answers over confidence, for each set; prints the table."""
    thresholds = " | ".join(f"from {threshold:.0%}" for threshold in THRESHOLDS[1:])
    print(f"| | n | mean confidence | right | calibration error | {thresholds} |")
    print("|---|---|---|---|---|" + "---|" * len(THRESHOLDS[1:]))
    figure, axes = plt.subplots(figsize=(6.2, 6), layout="constrained")
    axes.plot([0, 1], [0, 1], color="gray", linewidth=1, linestyle=":")
    for name, (confidences, right) in results.items():
        n = len(right)
        bins = max(1, min(BINS, n // JOBS_PER_BIN))
        shares, means = calibration_curve(right, confidences, n_bins=bins, strategy="quantile")
        if n >= DRAWN:
            axes.plot(means, shares, marker="o", markersize=4, label=f"{name} (n = {n:,})")
        cells = [f"{n:,}", f"{confidences.mean():.1%}", f"{right.mean():.1%}"]
        cells.append(f"{np.mean(abs(means - shares)):.1%}")
        for threshold in THRESHOLDS[1:]:
            sure = confidences >= threshold
            cells.append(f"{sure.mean():.0%}: {right[sure].mean():.1%}" if sure.any() else "0%")
        print(f"| {name} | " + " | ".join(cells) + " |")
    axes.set(xlabel="confidence", ylabel="right answers", xlim=(0, 1), ylim=(0, 1), aspect="equal")
    axes.xaxis.set_major_formatter(PercentFormatter(1))
    axes.yaxis.set_major_formatter(PercentFormatter(1))
    axes.grid(alpha=0.3)
    axes.legend(fontsize=8)
    return figure


def accuracy_by_group(
    ranked: list[list[str]], accepted: list[set[str]], own: list[str]
) -> plt.Figure:
    """Top-1 and top-5 accuracy on validation titles of each major group."""
    right, groups = hits(ranked, accepted, 8), np.array([code[:2] for code in own])
    figure, axes = plt.subplots(figsize=(8, 6.5), layout="constrained")
    names = []
    for place, (group, title) in enumerate(MAJOR_GROUPS.items()):
        rows = right[groups == group]
        names.append(f"{title}  {group} (n = {len(rows):,})")
        if len(rows):
            first, among = rows[:, 0].mean(), rows.any(axis=1).mean()
            axes.barh(
                place,
                among,
                color="tab:blue",
                alpha=0.3,
                label=f"top-{TOP_K}" if not place else None,
            )
            axes.barh(place, first, color="tab:blue", label="top-1" if not place else None)
            low, high = wilson(first, len(rows))
            axes.plot([low, high], [place, place], color="black", linewidth=1)
    axes.set(
        xlabel="right answers (line: 95 % interval of top-1)",
        xlim=(0, 1),
        ylim=(len(names) - 0.4, -0.6),
    )
    axes.set_yticks(range(len(names)), names, fontsize=8)
    axes.grid(axis="x", alpha=0.3)
    axes.legend(loc="lower left", ncols=2, fontsize=8, bbox_to_anchor=(0, 1))
    return figure


def confusion(first: list[str], own: list[str]) -> plt.Figure:
    """Which major groups the first answers to validation titles of each major group fall into."""
    groups = list(MAJOR_GROUPS)
    shares = confusion_matrix(
        [code[:2] for code in own], [code[:2] for code in first], labels=groups, normalize="true"
    )
    names = [f"{title}  {group}" for group, title in MAJOR_GROUPS.items()]
    figure, axes = plt.subplots(figsize=(11, 7.5), layout="constrained")
    # The power makes small shares visible
    image = axes.imshow(shares, cmap="Blues", norm=PowerNorm(0.4, 0, 1))
    for row, column in np.argwhere(shares >= SHOWN):
        color = "white" if shares[row, column] > 0.3 else "black"
        share = f"{100 * shares[row, column]:.0f}"
        axes.text(column, row, share, ha="center", va="center", fontsize=7, color=color)
    axes.set_xticks(range(len(groups)), groups, fontsize=8)
    axes.set_yticks(range(len(groups)), names, fontsize=8)
    axes.set(xlabel="major group of the first answer", ylabel="major group of the title")
    figure.colorbar(image, label="share of the group's titles (numbers: per cent)", shrink=0.8)
    return figure


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--sets", type=Path, help="folder with labelled .tsv files")
    parser.add_argument("--model-dir", default=MODEL_DIR, help="folder that train.py saved")
    parser.add_argument(
        "--data-dir", default=DATA_DIR, help="folder that data_preparation.py wrote"
    )
    parser.add_argument(
        "--output-dir", type=Path, default="benchmarks/pictures", help="folder for the pictures"
    )
    args = parser.parse_args()

    data = load_data(Path(args.data_dir))
    classifier = JobClassifier(args.model_dir, args.data_dir)
    held_out = classifier.without(pairs_of(data["val"]))
    samples = [sample for sample in data["val"] if sample["source"] == "alternate_title"]
    postings = made_up_postings(data["val"])
    titles = Set(
        "validation titles",
        [s["anchor"] for s in samples],
        [""] * len(samples),
        [{s["code"]} for s in samples],
    )
    made_up = Set(
        "validation postings",
        [p[0] for p in postings],
        [p[1] for p in postings],
        [{p[2]} for p in postings],
    )
    labelled = read_sets(OWN_SETS) + (read_sets(args.sets) if args.sets else [])
    sets = [titles, made_up, *(texts for texts in labelled if is_occupation(texts).all())]

    def rank(texts: Set) -> Ranking:
        ranker = held_out if texts in (titles, made_up) else classifier
        return ranker.best(
            [job_texts(*job) for job in zip(texts.titles, texts.descriptions, strict=True)], TOP_K
        )

    rankings = {texts.name: rank(texts) for texts in sets}
    codes = {
        name: [[classifier.codes[row] for row in rows] for rows in r.rows]
        for name, r in rankings.items()
    }
    believed = {
        name_of(texts.name): (
            rankings[texts.name].confidences[:, 0],
            hits(codes[texts.name], texts.accepted, 8)[:, 0],
        )
        for texts in sets
    }
    own = [sample["code"] for sample in samples]
    listed = listed_codes(data["train"] + data["val"])
    accepted = [listed[normalize(sample["anchor"])] for sample in samples]
    pictures = {
        "reliability": reliability(believed),
        "accuracy_by_group": accuracy_by_group(codes[titles.name], accepted, own),
        "confusion": confusion([ranked[0] for ranked in codes[titles.name]], own),
    }
    args.output_dir.mkdir(exist_ok=True)
    for name, figure in pictures.items():
        figure.savefig(args.output_dir / f"{name}.png", dpi=120, bbox_inches="tight")


if __name__ == "__main__":
    main()
