"""What comes with an answer (confidence, review, explanation), own titles and evaluation."""

import json
import math
import shutil
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from conftest import PROJECT
from test_behaviour import TITLES

import inference
from common import calibration, soc, tables
from common.evaluation import wilson
from common.text import job_texts
from inference import JobClassifier, code_file, evaluate

OWN = [("Sparkle Ranger II", "39-9032.00")]


@pytest.fixture(scope="module")
def classifier(trained_dir, data_dir):
    return JobClassifier(trained_dir, data_dir)


@pytest.fixture(scope="module")
def with_own_titles(tmp_path_factory):
    return JobClassifier(
        PROJECT / inference.MODEL_DIR, tmp_path_factory.mktemp("no_data"), own_titles=OWN
    )


def run(*arguments):
    command = [sys.executable, "inference.py", *map(str, arguments)]
    return subprocess.run(command, cwd=PROJECT, capture_output=True, text=True)


# ------------------------------------------------------------------------------ confidence


@pytest.mark.parametrize(("description", "kind"), [("", "title"), ("Pulls cable.", "posting")])
def test_confidence_is_a_softmax_over_all_occupations_as_sharp_as_calibrated(
    classifier, description, kind
):
    ranked = classifier.predict("Wireman", description, top_k=8)
    exponents = [math.exp(classifier.calibration[kind] * row["score"]) for row in ranked]
    for row, exponent in zip(ranked, exponents, strict=True):
        assert row["confidence"] == pytest.approx(exponent / sum(exponents), abs=1e-5)


def test_calibration_finds_the_sharpness_at_which_confidences_are_the_shares_of_right_ones():
    gaps = np.random.default_rng(0).uniform(0, 0.2, 4000)
    scores = np.stack([np.full(4000, 0.5), 0.5 - gaps], axis=1)
    confidences = 1 / (1 + np.exp(-25 * gaps))
    right = np.random.default_rng(1).random(4000) < confidences
    assert calibration.likeliest_sharpness(scores, right) == pytest.approx(25, rel=0.1)


def test_calibration_without_enough_jobs_is_a_usual_one(classifier):
    few = {"title": calibration.SHARPNESS, "posting": calibration.SHARPNESS}
    assert calibration.calibrate(classifier) == few


def test_a_changed_score_is_calibrated_anew(trained_dir, data_dir, tmp_path, monkeypatch):
    shutil.copytree(data_dir, tmp_path / "data")
    before = JobClassifier(trained_dir, tmp_path / "data")
    other = {"title": 7.0, "posting": 8.0}
    monkeypatch.setattr(calibration, "calibrate", lambda _: other)
    assert JobClassifier(trained_dir, tmp_path / "data").calibration == before.calibration
    monkeypatch.setitem(inference.SCORE["title"], "title", 3.0)
    after = JobClassifier(trained_dir, tmp_path / "data")
    assert after.calibration == other
    assert after.made_from["score"] != before.made_from["score"]
    assert (tmp_path / "data" / inference.INDEX_FILE).is_file()


def test_a_changed_score_cannot_keep_an_old_calibration(trained_dir, tmp_path, monkeypatch):
    monkeypatch.setitem(inference.SCORE, "sharpness", 20.0)
    with pytest.raises(FileNotFoundError, match="fits its model and score"):
        JobClassifier(trained_dir, tmp_path / "no_data")


# ------------------------------------------------------------------------------ review


def test_unsure_answer_is_kept_and_falls_back_to_the_deepest_group_that_is_sure(shipped):
    plain = shipped.predict("NICU Nurse")[0]
    sure, unsure = (
        shipped.predict("NICU Nurse", min_confidence=plain["confidence"] + more)[0]
        for more in (-0.01, 0.01)
    )
    assert (sure["review"], sure["fallback_code"]) == (False, None)
    assert unsure["code"] == sure["code"] == "29-1141.03"
    assert unsure["review"] is True
    assert (unsure["fallback_code"], unsure["fallback_title"]) == ("29-1141", "Registered Nurses")
    assert unsure["fallback_confidence"] > plain["confidence"] + 0.01


def test_fallback_sums_the_probabilities_of_a_group(shipped):
    ranked = shipped.predict("Product Owner", top_k=1016, min_confidence=1.0)
    ranking = shipped.best([job_texts("Product Owner")], 1)
    for digits, row, confidence in zip(
        inference.GROUPS, ranking.groups[0], ranking.group_confidences[0], strict=True
    ):
        sums = {}
        for answer in ranked:
            group = answer["code"][: soc.DIGITS[digits]]
            sums[group] = sums.get(group, 0) + answer["confidence"]
        assert shipped.codes[row].startswith(max(sums, key=sums.get))
        assert confidence == pytest.approx(max(sums.values()), abs=1e-5)


def test_group_of_three_digits_has_a_title_of_its_own(shipped):
    ranking = shipped.best([job_texts("Barista")], 1)
    found = shipped.review(0.1, ranking.groups[0], np.array([0.1, 0.9, 0.9]), 0.5)
    assert (found["fallback_code"], found["fallback_title"]) == (
        "35-3000",
        "Food and Beverage Serving Workers",
    )


def test_no_group_is_named_where_none_is_sure_enough(shipped):
    assert shipped.predict("Product Owner", min_confidence=0.999)[0]["fallback_code"] is None


@pytest.mark.parametrize("least", [-0.1, 1.1, math.nan])
def test_least_confidence_out_of_range_is_named(classifier, least):
    with pytest.raises(ValueError, match="min_confidence is .*, but must be from 0 to 1"):
        classifier.predict("RN", min_confidence=least)


def test_file_marks_for_review(shipped, tmp_path):
    (tmp_path / "jobs.csv").write_text('title\nNICU Nurse\nSocial Media Manager\nBarista\n" "\n')
    counts = code_file(
        shipped, tmp_path / "jobs.csv", tmp_path / "coded.csv", top_k=1, min_confidence=0.95
    )
    rows = pd.read_csv(tmp_path / "coded.csv", keep_default_na=False).to_dict("records")
    assert [row["soc_review"] for row in rows] == ["review", "review", "", ""]
    assert [row["soc_fallback_code"] for row in rows] == ["29-1141", "", "", ""]
    assert counts == {"coded": 1, "review": 2, "the job title is empty": 1}


# ------------------------------------------------------------------------------ explanation


def test_explain_adds_margin_and_soc_levels(shipped):
    first, second, third = shipped.predict("ICU Nurse", top_k=3, explain=True)
    assert first["margin"] == pytest.approx(first["score"] - second["score"])
    assert third["margin"] == pytest.approx(
        third["score"] - shipped.predict("ICU Nurse", top_k=4)[3]["score"]
    )
    assert first["code"] == "29-1141.03"
    assert soc.levels("29-1141.03", shipped.title_of).items() <= first.items()


# ------------------------------------------------------------------------------ own titles


def test_own_title_comes_right_and_nothing_else_moves(shipped, with_own_titles):
    jobs = [{"title": "sparkle  ranger ii"}, *({"title": title} for title in TITLES)]
    before, after = (
        [ranked[0]["code"] for ranked in ranker.predict_batch(jobs)]
        for ranker in (shipped, with_own_titles)
    )
    assert before[0] != OWN[0][1] == after[0]
    assert before[1:] == after[1:]


def test_title_that_resembles_an_own_title_profits(shipped, with_own_titles):
    def score(ranker):
        return next(
            row["score"]
            for row in ranker.predict("Sparkle Ranger", top_k=1016)
            if row["code"] == OWN[0][1]
        )

    assert score(with_own_titles) > score(shipped) + 0.1


def test_own_title_is_evidence(with_own_titles):
    ranked = with_own_titles.predict("Sparkle Ranger", top_k=1016, explain=True)
    (row,) = (row for row in ranked if row["code"] == OWN[0][1])
    assert "Sparkle Ranger II" in [known["text"] for known in row["evidence"]]


def test_own_title_under_two_codes_leaves_the_choice(trained_dir, data_dir):
    pairs = [("Zz", "29-1141.00"), ("ZZ", "47-2111.00")]
    ranked = JobClassifier(trained_dir, data_dir, own_titles=pairs).predict("Zz", top_k=8)
    assert max(row["score"] for row in ranked) < 1


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("title,code\nRN,29-1142\n", r"own title 1 \(RN\): '29-1142' is no code of O\*NET-SOC"),
        ("title,code\nRN,29-1141.00\n ,29-1141.00\n", "own.csv: own title 2 .*title is empty"),
        ("beruf,code\nRN,29-1141.00\n", "no column 'title'"),
        ("title,code\nRN,29-1141.00,x\n", "row 1: 3 fields"),
    ],
)
def test_own_titles_that_cannot_be_used_are_named(trained_dir, data_dir, tmp_path, text, message):
    (tmp_path / "own.csv").write_text(text)
    with pytest.raises(ValueError, match=message):
        JobClassifier(trained_dir, data_dir, own_titles=tmp_path / "own.csv")


@pytest.mark.parametrize(
    "own",
    [
        {"Zz": "29-1141.00"},
        [("Zz", "29-1141")],
        pd.DataFrame({"title": ["Zz"], "code": [291141.0]}),
    ],
    ids=["dict", "pairs", "DataFrame"],
)
def test_own_titles_are_taken_in_every_form(trained_dir, data_dir, own):
    classifier = JobClassifier(trained_dir, data_dir, own_titles=own)
    assert classifier.predict("Zz", top_k=1)[0]["code"] == "29-1141.00"


def test_table_of_own_titles_without_a_column_is_named(trained_dir, data_dir):
    own = pd.DataFrame({"title": ["Zz"], "what": ["29-1141"]})
    with pytest.raises(ValueError, match="own_titles has no column 'code', but 'title', 'what'"):
        JobClassifier(trained_dir, data_dir, own_titles=own)


def test_a_file_is_not_continued_with_other_own_titles(
    trained_dir, data_dir, tmp_path, monkeypatch
):
    monkeypatch.setattr(tables, "ROWS_PER_PART", 1)
    (tmp_path / "jobs.csv").write_text("title\nRN\nWireman\n")
    files = tmp_path / "jobs.csv", tmp_path / "coded.csv"
    monkeypatch.setattr(
        tables.DelimitedFile, "join", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt)
    )
    with pytest.raises(KeyboardInterrupt):
        code_file(JobClassifier(trained_dir, data_dir), *files)
    other = JobClassifier(trained_dir, data_dir, own_titles=[("RN", "47-2111.00")])
    with pytest.raises(ValueError, match="unfinished run of another input or other settings"):
        code_file(other, *files)


def test_a_file_goes_on_with_the_same_own_titles_and_employment(
    trained_dir, data_dir, tmp_path, monkeypatch
):
    (tmp_path / "jobs.csv").write_text("title\nRN\nWireman\n")
    files = tmp_path / "jobs.csv", tmp_path / "coded.csv"
    own = {"own_titles": {"RN": "47-2111"}, "employment": {"29-1141": 7.0}}
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(
            tables.DelimitedFile, "join", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt)
        )
        code_file(JobClassifier(trained_dir, data_dir, **own), *files)
    assert code_file(JobClassifier(trained_dir, data_dir, **own), *files) == {"coded": 2}


# ------------------------------------------------------------------------------ evaluation


def labelled(tmp_path, rows):
    path = tmp_path / "labelled.csv"
    pd.DataFrame(rows, columns=["title", "code"]).to_csv(path, index=False)
    return path


def test_evaluation_counts_by_digits(shipped, tmp_path):
    rows = [
        ("ICU Nurse", "29-1141.00"),
        ("Barista", "35-3023.01"),
        ("Electrician", "11-1011.00|47-2111.00"),
    ]
    result = evaluate(shipped, labelled(tmp_path, rows))
    first = {row["digits"]: row["share"] for row in result["accuracy"] if row["k"] == 1}
    assert first == pytest.approx({8: 2 / 3, 6: 1, 2: 1})
    assert result["confusions"] == [
        {
            "code": "29-1141.03",
            "title": "Critical Care Nurses",
            "instead_of": "29-1141.00",
            "instead_of_title": "Registered Nurses",
            "rows": 1,
            "example": "ICU Nurse",
        }
    ]


def test_labels_of_six_digits_are_evaluated_as_deep_as_they_go(shipped, tmp_path):
    result = evaluate(
        shipped, labelled(tmp_path, [("ICU Nurse", "29-1141"), ("Barista", "35-3023")])
    )
    assert {(row["digits"], row["n"], row["share"]) for row in result["accuracy"]} == {
        (6, 2, 1.0),
        (2, 2, 1.0),
    }


def test_rows_that_cannot_be_evaluated_are_counted_with_the_reason(shipped, tmp_path):
    result = evaluate(
        shipped,
        labelled(tmp_path, [("Barista", "35-3023.01"), ("", "35-3023.01"), ("RN", "nurse")]),
    )
    assert result["rows"] == 1
    assert result["skipped"] == {
        "the job title is empty": 1,
        "the code is none such as 15-1252.00 or 15-1252 ('nurse')": 1,
    }


def test_each_reason_has_one_line_with_an_example(shipped, tmp_path):
    codes = ["35-3023", "35-3023|nurse", "b", "c", "b", "", "15-1132", "99-9999"]
    rows = [("Barista", code) for code in codes]
    assert evaluate(shipped, labelled(tmp_path, rows))["skipped"] == {
        "the code is none such as 15-1252.00 or 15-1252 ('b' and 2 more)": 4,
        "the code is empty": 1,
        "the code is none of O*NET-SOC 2019 or SOC 2018, perhaps of SOC 2010: --crosswalk reads "
        "the official table ('15-1132' and 1 more)": 2,
    }


@pytest.mark.parametrize(
    ("code", "digits"),
    [
        ("353023.0", 6),
        ("35302301", 8),
        ("11-1011.00;35-3023.01", 8),
        ("35-3020", 5),
        ("35-3000", 3),
        ("35-0000", 2),
        ("35-3020.00", 5),
    ],
)
def test_label_counts_as_deep_as_it_goes(shipped, tmp_path, code, digits):
    accuracy = evaluate(shipped, labelled(tmp_path, [("Barista", code)]))["accuracy"]
    assert (accuracy[0]["digits"], accuracy[0]["n"], accuracy[0]["share"]) == (digits, 1, 1.0)


def test_minor_group_is_known_by_either_code(shipped, tmp_path):
    rows = [("Software Developer", "15-1200"), ("Software Developer", "15-1000")]
    first, *_ = evaluate(shipped, labelled(tmp_path, rows))["accuracy"]
    assert (first["digits"], first["n"], first["share"]) == (3, 2, 1.0)


def test_groups_are_told_beside_deeper_levels(shipped, tmp_path):
    rows = [("Barista", "35-3023.01"), ("Barista", "35-3000"), ("Barista", "29-0000")]
    result = evaluate(shipped, labelled(tmp_path, rows))
    first = {row["digits"]: (row["n"], row["share"]) for row in result["accuracy"] if row["k"] == 1}
    assert first == {8: (1, 1.0), 6: (1, 1.0), 3: (2, 1.0), 2: (3, pytest.approx(2 / 3))}


def test_wrong_group_is_told_by_its_title(shipped, tmp_path):
    (confusion,) = evaluate(shipped, labelled(tmp_path, [("Barista", "29-0000")]))["confusions"]
    assert confusion["instead_of_title"] == "Healthcare Practitioners and Technical Occupations"


CROSSWALK = "soc2010,soc2018\n15-1132,15-1252\n15-1132,15-1253\n29-1111,29-1141\n"


def test_crosswalk_converts_older_codes_and_each_new_one_is_right(shipped, tmp_path):
    (tmp_path / "crosswalk.csv").write_text(CROSSWALK)
    rows = [("Software Developer", "15-1132"), ("Software Tester", "15-1132.00"), ("RN", "29-1141")]
    path = labelled(tmp_path, [*rows, ("RN", "99-9999")])
    result = evaluate(shipped, path, crosswalks=[tmp_path / "crosswalk.csv"])
    first, *_ = result["accuracy"]
    assert (first["digits"], first["n"], first["share"]) == (6, 3, 1.0)
    assert result["converted"] == 2
    assert result["skipped"] == {
        "the code is none of O*NET-SOC 2019 or SOC 2018, nor in the crosswalk ('99-9999')": 1
    }


def test_coverage_falls_with_the_least_confidence(shipped, tmp_path):
    rows = [("Barista", "35-3023.01"), ("Social Media Manager", "13-1161.00")]
    coverage = evaluate(shipped, labelled(tmp_path, rows))["coverage"]
    found = {row["min_confidence"]: (row["covered"], row["right"]) for row in coverage}
    assert (found[0.0], found[0.7]) == ((1.0, 0.5), (0.5, 1.0))


def test_file_without_a_row_to_evaluate_is_named(shipped, tmp_path):
    with pytest.raises(ValueError, match="has no row that can be evaluated: .*'nurse'"):
        evaluate(shipped, labelled(tmp_path, [("RN", "nurse")]))


def test_interval_is_wilsons():
    assert wilson(0.5, 10) == pytest.approx(
        (0.2366, 0.7634), abs=1e-4
    )  # Brown, Cai and DasGupta 2001
    assert wilson(1.0, 20)[1] == pytest.approx(1)


# ------------------------------------------------------------------------------ command line


def test_json_is_what_predict_returns(shipped):
    result = run("Barista", "--json", "--top-k", 1, "--min-confidence", 0.5)
    assert json.loads(result.stdout) == shipped.predict("Barista", top_k=1, min_confidence=0.5)


def test_script_evaluates_a_file(tmp_path):
    result = run(
        "--evaluate", labelled(tmp_path, [("ICU Nurse", "29-1141.00"), ("Barista", "35-3023.01")])
    )
    assert result.returncode == 0, result.stderr
    assert "8       2    50.0% (9.5%–90.5%)" in result.stdout
    assert (
        "29-1141.03  Critical Care Nurses\n        29-1141.00  Registered Nurses   'ICU Nurse'"
        in result.stdout
    )


def test_script_tells_how_many_labels_the_crosswalk_converted(tmp_path):
    (tmp_path / "crosswalk.csv").write_text(CROSSWALK)
    path = labelled(tmp_path, [("RN", "29-1111")])
    result = run("--evaluate", path, "--crosswalk", tmp_path / "crosswalk.csv")
    assert "1 evaluated by a code that the crosswalk converted" in result.stdout


def test_script_takes_own_titles(tmp_path):
    (tmp_path / "own.csv").write_text("title,code\nSparkle Ranger II,39-9032.00\n")
    result = run("Sparkle Ranger II", "--own-titles", tmp_path / "own.csv", "--top-k", 1)
    assert "39-9032.00  Recreation Workers" in result.stdout


def test_script_says_what_evidence_needs(tmp_path):
    result = run("Barista", "--explain", "--data-dir", tmp_path)
    assert "label: Baristas\n" in result.stdout
    assert result.stderr == f"to have known titles and tasks named: {inference.PREPARE}\n"


def test_script_says_what_is_to_be_reviewed():
    assert (
        "To be reviewed: sure enough is 29-1141 Registered Nurses ("
        in run("NICU Nurse", "--min-confidence", 0.95).stdout
    )


def test_answers_that_are_withheld_are_no_confusions(shipped, tmp_path):
    (tmp_path / "labelled.csv").write_text("title,code\nretired,29-1141\nnurse,29-1141\n")
    result = evaluate(shipped, tmp_path / "labelled.csv")
    (confusion,) = result["confusions"]
    assert (confusion["code"], confusion["title"]) == ("", "no occupation")
    assert result["coverage"][0]["covered"] == 0.5


def test_own_title_beside_an_industry_is_evaluated_as_it_is_coded(trained_dir, data_dir, tmp_path):
    own = JobClassifier(trained_dir, data_dir, own_titles={"Zz": "29-1141"})
    (tmp_path / "labelled.csv").write_text("title,code,sector\nZz,29-1141,Building\n")
    result = evaluate(own, tmp_path / "labelled.csv", industry_column="sector")
    assert result["accuracy"][0]["share"] == 1
