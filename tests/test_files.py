"""Coding of whole files by inference.py, with the tiny model of conftest.py."""

import csv
import json
import subprocess
import sys

import pandas as pd
import pytest
from conftest import PROJECT

from common import tables
from inference import JobClassifier, code_file

JOBS = [
    ("Wireman", "Pulls cable."),
    ("RN", ""),
    ("CDL Driver", "Nights."),
    ("Wireman", "Pulls cable."),
    ("RN", ""),
]
READ = {
    ".csv": lambda path: pd.read_csv(path, dtype={"id": int}, keep_default_na=False),
    ".tsv": lambda path: pd.read_csv(path, dtype={"id": int}, keep_default_na=False, sep="\t"),
    ".jsonl": lambda path: pd.read_json(path, lines=True, dtype=False),
    ".parquet": pd.read_parquet,
}
WRITE = {
    ".csv": lambda table, path: table.to_csv(path, index=False),
    ".tsv": lambda table, path: table.to_csv(path, index=False, sep="\t"),
    ".jsonl": lambda table, path: table.to_json(path, lines=True, orient="records"),
    ".parquet": lambda table, path: table.to_parquet(path),
}


@pytest.fixture(scope="module")
def classifier(trained_dir, data_dir):
    return JobClassifier(trained_dir, data_dir)


@pytest.fixture(autouse=True)
def small_parts(monkeypatch):
    monkeypatch.setattr(tables, "ROWS_PER_PART", 2)


def write_jobs(path):
    table = pd.DataFrame(JOBS, columns=["title", "description"]).assign(id=range(7, 7 + len(JOBS)))
    WRITE[path.suffix](table, path)
    return table


def coded(classifier, path, text, **settings):
    """Code a file of this content; returns the counts and the rows that were written."""
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    output = path.with_name(f"coded{path.suffix}")
    counts = code_file(classifier, path, output, **settings)
    if path.suffix == ".jsonl":
        return counts, [json.loads(line) for line in output.read_text().splitlines()]
    with open(output, encoding="utf-8", errors="surrogateescape", newline="") as file:
        return counts, list(csv.DictReader(file, delimiter="\t" if path.suffix == ".tsv" else ","))


# ------------------------------------------------------------------------------ answers


@pytest.mark.parametrize("ending", tables.FILES)
def test_every_column_is_kept_and_answers_are_those_of_predict(classifier, tmp_path, ending):
    table = write_jobs(tmp_path / f"jobs{ending}")
    counts = code_file(classifier, tmp_path / f"jobs{ending}", tmp_path / f"coded{ending}", top_k=2)
    result = READ[ending](tmp_path / f"coded{ending}")
    pd.testing.assert_frame_equal(result[list(table)], table, check_dtype=False)
    assert counts == {"coded": len(JOBS)}
    for (title, description), row in zip(JOBS, result.to_dict("records"), strict=True):
        for answer in classifier.predict(title, description, top_k=2):
            rank = answer["rank"]
            assert (row[f"soc_code_{rank}"], row[f"soc_title_{rank}"]) == (
                answer["code"],
                answer["title"],
            )
            assert row[f"soc_score_{rank}"] == pytest.approx(answer["score"], abs=1e-4)
            assert row[f"soc_confidence_{rank}"] == pytest.approx(answer["confidence"], abs=1e-4)
        assert row["soc_problem"] == ""


def test_columns_can_be_named(classifier, tmp_path):
    text = "Stelle,Text,title\nWireman,Pulls cable.,x\n"
    _, rows = coded(
        classifier, tmp_path / "jobs.csv", text, title_column="Stelle", description_column="Text"
    )
    assert rows[0]["soc_code_1"] == classifier.predict("Wireman", "Pulls cable.")[0]["code"]


def test_file_of_semicolons_with_bom_stays_so(classifier, tmp_path):
    (tmp_path / "jobs.csv").write_text("title;id\r\nWireman, senior;1\r\n", encoding="utf-8-sig")
    code_file(classifier, tmp_path / "jobs.csv", tmp_path / "coded.csv", top_k=1)
    assert (tmp_path / "coded.csv").read_bytes().startswith(b"\xef\xbb\xbftitle;id;soc_code_1;")
    assert b"\nWireman, senior;1;" in (tmp_path / "coded.csv").read_bytes()


def test_columns_without_a_name_are_kept(classifier, tmp_path):
    coded(classifier, tmp_path / "jobs.csv", "title,,\nRN,a,b\n", top_k=1)
    assert (tmp_path / "coded.csv").read_text().splitlines()[1].startswith("RN,a,b,")


# ------------------------------------------------------------------------------ bad rows


@pytest.mark.parametrize(
    ("name", "text", "problem"),
    [
        ("jobs.csv", "title,id\nRN,1\n ,2\nRN,3\n", "the job title is empty"),
        ("jobs.csv", b"title,id\nRN,1\nCaf\xe9,2\nRN,3\n", "the job title has broken characters"),
        ("jobs.csv", "title,id\nRN,1\nRN,2,x,y\nRN,3\n", "4 fields, but the header has 2"),
        ("jobs.tsv", "title\tid\nRN\t1\n\t2\nRN\t3\n", "the job title is empty"),
        (
            "jobs.jsonl",
            '{"title": "RN"}\n{"title": 5}\n{"title": "RN"}\n',
            "the job title must be a string, not int",
        ),
        ("jobs.jsonl", '{"title": "RN"}\n{"id": 5}\n{"title": "RN"}\n', "the job title is empty"),
        ("jobs.jsonl", '{"title": "RN"}\n{"title"\n{"title": "RN"}\n', "no JSON object"),
        (
            "jobs.jsonl",
            '{"title": "RN"}\n{"title": "\\ud800"}\n{"title": "RN"}\n',
            "broken characters",
        ),
    ],
)
def test_bad_row_is_kept_and_marked_and_the_others_are_coded(
    classifier, tmp_path, name, text, problem
):
    counts, rows = coded(classifier, tmp_path / name, text, top_k=1)
    assert len(rows) == 3
    assert [bool(row["soc_code_1"]) for row in rows] == [True, False, True]
    assert problem in rows[1]["soc_problem"]
    assert counts == {"coded": 2, rows[1]["soc_problem"]: 1}


def test_nothing_of_a_bad_row_is_lost(classifier, tmp_path):
    coded(classifier, tmp_path / "jobs.csv", b"title,id\nCaf\xe9,2\nRN,3,x,y\n", top_k=1)
    lines = (tmp_path / "coded.csv").read_bytes().splitlines()
    assert lines[1].startswith(b"Caf\xe9,2,")
    assert lines[2].startswith(b'RN,"3,x,y",')
    _, rows = coded(classifier, tmp_path / "jobs.jsonl", '{"title": "RN"}\n{"title"\n', top_k=1)
    assert rows[1]["soc_line"] == '{"title"'


def test_row_with_missing_fields_at_its_end_is_coded(classifier, tmp_path):
    _, rows = coded(classifier, tmp_path / "jobs.csv", "title,description,id\nRN\n", top_k=1)
    assert rows[0]["soc_code_1"] == classifier.predict("RN")[0]["code"]


# ------------------------------------------------------------------------------ formulas

FORMULAS = ["=1+1", "+1+1", "-1+1", "@SUM(A1)", "\t=1+1", "=HYPERLINK(0)"]


@pytest.mark.parametrize("keep", [False, True])
def test_cells_that_a_spreadsheet_would_run_become_text_unless_told_otherwise(
    classifier, tmp_path, keep
):
    text = "title,=note,id\n" + "".join(f"RN,{cell},{i}\n" for i, cell in enumerate(FORMULAS))
    coded(classifier, tmp_path / "jobs.csv", text, top_k=1, keep_formulas=keep)
    header, *rows = (tmp_path / "coded.csv").read_text().splitlines()
    before = "" if keep else "'"
    assert header.startswith(f"title,{before}=note,id,")
    assert [row.split(",")[1] for row in rows] == [f"{before}{cell}" for cell in FORMULAS]


def test_numbers_are_no_formulas(classifier, tmp_path):
    _, rows = coded(
        classifier, tmp_path / "jobs.csv", "title,pay\nRN,-12.5\nRN,+3e2\nRN,a=b\n", top_k=1
    )
    assert [row["pay"] for row in rows] == ["-12.5", "+3e2", "a=b"]


# ------------------------------------------------------------------------------ bad files


@pytest.mark.parametrize(
    ("name", "text", "settings", "message"),
    [
        ("jobs.csv", "job,id\nRN,1\n", {}, "no column 'title', but 'job', 'id'"),
        (
            "jobs.csv",
            "title\nRN\n",
            {"description_column": "text"},
            "no column 'text', but 'title'",
        ),
        ("jobs.csv", "title,title\nRN,RN\n", {}, "several columns 'title'"),
        ("jobs.csv", "title,soc_code_1\nRN,1\n", {}, "'soc_code_1', which is to be added"),
        ("jobs.csv", "title,soc_problem\nRN,1\n", {}, "'soc_problem', which is to be added"),
        ("jobs.csv", "title\nRN\n", {"top_k": 9}, "top_k is 9"),
        ("jobs.csv", "", {}, "no column 'title', but none"),
        ("jobs.csv", "title\n", {}, "has no rows"),
        ("jobs.jsonl", "x\n", {}, "no column 'title', but none"),
        ("jobs.parquet", "title\nRN\n", {}, "is no Parquet file"),
        ("jobs.xlsx", "", {}, "must end in one of .csv"),
    ],
)
def test_file_that_cannot_be_coded_is_named_with_the_reason(
    classifier, tmp_path, name, text, settings, message
):
    with pytest.raises(ValueError, match=message):
        coded(classifier, tmp_path / name, text, **settings)
    assert [entry.name for entry in tmp_path.iterdir()] == [name]


def test_existing_output_is_left_alone(classifier, tmp_path):
    (tmp_path / "coded.csv").write_text("mine")
    with pytest.raises(FileExistsError, match="exists already"):
        coded(classifier, tmp_path / "jobs.csv", "title\nRN\n")
    assert (tmp_path / "coded.csv").read_text() == "mine"


# ------------------------------------------------------------------------------ interrupted


def interrupt_after(monkeypatch, calls):
    best, done = JobClassifier.best, []

    def interrupted(self, *arguments):
        if len(done) == calls:
            raise KeyboardInterrupt
        done.append(arguments)
        return best(self, *arguments)

    monkeypatch.setattr(JobClassifier, "best", interrupted)
    return done


@pytest.mark.parametrize("ending", tables.FILES)
def test_interrupted_run_goes_on_where_it_was(classifier, tmp_path, monkeypatch, ending):
    write_jobs(tmp_path / f"jobs{ending}")
    code_file(classifier, tmp_path / f"jobs{ending}", tmp_path / f"whole{ending}")
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        interrupt_after(patch, 1)
        code_file(classifier, tmp_path / f"jobs{ending}", tmp_path / f"coded{ending}")
    assert not (tmp_path / f"coded{ending}").exists()

    done = interrupt_after(monkeypatch, 9)
    counts = code_file(classifier, tmp_path / f"jobs{ending}", tmp_path / f"coded{ending}")
    assert counts == {"coded": len(JOBS)}
    pull, drive = ("Wireman. Pulls cable.", "Wireman"), ("CDL Driver. Nights.", "CDL Driver")
    assert [jobs for jobs, _ in done] == [[drive, pull], [("RN", "RN")]]
    assert (tmp_path / f"coded{ending}").read_bytes() == (tmp_path / f"whole{ending}").read_bytes()
    assert not list(tmp_path.glob(".*"))


def test_unfinished_run_of_another_input_is_refused(classifier, tmp_path, monkeypatch):
    write_jobs(tmp_path / "jobs.csv")
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        interrupt_after(patch, 1)
        code_file(classifier, tmp_path / "jobs.csv", tmp_path / "coded.csv")
    with pytest.raises(ValueError, match="unfinished run of another input or other settings"):
        code_file(classifier, tmp_path / "jobs.csv", tmp_path / "coded.csv", top_k=1)


# ------------------------------------------------------------------------------ command line


def run(*arguments):
    command = [sys.executable, "inference.py", *map(str, arguments)]
    return subprocess.run(command, cwd=PROJECT, capture_output=True, text=True)


def test_script_codes_a_file_and_says_what_was_not_coded(trained_dir, data_dir, tmp_path):
    (tmp_path / "jobs.csv").write_text("title,id\nRN,1\n,2\n")
    result = run(
        "--input", tmp_path / "jobs.csv", "--output", tmp_path / "coded.csv",
        "--model-dir", trained_dir, "--data-dir", data_dir,
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    assert "1 of 2 rows coded" in result.stdout
    assert "1 not coded: the job title is empty" in result.stdout
    assert "row/s" in result.stderr
    assert len((tmp_path / "coded.csv").read_text().splitlines()) == 3


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--input", "a.csv"], "--input and --output belong together"),
        (["--output", "a.csv"], "--input and --output belong together"),
        (["RN", "--input", "a", "--output", "b"], "one of them"),
        (["RN", "--evaluate", "a.csv"], "one of them"),
        (["--json"], "--json is for a title"),
        (["RN", "--crosswalk", "a.csv"], "--crosswalk is for --evaluate"),
    ],
)
def test_flags_that_do_not_go_together_are_named(arguments, message):
    result = run(*arguments)
    assert result.returncode == 2
    assert message in result.stderr


def test_missing_input_is_reported_in_one_line(trained_dir, data_dir, tmp_path):
    arguments = ["--input", tmp_path / "none.csv", "--output", tmp_path / "coded.csv"]
    result = run(*arguments, "--model-dir", trained_dir, "--data-dir", data_dir)
    assert result.returncode == 2
    assert "none.csv" in result.stderr
    assert "Traceback" not in result.stderr
