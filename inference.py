"""Rank all O*NET-SOC occupations for a job title and description.

    python inference.py                                  # demo: ten postings and a summary
    python inference.py "ICU Nurse"                      # one title
    python inference.py "Data Analyst" "Builds reports and dashboards in SQL." --top-k 3

or from Python:

    from inference import JobClassifier
    JobClassifier().predict("ICU Nurse", top_k=3)        # [{"rank", "score", "code", "title"}, ...]

The label text of every occupation and the 53,209 titles and 17,491 tasks that O*NET lists for them
are encoded once and kept as matrices. A job is compared with the label texts (title and description
together), with the known titles (title alone, and both together) and, if it has a description, with
the known tasks. Its score for an occupation is the mean of these cosines, from -1 to 1: it ranks,
it is no probability.
"""

import argparse
import copy
import hashlib
import json
import os
import sys
import time
from pathlib import Path
from typing import NamedTuple

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
INDEX_VERSION = "2"  # raise it when the index holds other things
ENCODE_BATCH = 32  # texts at a time; more gains nothing on a CPU
RANK_BLOCK = 256  # jobs ranked at a time: 256 x 53,209 title cosines are 54 MB
KINDS = ("title", "task")  # of known texts
EVIDENCE = 3  # known texts of each kind that explain an answer
# Sharpness of the soft maximum over an occupation's known texts. At 30 a few close titles count for
# more than a single one; from 20 to 50 the accuracy on validation hardly changes.
SHARPNESS = 30.0

# ------------------------------------------------------------------------------ classifier


class KnownTexts(NamedTuple):
    """Texts of one kind, titles or tasks, that O*NET lists for its occupations."""

    embeddings: np.ndarray  # (distinct texts, dimensions), unit rows
    rows: list[np.ndarray]  # by occupation: which of the texts it has; a text may stand under several
    texts: list[str] | None  # where data_dir has them

    def cosines(self, queries: np.ndarray) -> np.ndarray:
        """Cosines of all texts to unit embeddings, shape (queries, distinct texts)."""
        # By torch, whose threads are the encoder's: numpy's own would stand in their way
        with torch.autocast("cpu", enabled=False):  # in float32 even where the caller encodes in 16 bits
            return (torch.from_numpy(queries) @ torch.from_numpy(self.embeddings).T).numpy()

    def soft_maximum(self, cosines: np.ndarray, otherwise: np.ndarray) -> np.ndarray:
        """Log-sum-exp of the cosines over each occupation's texts, shape (queries, occupations).

        Cut off at 1: many close texts say more than one, but none is closer than the text itself.
        `otherwise`, of the same shape, stands in for an occupation that has no texts.
        """
        counts = np.array([len(rows) for rows in self.rows])
        starts = (np.cumsum(counts) - counts)[counts > 0]
        sums = np.add.reduceat(np.exp(SHARPNESS * (cosines - 1))[:, np.concatenate(self.rows)], starts, axis=1)
        maximum = otherwise.copy()
        maximum[:, counts > 0] = np.minimum(1, 1 + np.log(sums) / SHARPNESS)
        return maximum

    def closest(self, cosines: np.ndarray, occupation: int) -> list[tuple[str, float]]:
        """The occupation's texts of the highest cosines, best first, each with its cosine."""
        rows = self.rows[occupation]
        best = rows[np.argsort(-cosines[rows], kind="stable")][:EVIDENCE]
        return [(self.texts[row], float(cosines[row])) for row in best]


class JobClassifier:
    """Ranks occupations by how close a job is to their label texts, their known titles and their known tasks."""

    def __init__(
        self, model_dir: str | Path = MODEL_DIR, data_dir: str | Path = DATA_DIR, label_mode: str = "title_desc"
    ) -> None:
        """
        Args:
            model_dir: folder that train.py saved.
            data_dir: folder that data_preparation.py wrote. It need not exist: the model folder
                has its own index. Where it exists, the texts of the known titles and tasks are at hand.
            label_mode: "title", "title_desc" or "full_text"; must be the one the model was trained with.

        Raises:
            FileNotFoundError: no trained model in model_dir, or no index and no data either.
            ValueError: the model was trained with another label_mode, or the data are of an earlier version.
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
        self.known: dict[str, KnownTexts] = {}  # by kind
        self._build_index()

    def _build_index(self) -> None:
        """Set all that jobs are compared with: from a saved index that fits, else by encoding.

        A saved index fits when it was made from this model and this label mode and, where
        data_dir has a corpus, from its label texts, titles and tasks. A new one is saved with the
        model if that has none yet (so train.py gets it there), else in data_dir.

        Raises:
            FileNotFoundError: there is neither a fitting index nor a corpus to build one from.
        """
        with open(self.model_dir / "model.safetensors", "rb") as file:
            model = hashlib.file_digest(file, "sha256").hexdigest()
        made_from = {"version": INDEX_VERSION, "label_mode": self.label_mode, "model": model}
        corpus_path = self.data_dir / "corpus.json"
        corpus = json.loads(corpus_path.read_text(encoding="utf-8")) if corpus_path.is_file() else None
        if corpus is not None:
            if any("tasks" not in texts for texts in corpus.values()):
                raise ValueError(f"{corpus_path} is of an earlier version: run python data_preparation.py again")
            used = ("title", self.label_mode, *(f"{kind}s" for kind in KINDS))
            labels = {code: [texts[name] for name in used] for code, texts in corpus.items()}
            made_from["labels"] = hashlib.sha256(json.dumps(labels).encode()).hexdigest()

        shipped, cached = self.model_dir / INDEX_FILE, self.data_dir / INDEX_FILE
        for path in (shipped, cached):
            if path.is_file():
                with safe_open(path, framework="numpy") as index:
                    metadata = index.metadata()
                    if made_from.items() <= metadata.items():
                        self._set_index(metadata, {name: index.get_tensor(name) for name in index.keys()}, corpus)
                        return
        if corpus is None:
            raise FileNotFoundError(
                f"no {INDEX_FILE} in {self.model_dir} fits its model, and {corpus_path} is missing: "
                "run python data_preparation.py and try again"
            )
        tensors = {"label_embeddings": self._encode([texts[self.label_mode] for texts in corpus.values()])}
        for kind in KINDS:
            listed = [texts[f"{kind}s"] for texts in corpus.values()]
            row_of = {text: row for row, text in enumerate(distinct(listed))}
            embeddings = self._encode(list(row_of), show_progress_bar=True)
            step = np.abs(embeddings).max() / 127  # known texts are kept in 8 bits: a quarter of the size
            tensors |= {
                f"{kind}_embeddings": np.round(embeddings / step).astype(np.int8),
                f"{kind}_step": np.array([step], dtype=np.float32),
                f"{kind}_rows": np.array([row_of[text] for texts in listed for text in texts], dtype=np.int32),
                f"{kind}_counts": np.array([len(texts) for texts in listed], dtype=np.int32),
            }
        titles = [texts["title"] for texts in corpus.values()]
        metadata = made_from | {"codes": json.dumps(list(corpus)), "titles": json.dumps(titles)}
        path = cached if shipped.is_file() else shipped
        staged = path.with_name(f".{path.name}.{os.getpid()}")  # several processes may do this at once
        save_file(tensors, staged, metadata=metadata)
        os.replace(staged, path)
        self._set_index(metadata, tensors, corpus)

    def _set_index(self, metadata: dict[str, str], tensors: dict[str, np.ndarray], corpus: dict | None) -> None:
        self.codes, self.titles = json.loads(metadata["codes"]), json.loads(metadata["titles"])
        self.label_embeddings = tensors["label_embeddings"]
        self.known = {
            kind: KnownTexts(
                tensors[f"{kind}_embeddings"] * tensors[f"{kind}_step"],
                np.split(tensors[f"{kind}_rows"], np.cumsum(tensors[f"{kind}_counts"])[:-1]),
                corpus and distinct([texts[f"{kind}s"] for texts in corpus.values()]),
            )
            for kind in KINDS
        }

    def without(self, held_out: set[tuple[str, str]]) -> "JobClassifier":
        """A classifier that does not know some titles and tasks, so that it can be measured on them.

        Args:
            held_out: {(O*NET-SOC code, known title or task), ...}

        Raises:
            FileNotFoundError: data_dir, which has the texts of the known titles and tasks, is missing.
        """
        self._require_known_texts()
        fewer = copy.copy(self)
        fewer.known = {
            kind: known._replace(
                rows=[
                    np.array([row for row in rows if (code, known.texts[row]) not in held_out], dtype=np.int32)
                    for code, rows in zip(self.codes, known.rows, strict=True)
                ]
            )
            for kind, known in self.known.items()
        }
        return fewer

    def _encode(self, texts: list[str], show_progress_bar: bool = False) -> np.ndarray:
        """Unit embeddings, float32, shape (texts, dimensions)."""
        return self.model.encode(
            texts,
            batch_size=ENCODE_BATCH,
            normalize_embeddings=True,
            convert_to_numpy=True,
            show_progress_bar=show_progress_bar,
        ).astype(np.float32, copy=False)

    def _scores(
        self, whole: np.ndarray, titles: np.ndarray, described: np.ndarray
    ) -> tuple[np.ndarray, dict[str, np.ndarray]]:
        """Scores of all occupations for some jobs.

        Args:
            whole, titles: embeddings of title and description together, and of the title alone,
                shape (jobs, dimensions) each.
            described: whether a job has a description, shape (jobs,).

        Returns:
            The scores (jobs, occupations): the mean of the cosines of the whole text to the label
            text, of the title to the known titles, of the whole text to the known titles (where
            there is no description the same once more) and, for a job with a description, of the
            whole text to the known tasks. And by kind the cosines of all known texts: of titles to
            the titles, shape (jobs, known titles), of tasks to the whole texts, shape (described
            jobs, known tasks).
        """
        known_titles, known_tasks, jobs = self.known["title"], self.known["task"], len(titles)
        labels = whole @ self.label_embeddings.T
        to_titles = known_titles.cosines(np.concatenate([titles, whole[described]]))
        to_tasks = known_tasks.cosines(whole[described])
        # An occupation of which no texts of a kind are known is judged by the rest
        by_titles = known_titles.soft_maximum(to_titles, np.concatenate([labels, labels[described]]))
        by_whole = by_titles[:jobs].copy()
        by_whole[described] = by_titles[jobs:]
        scores = (labels + by_titles[:jobs] + by_whole) / 3
        by_tasks = known_tasks.soft_maximum(to_tasks, scores[described])
        scores[described] = (3 * scores[described] + by_tasks) / 4
        return scores, {"title": to_titles[:jobs], "task": to_tasks}

    def predict(self, job_title: str, job_description: str = "", top_k: int = 5, explain: bool = False) -> list[dict]:
        """The top_k occupations for one job, best first.

        Args:
            job_title: as it stands on the posting; must not be blank.
            job_description: any length; the model reads its first 256 tokens, about 200 words.
            top_k: from 1 to the number of occupations.
            explain: add "evidence", the occupation's known titles that are closest to the job title
                and, where there is a description, its known tasks that are closest to the whole.

        Returns:
            [{"rank": 1, "score": mean cosine, "code": O*NET-SOC code, "title": occupation}, ...]
            and with explain also "evidence": [{"kind": "title" or "task", "text", "score": cosine}, ...]

        Raises:
            TypeError: a text is not a string, or top_k not an integer.
            ValueError: a blank title, or top_k out of range.
            FileNotFoundError: explain needs the texts of the known titles and tasks, and data_dir is missing.
        """
        return self._rank([job_texts(job_title, job_description)], top_k, explain)[0]

    def predict_batch(self, jobs: list[dict], top_k: int = 3, explain: bool = False) -> list[list[dict]]:
        """The top_k occupations for each of many jobs, faster than one by one.

        Args:
            jobs: [{"title": ..., "description": ...}, ...]; the description may be left out.
            top_k, explain: as for predict.

        Returns:
            One list per job, in the order of jobs, as from predict.

        Raises:
            TypeError, ValueError: as from predict, naming the job by its place; or jobs is empty.
            FileNotFoundError: as from predict.
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
                texts.append(job_texts(job["title"], job.get("description")))
            except (TypeError, ValueError) as error:
                raise type(error)(f"jobs[{i}]: {error}") from None
        return self._rank(texts, top_k, explain)

    def _rank(self, texts: list[tuple[str, str]], top_k: int, explain: bool) -> list[list[dict]]:
        """Rank the occupations for pairs as job_texts returns them."""
        if isinstance(top_k, bool) or not isinstance(top_k, (int, np.integer)):
            raise TypeError(f"top_k must be an integer, not {top_k!r:.80}")
        if not 1 <= top_k <= len(self.codes):
            raise ValueError(f"top_k is {top_k}, but must be from 1 to {len(self.codes):,}, the number of occupations")
        if explain:
            self._require_known_texts()
        whole = dict.fromkeys(text for text, _ in texts)
        alone = dict.fromkeys(title for _, title in texts if title not in whole)
        row_of = {text: row for row, text in enumerate([*whole, *alone])}
        # One after the other: in one batch, short titles would be padded to the length of long postings
        queries = np.concatenate([self._encode(list(part)) for part in (whole, alone) if part])
        label_rows, title_rows = np.array([[row_of[text] for text in pair] for pair in texts]).T
        ranked = []
        for start in range(0, len(texts), RANK_BLOCK):
            block = slice(start, start + RANK_BLOCK)
            described = label_rows[block] != title_rows[block]
            scores, cosines = self._scores(queries[label_rows[block]], queries[title_rows[block]], described)
            best = np.argpartition(-scores, top_k - 1, axis=1)[:, :top_k]
            # argpartition leaves the best in no order: sort them, equal scores by code
            best = np.take_along_axis(best, np.lexsort((best, -np.take_along_axis(scores, best, axis=1))), axis=1)
            for job, occupations in enumerate(best):
                rows = []
                for rank, i in enumerate(occupations, start=1):
                    score = float(scores[job, i])
                    rows.append({"rank": rank, "score": score, "code": self.codes[i], "title": self.titles[i]})
                    if explain:
                        compared = {"title": cosines["title"][job]}
                        if described[job]:
                            compared["task"] = cosines["task"][described[:job].sum()]
                        rows[-1]["evidence"] = [
                            {"kind": kind, "text": text, "score": score}
                            for kind, to_texts in compared.items()
                            for text, score in self.known[kind].closest(to_texts, i)
                        ]
                ranked.append(rows)
        return ranked

    def _require_known_texts(self) -> None:
        if any(known.texts is None for known in self.known.values()):
            raise FileNotFoundError(
                f"the texts of the known titles and tasks are in {self.data_dir / 'corpus.json'}, which is missing: "
                "run python data_preparation.py"
            )


def distinct(listed: list[list[str]]) -> list[str]:
    """The texts of all lists, each once, in order of appearance."""
    return list(dict.fromkeys(text for texts in listed for text in texts))


def job_texts(title: str, description: str | None = "") -> tuple[str, str]:
    """The two texts that are encoded for a job: title and description joined as in the label texts, and the title."""
    if description is None or description != description:  # a table's missing value: None or NaN
        description = ""
    for name, text in (("title", title), ("description", description)):
        if not isinstance(text, str):
            raise TypeError(f"the job {name} must be a string, not {type(text).__name__} ({text!r:.80})")
    title, description = title.strip(), description.strip()
    if not title:
        raise ValueError("the job title is empty")
    return f"{title}. {description}" if description else title, title


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
        for known in row.get("evidence", []):
            print(f"         {known['score']:.3f}  {known['kind']}: {known['text']}")


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description="Rank O*NET-SOC occupations for a job; without a title, run the demo.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument("title", nargs="?", help="job title")
    parser.add_argument("description", nargs="?", default="", help="job description")
    parser.add_argument("--top-k", type=int, default=3, help="occupations to list")
    parser.add_argument("--explain", action="store_true", help="list the known titles and tasks closest to the job")
    parser.add_argument("--model-dir", default=MODEL_DIR, help="folder that train.py saved")
    parser.add_argument("--data-dir", default=DATA_DIR, help="folder that data_preparation.py wrote; need not exist")
    parser.add_argument("--label-mode", default="title_desc", help="the one the model was trained with")
    args = parser.parse_args(argv)
    try:
        classifier = JobClassifier(args.model_dir, args.data_dir, args.label_mode)
        if args.title is None:
            run_demo(classifier, args.top_k)
        else:
            print_ranking(classifier.predict(args.title, args.description, args.top_k, args.explain))
    except (OSError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
