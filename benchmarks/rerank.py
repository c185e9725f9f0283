"""Does a cross-encoder, which reads a job and a candidate together, rank the top ten better?

    python -m benchmarks.rerank --sets FOLDER        # an hour on two laptop cores

Trains one from the shipped encoder on titles of the training split, some made noisy or grown into
postings: it sees a job beside each of its ten candidates (title and closest known titles) and
learns to score the right one highest. Its scores, weighted, are then added to the classifier's.
"""

import argparse
import random
import time
from pathlib import Path

import numpy as np
import torch
from sentence_transformers import CrossEncoder
from sentence_transformers.cross_encoder.losses import ListNetLoss
from tqdm import tqdm
from transformers import get_linear_schedule_with_warmup, set_seed

import train
from benchmarks.accuracy import Set, made_up_postings, read_set
from common.samples import listed_codes, load_data
from common.samples import pairs_of as held_out_pairs
from common.text import job_texts, normalize
from inference import DATA_DIR, MODEL_DIR, JobClassifier

CANDIDATES = 10
JOBS_PER_STEP = 32  # as many fit into 8 GB with their candidates
LEARNING_RATE = 5e-5  # usual for a MiniLM cross-encoder
LONG = 100  # characters; anchors as long as this were grown into postings
WEIGHTS = (0.0, 0.01, 0.02, 0.03, 0.05, 0.1)  # of the cross-encoder's logit beside the score
VALIDATION_TITLES = 2000


def candidates_of(classifier: JobClassifier, texts: Set) -> list[list[dict]]:
    jobs = [
        {"title": title, "description": text}
        for title, text in zip(texts.titles, texts.descriptions, strict=True)
    ]
    return classifier.predict_batch(jobs, top_k=CANDIDATES, explain=True)


def pairs_of(texts: Set, ranked: list[list[dict]]) -> tuple[list[str], list[list[str]]]:
    """Jobs, and the texts of their candidates: the title and the closest known titles."""
    jobs = [
        job_texts(title, text)[0]
        for title, text in zip(texts.titles, texts.descriptions, strict=True)
    ]
    documents = [
        [
            "; ".join(
                [
                    row["title"],
                    *(known["text"] for known in row["evidence"] if known["kind"] == "title"),
                ]
            )
            for row in rows
        ]
        for rows in ranked
    ]
    return jobs, documents


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--sets", type=Path, required=True, help="folder with labelled .tsv files")
    parser.add_argument("--model-dir", default=MODEL_DIR, help="folder that train.py saved")
    parser.add_argument(
        "--data-dir", default=DATA_DIR, help="folder that data_preparation.py wrote"
    )
    parser.add_argument("--jobs", type=int, default=6000, help="training jobs, ten candidates each")
    args = parser.parse_args()

    settings = train.Settings()
    data = load_data(Path(args.data_dir))
    label_map = data["label_map"]
    classifier = JobClassifier(args.model_dir, args.data_dir)
    listed = listed_codes(data["train"] + data["val"])
    set_seed(settings.seed)
    rng = random.Random(settings.seed)

    # The titles of the training jobs are held out too, or each would find itself
    titles = [sample for sample in data["train"] if sample["source"] == "alternate_title"]
    sampled = rng.sample(titles, args.jobs)
    without = classifier.without(held_out_pairs([*data["val"], *sampled]))
    rows = [{**sample, "label": label_map[sample["code"]]} for sample in sampled]
    anchors = train.anchor_maker(settings, data)(rows)
    split = [
        anchor.partition(". ")[::2] if len(anchor) > LONG else (anchor, "") for anchor in anchors
    ]
    accepted = [listed[normalize(sample["anchor"])] for sample in sampled]
    training = Set("training", [title for title, _ in split], [text for _, text in split], accepted)
    ranked = candidates_of(without, training)
    jobs, documents = pairs_of(training, ranked)
    relevant = [
        [row["code"] in right for row in rows] for rows, right in zip(ranked, accepted, strict=True)
    ]
    usable = [
        i for i, hits in enumerate(relevant) if any(hits)
    ]  # nothing to learn where no candidate is right

    model = CrossEncoder(
        str(args.model_dir),
        num_labels=1,
        max_length=settings.max_seq_length,
        local_files_only=True,
        model_kwargs={"dtype": torch.float32},
    )
    loss = ListNetLoss(model, mini_batch_size=16)
    steps = len(usable) // JOBS_PER_STEP
    optimizer = torch.optim.AdamW(model.parameters(), lr=LEARNING_RATE, fused=True)
    schedule = get_linear_schedule_with_warmup(optimizer, steps // 10, steps)
    bf16 = train.bf16_supported(model.device)
    rng.shuffle(usable)
    model.train()
    for step in (progress := tqdm(range(steps), desc="training", unit="step")):
        batch = usable[step * JOBS_PER_STEP : (step + 1) * JOBS_PER_STEP]
        labels = [10 * torch.tensor(relevant[i], dtype=torch.float32) for i in batch]
        with torch.autocast(model.device.type, dtype=torch.bfloat16, enabled=bf16):
            value = loss([[jobs[i] for i in batch], [documents[i] for i in batch]], labels)
        value.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        optimizer.zero_grad()
        progress.set_postfix(loss=f"{value.item():.3f}")
    model.eval()

    held = [sample for sample in data["val"] if sample["source"] == "alternate_title"]
    held = rng.sample(held, VALIDATION_TITLES)
    validation = Set(
        "validation titles",
        [sample["anchor"] for sample in held],
        [""] * len(held),
        [listed[normalize(sample["anchor"])] for sample in held],
    )
    print("\n| top-1 / top-5 by weight | " + " | ".join(map(str, WEIGHTS)) + " | ms a job |")
    print("|---|" + "---|" * (len(WEIGHTS) + 1))
    postings = made_up_postings(data)
    for texts in (
        validation,
        postings,
        *(read_set(path) for path in sorted(args.sets.glob("*.tsv"))),
    ):
        ranked = candidates_of(without if texts in (validation, postings) else classifier, texts)
        jobs, documents = pairs_of(texts, ranked)
        flat = [
            (job, document) for job, row in zip(jobs, documents, strict=True) for document in row
        ]
        start = time.perf_counter()
        logits = model.predict(flat, batch_size=32, show_progress_bar=False).reshape(
            len(jobs), CANDIDATES
        )
        milliseconds = 1000 * (time.perf_counter() - start) / len(jobs)
        scores = np.array([[row["score"] for row in rows] for rows in ranked])
        right = np.array(
            [
                [row["code"] in codes for row in rows]
                for rows, codes in zip(ranked, texts.accepted, strict=True)
            ]
        )
        cells = []
        for weight in WEIGHTS:
            order = np.argsort(-(scores + weight * logits), axis=1)[:, :5]
            hit = np.take_along_axis(right, order, axis=1)
            cells.append(f"{100 * hit[:, 0].mean():.1f} / {100 * hit.any(axis=1).mean():.1f}")
        print(f"| {texts.name} | " + " | ".join(cells) + f" | {milliseconds:.0f} |", flush=True)


if __name__ == "__main__":
    main()
