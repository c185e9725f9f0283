"""inference.py with the tiny model of conftest.py, and with the model that the project ships."""

import json
import shutil
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
import torch
from conftest import OCCUPATIONS, PROJECT
from onnx import TensorProto
from safetensors.numpy import load_file

from common.demo import DEMO_FILE
from common.encoders import ENCODERS, Graph, OnnxEncoder, session_of
from common.layers import LAYERS_FILE, ngrams
from common.text import job_texts
from inference import SCORE, JobClassifier

DEMO = json.loads(DEMO_FILE.read_text(encoding="utf-8"))
SHARPNESS = SCORE["sharpness"]


@pytest.fixture(scope="module")
def classifier(trained_dir, data_dir):
    """Exact, where most tests look at how the answers come about."""
    return JobClassifier(trained_dir, data_dir, backend="torch")


@pytest.fixture(scope="module")
def corpus(data_dir):
    return json.loads((data_dir / "corpus.json").read_text(encoding="utf-8"))


# ------------------------------------------------------------------------------ answers


def test_prediction_has_the_documented_form(classifier):
    ranked = classifier.predict("Coffee Maker", "Grinds beans.", top_k=3)
    assert [set(row) for row in ranked] == [{"rank", "score", "code", "title", "confidence"}] * 3
    assert [row["rank"] for row in ranked] == [1, 2, 3]
    assert all(OCCUPATIONS[row["code"]][0] == row["title"] for row in ranked)
    scores = [row["score"] for row in ranked]
    assert scores == sorted(scores, reverse=True)
    assert all(type(score) is float and -1.0001 <= score <= 1.0001 for score in scores)


def test_default_top_k_is_five_for_one_and_three_for_many(classifier):
    assert len(classifier.predict("Coffee Maker")) == 5
    assert [len(ranked) for ranked in classifier.predict_batch([{"title": "Coffee Maker"}])] == [3]


@pytest.mark.parametrize("description", ["", "Pulls cable."])
def test_score_is_the_weighted_mean_of_cosines_soft_maxima_and_log_probabilities(
    classifier, corpus, trained_dir, description
):
    def encode(text):
        return classifier.encoder.model.encode(text, normalize_embeddings=True)

    def soft_maximum(texts, query):
        cosines = [encode(text) @ query for text in texts]
        return min(1, np.log(np.exp(SHARPNESS * np.array(cosines)).sum()) / SHARPNESS)

    title, whole = (
        encode("Wire Puller"),
        encode(f"Wire Puller. {description}" if description else "Wire Puller"),
    )
    layer = load_file(trained_dir / LAYERS_FILE)

    def probabilities(logits):
        logits = logits[: len(corpus)].astype(float)
        return 1 + (logits - np.log(np.exp(logits).sum())) / 10

    found = ngrams("Wire Puller")
    letters = (layer["rows"][found] * layer["steps"][found]).sum(axis=0) / np.sqrt(len(found))
    by_letters = probabilities(layer["ngram_weight"] @ letters + layer["ngram_bias"])
    by_embedding = probabilities(20 * layer["weight"].astype(float) @ whole + layer["bias"])

    for row in classifier.predict("Wire Puller", description, top_k=8):
        texts, occupation = corpus[row["code"]], list(corpus).index(row["code"])
        label = encode(texts["title_desc"]) @ whole
        views = {
            "label": label,
            "title": soft_maximum(texts["titles"], title),
            "whole": soft_maximum(texts["titles"], whole),
            "task": soft_maximum(texts["tasks"], whole) if texts["tasks"] else label,
            "layer": by_embedding[occupation],
            "letters": by_letters[occupation],
            "employment": 1 - np.log(len(corpus)) / 10,  # not known
        }
        weights = SCORE["posting" if description else "title"]
        score = sum(weight * views[name] for name, weight in weights.items())
        # Known texts are kept in 8 bits
        assert row["score"] == pytest.approx(score / sum(weights.values()), abs=0.01)


def test_a_known_title_finds_its_occupation_even_where_the_label_text_does_not(
    classifier, monkeypatch
):
    for layer in ("layer", "letters"):  # which were fitted to these titles
        monkeypatch.setitem(SCORE["title"], layer, 0.0)
    every_title = {
        (code, title) for code, facts in OCCUPATIONS.items() for title in [facts[0], *facts[2]]
    }
    label_alone = classifier.without(every_title)
    titles = [(code, title) for code, title in every_title if title != "Team Lead"]  # listed twice
    found = [code == classifier.predict(title)[0]["code"] for code, title in titles]
    by_label = [code == label_alone.predict(title)[0]["code"] for code, title in titles]
    assert sum(found) > sum(by_label)


def evidence_of(row, kind):
    return [known["text"] for known in row["evidence"] if known["kind"] == kind]


def test_what_is_held_out_is_not_known(classifier):
    task = "Test circuits before they go live."
    fewer = classifier.without({("47-2111.00", "Wireman"), ("47-2111.00", task)})
    for ranker, is_known in ((fewer, False), (classifier, True)):
        ranked = ranker.predict("Wireman", task, top_k=8, explain=True)
        electrician = next(row for row in ranked if row["code"] == "47-2111.00")
        assert ("Wireman" in evidence_of(electrician, "title")) is is_known
        assert (task in evidence_of(electrician, "task")) is is_known


def test_explain_adds_the_closest_known_titles_and_with_a_description_tasks(classifier, corpus):
    jobs = [
        {"title": "Coffee Maker"},
        {"title": "RN", "description": "Dress wounds and note how they heal."},
    ]
    for job, ranked in zip(
        jobs, classifier.predict_batch(jobs, top_k=8, explain=True), strict=True
    ):
        for row in ranked:
            titles, tasks = corpus[row["code"]]["titles"], corpus[row["code"]]["tasks"]
            assert set(evidence_of(row, "title")) <= set(titles)
            assert len(evidence_of(row, "title")) == min(3, len(titles))
            assert set(evidence_of(row, "task")) <= set(tasks)
            expected = min(3, len(tasks)) if "description" in job else 0
            assert len(evidence_of(row, "task")) == expected
            for kind in ("title", "task"):
                scores = [known["score"] for known in row["evidence"] if known["kind"] == kind]
                assert scores == sorted(scores, reverse=True)


def test_evidence_without_the_texts_is_the_occupations_title(trained_dir, tmp_path):
    for row in JobClassifier(trained_dir, tmp_path / "no_data").predict("Nurse", explain=True):
        assert [(known["kind"], known["text"]) for known in row["evidence"]] == [
            ("label", row["title"])
        ]


def test_holding_out_without_the_texts_names_the_command(trained_dir, tmp_path):
    with pytest.raises(FileNotFoundError, match="python data_preparation.py"):
        JobClassifier(trained_dir, tmp_path / "no_data").without(set())


def test_batch_gives_the_same_as_one_by_one(classifier):
    jobs = [
        {"title": "Wireman", "description": "Pulls cable."},
        {"title": "RN"},
        {"title": "CDL Driver", "description": ""},
    ]
    for job, ranked in zip(jobs, classifier.predict_batch(jobs, top_k=2), strict=True):
        single = classifier.predict(job["title"], job.get("description", ""), top_k=2)
        assert [row["code"] for row in ranked] == [row["code"] for row in single]
        assert [row["score"] for row in ranked] == pytest.approx(
            [row["score"] for row in single], abs=1e-5
        )


def test_ranks_where_the_caller_encodes_in_16_bits(classifier):
    with torch.autocast("cpu", dtype=torch.bfloat16):
        ranked = classifier.predict("Wireman", top_k=1)
    assert ranked[0]["code"] == classifier.predict("Wireman", top_k=1)[0]["code"]


def test_title_and_description_are_joined_like_the_labels():
    assert job_texts(" Barista ", " Serves coffee. ") == ("Barista. Serves coffee.", "Barista")
    assert job_texts("Barista") == job_texts("Barista", "  ") == ("Barista", "Barista")


@pytest.mark.parametrize("missing", [None, float("nan"), np.nan])
def test_missing_description_of_a_table_is_no_description(missing):
    assert job_texts("Barista", missing) == ("Barista", "Barista")


# ------------------------------------------------------------------------------ bad input


@pytest.mark.parametrize("title", ["", "   ", "\n\t"])
def test_blank_title_is_a_value_error(classifier, title):
    with pytest.raises(ValueError, match="job title is empty"):
        classifier.predict(title)


@pytest.mark.parametrize("title", [7, ["Nurse"], b"Nurse"])
def test_title_that_is_no_string_is_a_type_error(classifier, title):
    with pytest.raises(TypeError, match="job title must be a string"):
        classifier.predict(title)


@pytest.mark.parametrize("title", [None, "", " ", float("nan"), pd.NA, pd.NaT])
def test_missing_title_is_a_value_error(classifier, title):
    with pytest.raises(ValueError, match="the job title is empty"):
        classifier.predict(title)


def test_a_title_is_given_once(classifier):
    with pytest.raises(TypeError, match="give one title and one description"):
        classifier.predict(job_title="RN", title="RN")


def test_names_of_the_batch_are_those_of_predict_too(classifier):
    job = {"title": "RN", "description": "Nights."}
    assert classifier.predict(**job) == classifier.predict("RN", "Nights.")


@pytest.mark.parametrize("top_k", [0, -1, 9])
def test_top_k_out_of_range_names_the_range(classifier, top_k):
    with pytest.raises(ValueError, match="must be from 1 to 8"):
        classifier.predict("Nurse", top_k=top_k)


@pytest.mark.parametrize("top_k", [2.0, "3", True, None])
def test_top_k_that_is_no_integer_is_a_type_error(classifier, top_k):
    with pytest.raises(TypeError, match="top_k must be an integer"):
        classifier.predict("Nurse", top_k=top_k)


@pytest.mark.parametrize("jobs", [None, "Nurse", {"title": "Nurse"}, [{"name": "Nurse"}]])
def test_batch_without_titles_is_a_type_error(classifier, jobs):
    with pytest.raises(TypeError, match="jobs must be a list|jobs: no dict has a 'title'"):
        classifier.predict_batch(jobs)


TITLES, DESCRIPTIONS = ["RN", "Wireman"], ["Nights.", pd.NA]


@pytest.mark.parametrize(
    "jobs",
    [
        pd.DataFrame({"Job Title": TITLES, "description": DESCRIPTIONS}, index=[5, 1]),
        [{"title": "RN", "description": "Nights."}, "Wireman"],
        [{"job_title": "RN", "description": "Nights."}, {"title": "Wireman", "description": None}],
    ],
)
def test_batch_may_be_a_table_or_mixed(classifier, jobs):
    expected = [classifier.predict("RN", "Nights."), classifier.predict("Wireman")]
    for ranked, single in zip(classifier.predict_batch(jobs, top_k=5), expected, strict=True):
        assert [row["code"] for row in ranked] == [row["code"] for row in single]


@pytest.mark.parametrize(
    "jobs", [pd.Series(TITLES, index=[9, 2]), np.array(TITLES), (t for t in TITLES)]
)
def test_batch_may_be_titles_of_any_kind(classifier, jobs):
    first = [ranked[0]["code"] for ranked in classifier.predict_batch(jobs)]
    assert first == [classifier.predict(title)[0]["code"] for title in TITLES]


def test_empty_batch_is_a_value_error(classifier):
    with pytest.raises(ValueError, match="jobs is empty"):
        classifier.predict_batch([])


def test_nothing_after_a_slash_is_no_second_job(classifier):
    ranked = classifier.predict_batch(["RN", "RN/\u200b\u200b\u200b"])
    assert [answers[0]["code"] for answers in ranked] == ["29-1141.00"] * 2


BAD = [({"title": " "}, ValueError), ({"title": 5}, TypeError), (pd.NA, ValueError)]


@pytest.mark.parametrize(("job", "error"), BAD)
def test_bad_job_is_marked_and_the_others_are_coded(classifier, job, error):
    first, bad, last = classifier.predict_batch(["RN", job, "RN"], top_k=1)
    assert first == last == classifier.predict("RN", top_k=1)
    assert bad[0]["code"] is None and bad[0]["reason"].startswith("the job title")


@pytest.mark.parametrize(("job", "error"), BAD)
def test_bad_job_is_an_error_on_request(classifier, job, error):
    with pytest.raises(error, match=r"jobs\[1\]: the job title"):
        classifier.predict_batch(["RN", job], errors="raise")


def test_batch_of_bad_jobs_alone_is_marked(classifier):
    assert [ranked[0]["code"] for ranked in classifier.predict_batch(["", None])] == [None, None]


def test_missing_model_folder_names_the_command(tmp_path):
    with pytest.raises(FileNotFoundError, match="run python train.py"):
        JobClassifier(tmp_path / "nowhere")


def test_other_label_mode_names_both(trained_dir, data_dir):
    with pytest.raises(ValueError, match="'full_text'.*'title_desc'"):
        JobClassifier(trained_dir, data_dir, label_mode="full_text")


# ------------------------------------------------------------------------------ label index


def test_saved_index_is_enough_without_data(trained_dir, classifier, tmp_path):
    alone = JobClassifier(trained_dir, tmp_path / "no_data", backend="torch")
    assert alone.predict("RN", top_k=8) == classifier.predict("RN", top_k=8)


def test_index_of_other_labels_is_rebuilt_and_cached(trained_dir, data_dir, tmp_path, monkeypatch):
    corpus = json.loads((data_dir / "corpus.json").read_text())
    corpus["35-3023.01"]["title_desc"] = "Something else entirely"
    (tmp_path / "corpus.json").write_text(json.dumps(corpus))
    first = JobClassifier(trained_dir, tmp_path)
    shipped = JobClassifier(trained_dir, data_dir)
    changed = (
        np.abs(first.index.label_embeddings - shipped.index.label_embeddings).max(axis=1) > 1e-3
    )
    assert [code for code, is_changed in zip(first.codes, changed, strict=True) if is_changed] == [
        "35-3023.01"
    ]

    monkeypatch.setattr(
        OnnxEncoder, "encode", lambda *_, **__: pytest.fail("encoded again in spite of the cache")
    )
    assert np.array_equal(
        JobClassifier(trained_dir, tmp_path).index.label_embeddings, first.index.label_embeddings
    )


def test_index_of_other_known_titles_is_rebuilt(trained_dir, data_dir, tmp_path):
    corpus = json.loads((data_dir / "corpus.json").read_text())
    corpus["35-3023.01"]["titles"].append("Latte Artist")
    (tmp_path / "corpus.json").write_text(json.dumps(corpus))
    ranked = JobClassifier(trained_dir, tmp_path).predict("Latte Artist", top_k=8, explain=True)
    barista = next(row for row in ranked if row["code"] == "35-3023.01")
    assert evidence_of(barista, "title")[0] == "Latte Artist"


def test_data_of_an_earlier_version_are_refused(trained_dir, data_dir, tmp_path):
    corpus = json.loads((data_dir / "corpus.json").read_text())
    for texts in corpus.values():
        del texts["tasks"]
    (tmp_path / "corpus.json").write_text(json.dumps(corpus))
    with pytest.raises(ValueError, match="run python data_preparation.py again"):
        JobClassifier(trained_dir, tmp_path)


def test_index_of_another_model_is_not_used(trained_dir, tmp_path):
    shutil.copytree(trained_dir, tmp_path / "model")
    manifest = json.loads((trained_dir / "manifest.json").read_text())
    manifest["files"]["model.safetensors"] = "0" * 64
    (tmp_path / "model" / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(FileNotFoundError, match="fits its model"):
        JobClassifier(tmp_path / "model", tmp_path / "no_data", backend="onnx")


def test_model_of_an_earlier_version_is_refused(trained_dir, tmp_path):
    shutil.copytree(trained_dir, tmp_path / "model")
    manifest = json.loads((trained_dir / "manifest.json").read_text())
    del manifest["files"]
    (tmp_path / "model" / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(ValueError, match="not of the model that was trained: run python train.py"):
        JobClassifier(tmp_path / "model")


def test_weights_of_another_model_are_refused(trained_dir, tmp_path):
    shutil.copytree(trained_dir, tmp_path / "model")
    weights = tmp_path / "model" / "model.safetensors"
    data = bytearray(weights.read_bytes())
    data[-1] ^= 1
    weights.write_bytes(data)
    with pytest.raises(ValueError, match="model.safetensors is damaged, or not of the model"):
        JobClassifier(tmp_path / "model", backend="torch")


# ------------------------------------------------------------------------------ engines


JOBS = [
    {"title": "Wireman", "description": "Pulls cable."},
    {"title": "RN"},
    {"title": "Truck Driver, nights"},
]


def test_onnx_in_8_bits_comes_close_to_torch(classifier, trained_dir, data_dir):
    texts = ["Wireman", "RN", "Truck Driver, nights", "Pulls cable. " * 20]
    light = JobClassifier(trained_dir, data_dir, backend="onnx").encoder.encode(texts)
    assert np.linalg.norm(light, axis=1) == pytest.approx(1, abs=1e-5)
    assert (light * classifier.encoder.encode(texts)).sum(axis=1).min() > 0.99


@pytest.mark.parametrize("backend", ENCODERS)
def test_batch_gives_the_same_as_one_by_one_on_every_engine(trained_dir, data_dir, backend):
    classifier = JobClassifier(trained_dir, data_dir, backend=backend)
    for job, ranked in zip(JOBS, classifier.predict_batch(JOBS, top_k=8), strict=True):
        single = {
            row["code"]: row["score"]
            for row in classifier.predict(**{f"job_{k}": v for k, v in job.items()}, top_k=8)
        }
        assert {row["code"]: row["score"] for row in ranked} == pytest.approx(single, abs=1e-5)


def test_automatic_engine_is_onnx_where_the_model_has_it_and_else_torch(
    trained_dir, data_dir, tmp_path
):
    assert JobClassifier(trained_dir, data_dir).backend == "onnx"
    shutil.copytree(trained_dir, tmp_path / "model")
    (tmp_path / "model" / "model_int8.onnx").unlink()
    assert JobClassifier(tmp_path / "model", data_dir).backend == "torch"


def test_light_engine_needs_neither_torch_nor_sentence_transformers(trained_dir, data_dir):
    code = (
        "import sys; from inference import JobClassifier; "
        f"JobClassifier({str(trained_dir)!r}, {str(data_dir)!r}).predict('Wireman', explain=True); "
        "print({'torch', 'sentence_transformers', 'transformers', 'pandas', 'sklearn'} "
        "& set(sys.modules))"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], cwd=PROJECT, capture_output=True, text=True
    )
    assert result.stdout == "set()\n", result.stderr


def test_unknown_engine_names_those_there_are(trained_dir, data_dir):
    with pytest.raises(ValueError, match="'cuda'.*auto, onnx, torch"):
        JobClassifier(trained_dir, data_dir, backend="cuda")


@pytest.mark.parametrize("backend", ["onnx", "torch"])
def test_text_after_max_seq_length_is_not_read(trained_dir, data_dir, backend):
    short, whole = (
        JobClassifier(trained_dir, data_dir, backend=backend, max_seq_length=n) for n in (16, 160)
    )
    described = ["Pulls cable through walls. Nights.", "Pulls cable through walls. Mends pumps."]
    answers = [
        [classifier.predict("RN", text) for text in described] for classifier in (short, whole)
    ]
    assert answers[0][0] == answers[0][1]
    assert answers[1][0] != answers[1][1]


@pytest.mark.parametrize("length", [2, 0, -1, 257])
def test_max_seq_length_that_the_encoder_cannot_take_names_the_range(trained_dir, data_dir, length):
    with pytest.raises(ValueError, match="must be from 3 to 160"):
        JobClassifier(trained_dir, data_dir, max_seq_length=length)


@pytest.mark.parametrize(
    ("largest", "tolerance"), [(64, 0.02), (127, 0.03)]
)  # beyond 64 sums might overflow
def test_int8_product_is_close_and_treats_rows_apart(largest, tolerance):
    rng = np.random.default_rng(0)
    weights = rng.integers(-largest, largest + 1, (64, 9)).astype(np.int8)
    scales = rng.random(9, dtype=np.float32) / 100
    x = rng.normal(size=(5, 64)).astype(np.float32) * np.array(
        [[1], [100], [0.01], [1], [3]], dtype=np.float32
    )
    graph = Graph()
    product = graph.int8_product("x", weights, scales)
    session = session_of(graph.model(("x", TensorProto.FLOAT, ["rows", 64]), product, 9))
    (result,) = session.run(None, {"x": x})
    expected = x @ (weights * scales)
    assert np.abs(result - expected).max(axis=1) / np.abs(expected).max(axis=1) == pytest.approx(
        0, abs=tolerance
    )
    assert np.array_equal(session.run(None, {"x": x[2:3]})[0], result[2:3])


# ------------------------------------------------------------------------------ command line


def run(*arguments):
    command = [sys.executable, "inference.py", *map(str, arguments)]
    return subprocess.run(command, cwd=PROJECT, capture_output=True, text=True)


def test_script_ranks_a_job_from_the_command_line(trained_dir, data_dir):
    result = run(
        "Barista",
        "Serves coffee.",
        "--top-k",
        2,
        "--model-dir",
        trained_dir,
        "--data-dir",
        data_dir,
    )
    assert result.returncode == 0, result.stderr
    heading, *rows = result.stdout.splitlines()
    assert "confidence" in heading
    assert len(rows) == 2


def test_script_explains_its_answer(trained_dir, data_dir):
    result = run(
        "Wireman", "--explain", "--top-k", 8, "--model-dir", trained_dir, "--data-dir", data_dir
    )
    assert "title: Wireman\n" in result.stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--model-dir", "nowhere"], "run python train.py"),
        ([" "], "title is empty"),
        (["Nurse", "--top-k", 0], "top_k is 0"),
    ],
    ids=["no model", "blank title", "top_k"],
)
def test_script_reports_a_slip_in_one_line(trained_dir, data_dir, arguments, message):
    result = run("--model-dir", trained_dir, "--data-dir", data_dir, *arguments)
    assert result.returncode == 2
    assert message in result.stderr
    assert "Traceback" not in result.stderr


# ------------------------------------------------------------------------------ the shipped model


def test_shipped_model_knows_every_occupation(shipped):
    assert len(shipped.codes) == len(set(shipped.codes)) == len(shipped.titles) == 1016
    assert shipped.index.label_embeddings.shape == (1016, 384)
    assert np.linalg.norm(shipped.index.label_embeddings, axis=1) == pytest.approx(1, abs=1e-3)


def test_shipped_index_holds_all_known_titles_and_tasks(shipped):
    for kind, count in (("title", 84_893), ("task", 23_825)):
        known = shipped.index.known[kind]
        assert known.embeddings.shape == (count, 384)
        assert np.linalg.norm(known.embeddings * known.step, axis=1) == pytest.approx(1, abs=0.01)
        assert known.starts[-1] == count
    assert np.diff(shipped.index.known["title"].starts).min() > 0


@pytest.mark.parametrize("posting", DEMO, ids=[posting["title"] for posting in DEMO])
def test_shipped_model_codes_each_demo_posting_right(shipped, posting):
    first, *_ = shipped.predict(posting["title"], posting["description"])
    assert first["code"] in posting["accepted"]


def test_shipped_model_tells_a_critical_care_nurse(shipped):
    (posting,) = [posting for posting in DEMO if posting["title"] == "ICU Nurse"]
    first, *_ = shipped.predict(posting["title"], posting["description"])
    assert first["code"] == "29-1141.03"


def test_demo_runs_whole_and_sums_up():
    result = run()
    assert result.returncode == 0, result.stderr
    for line in (
        "Top-1 accuracy           100% (10/10)",
        "Top-3 relevance",
        "Average top-1 score",
        "Time per prediction",
    ):
        assert line in result.stdout


# ------------------------------------------------------------------------------ employment


def test_a_commoner_occupation_scores_higher(trained_dir, data_dir):
    common = JobClassifier(trained_dir, data_dir, employment={"47-2111": 9e6, "29-1141": 1.0})
    alike = JobClassifier(trained_dir, data_dir, employment={})
    scores = {}
    for name, classifier in (("common", common), ("alike", alike)):
        ranked = classifier.predict("Wire Puller", top_k=8)
        scores[name] = {row["code"]: row["score"] for row in ranked}
    assert scores["common"]["47-2111.00"] > scores["alike"]["47-2111.00"]
    assert scores["common"]["29-1141.00"] < scores["alike"]["29-1141.00"]


def test_employment_of_unknown_codes_is_refused(trained_dir, data_dir):
    with pytest.raises(ValueError, match="employment: no code is"):
        JobClassifier(trained_dir, data_dir, employment={"99-9999": 5.0})
