"""Rank all O*NET-SOC occupations for a job title and description.

    python inference.py                                         # demo: ten postings and a summary
    python inference.py "ICU Nurse"                             # one title
    python inference.py "Data Analyst" "Builds reports in SQL." --top-k 3
    python inference.py --input jobs.xlsx                       # a whole file
    cat titles.txt | python inference.py > coded.csv            # a title a line
    python inference.py --evaluate labelled.csv                 # accuracy on labelled jobs of yours

or from Python:

    from inference import JobClassifier
    JobClassifier().predict("ICU Nurse", top_k=3)
    # [{"rank", "score", "code", "title", "confidence"}, ...]

The label text of every occupation, its known titles (O*NET's and our own) and its known tasks and
duties are encoded once and kept as matrices, the index. Of a description the sentences that tell
duties are read. A job is compared with the label texts (title and description together), with the
known titles (title alone, and both together) and, if it has a description, with the known tasks;
two linear layers tell how likely each occupation is, one by the embedding, the other by the letters
of the title. The score for an occupation is the weighted mean of these views and of how many people
have it, from -1 to 1. A softmax over the scores of all occupations gives the confidence: the
probability that the occupation is a right one. How sharp it is was fitted to jobs of our own when
the index was made. What is no occupation ("retired", "n/a", an employer's name) gets no code but
the reason.
"""

import common  # isort: skip  # noqa: F401  # says in one line if this Python is too old

import argparse
import codecs
import copy
import json
import math
import os
import select
import stat
import sys
import tempfile
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from common.coding import FALLBACK, code_file, output_beside, summary
from common.demo import print_ranking, run_demo
from common.encoders import ENCODERS, TOKENIZER_FILE, WEIGHTS, Progress, default_backend
from common.evaluation import evaluate, print_evaluation
from common.files import here_or_beside_scripts, in_one_line, read_json, sha256
from common.index import (
    INDEX_FILE,
    VERSION,
    Index,
    encode_corpus,
    fingerprint,
    log_shares,
    read_index,
    save_index,
)
from common.layers import LAYERS_FILE, Layers
from common.no_occupation import PREFIX, REASONS, reason_of
from common.own_titles import own_pairs
from common.samples import MANIFEST_FILE
from common.sentences import SENTENCES_FILE, SentenceChooser
from common.soc import DIGITS, employment_of, levels
from common.spelling import Speller
from common.tables import FILES, ROWS_PER_PART, WORKBOOK, records_of
from common.text import job_texts, normalize, two_jobs
from common.written import read_titles

# ------------------------------------------------------------------------------ settings

# files
MODEL_DIR = "output/job_classifier"
DATA_DIR = "processed_data"

# How to get what the shipped model lacks, for those who installed just enough to code jobs
PREPARE = "install all (see README: Installation), then python data_preparation.py --download"

# score: weights of what a job is compared by, for a title alone and for a title with a description.
# Those of titles lie near what benchmarks/fit_score.py finds on validation. Those of postings, of
# which validation has hardly any but made-up ones, and that of employment, as validation has all
# occupations alike, were chosen on titles and postings coded by others.
# Whatever is changed here, the next start with processed_data/ makes the index again and fits the
# confidence to the changed score.
VIEWS = (
    "label",  # cosine of the whole text to the label text
    "title",  # cosines of the title to the known titles
    "whole",  # cosines of the whole text to the known titles
    "task",  # cosines of the whole text to the known tasks
    "layer",  # probability of the occupation, given the whole text's embedding
    "letters",  # the same, given the letters of the title
    "employment",  # share of all employed people
)
SCORE: dict[str, Any] = {
    "title": {"label": 0.15, "title": 0.35, "layer": 0.20, "letters": 0.23, "employment": 0.07},
    "posting": {
        "label": 0.30, "title": 0.20, "whole": 0.20, "task": 0.30, "layer": 0.08, "letters": 0.12,
        "employment": 0.10,
    },
    # Of the soft maximum over an occupation's known texts. At 30 a few close titles count for more
    # than a single one; from 20 to 50 the accuracy on validation hardly changes.
    "sharpness": 30.0,
}  # fmt: skip
# Each job in a title such as "Bartender/Server" counts as much less than alone, if it is one: if
# alone some occupation reaches the least score
SECOND_JOB, LEAST_SCORE = 0.05, 0.65
LEAST_PROBABILITY = math.exp(-20)  # and less is -1 on the scale of the cosines, certainty 1

# confidence
# Digits of the groups that an unsure answer may fall back to, deepest first, and what they are
GROUPS = {6: "soc", 3: "minor_group", 2: "major_group"}

# Log-odds of being no occupation, from which on a title gets no code. Of validation titles
# 0.4 % are above it, of answers that are none 95 % and more.
NO_OCCUPATION = -1.5

# command line
NOT_ALL_CODED = 3  # exit code
NEEDED = {  # flags that say nothing without one of others
    "output": ["input"], "no_header": ["input"], "levels": ["input"], "keep_formulas": ["input"],
    "title_column": ["input", "evaluate"], "description_column": ["input", "evaluate"],
    "industry_column": ["input", "evaluate"], "code_column": ["evaluate"],
    "crosswalk": ["evaluate"], "explain": ["title"], "json": ["title", "evaluate"],
    "min_confidence": ["title", "input"],
}  # fmt: skip
PIPE_SECONDS = 0.5  # to wait for the first titles on standard input; --input - waits for ever

# memory
ENCODE_BLOCK = 8192  # jobs whose texts are put in order of length together
RANK_BLOCK = 256  # jobs ranked at a time: 256 x 84,893 title cosines are 87 MB

# ------------------------------------------------------------------------------ classifier


class Ranking(NamedTuple):
    """The best occupations of some jobs, and their likeliest SOC groups, as rows of the labels."""

    rows: np.ndarray  # shape (jobs, top_k), best first
    scores: np.ndarray  # means of the views, shape (jobs, top_k)
    confidences: np.ndarray  # probabilities, shape (jobs, top_k)
    groups: np.ndarray  # first occupation of the likeliest group of 6, 3 and 2 digits, (jobs, 3)
    group_confidences: np.ndarray  # summed probability of that group, shape (jobs, 3)
    reasons: np.ndarray  # why a job is no occupation, "" if it is one, shape (jobs,)


# The one row for a job that is no occupation, besides its reason
NO_ANSWER = {"rank": 1, "score": None, "code": None, "title": None, "confidence": None}


class JobClassifier:
    """Ranks occupations by how close a job is to their label texts, known titles and tasks."""

    def __init__(
        self,
        model_dir: str | Path = MODEL_DIR,
        data_dir: str | Path = DATA_DIR,
        label_mode: str = "title_desc",
        backend: str = "auto",
        max_seq_length: int | None = None,
        own_titles: Any = (),
        employment: Mapping[str, float] | None = None,
    ) -> None:
        """
        Args:
            model_dir: folder that train.py saved; like data_dir, if it is not below the working
                directory, it is looked for beside this script.
            data_dir: folder that data_preparation.py wrote. It need not exist if the model folder
                has an index. Where it exists, the texts of the known titles and tasks are at hand.
            label_mode: "title", "title_desc" or "full_text"; the one the model was trained with.
            backend: what runs the encoder: "onnx" in 8 bits, or "torch" in float32. "auto" takes
                "onnx" if the model folder has its file, else "torch".
            max_seq_length: tokens that are read of a text, by default as many as in training; fewer
                make long postings faster.
            own_titles: further known titles: {job title: code, ...}, [(job title, code), ...], a
                DataFrame or a file with the columns title and code. A job of such a title, if it
                stands there under one code, gets this code; others profit where they resemble it.
                29-1141 means 29-1141.00, the SOC occupation itself.
            employment: employed people by O*NET-SOC or SOC code, in your population. An occupation
                that more people have is likelier; by default as in the United States, and {} lets
                all be alike.

        Raises:
            FileNotFoundError: no trained model in model_dir, or no index and no data; no such file.
            ValueError: the model was trained with another label_mode, the data are of an earlier
                version, a file is damaged or does not belong to the model, backend or
                max_seq_length is none there is, or an own title is blank or its code does not
                mean one occupation.
            ImportError: backend torch is asked for, but only requirements-inference.txt is there.
        """
        self.model_dir, self.data_dir = map(here_or_beside_scripts, (model_dir, data_dir))
        self.label_mode = label_mode
        if backend != "auto" and backend not in ENCODERS:
            raise ValueError(
                f"backend is {backend!r}, but must be one of auto, {', '.join(ENCODERS)}"
            )
        if backend == "auto":
            backend = default_backend(self.model_dir)
        self.backend = backend
        manifest = self._checked_manifest()
        trained = manifest["settings"]
        if label_mode != trained["label_mode"]:
            raise ValueError(
                f"label_mode is {label_mode!r}, but {self.model_dir} was trained with "
                f"{trained['label_mode']!r}"
            )
        longest = trained["max_seq_length"]
        self.max_seq_length = longest if max_seq_length is None else max_seq_length
        if not 3 <= self.max_seq_length <= longest:  # two tokens only frame the text
            raise ValueError(
                f"max_seq_length is {max_seq_length}, but must be from 3 to {longest}, as trained"
            )
        self.encoder = ENCODERS[backend](self.model_dir, self.max_seq_length)
        self.chooser = SentenceChooser.load(self.model_dir / SENTENCES_FILE)
        vocabulary = read_json(self.model_dir / TOKENIZER_FILE)["model"]["vocab"]
        self.speller = Speller((title for title, _ in read_titles()), vocabulary)

        self.own: dict[str, int] = {}  # row of the occupation, by own title
        parts = [manifest["files"][name] for name in (WEIGHTS["torch"], LAYERS_FILE)]
        self._load_index(json.dumps(parts))
        if not isinstance(employment, Mapping | None):
            raise TypeError(f"employment must be {{code: people}}, not {type(employment).__name__}")
        if employment is not None:
            self.index.employment = log_shares(employment_of(employment, self.codes))
        pairs = own_pairs(own_titles, self.codes)
        if pairs:
            self._add_titles(pairs)
        # What answers depend on: the rest of a file must be coded by the same. Lists, as in JSON
        own = [list(pair) for pair in pairs]
        people = None if employment is None else [list(pair) for pair in sorted(employment.items())]
        answers = [self.made_from, self.calibration, SECOND_JOB, LEAST_SCORE, NO_OCCUPATION]
        self.identity = [*answers, self.backend, self.max_seq_length, own, people]

    def _checked_manifest(self) -> dict[str, Any]:
        """The model's manifest, which names the files that belong together by their hashes."""
        needed = (TOKENIZER_FILE, SENTENCES_FILE, LAYERS_FILE, WEIGHTS[self.backend])
        for name in (MANIFEST_FILE, *needed):
            if not (self.model_dir / name).is_file():
                raise FileNotFoundError(
                    f"no trained model in {self.model_dir} ({name} is missing): run python train.py"
                )
        manifest = read_json(self.model_dir / MANIFEST_FILE)
        for name in needed:
            if sha256(self.model_dir / name) != manifest.get("files", {}).get(name):
                raise ValueError(
                    f"{self.model_dir / name} is damaged, or not of the model that was trained: "
                    "run python train.py"
                )
        return manifest

    def predict(
        self,
        job_title: str | None = None,
        job_description: str | None = "",
        top_k: int = 5,
        explain: bool = False,
        min_confidence: float | None = None,
        *,
        title: str | None = None,
        description: str | None = None,
    ) -> list[dict]:
        """The top_k occupations for one job, best first.

        Args:
            job_title: as it stands on the posting; must not be blank.
            job_description: any length; of a long one the sentences that tell duties are read.
            top_k: from 1 to the number of occupations.
            explain: also say how the job came to each answer, see below.
            min_confidence: mark the job for review if the first answer is less sure, from 0 to 1.
            title, description: other names of job_title and job_description, as predict_batch has
                them.

        Returns:
            [{"rank": 1, "score": mean of the views, "code": O*NET-SOC code, "title": occupation,
            "confidence": probability that it is the right one, from 0 to 1}, ...]

            For what is no occupation ("retired", "n/a", an employer's name) one row, in which all
            is None but the rank and "reason".

            With explain also "margin": score less that of the next (None for the last of all),
            "soc": 6-digit SOC code, "broad_group": such as 29-1140, "minor_group": such as 29-1000,
            "major_group": such as 29-0000, the titles of these ("soc_title", ...), and
            "evidence": [{"kind": "label", "title" or "task", "text", "score": cosine}, ...]: the
            occupation's label text, its known titles closest to the job title and, for a job with a
            description, its known tasks closest to the whole. Without data_dir, which has their
            texts, it is the occupation's title, for its label text, and own titles.

            With min_confidence also, the same in all rows, "review": True or False, and for a job
            to review "fallback_code", "fallback_title" and "fallback_confidence" of the deepest SOC
            group, of 6, 3 or 2 digits (29-1141, 29-1000, 29-0000), of which one can be as sure as
            that, else None.

        Raises:
            TypeError: a text is not a string, or top_k not an integer.
            ValueError: a blank title, or top_k or min_confidence out of range.
        """
        two_titles = title is not None and job_title is not None
        if two_titles or (description is not None and job_description):
            raise TypeError("give one title and one description, by either name")
        job_title = job_title if title is None else title
        job_description = job_description if description is None else description
        texts = [job_texts(job_title, job_description)]
        return self._rank(texts, top_k, explain, min_confidence)[0]

    def predict_batch(
        self,
        jobs: Any,
        top_k: int = 3,
        explain: bool = False,
        min_confidence: float | None = None,
        errors: str = "mark",
    ) -> list[list[dict]]:
        """The top_k occupations for each of many jobs, faster than one by one.

        Args:
            jobs: titles, or dicts {"title": ..., "description": ...} of which the description may
                be left out, or both mixed, in a list or the like; or a pandas Series of titles; or
                a DataFrame, whose columns are found as those of files are (see code_file).
            top_k, explain, min_confidence: as for predict.
            errors: what becomes of a job without a title or with another fault: "mark" answers as
                for no occupation, with the reason, and "raise" raises.

        Returns:
            One list per job, in the order of jobs, as from predict.

        Raises:
            TypeError, ValueError: jobs is empty or nothing of the kind; top_k, min_confidence or
                errors is none there is; with "raise" also as from predict, naming the job.
        """
        if errors not in ("mark", "raise"):
            raise ValueError(f"errors is {errors!r}, but must be 'mark' or 'raise'")
        self.check(top_k, min_confidence)
        pairs: dict[int, tuple[str, str]] = {}
        ranked: list[list[dict]] = []
        for i, job in enumerate(records_of(jobs)):
            reason = ""
            try:
                pairs[i] = job_texts(*job)
            except (TypeError, ValueError) as error:
                if errors == "raise":
                    raise type(error)(f"jobs[{i}]: {error}") from None
                reason = str(error)
            ranked.append([NO_ANSWER | {"reason": reason}])
        if pairs:
            found = self._rank(list(pairs.values()), top_k, explain, min_confidence)
            for i, answers in zip(pairs, found, strict=True):
                ranked[i] = answers
        return ranked

    def check(self, top_k: int, min_confidence: float | None) -> None:
        """Raise a TypeError or ValueError if one of them cannot be used."""
        if isinstance(top_k, bool) or not isinstance(top_k, int | np.integer):
            raise TypeError(f"top_k must be an integer, not {top_k!r:.80}")
        n = len(self.codes)
        if not 1 <= top_k <= n:
            raise ValueError(
                f"top_k is {top_k}, but must be from 1 to {n:,}, the number of occupations"
            )
        if min_confidence is not None and not 0 <= min_confidence <= 1:
            raise ValueError(f"min_confidence is {min_confidence}, but must be from 0 to 1")

    def _rank(
        self, texts: list[tuple[str, str]], top_k: int, explain: bool, min_confidence: float | None
    ) -> list[list[dict]]:
        """The answers to pairs as job_texts returns them."""
        self.check(top_k, min_confidence)
        # The last one's margin needs one more
        ranking = self.best(texts, min(top_k + explain, len(self.codes)))
        ranked = []
        for pair, rows, scores, shares, groups, sums, reason in zip(texts, *ranking, strict=True):
            if reason:
                ranked.append([NO_ANSWER | {"reason": reason}])
                continue
            answers = []
            for rank, (row, score, share) in enumerate(zip(rows, scores, shares, strict=True), 1):
                answers.append(
                    {
                        "rank": rank,
                        "score": float(score),
                        "code": self.codes[row],
                        "title": self.titles[row],
                        "confidence": float(share),
                    }
                )
            if explain:
                self._explain(pair, answers, rows)
            if min_confidence is not None:
                review = self.review(shares[0], groups, sums, min_confidence)
                for answer in answers:
                    answer |= review
            ranked.append(answers[:top_k])
        return ranked

    def best(self, texts: list[tuple[str, str]], top_k: int, progress: Progress = None) -> Ranking:
        """The top_k occupations for pairs as job_texts returns them.

        Works through blocks, so that memory does not grow with the number of jobs.

        Args:
            progress: is called now and then with the share of a block that is encoded.
        """
        job_of = {pair: job for job, pair in enumerate(dict.fromkeys(texts))}  # repeated ones once
        blocks = []
        for scores, described, reasons in self.scores(list(job_of), progress):
            sharpness = np.where(described, self.calibration["posting"], self.calibration["title"])
            best = scores.max(axis=1, keepdims=True)
            shares = np.exp(sharpness[:, None] * (scores - best))
            shares /= shares.sum(axis=1, keepdims=True)

            rows = np.argpartition(-scores, top_k - 1, axis=1)[:, :top_k]
            # argpartition leaves the best in no order: sort them, equal scores by code
            order = np.lexsort((rows, -np.take_along_axis(scores, rows, axis=1)))
            rows = np.take_along_axis(rows, order, axis=1)

            groups, sums = [], []
            for starts in self.group_starts:
                by_group = np.add.reduceat(shares, starts, axis=1)
                groups.append(starts[by_group.argmax(axis=1)])
                sums.append(by_group.max(axis=1))
            blocks.append(
                Ranking(
                    rows,
                    np.take_along_axis(scores, rows, axis=1),
                    np.take_along_axis(shares, rows, axis=1),
                    np.stack(groups, axis=1),
                    np.stack(sums, axis=1),
                    reasons,
                )
            )
        jobs = [job_of[pair] for pair in texts]
        return Ranking(*(np.concatenate(parts)[jobs] for parts in zip(*blocks, strict=True)))

    def codes_of(self, ranking: Ranking) -> np.ndarray:
        """The ranked codes, shape (jobs, top_k); "" for what is taken for no occupation."""
        codes = np.array(self.codes)[ranking.rows]
        codes[ranking.reasons != ""] = ""
        return codes

    def scores(
        self, texts: list[tuple[str, str]], progress: Progress = None
    ) -> Iterator[tuple[np.ndarray, ...]]:
        """Scores of all occupations for pairs as job_texts returns them, block by block.

        Yields:
            scores, shape (jobs, occupations), which of these jobs have a description, (jobs,), and
            why they are no occupation, "" if they are, (jobs,)
        """
        for start in range(0, len(texts), ENCODE_BLOCK):
            encoded = [self.read(pair) for pair in texts[start : start + ENCODE_BLOCK]]
            distinct = dict.fromkeys(text for pair in encoded for text in pair)
            row_of = {text: row for row, text in enumerate(distinct)}
            queries = self.encoder.encode(list(row_of), progress=progress)
            whole_rows, title_rows = np.array([[row_of[t] for t in pair] for pair in encoded]).T
            blocks = math.ceil(len(encoded) / RANK_BLOCK)
            for block in np.array_split(np.arange(len(encoded)), blocks):
                wholes, titles = queries[whole_rows[block]], queries[title_rows[block]]
                described = whole_rows[block] != title_rows[block]
                logits = self.logits([encoded[job] for job in block], wholes)
                scores = self.mean(self.views(wholes, titles, logits, described), described)
                given = [texts[start + job][1] for job in block]
                self._add_second_jobs(scores, given, described)
                reasons = self._reasons(given, logits, described)
                for row, title in enumerate(given):
                    own = self.own.get(normalize(title))
                    if own is not None:
                        scores[row, own], reasons[row] = 1, ""
                yield scores, described, reasons

    def _add_second_jobs(
        self, scores: np.ndarray, titles: list[str], described: np.ndarray
    ) -> None:
        """Raise the scores of the occupations of both jobs in a title, see SECOND_JOB.

        Args:
            scores: of some jobs, shape (jobs, occupations).
            titles: as given.
            described: whether a job has a description, which tells more; shape (jobs,).
        """
        jobs = [job for job, title in enumerate(titles) if two_jobs(title) and not described[job]]
        if not jobs:
            return
        parts = [job_texts(part) for job in jobs for part in two_jobs(titles[job])]
        alone, _, reasons = map(np.concatenate, zip(*self.scores(parts), strict=True))
        for job, both, why in zip(
            jobs, np.split(alone, len(jobs)), reasons.reshape(-1, 2), strict=True
        ):
            if (both.max(axis=1) >= LEAST_SCORE).all() and not any(why):
                scores[job] = np.maximum(scores[job], both.max(axis=0) - SECOND_JOB)

    def _reasons(
        self, texts: list[str], logits: tuple[np.ndarray, np.ndarray], described: np.ndarray
    ) -> np.ndarray:
        """Why titles are no occupation; "" if they are, or have a description, shape (titles,).

        Args:
            texts: the titles as given.
            logits: of the layers, as for views; without a description both are of the title.
        """
        odds, likeliest = self.layers.no_occupation(*logits)
        found = []
        for text, is_described, odd, reason in zip(texts, described, odds, likeliest, strict=True):
            if odd <= NO_OCCUPATION:
                reason = ""
            reason = reason_of(text) or reason
            found.append(PREFIX + REASONS[reason] if reason and not is_described else "")
        return np.array(found, dtype=object)

    def read(self, pair: tuple[str, str]) -> tuple[str, str]:
        """A pair as job_texts returns it, with what is read of its description alone."""
        whole, title = pair
        return job_texts(self.speller.corrected(title), self.chooser.read(whole[len(title) + 2 :]))

    def mean(self, views: np.ndarray, described: np.ndarray) -> np.ndarray:
        """Mean of some jobs' views by the weights in SCORE, shape (jobs, occupations)."""
        weights = np.zeros((2, len(VIEWS)), dtype=np.float32)
        for i, kind in enumerate(("title", "posting")):
            for name, weight in SCORE[kind].items():
                weights[i, VIEWS.index(name)] = weight / sum(SCORE[kind].values())
        scores = np.einsum("vjo,jv->jo", views, weights[described.astype(int)])
        return scores.clip(-1, 1)  # rounding may exceed a cosine's bounds

    def logits(
        self, read: list[tuple[str, str]], wholes: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """What the layers say of some jobs, by embedding and by letters.

        Args:
            read: the jobs as the method of that name returns them.
            wholes: unit embeddings of title and description together, shape (jobs, dimensions).
        """
        return self.layers.by_embedding(wholes), self.layers.by_letters([job[1] for job in read])

    def views(
        self,
        wholes: np.ndarray,
        titles: np.ndarray,
        logits: tuple[np.ndarray, np.ndarray],
        described: np.ndarray,
    ) -> np.ndarray:
        """How some jobs look from each of VIEWS, from -1 to 1, shape (views, jobs, occupations).

        Args:
            wholes, titles: unit embeddings of title and description together, and of the title
                alone, shape (jobs, dimensions) each.
            logits: of the layers, as the method of that name returns them.
            described: whether a job has a description, shape (jobs,).
        """
        jobs, index = len(titles), self.index
        queries = np.concatenate([titles, wholes[described]])
        cosines = queries @ index.label_embeddings.T
        # An occupation of which no texts of a kind are known is judged by its label
        by_titles = index.known["title"].soft_maximum(queries, cosines)
        by_tasks = index.known["task"].soft_maximum(queries[jobs:], cosines[jobs:])

        def of_wholes(values: np.ndarray, described_values: np.ndarray) -> np.ndarray:
            wholes = values.copy()
            wholes[described] = described_values
            return wholes

        label = of_wholes(cosines[:jobs], cosines[jobs:])
        return np.stack(
            [
                label,
                by_titles[:jobs],
                of_wholes(by_titles[:jobs], by_titles[jobs:]),
                of_wholes(label, by_tasks),
                *map(self._certainty, logits),
                np.broadcast_to(1 + index.employment / 10, label.shape),
            ]
        )

    def _certainty(self, logits: np.ndarray) -> np.ndarray:
        """A layer's probabilities of the occupations as a view, from -1 to 1."""
        return 1 + self.layers.log_probabilities(logits).clip(math.log(LEAST_PROBABILITY)) / 10

    def review(
        self,
        confidence: float,
        groups: np.ndarray,
        group_confidences: np.ndarray,
        min_confidence: float,
    ) -> dict[str, Any]:
        """Whether a job is to be reviewed, and the deepest SOC group that is sure enough.

        Args:
            confidence: of the first answer.
            groups, group_confidences: of the job, as in Ranking.
        """
        found = {"review": bool(confidence < min_confidence)} | dict.fromkeys(FALLBACK)
        if not found["review"]:
            return found
        for row, share, level in zip(groups, group_confidences, GROUPS.values(), strict=True):
            if share >= min_confidence:
                above = levels(self.codes[row], self.title_of)
                answer = (above[level], above[f"{level}_title"], float(share))
                return found | dict(zip(FALLBACK, answer, strict=True))
        return found

    def _explain(self, pair: tuple[str, str], answers: list[dict], rows: np.ndarray) -> None:
        """Add to the answers for a job what explains them."""
        pair = self.read(pair)
        whole, title = self.encoder.encode(list(pair))
        compared = {"title": title}
        if pair[0] != pair[1]:
            compared["task"] = whole
        for answer, following, row in zip(answers, [*answers[1:], None], rows, strict=True):
            cosine = float(whole @ self.index.label_embeddings[row])
            evidence = [{"kind": "label", "text": self.index.label_texts[row], "score": cosine}]
            for kind, query in compared.items():
                for text, cosine in self.index.known[kind].closest(query, row):
                    evidence.append({"kind": kind, "text": text, "score": cosine})
            answer |= {
                "margin": answer["score"] - following["score"] if following else None,
                **levels(answer["code"], self.title_of),
                "evidence": evidence,
            }

    def _load_index(self, model: str) -> None:
        """Take a saved index that fits, or make one and save it.

        One fits when it was made for this model, label mode and score and, where data_dir has a
        corpus, from its texts. A new one is saved with the model if that has none, else there.

        Args:
            model: hashes of the weights of encoder and layers.

        Raises:
            FileNotFoundError: there is neither a fitting index nor the data to make one from.
        """
        made_from = {"version": VERSION, "label_mode": self.label_mode, "model": model}
        made_from["score"] = json.dumps(SCORE)
        corpus_path = self.data_dir / "corpus.json"
        corpus = read_json(corpus_path) if corpus_path.is_file() else None
        if corpus is not None:
            if any("tasks" not in texts for texts in corpus.values()):
                problem = f"{corpus_path} is of an earlier version"
                raise ValueError(f"{problem}: run python data_preparation.py again")
            made_from["labels"] = fingerprint(corpus, self.label_mode)
        shipped, cached = self.model_dir / INDEX_FILE, self.data_dir / INDEX_FILE
        saved = read_index(shipped, made_from) or read_index(cached, made_from)
        is_new = saved is None
        if saved is None:
            if corpus is None:
                raise FileNotFoundError(
                    f"no {INDEX_FILE} in {self.model_dir} fits its model and score, and "
                    f"{corpus_path} is missing: {PREPARE}"
                )
            saved = encode_corpus(self.encoder, corpus, self.label_mode)
            saved.metadata.update(made_from)
        self._use(Index(saved, corpus, self.label_mode, SCORE["sharpness"]))
        if is_new:
            from common.calibration import calibrate  # needs more packages than all else here

            saved.metadata["calibration"] = json.dumps(calibrate(self))
            save_index(saved, cached if shipped.is_file() else shipped)
        self.calibration = json.loads(saved.metadata["calibration"])
        self.made_from = {name: saved.metadata.get(name) for name in (*made_from, "labels")}

    def _use(self, index: Index) -> None:
        self.index, self.codes, self.titles = index, index.codes, index.titles
        self.layers = Layers.load(self.model_dir / LAYERS_FILE, self.codes)
        self.title_of = dict(zip(self.codes, self.titles, strict=True))
        # Codes are in ascending order, so a group is a run of rows: where each begins
        self.group_starts = []
        for digits in GROUPS:
            groups = [code[: DIGITS[digits]] for code in self.codes]
            self.group_starts.append(np.unique(groups, return_index=True)[1])

    def _add_titles(self, own_titles: Sequence[tuple[str, str]]) -> None:
        row_of = {code: row for row, code in enumerate(self.codes)}
        titles, rows, listed = [], [], defaultdict(set)
        for title, code in own_titles:
            titles.append(title)
            rows.append(row_of[code])
            listed[normalize(title)].add(row_of[code])
        self.index = self.index.with_titles(self.encoder.encode(titles), rows, titles)
        self.own = {title: codes.pop() for title, codes in listed.items() if len(codes) == 1}

    def without(self, held_out: set[tuple[str, str]]) -> "JobClassifier":
        """A classifier without some known titles and tasks, so that it can be measured on them.

        Args:
            held_out: {(O*NET-SOC code, known title or task), ...}

        Raises:
            FileNotFoundError: data_dir, which has the texts of the known ones, is missing.
        """
        if any(None in known.texts for known in self.index.known.values()):
            raise FileNotFoundError(
                f"the texts of the known titles and tasks are in {self.data_dir / 'corpus.json'}, "
                f"which is missing: {PREPARE}"
            )
        fewer = copy.copy(self)
        fewer.index = self.index.without(held_out)
        return fewer


# ------------------------------------------------------------------------------ command line


def parse(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        usage="%(prog)s [title [description]] [flags]   (--help lists them)",
        description="Rank O*NET-SOC occupations for a job, or for every row of a file; "
        "without either, code the titles on standard input, or run the demo.",
        epilog="Examples:\n"
        '  python inference.py "ICU Nurse" --explain\n'
        '  python inference.py "Data Analyst" "Builds dashboards in SQL." --json\n'
        "  python inference.py --input jobs.xlsx --min-confidence 0.5\n"
        "  cat titles.txt | python inference.py > coded.csv\n"
        "  python inference.py --evaluate labelled.csv --own-titles titles.csv\n\n"
        "Excel takes 11-2021 in a CSV file for a date: code an .xlsx file, or import the column\n"
        "as text.\n"
        f"Exit code: 0; {NOT_ALL_CODED} if the title, or a row of --input, was not coded; 2 after "
        "an error.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    add = parser.add_argument_group("one job").add_argument
    add("title", nargs="?", help="job title")
    add("description", nargs="?", default="", help="job description")
    add("--explain", action="store_true", help="name the known titles and tasks closest to the job")
    add("--json", action="store_true", help="print JSON; also with --evaluate")
    endings = ", ".join(FILES)
    add = parser.add_argument_group("files", f"They end in one of {endings}.").add_argument
    add("--input", metavar="FILE", help="code every row of it; - is standard input")
    add("--output", metavar="FILE",
        help="the coded rows, of the same kind as the input; - is standard output (beside the "
        "input: jobs.csv becomes jobs.coded.csv)")  # fmt: skip
    add("--evaluate", metavar="FILE", help="tell the accuracy on its rows, which are labelled")
    add("--title-column", metavar="NAME", help='job titles (title, "Job Title" and the like)')
    add("--description-column", metavar="NAME", help="descriptions (found likewise, if any)")
    add("--industry-column", metavar="NAME", help="employers' industries (none)")
    add("--code-column", metavar="NAME", help="right codes, for --evaluate (code)")
    add("--crosswalk", nargs="+", default=[], metavar="FILE",
        help="official tables that convert right codes of SOC 2010")  # fmt: skip
    add("--no-header", action="store_true", help="the columns of a text are called 1, 2, ...")
    add("--levels", action="store_true", help="add the SOC groups of the first answer")
    add("--keep-formulas", action="store_true", help="no apostrophe before cells with a formula")
    add = parser.add_argument_group("answers").add_argument
    add("--top-k", type=int, default=3, metavar="K", help="occupations to list (3)")
    add("--min-confidence", type=float, metavar="P", help="mark what is less sure, from 0 to 1")
    add("--own-titles", metavar="FILE", default=(), help="titles of yours, columns title and code")
    add = parser.add_argument_group("model").add_argument
    add("--model-dir", default=MODEL_DIR, metavar="DIR", help=f"from train.py ({MODEL_DIR})")
    add("--data-dir", default=DATA_DIR, metavar="DIR",
        help=f"from data_preparation.py; need not exist ({DATA_DIR})")  # fmt: skip
    add("--label-mode", default="title_desc", metavar="MODE", help="as trained (title_desc)")
    add("--backend", default="auto", choices=["auto", *ENCODERS], help="what runs the encoder")
    add("--max-seq-length", type=int, metavar="N", help="tokens to read of a text (as trained)")
    args = parser.parse_args(argv)
    if "" in (args.input, args.evaluate):
        parser.error("--input and --evaluate need the name of a file")
    if args.title is None and not args.input and not args.evaluate and is_piped(sys.stdin):
        args.input = "-"
    if sum([args.title is not None, bool(args.input), bool(args.evaluate)]) > 1:
        parser.error("give a title, or --input, or --evaluate: one of them")
    for flag, others in NEEDED.items():
        if getattr(args, flag) and not any(getattr(args, other) for other in others):
            needed = " or ".join("a title" if name == "title" else f"--{name}" for name in others)
            parser.error(f"--{flag.replace('_', '-')} needs {needed}")
    return args


def is_piped(stream: Any) -> bool:
    """Whether something stands ready in a pipe or in a file that was redirected.

    A pipe that stays silent is none: some programs leave one open to whatever they start. Windows
    cannot tell: --input - is needed there.
    """
    try:
        status = os.fstat(stream.fileno())
        if stat.S_ISREG(status.st_mode):
            return status.st_size > 0
        ready = stat.S_ISFIFO(status.st_mode) and select.select([stream], [], [], PIPE_SECONDS)[0]
        return bool(ready and stream.buffer.peek(1))
    except (AttributeError, OSError, ValueError):  # there is none, or of a kind that cannot tell
        return False


def answer(args: argparse.Namespace) -> int:
    """Do what the command line asks for; returns the exit code."""
    folders = args.model_dir, args.data_dir
    how = args.label_mode, args.backend, args.max_seq_length
    classifier = JobClassifier(*folders, *how, args.own_titles)
    if args.input:
        return code_input(classifier, args)
    if args.evaluate:
        columns = args.title_column, args.description_column, args.code_column
        others = args.crosswalk, args.industry_column
        result = evaluate(classifier, args.evaluate, *columns, *others)
        print(json.dumps(result, indent=2)) if args.json else print_evaluation(result)
    elif args.title is None:
        if sys.stdin and not sys.stdin.isatty():
            note = "no titles on standard input, so this is the demo; --input - waits for them"
            print(note, file=sys.stderr)
        run_demo(classifier, args.top_k)
    else:
        job = args.title, args.description
        if all(len(text.split()) == 1 for text in job):
            print("title {!r}, description {!r}: a title of two words needs quotation marks"
                  .format(*job), file=sys.stderr)  # fmt: skip
        ranked = classifier.predict(*job, args.top_k, args.explain, args.min_confidence)
        if args.json:
            print(json.dumps(ranked, indent=2, ensure_ascii=False))
        else:
            print_ranking(ranked)
        if args.explain and None in classifier.index.known["title"].texts:
            print(f"to have known titles and tasks named: {PREPARE}", file=sys.stderr)
        return NOT_ALL_CODED if ranked[0]["code"] is None else 0
    return 0


def code_input(classifier: JobClassifier, args: argparse.Namespace) -> int:
    """Code a file or standard input; returns the exit code."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        source, name = Path(args.input), args.input
        if name == "-":
            name = "standard input"
            text = sys.stdin.buffer.read()
            if not text.strip():
                raise ValueError("standard input is empty: give a title a line, or a file")
            start = text.removeprefix(codecs.BOM_UTF8).lstrip()
            ending = ".jsonl" if start.startswith((b"{", b"[{", b'["', b"[\n")) else ".txt"
            ending = ".xlsx" if text.startswith(WORKBOOK) else ending
            source = Path(folder) / f"input{ending}"
            source.write_bytes(text)
        to_stdout = args.output == "-" or (args.input == "-" and not args.output)
        output = Path(args.output) if args.output else output_beside(source)
        if to_stdout:
            output = Path(folder) / output_beside(source).name
        try:
            counts = code_file(
                classifier,
                source,
                output,
                title_column=args.title_column,
                description_column=args.description_column,
                industry_column=args.industry_column,
                top_k=args.top_k,
                min_confidence=args.min_confidence,
                with_levels=args.levels,
                keep_formulas=args.keep_formulas,
                header=not args.no_header,
                tell=lambda line: print(line.replace(source.name, name), file=sys.stderr),
            )
        except ValueError as error:  # which is to name what the user gave
            raise ValueError(str(error).replace(str(source), name)) from None
        if to_stdout:
            sys.stdout.buffer.write(output.read_bytes())
    lines = [summary(counts)] if to_stdout else [summary(counts), f"written to {output}"]
    print(*lines, sep="\n", file=sys.stderr if to_stdout else sys.stdout)
    return NOT_ALL_CODED if set(counts) - {"coded", "review"} else 0


def main(argv: list[str] | None = None) -> int:
    args = parse(argv)
    try:
        code = answer(args)
        sys.stdout.flush()
        return code
    except BrokenPipeError:  # whoever reads the output has read enough, such as head
        # Or Python would try once more at its end
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except KeyboardInterrupt:
        resumes = args.input not in (None, "-") and args.output != "-"
        goes_on = f": the same command goes on, with {ROWS_PER_PART:,} rows lost at most"
        goes_on = goes_on if resumes else ""
        print(f"\nstopped{goes_on}", file=sys.stderr)
        return 130
    except ModuleNotFoundError as error:
        print(f"error: {error}: install all, see README: Installation", file=sys.stderr)
        return 2
    except (ImportError, OSError, ValueError) as error:
        print(f"error: {in_one_line(error, args.output or 'the answer')}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
