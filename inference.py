"""Rank all O*NET-SOC occupations for a job title and description.

    python inference.py                                  # demo: ten postings and a summary
    python inference.py "ICU Nurse"                      # one title
    python inference.py "Data Analyst" "Builds reports and dashboards in SQL." --top-k 3

or from Python:

    from inference import JobClassifier
    JobClassifier().predict("ICU Nurse", top_k=3)        # [{"rank", "score", "code", "title"}, ...]

The label texts of all occupations are encoded once and kept as one matrix; a query costs one
encoding and one matrix product. A score is a cosine, from -1 to 1: it ranks, it is no probability.
"""

import argparse
import hashlib
import json
import os
import sys
import time
from pathlib import Path

import numpy as np
import torch
from safetensors import safe_open
from safetensors.numpy import save_file
from sentence_transformers import SentenceTransformer
from transformers.utils import logging as transformers_logging

transformers_logging.disable_progress_bar()  # it would show the loading of 103 tensors, a third of a second

# ------------------------------------------------------------------------------ settings

MODEL_DIR = "output/job_classifier"
DATA_DIR = "processed_data"
MANIFEST_FILE = "manifest.json"  # in the model folder, written by train.py
INDEX_FILE = "label_index.safetensors"  # in the model folder, and in the data folder as a cache
ENCODE_BATCH = 32  # texts at a time; more gains nothing on a CPU

# ------------------------------------------------------------------------------ classifier


class JobClassifier:
    """Ranks occupations by the cosine between a job's embedding and each occupation's label embedding."""

    def __init__(
        self, model_dir: str | Path = MODEL_DIR, data_dir: str | Path = DATA_DIR, label_mode: str = "title_desc"
    ) -> None:
        """
        Args:
            model_dir: folder that train.py saved.
            data_dir: folder that data_preparation.py wrote. It need not exist: the model folder
                has its own label index.
            label_mode: "title", "title_desc" or "full_text"; must be the one the model was trained with.

        Raises:
            FileNotFoundError: no trained model in model_dir, or no label index and no data either.
            ValueError: the model was trained with another label_mode.
        """
        self.model_dir, self.data_dir, self.label_mode = Path(model_dir), Path(data_dir), label_mode
        for name in (MANIFEST_FILE, "model.safetensors"):
            if not (self.model_dir / name).is_file():
                raise FileNotFoundError(
                    f"no trained model in {self.model_dir} ({name} is missing): run python train.py"
                )
        manifest = json.loads((self.model_dir / MANIFEST_FILE).read_text(encoding="utf-8"))
        trained_mode = manifest["settings"]["label_mode"]
        if label_mode != trained_mode:
            raise ValueError(f"label_mode is {label_mode!r}, but {self.model_dir} was trained with {trained_mode!r}")
        # The file holds half precision; a CPU computes faster and more exactly in float32.
        self.model = SentenceTransformer(
            str(self.model_dir), model_kwargs={"dtype": torch.float32}, local_files_only=True
        )
        self.codes: list[str] = []
        self.titles: list[str] = []
        self.label_embeddings = np.empty((0, 0), dtype=np.float32)  # (occupations, dimensions), unit rows
        self._build_index()

    def _build_index(self) -> None:
        """Set codes, titles and label_embeddings: from a saved index that fits, else by encoding every label.

        A saved index fits when it was made from this model and this label mode and, where
        data_dir has a corpus, from its label texts. A new one is saved with the model if that
        has none yet (so train.py gets it there), else in data_dir.

        Raises:
            FileNotFoundError: there is neither a fitting index nor a corpus to build one from.
        """
        with open(self.model_dir / "model.safetensors", "rb") as file:
            made_from = {"label_mode": self.label_mode, "model": hashlib.file_digest(file, "sha256").hexdigest()}
        corpus_path = self.data_dir / "corpus.json"
        corpus = json.loads(corpus_path.read_text(encoding="utf-8")) if corpus_path.is_file() else None
        if corpus is not None:
            labels = [(code, texts["title"], texts[self.label_mode]) for code, texts in corpus.items()]
            made_from["labels"] = hashlib.sha256(json.dumps(labels).encode()).hexdigest()

        shipped, cached = self.model_dir / INDEX_FILE, self.data_dir / INDEX_FILE
        for path in (shipped, cached):
            if path.is_file():
                with safe_open(path, framework="numpy") as index:
                    metadata = index.metadata()
                    if made_from.items() <= metadata.items():
                        self.codes, self.titles = json.loads(metadata["codes"]), json.loads(metadata["titles"])
                        self.label_embeddings = index.get_tensor("label_embeddings")
                        return
        if corpus is None:
            raise FileNotFoundError(
                f"no {INDEX_FILE} in {self.model_dir} fits its model, and {corpus_path} is missing: "
                "run python data_preparation.py and try again"
            )
        self.codes, self.titles, texts = (list(column) for column in zip(*labels, strict=True))
        self.label_embeddings = self._encode(texts)
        metadata = made_from | {"codes": json.dumps(self.codes), "titles": json.dumps(self.titles)}
        path = cached if shipped.is_file() else shipped
        staged = path.with_name(f".{path.name}.{os.getpid()}")  # several processes may do this at once
        save_file({"label_embeddings": self.label_embeddings}, staged, metadata=metadata)
        os.replace(staged, path)

    def _encode(self, texts: list[str]) -> np.ndarray:
        """Unit embeddings, float32, shape (texts, dimensions)."""
        return self.model.encode(
            texts, batch_size=ENCODE_BATCH, normalize_embeddings=True, convert_to_numpy=True, show_progress_bar=False
        ).astype(np.float32, copy=False)

    def predict(self, job_title: str, job_description: str = "", top_k: int = 5) -> list[dict]:
        """The top_k occupations for one job, best first.

        Args:
            job_title: as it stands on the posting; must not be blank.
            job_description: any length; the model reads its first 256 tokens, about 200 words.
            top_k: from 1 to the number of occupations.

        Returns:
            [{"rank": 1, "score": cosine, "code": O*NET-SOC code, "title": occupation}, ...]

        Raises:
            TypeError: a text is not a string, or top_k not an integer.
            ValueError: a blank title, or top_k out of range.
        """
        return self._rank([job_text(job_title, job_description)], top_k)[0]

    def predict_batch(self, jobs: list[dict], top_k: int = 3) -> list[list[dict]]:
        """The top_k occupations for each of many jobs, faster than one by one.

        Args:
            jobs: [{"title": ..., "description": ...}, ...]; the description may be left out.
            top_k: from 1 to the number of occupations.

        Returns:
            One list per job, in the order of jobs, as from predict.

        Raises:
            TypeError, ValueError: as from predict, naming the job by its place; or jobs is empty.
        """
        if not isinstance(jobs, list | tuple):
            raise TypeError(
                f"jobs must be a list of dicts, not {type(jobs).__name__} (of a table: df.to_dict('records'))"
            )
        if not jobs:
            raise ValueError("jobs is empty: give at least one {'title': ..., 'description': ...}")
        texts = []
        for i, job in enumerate(jobs):
            if not isinstance(job, dict) or "title" not in job:
                raise TypeError(
                    f"jobs[{i}] must be a dict with a 'title' (and perhaps a 'description'), not {job!r:.80}"
                )
            try:
                texts.append(job_text(job["title"], job.get("description")))
            except (TypeError, ValueError) as error:
                raise type(error)(f"jobs[{i}]: {error}") from None
        return self._rank(texts, top_k)

    def _rank(self, texts: list[str], top_k: int) -> list[list[dict]]:
        if isinstance(top_k, bool) or not isinstance(top_k, (int, np.integer)):
            raise TypeError(f"top_k must be an integer, not {top_k!r:.80}")
        if not 1 <= top_k <= len(self.codes):
            raise ValueError(f"top_k is {top_k}, but must be from 1 to {len(self.codes):,}, the number of occupations")
        scores = self._encode(texts) @ self.label_embeddings.T
        best = np.argpartition(-scores, top_k - 1, axis=1)[:, :top_k]
        # argpartition leaves the best in no order: sort them, equal scores by code
        order = np.lexsort((best, -np.take_along_axis(scores, best, axis=1)))
        return [
            [
                {"rank": rank, "score": float(row[i]), "code": self.codes[i], "title": self.titles[i]}
                for rank, i in enumerate(ranked, start=1)
            ]
            for row, ranked in zip(scores, np.take_along_axis(best, order, axis=1), strict=True)
        ]


def job_text(title: str, description: str | None = "") -> str:
    """The text that is encoded for a job: title and description joined as in the label texts."""
    if description is None or description != description:  # a table's missing value: None or NaN
        description = ""
    for name, text in (("title", title), ("description", description)):
        if not isinstance(text, str):
            raise TypeError(f"the job {name} must be a string, not {type(text).__name__} ({text!r:.80})")
    title, description = title.strip(), description.strip()
    if not title:
        raise ValueError("the job title is empty")
    return f"{title}. {description}" if description else title


# ------------------------------------------------------------------------------ demo

# Postings of our own, each with the codes that a careful human coder would accept.
DEMO = [
    (
        "Senior Software Engineer",
        "You will design and build the services behind our booking platform in Python and Go, review the code of "
        "your colleagues, write automated tests and keep the systems fast while traffic grows. Five years of "
        "experience with distributed systems and relational databases are expected.",
        {"15-1252.00", "15-1254.00"},
    ),
    (
        "ICU Nurse",
        "Our 24-bed intensive care unit is looking for a registered nurse to care for critically ill patients: "
        "monitor vital signs and ventilators, titrate drips, respond to emergencies and keep families informed. "
        "An RN licence, ACLS and one year in critical care are required. Rotating shifts.",
        {"29-1141.03", "29-1141.00"},
    ),
    (
        "Marketing Manager",
        "Lead a team of four, plan the yearly marketing budget, set campaign strategy across search, social media "
        "and trade fairs, and report to the board what each channel brought in new customers.",
        {"11-2021.00"},
    ),
    (
        "Electrician",
        "Install and repair wiring, lighting, breaker panels and motors in commercial buildings. Read blueprints, "
        "bend conduit, test circuits and keep to the electrical code. Journeyman licence and own hand tools needed.",
        {"47-2111.00"},
    ),
    (
        "Data Scientist",
        "Turn large sets of customer data into predictions: build and validate machine learning models in Python, "
        "design experiments, and explain to product teams what the statistics do and do not say.",
        {"15-2051.00"},
    ),
    (
        "HR Coordinator",
        "Support recruiting and onboarding: post vacancies, schedule interviews, check references, keep personnel "
        "files in order and answer the questions of employees about benefits and leave.",
        {"13-1071.00", "43-4161.00"},
    ),
    (
        "Construction Project Manager",
        "Run the building of a school from groundwork to handover: schedule subcontractors, control costs, hold the "
        "site meetings, see that plans and safety rules are kept, and report progress to the owner.",
        {"11-9021.00"},
    ),
    (
        "Customer Service Representative",
        "Answer calls and chats of customers about orders, invoices and returns, settle complaints, enter changes "
        "in the system and pass on what you cannot solve to the right department.",
        {"43-4051.00"},
    ),
    (
        "Financial Analyst",
        "Build forecasts and valuation models, analyse the quarterly figures of companies and the variance against "
        "budget, and prepare recommendations on investments for the finance committee.",
        {"13-2051.00"},
    ),
    (
        "Mechanical Engineer",
        "Design pumps and drive units in SolidWorks, calculate stress and heat, choose materials, supervise "
        "prototype tests and work with manufacturing until the part can be made in series.",
        {"17-2141.00"},
    ),
]


def run_demo(classifier: JobClassifier, top_k: int) -> None:
    """Classify the demo postings one by one, as a user would, and sum up how that went."""
    first, among, scores, seconds = 0, 0, [], []
    for title, description, accepted in DEMO:
        start = time.perf_counter()
        ranked = classifier.predict(title, description, top_k=top_k)
        seconds.append(time.perf_counter() - start)
        scores.append(ranked[0]["score"])
        first += ranked[0]["code"] in accepted
        among += any(row["code"] in accepted for row in ranked)
        print(f"\n{title}\n    {description[:90]}...")
        print_ranking(ranked, accepted)
    n = len(DEMO)
    print(f"\nTop-1 accuracy           {first / n:.0%} ({first}/{n})")
    print(f"Top-{top_k} relevance          {among / n:.0%} ({among}/{n} have an accepted code among the first {top_k})")
    print(f"Average top-1 score      {np.mean(scores):.3f}")
    print(f"Time per prediction      {1000 * np.mean(seconds):.0f} ms (median {1000 * np.median(seconds):.0f} ms)")


def print_ranking(ranked: list[dict], accepted: set[str] = frozenset()) -> None:
    for row in ranked:
        mark = "*" if row["code"] in accepted else " "
        print(f"  {mark} {row['rank']}. {row['score']:.3f}  {row['code']}  {row['title']}")


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description="Rank O*NET-SOC occupations for a job; without a title, run the demo.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument("title", nargs="?", help="job title")
    parser.add_argument("description", nargs="?", default="", help="job description")
    parser.add_argument("--top-k", type=int, default=3, help="occupations to list")
    parser.add_argument("--model-dir", default=MODEL_DIR, help="folder that train.py saved")
    parser.add_argument("--data-dir", default=DATA_DIR, help="folder that data_preparation.py wrote; need not exist")
    parser.add_argument("--label-mode", default="title_desc", help="the one the model was trained with")
    args = parser.parse_args(argv)
    try:
        classifier = JobClassifier(args.model_dir, args.data_dir, args.label_mode)
        if args.title is None:
            run_demo(classifier, args.top_k)
        else:
            print_ranking(classifier.predict(args.title, args.description, top_k=args.top_k))
    except (OSError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
