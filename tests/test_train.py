"""train.py on the small data and the tiny encoder of conftest.py."""

import json
import shutil
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from conftest import PROJECT
from datasets import Dataset
from safetensors import safe_open
from safetensors.torch import load_file
from sentence_transformers.sentence_transformer.losses import MultipleNegativesRankingLoss
from sentence_transformers.sentence_transformer.modules import Pooling

import train
from common.batches import DistinctLabelCollator, NeighbourBatchSampler
from common.encoders import export_onnx
from common.files import InputError
from common.losses import DistinctLabelRankingLoss, OccupationLoss, relations
from common.samples import load_data
from common.validation import OccupationEvaluator, accuracy_table
from inference import JobClassifier

TINY = ["--batch-size", "4", "--epochs", "2", "--evaluations", "2"]


# ------------------------------------------------------------------------------ the whole script


def test_script_runs_whole_and_saves_a_complete_model(trained_dir, data_dir):
    names = {path.name for path in trained_dir.iterdir()}
    assert names >= {
        "model.safetensors", "model_int8.onnx", "tokenizer.json", "README.md",
        "manifest.json", "metrics.json", "training_curve.png", "train.log",
    }  # fmt: skip
    assert not [
        path for path in trained_dir.rglob("*") if path.suffix in {".bin", ".pt", ".pkl", ".npy"}
    ]

    manifest = json.loads((trained_dir / "manifest.json").read_text())
    assert manifest["data"] == json.loads((data_dir / "manifest.json").read_text())
    assert manifest["settings"]["label_mode"] == "title_desc"
    assert len(manifest["base_model_sha256"]) == 64
    assert set(manifest["metrics"]) == {"untouched", "trained"}
    assert manifest["versions"]["torch"]
    names = {"layers.safetensors", "model.safetensors", "model_int8.onnx", "sentences.safetensors"}
    assert set(manifest["files"]) == names | {"tokenizer.json"}
    assert manifest["training"]["own_titles"] == 1
    card = (trained_dir / "README.md").read_text()
    assert (
        accuracy_table(manifest["metrics"]["trained"], manifest["data"]["samples"]["val"]) in card
    )
    weights = load_file(trained_dir / "model.safetensors")
    assert {tensor.dtype for tensor in weights.values() if tensor.is_floating_point()} == {
        torch.float16
    }
    with safe_open(trained_dir / "label_index.safetensors", framework="numpy") as index:
        assert index.get_tensor("label_embeddings").shape == (8, 32)
        assert index.get_tensor("title_embeddings").dtype == np.int8
        assert index.get_tensor("title_counts").sum() == len(index.get_tensor("title_rows"))
        assert index.metadata()["label_mode"] == "title_desc"
    assert "validation after training" in (trained_dir / "train.log").read_text()


def test_training_lowers_the_loss(trained_dir):
    losses = [
        row["loss"]
        for row in json.loads((trained_dir / "metrics.json").read_text())["history"]
        if "loss" in row
    ]
    assert np.mean(losses[-3:]) < np.mean(losses[:3])


def test_help_lists_every_setting_with_its_default():
    result = subprocess.run(
        [sys.executable, "train.py", "--help"], cwd=PROJECT, capture_output=True, text=True
    )
    assert result.returncode == 0
    for name, setting in train.Settings.__dataclass_fields__.items():
        assert f"--{name}" in result.stdout
        assert setting.metadata["help"]
    assert "(default: title_desc)" in " ".join(result.stdout.split())


@pytest.mark.parametrize(
    ("flag", "value"),
    [("--batch-size", "0"), ("--epochs", "-1"), ("--warmup", "1.5"), ("--noise", "2")],
)
def test_setting_out_of_range_is_named(flag, value, capsys):
    assert train.main([flag, value]) == 2
    assert flag in capsys.readouterr().err


def test_unknown_flag_is_reported_like_any_other_slip(capsys):
    with pytest.raises(SystemExit, match="2"):
        train.main(["--bogus", "3"])
    assert "unrecognized arguments: --bogus" in capsys.readouterr().err


class Interrupted(Exception):
    pass


@pytest.fixture
def command(data_dir, tiny_encoder, tmp_path):
    """Arguments that train a tiny model to tmp_path / "model", in tmp_path / "run"."""
    places = ["--data-dir", data_dir, "--base-model", tiny_encoder,
              "--output-dir", tmp_path / "model", "--run-dir", tmp_path / "run"]  # fmt: skip
    return [str(part) for part in [*places, *TINY]]


def test_interrupted_training_resumes(command, tmp_path, monkeypatch):
    class StopAfterFirstCheckpoint(train.ReadableProgress):
        def on_save(self, *args, **kwargs):
            raise Interrupted

    with monkeypatch.context() as patch:
        patch.setattr(train, "ReadableProgress", StopAfterFirstCheckpoint)
        with pytest.raises(Interrupted):
            train.main(command)
    assert not (tmp_path / "model").exists()

    assert train.main(command) == 0
    manifest = json.loads((tmp_path / "model" / "manifest.json").read_text())
    assert manifest["training"]["resumed_from"].startswith("checkpoint-")
    assert not (tmp_path / "run").exists()


def test_training_interrupted_after_its_last_step_makes_no_further_one(
    command, tmp_path, monkeypatch
):
    def stop(*args):
        raise Interrupted

    command += ["--epochs", "0.2"]  # in the middle of an epoch, where there would be a next step
    with monkeypatch.context() as patch:
        patch.setattr(train, "fit_layers", stop)
        with pytest.raises(Interrupted):
            train.main(command)

    assert train.main(command) == 0
    steps = json.loads((tmp_path / "model" / "manifest.json").read_text())["training"]["steps"]
    history = json.loads((tmp_path / "model" / "metrics.json").read_text())["history"]
    assert max(row["step"] for row in history) == steps


def test_without_epochs_the_layers_alone_are_fitted(trained_dir, data_dir, tmp_path):
    own = tmp_path / "own.csv"
    own.write_text("title,code\n" + "Zyx Wrangler,35-3023.01\n" * 60)
    command = ["--epochs", "0", "--data-dir", data_dir, "--base-model", trained_dir,
               "--output-dir", tmp_path / "model", "--own-titles", own]  # fmt: skip
    assert train.main([str(part) for part in command]) == 0
    before, after = (
        json.loads((folder / "manifest.json").read_text())
        for folder in (trained_dir, tmp_path / "model")
    )
    same = {"model.safetensors", "model_int8.onnx", "tokenizer.json"}
    assert same == {n for n in after["files"] if after["files"][n] == before["files"][n]} & same
    assert after["files"]["layers.safetensors"] != before["files"]["layers.safetensors"]
    assert after["training"] == before["training"]
    assert after["layers"]["own_titles"] == 60
    classifier = JobClassifier(tmp_path / "model", data_dir)
    logits = classifier.layers.by_letters(["Zyx Wrangler"])
    assert classifier.codes[logits[0, :8].argmax()] == "35-3023.01"


def test_without_epochs_the_base_model_is_the_one_that_is_there():
    assert train.Settings(epochs=0, output_dir="there").base_model == "there"
    assert train.Settings(output_dir="there").base_model == train.MINILM


def test_layers_are_fitted_only_to_a_model_of_ours(tiny_encoder, data_dir, tmp_path, capsys):
    command = ["--epochs", "0", "--data-dir", data_dir, "--base-model", tiny_encoder,
               "--output-dir", tmp_path / "model"]  # fmt: skip
    assert train.main([str(part) for part in command]) == 2
    assert "none that train.py saved" in capsys.readouterr().err
    assert not (tmp_path / "model").exists()


def test_an_unfinished_run_with_other_settings_is_left_alone(
    data_dir, tiny_encoder, tmp_path, capsys
):
    (tmp_path / "run.json").write_text(json.dumps({"settings": {"seed": 1}, "data": {}}))
    assert (
        train.main(
            [
                "--data-dir",
                str(data_dir),
                "--base-model",
                str(tiny_encoder),
                "--run-dir",
                str(tmp_path),
            ]
        )
        == 2
    )
    assert "unfinished run with other settings" in capsys.readouterr().err
    assert (tmp_path / "run.json").is_file()


# ------------------------------------------------------------------------------ a quick try


@pytest.fixture(scope="module")
def quick_dir(data_dir, tiny_encoder, tmp_path_factory):
    """Model folder that a quick try saved, at its own settings."""
    folder = tmp_path_factory.mktemp("quick")
    command = ["--quick", "--data-dir", data_dir, "--base-model", tiny_encoder,
               "--output-dir", folder / "model", "--run-dir", folder / "run"]  # fmt: skip
    assert train.main([str(part) for part in command]) == 0
    return folder / "model"


def test_a_quick_try_says_everywhere_that_it_makes_no_model_to_use(quick_dir):
    assert (quick_dir / "train.log").read_text().count(train.QUICK_WARNING) == 1  # at the beginning
    assert json.loads((quick_dir / "manifest.json").read_text())["warning"] == train.QUICK_WARNING
    assert f"This is {train.QUICK_WARNING}." in (quick_dir / "README.md").read_text()


def test_a_quick_try_can_be_loaded(quick_dir, data_dir):
    assert len(JobClassifier(quick_dir, data_dir).predict("Wireman", top_k=8)) == 8


def test_the_manifest_of_a_quick_try_counts_the_samples_it_used(quick_dir):
    manifest = json.loads((quick_dir / "manifest.json").read_text())
    used = {side: sum(counts.values()) for side, counts in manifest["data"]["samples"].items()}
    assert used == {"train": 8 * train.QUICK_TRAIN, "val": 8 * train.QUICK_VAL}


def test_a_quick_try_has_folders_of_its_own(monkeypatch):
    given = []
    monkeypatch.setattr(train, "train", given.append)
    assert train.main(["--quick"]) == train.main(["--quick", "--output-dir", "there"]) == 0
    assert [settings.output_dir for settings in given] == ["output/quick", "there"]
    assert given[0].run_dir != train.Settings().run_dir


def test_a_quick_try_does_not_replace_a_model(data_dir, trained_dir, capsys):
    command = ["--quick", "--data-dir", data_dir, "--output-dir", trained_dir]
    assert train.main([str(part) for part in command]) == 2
    assert "holds a model to use" in capsys.readouterr().err


def test_a_quick_try_replaces_another(quick_dir):
    train.refuse_to_replace_a_model(quick_dir)


def test_a_quick_try_needs_epochs(capsys):
    assert train.main(["--quick", "--epochs", "0"]) == 2
    assert "leave it out, or --epochs 0" in capsys.readouterr().err


def test_some_of_each_occupation_are_a_title_and_others():
    samples = [{"anchor": f"{code}{i}", "code": code, "source": "task"}
               for code in "AB" for i in range(50)]  # fmt: skip
    samples += [{"anchor": code, "code": code, "source": "alternate_title"} for code in "AB"]
    chosen = train.some_of_each(samples, 3, seed=0)
    assert sorted(sample["code"] for sample in chosen) == ["A"] * 3 + ["B"] * 3
    assert {sample["anchor"] for sample in chosen if len(sample["anchor"]) == 1} == {"A", "B"}


def test_some_of_each_depend_on_the_seed_alone():
    samples = [{"anchor": str(i), "code": "A", "source": "task"} for i in range(50)]
    one, same, other = (train.some_of_each(samples, 3, seed) for seed in (0, 0, 1))
    assert one == same != other


# ------------------------------------------------------------------------------ input


def test_missing_data_names_the_file_and_the_command(tmp_path, capsys):
    assert train.main(["--data-dir", str(tmp_path)]) == 2
    assert "manifest.json is missing: run python data_preparation.py" in capsys.readouterr().err


def test_data_that_does_not_fit_its_manifest_is_refused(data_dir, tmp_path):
    shutil.copytree(data_dir, tmp_path, dirs_exist_ok=True)
    (tmp_path / "val.json").write_text("[]")
    with pytest.raises(InputError, match="val.json does not belong to"):
        load_data(tmp_path)


def test_data_of_an_earlier_version_are_refused(data_dir, tmp_path):
    shutil.copytree(data_dir, tmp_path, dirs_exist_ok=True)
    manifest = json.loads((tmp_path / "manifest.json").read_text())
    (tmp_path / "manifest.json").write_text(json.dumps(manifest | {"script_version": "1"}))
    with pytest.raises(
        InputError, match="of another version: run python data_preparation.py again"
    ):
        load_data(tmp_path)


def test_unknown_base_model_is_one_clear_line(monkeypatch):
    monkeypatch.setattr(train, "SentenceTransformer", unreachable_hub)
    with pytest.raises(InputError, match="no/such-model: no such folder"):
        train.load_base_model("no/such-model")


@pytest.mark.parametrize("name", [train.MINILM, "all-MiniLM-L6-v2"])
def test_minilm_comes_from_the_package_only_with_the_hubs_weights(monkeypatch, tmp_path, name):
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "model.safetensors").write_bytes(b"other weights")
    monkeypatch.setattr(train, "SentenceTransformer", unreachable_hub)
    monkeypatch.setattr(
        train.importlib.util,
        "find_spec",
        lambda name: SimpleNamespace(origin=str(tmp_path / "__init__.py")),
    )
    with pytest.raises(InputError, match="are not the Hub's"):
        train.load_base_model(name)


def unreachable_hub(*args, **kwargs):
    raise OSError("no connection")


def test_a_source_that_train_json_lacks_is_named():
    with pytest.raises(InputError, match="--sources bogus: train.json has no such samples"):
        train.of_sources([{"anchor": "a", "code": "A", "source": "task"}], ["task", "bogus"])


def test_only_the_chosen_sources_are_trained_on():
    samples = [
        {"anchor": "a", "code": "A", "source": "task"},
        {"anchor": "b", "code": "A", "source": "tool"},
    ]
    assert train.of_sources(samples, ["tool"]) == samples[1:]


def labelled(anchor, weight, **more):
    sample = {"anchor": anchor, "code": "A", "source": "labelled_title", "weight": weight}
    return sample | more


def test_of_titles_coded_by_others_the_commonest_are_trained_on():
    samples = [labelled("rare", 1.0), labelled("common", 3.0), labelled("known", 2.0)]
    chosen = train.selected(samples, train.Settings(labelled_per_label=2))
    assert [sample["anchor"] for sample in chosen] == ["common", "known"]


def test_titles_whose_coders_disagree_are_not_trained_on():
    shares = {"A": 0.3, "B": 0.3, "C": 0.2, "D": 0.2}
    assert train.selected([labelled("lead", 1.0, shares=shares)], train.Settings()) == []


def test_written_duties_come_several_times():
    duties = {"anchor": "Posts journals", "code": "A", "source": "written_duties"}
    assert train.selected([duties], train.Settings(duties_repeated=3)) == [duties] * 3


def test_own_titles_are_trained_on_but_for_those_in_validation(tmp_path):
    (tmp_path / "own.csv").write_text("title,code\nSparkle Ranger,35-3023\nTeam  lead,35-3023.01\n")
    data = {
        "val": [{"anchor": "Team Lead", "code": "35-3023.01", "source": "alternate_title"}],
        "label_map": {"35-3023.01": 0},
    }
    samples = train.own_samples(str(tmp_path / "own.csv"), data)
    assert samples == [{"anchor": "Sparkle Ranger", "code": "35-3023.01", "source": "own_title"}]


@pytest.mark.parametrize(
    ("text", "message"),
    [("title\nA\n", "no column 'code'"), ("title,code\nA,B\n", r"own title 1 \(A\): 'B' is no")],
)
def test_own_titles_that_cannot_be_used_are_named(tmp_path, text, message):
    (tmp_path / "own.csv").write_text(text)
    with pytest.raises(InputError, match=message):
        train.own_samples(str(tmp_path / "own.csv"), {"val": [], "label_map": {"35-3023.01": 0}})


# ------------------------------------------------------------------------------ batches


@pytest.fixture
def sampler():
    """Ten occupations in a ring, 3 to 12 anchors each; draws of two anchors, batches of four."""
    labels = [label for label in range(10) for _ in range(3 + label)]
    dataset = Dataset.from_dict({"anchor": [str(i) for i in range(len(labels))], "label": labels})
    nearest = np.array([[(i + d) % 10 for d in (0, 1, -1, 2, -2)] for i in range(10)])

    def make(seed: int) -> NeighbourBatchSampler:
        return NeighbourBatchSampler(
            dataset,
            batch_size=8,
            drop_last=False,
            seed=seed,
            nearest=nearest,
            anchors_per_label=2,
            neighbours=4,
        )

    return SimpleNamespace(make=make, labels=labels)


def test_every_anchor_comes_once_an_epoch(sampler):
    batches = list(sampler.make(0))
    assert sorted(i for batch in batches for i in batch) == list(range(len(sampler.labels)))
    assert len(batches) == len(sampler.make(0))


def test_batches_hold_neighbours(sampler):
    first = {sampler.labels[i] for i in next(iter(sampler.make(0)))}
    assert len(first) == 4
    assert any(all(min((a - b) % 10, (b - a) % 10) <= 2 for b in first) for a in first)


def test_batches_depend_on_seed_and_epoch_alone(sampler):
    one, same, later = sampler.make(0), sampler.make(0), sampler.make(0)
    later.set_epoch(1)
    assert list(one) == list(same)
    assert list(one) != list(later)
    assert list(one) != list(sampler.make(1))


# ------------------------------------------------------------------------------ loss

LABELS = ["coffee", "wires and cables", "trucks"]
LISTED = {"barista": {0}, "wireman": {1}, "team lead": {1, 2}, "driver": {2}, "cdl driver": {2}}


@pytest.fixture(scope="module")
def encoder(tiny_encoder):
    return train.SentenceTransformer(str(tiny_encoder), device="cpu").eval()


def collate(encoder, rows, length_ratio=100.0):
    return DistinctLabelCollator(encoder, LABELS, LISTED, as_they_are, length_ratio)(
        [{"anchor": anchor, "label": label} for anchor, label in rows]
    )


def as_they_are(rows):
    return [row["anchor"] for row in rows]


def features_of(batch):
    names = dict.fromkeys(
        name.removesuffix("_input_ids") for name in batch if name.endswith("_input_ids")
    )
    return [
        {
            key.removeprefix(f"{name}_"): value
            for key, value in batch.items()
            if key.startswith(f"{name}_")
        }
        for name in names
    ]


def loss_of(encoder, batch):
    return DistinctLabelRankingLoss(encoder, scale=20.0)(features_of(batch), batch["label"]).item()


def test_each_label_text_is_encoded_once(encoder):
    batch = collate(encoder, [("driver", 2), ("CDL driver", 2), ("barista", 0)])
    assert batch["text_0_input_ids"].shape[0] == 3 + 2


def test_another_listed_occupation_is_no_negative(encoder):
    relation = relations(collate(encoder, [("Team Lead", 1), ("driver", 2)])["label"])
    # in order of length: wires and cables, Team Lead, driver, trucks
    assert relation.tolist() == [[0, 0, 0, 0], [2, 0, 0, 0], [1, 0, 0, 2], [0, 0, 0, 0]]


def test_texts_of_similar_length_are_encoded_together(encoder):
    batch = collate(
        encoder,
        [("barista", 0), ("CDL driver", 2), ("driver", 2), ("Team Lead", 1)],
        length_ratio=1.4,
    )
    groups = [features["attention_mask"].sum(dim=1).tolist() for features in features_of(batch)]
    assert len(groups) > 1
    assert all(max(group) <= 1.4 * min(group) for group in groups)
    assert sum(groups, []) == sorted(sum(groups, []), reverse=True)


def test_loss_is_multiple_negatives_ranking_where_labels_are_distinct(encoder):
    rows = [("barista", 0), ("wireman", 1), ("driver", 2)]
    features = [
        encoder.preprocess([row[0] for row in rows]),
        encoder.preprocess([LABELS[row[1]] for row in rows]),
    ]
    plain = MultipleNegativesRankingLoss(encoder, scale=20.0)(features, None).item()
    assert loss_of(encoder, collate(encoder, rows)) == pytest.approx(plain, rel=1e-4)


def test_loss_does_not_depend_on_the_grouping_by_length(encoder):
    rows = [("barista", 0), ("CDL driver", 2), ("driver", 2), ("Team Lead", 1)]
    assert loss_of(encoder, collate(encoder, rows, length_ratio=1.1)) == pytest.approx(
        loss_of(encoder, collate(encoder, rows)), rel=1e-4
    )


def rank_anchors(encoder, batch, embedding_of):
    """The anchors' part of the loss at scale 1; a text's embedding goes by its length in tokens."""
    lengths = torch.cat([features["attention_mask"].sum(dim=1) for features in features_of(batch)])
    embeddings = torch.tensor([embedding_of.get(int(length), [0.0, 1.0]) for length in lengths])
    return (
        DistinctLabelRankingLoss(encoder, scale=1.0)
        .rank_anchors(embeddings, relations(batch["label"]))
        .item()
    )


def test_anchors_are_found_by_the_other_anchors_of_their_occupation(encoder):
    # Two drivers at cosine 1, a barista at 0: each driver prefers the other, the barista is alone
    batch = collate(encoder, [("driver", 2), ("driver", 2), ("barista", 0)])
    length = len(encoder.tokenizer("driver")["input_ids"])
    assert length != len(encoder.tokenizer("barista")["input_ids"])
    loss = rank_anchors(encoder, batch, {length: [1.0, 0.0]})
    assert loss == pytest.approx(2 / 3 * (np.log(np.e + 1) - 1), rel=1e-4)


def test_an_anchor_without_company_costs_nothing_among_anchors(encoder):
    batch = collate(encoder, [("driver", 2), ("barista", 0)])
    assert rank_anchors(encoder, batch, {}) == 0


def test_the_layer_starts_as_cosines_to_the_label_texts(encoder):
    embeddings = torch.eye(len(LABELS))
    loss = OccupationLoss(encoder, 20.0, embeddings)
    kinds = torch.tensor([[0, 0, DistinctLabelCollator.NONE]])
    logits = torch.tensor([20.0] + [0.0] * (len(LABELS) - 1))
    expected = logits.logsumexp(0) - 20
    assert loss.classify(embeddings[:1], kinds).item() == pytest.approx(expected.item(), abs=1e-5)


def test_every_listed_occupation_is_right_for_the_layer(encoder):
    embeddings = torch.eye(len(LABELS))
    loss = OccupationLoss(encoder, 1.0, embeddings)
    alone, both = (loss.classify(embeddings[:1], torch.tensor([[0, 0, other]])).item()
                   for other in (DistinctLabelCollator.NONE, 1))  # fmt: skip
    assert both < alone


# ------------------------------------------------------------------------------ evaluation


class OneHotModel:
    """Embeds a text as the unit vector that its last character numbers."""

    def encode(self, texts, **kwargs):
        return torch.eye(10)[[int(text[-1]) for text in texts]]


def test_evaluator_counts_own_code_and_any_listed_code():
    samples = [
        {"anchor": "right 0", "code": "A", "source": "task"},
        {"anchor": "other listed 1", "code": "A", "source": "title"},
        {"anchor": "wrong 2", "code": "A", "source": "title"},
    ]
    label_map = {"A": 0, "B": 1, "C": 2}
    listed = train.listed_labels([*samples, {"anchor": "Other  LISTED 1", "code": "B"}], label_map)
    metrics = OccupationEvaluator(samples, label_map, ["label 0", "label 1", "label 2"], listed)(
        OneHotModel()
    )
    assert metrics["own_code/all/top1"] == pytest.approx(1 / 3)
    assert metrics["any_listed/all/top1"] == pytest.approx(2 / 3)
    assert metrics["any_listed/title/top1"] == pytest.approx(1 / 2)
    assert metrics["own_code/all/top3"] == 1
    assert "100.0%" in accuracy_table(metrics, {"task": 1, "title": 2})


# ------------------------------------------------------------------------------ export


def test_only_bert_with_mean_pooling_is_exported(encoder, tmp_path):
    first_token = Pooling(encoder.get_embedding_dimension(), pooling_mode="cls")
    train.SentenceTransformer(modules=[encoder[0], first_token]).save_pretrained(
        str(tmp_path / "model")
    )
    with pytest.raises(InputError, match="no BERT encoder with mean pooling"):
        export_onnx(tmp_path / "model")
    assert not list((tmp_path / "model").glob("*.onnx"))
