"""A map of the 1,016 occupations with a job on it: what is close in meaning is close on the map.

    python examples/occupation_map.py "ICU Nurse" "Care for critically ill patients."
    python examples/occupation_map.py "Barista" --output barista.png

The vectors of all label texts and of the job, 384 dimensions each, are laid out in two by t-SNE
(van der Maaten and Hinton 2008). Distances across the map mean little: t-SNE keeps neighbours
together, not proportions.
"""

import argparse
import sys
from pathlib import Path
from textwrap import shorten

import matplotlib

matplotlib.use("Agg")
import matplotlib.patheffects as effects
import matplotlib.pyplot as plt
import numpy as np
from sklearn.manifold import TSNE

PROJECT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(PROJECT))
from common.soc import DIGITS, MAJOR_GROUPS  # noqa: E402
from common.text import job_texts  # noqa: E402
from inference import DATA_DIR, MODEL_DIR, JobClassifier  # noqa: E402

SEED = 42
PERPLEXITY = 20  # neighbours that count: about as many as a SOC minor group has occupations
LINES = 3  # from the job to its first answers
NAMED = 22  # occupations around the job whose names are written beside their dots
OUTLINE = [effects.withStroke(linewidth=2.5, foreground="white")]


def draw(classifier: JobClassifier, title: str, description: str, output: Path) -> None:
    best = classifier.predict(title, description, top_k=LINES)
    if "reason" in best[0]:
        sys.exit(f"{title}: {best[0]['reason']}")
    job = classifier.encoder.encode([classifier.read(job_texts(title, description))[0]])
    vectors = np.concatenate([classifier.index.label_embeddings, job])
    tsne = TSNE(metric="cosine", init="pca", perplexity=PERPLEXITY, random_state=SEED)
    layout = tsne.fit_transform(vectors)
    points, place = layout[:-1], layout[-1]
    groups = np.array([code[: DIGITS[2]] for code in classifier.codes])
    palette = plt.get_cmap("nipy_spectral")(np.linspace(0.03, 0.93, len(MAJOR_GROUPS)))
    colors = dict(zip(MAJOR_GROUPS, palette, strict=True))

    figure, (whole, near) = plt.subplots(1, 2, figsize=(17, 8.5), layout="constrained")
    for axes in (whole, near):
        axes.scatter(*points.T, s=14, color=[colors[group] for group in groups], alpha=0.8)
        axes.scatter(*place, marker="*", s=300, color="black", edgecolor="white", zorder=3)
        axes.set_axis_off()
    for group, name in MAJOR_GROUPS.items():
        members = points[groups == group]
        distances = np.sort(np.linalg.norm(members[:, None] - members, axis=2), axis=1)
        middle = members[distances[:, len(members) // 4].argmin()]  # where the group is densest
        dark = (*(0.6 * colors[group][:3]), 1)
        name = name.replace(" and ", " and\n", 1)
        whole.text(*middle, name, fontsize=8, color=dark, ha="center", path_effects=OUTLINE)

    # The dots around the job, by name
    distances = np.linalg.norm(points - place, axis=1)
    named = np.argsort(distances)[:NAMED]
    reach = 1.1 * distances[named[-1]]
    near.set(xlim=(place[0] - reach, place[0] + reach), ylim=(place[1] - reach, place[1] + reach))
    for row in named:
        dark = (*(0.6 * colors[groups[row]][:3]), 1)
        name = shorten(classifier.titles[row], 40, placeholder=" ...")
        near.annotate(
            name, points[row], (4, 3), textcoords="offset points", fontsize=8, color=dark,
            path_effects=OUTLINE,
        )  # fmt: skip
    for answer in best:
        end = points[classifier.codes.index(answer["code"])]
        near.plot(*zip(place, end, strict=True), color="black", linewidth=0.8)
    answers = (f"{row['confidence']:.0%}  {row['code']}  {row['title']}" for row in best)
    near.set_title("\n".join([title, *answers]), loc="left", fontsize=10)
    whole.set_title("All 1,016 occupations", loc="left", fontsize=10)
    figure.savefig(output, dpi=90)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("title", help="job title")
    parser.add_argument("description", nargs="?", default="", help="job description")
    parser.add_argument(
        "--output", type=Path, default=Path("occupation_map.png"), help="picture to write"
    )
    args = parser.parse_args()
    try:
        draw(
            JobClassifier(PROJECT / MODEL_DIR, PROJECT / DATA_DIR),
            args.title,
            args.description,
            args.output,
        )
    except (OSError, ValueError) as error:
        sys.exit(f"error: {error}")
    print(f"written to {args.output}")


if __name__ == "__main__":
    main()
