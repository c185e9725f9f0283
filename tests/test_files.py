"""Coding of whole files by inference.py, with the tiny model of conftest.py."""

import csv
import datetime
import gzip
import json
import os
import subprocess
import sys
import zipfile

import openpyxl
import pandas as pd
import pytest
from conftest import PROJECT
from hypothesis import given, settings
from hypothesis import strategies as st

import inference
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
    ".ndjson": lambda path: pd.read_json(path, lines=True, dtype=False),
    ".json": lambda path: pd.read_json(path, dtype=False),
    ".txt": lambda path: pd.read_csv(path, dtype={"id": int}, keep_default_na=False, sep="\t"),
    ".xlsx": lambda path: pd.read_excel(path, keep_default_na=False, engine="openpyxl"),
    ".parquet": pd.read_parquet,
}
WRITE = {
    ".csv": lambda table, path: table.to_csv(path, index=False),
    ".tsv": lambda table, path: table.to_csv(path, index=False, sep="\t"),
    ".jsonl": lambda table, path: table.to_json(path, lines=True, orient="records"),
    ".ndjson": lambda table, path: table.to_json(path, lines=True, orient="records"),
    ".json": lambda table, path: table.to_json(path, orient="records"),
    ".txt": lambda table, path: table.to_csv(path, index=False, sep="\t"),
    ".xlsx": lambda table, path: table.to_excel(path, index=False),
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
    output = path.with_name(f"coded{''.join(path.suffixes)}")
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


def test_descriptions_can_be_left_unread(tmp_path):
    (tmp_path / "jobs.csv").write_text("title,description\nRN,x\n")
    jobs = tables.read_jobs(tmp_path / "jobs.csv", description_column="")
    assert jobs[1:] == ("title", None, None)


def test_file_of_semicolons_with_bom_stays_so(classifier, tmp_path):
    (tmp_path / "jobs.csv").write_text("title;id\r\nWireman, senior;1\r\n", encoding="utf-8-sig")
    code_file(classifier, tmp_path / "jobs.csv", tmp_path / "coded.csv", top_k=1)
    assert (tmp_path / "coded.csv").read_bytes().startswith(b"\xef\xbb\xbftitle;id;soc_code_1;")
    assert b"\nWireman, senior;1;" in (tmp_path / "coded.csv").read_bytes()


def test_columns_without_a_name_are_kept(classifier, tmp_path):
    coded(classifier, tmp_path / "jobs.csv", "title,,\nRN,a,b\n", top_k=1)
    assert (tmp_path / "coded.csv").read_text().splitlines()[1].startswith("RN,a,b,")


@pytest.mark.parametrize(
    ("columns", "title", "description"),
    [
        ("Job Title,id", "Job Title", None),
        ("TITLE,Job_Description", "TITLE", "Job_Description"),
        (" title ,duties", " title ", "duties"),
        ("Title,Responsibilities", "Title", "Responsibilities"),
        ("code,Position", "Position", None),
    ],
)
def test_columns_are_found_by_what_people_call_them(tmp_path, columns, title, description):
    (tmp_path / "jobs.csv").write_text(f"{columns}\nRN,Nights.\n")
    jobs = tables.read_jobs(tmp_path / "jobs.csv")
    assert (jobs.title, jobs.description) == (title, description)


def test_what_is_read_is_told(classifier, tmp_path):
    told = []
    coded(
        classifier, tmp_path / "jobs.csv", b"Job Title,Job Description\nCaf\xe9 RN,Nights.\n",
        tell=told.append,
    )  # fmt: skip
    assert told == [
        "jobs.csv: titles in column 'Job Title', descriptions in 'Job Description', "
        "encoded in Windows-1252"
    ]


# ------------------------------------------------------------------------------ kinds of files


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "cp1252"])
def test_text_stays_in_its_encoding(classifier, tmp_path, encoding):
    text = "title,note\nRN,“café” – open\nWireman,naïve\n"
    if encoding == "utf-16-be":
        text = "\ufeff" + text
    coded_rows(classifier, tmp_path / "jobs.csv", text.encode(encoding))
    lines = (tmp_path / "coded.csv").read_bytes().decode(encoding).splitlines()
    assert [line.split(",")[1] for line in lines] == ["note", "“café” – open", "naïve"]


def coded_rows(classifier, path, text):
    path.write_bytes(text)
    return code_file(classifier, path, path.with_name("coded.csv"), top_k=1)


@pytest.mark.parametrize(
    ("text", "delimiter"),
    [
        ("sep=;\ntitle;id\nRN;1\n", ";"),
        ("\n\n,,\ntitle,id\nRN,1\n", ","),
        ("title\tid\nRN\t1\n", "\t"),
    ],
)
def test_delimiter_and_header_are_found(classifier, tmp_path, text, delimiter):
    (tmp_path / "jobs.csv").write_text(text)
    code_file(classifier, tmp_path / "jobs.csv", tmp_path / "coded.csv", top_k=1)
    lines = (tmp_path / "coded.csv").read_text().splitlines()
    assert lines[-2].split(delimiter)[:2] == ["title", "id"]
    assert lines[-1].split(delimiter)[:2] == ["RN", "1"]
    assert (lines[0] == "sep=;") == (delimiter == ";")


@pytest.mark.parametrize("text", ["RN, nights\n\nWireman\n", "Job Title\nRN, nights\nWireman\n"])
def test_text_of_lines_has_a_title_in_each(classifier, tmp_path, text):
    (tmp_path / "jobs.txt").write_text(text)
    code_file(classifier, tmp_path / "jobs.txt", tmp_path / "coded.csv", top_k=1)
    assert list(pd.read_csv(tmp_path / "coded.csv").iloc[:, 0]) == ["RN, nights", "Wireman"]


def test_without_a_header_columns_have_numbers_and_the_industry_comes_first(classifier, tmp_path):
    (tmp_path / "jobs.txt").write_text("hospital\tnurse\nbuilding\twireman\n")
    settings = {"title_column": "2", "industry_column": "1", "header": False, "top_k": 1}
    code_file(classifier, tmp_path / "jobs.txt", tmp_path / "coded.csv", **settings)
    table = pd.read_csv(tmp_path / "coded.csv")
    assert list(table.columns[:2]) == ["1", "2"]
    assert list(table["2"]) == ["nurse", "wireman"]
    expected = classifier.predict_batch(["hospital nurse", "building wireman"])
    assert list(table.soc_code_1) == [answers[0]["code"] for answers in expected]


def test_encoding_is_told_by_the_very_last_letter(tmp_path):
    (tmp_path / "jobs.txt").write_bytes("Nurse\nCafé".encode("cp1252"))
    table = tables.read_table(tmp_path / "jobs.txt")
    assert [row for row, _ in next(table.parts())] == [["Nurse"], ["Café"]]


def test_delimiter_too_many_is_no_cell(classifier, tmp_path):
    _, rows = coded(classifier, tmp_path / "jobs.csv", "id,title\n1,RN,\n2,RN,,\n", top_k=1)
    assert [row["title"] for row in rows] == ["RN", "RN"]
    assert all(row["soc_code_1"] for row in rows)


def test_packed_text_is_read_and_written(classifier, tmp_path):
    (tmp_path / "jobs.csv.gz").write_bytes(gzip.compress(b"title\nRN\n"))
    code_file(classifier, tmp_path / "jobs.csv.gz", tmp_path / "coded.csv.gz", top_k=1)
    assert pd.read_csv(tmp_path / "coded.csv.gz").title.tolist() == ["RN"]


def test_packed_list_of_objects_stays_one(classifier, tmp_path):
    (tmp_path / "jobs.json.gz").write_bytes(gzip.compress(b'[{"title": "RN"}, {"title": "RN"}]'))
    code_file(classifier, tmp_path / "jobs.json.gz", tmp_path / "coded.json.gz", top_k=1)
    rows = json.loads(gzip.decompress((tmp_path / "coded.json.gz").read_bytes()))
    assert [row["soc_code_1"] for row in rows] == ["29-1141.00"] * 2


def test_title_of_ones_own_keeps_its_code_beside_an_industry(trained_dir, data_dir, tmp_path):
    own = JobClassifier(trained_dir, data_dir, own_titles={"Zz": "29-1141"})
    (tmp_path / "jobs.csv").write_text("title,sector\nZz,Building\n=A1,Building\n")
    settings = {"industry_column": "sector", "top_k": 1}
    code_file(own, tmp_path / "jobs.csv", tmp_path / "coded.csv", **settings)
    table = pd.read_csv(tmp_path / "coded.csv")
    assert (table.soc_code_1[0], table.soc_score_1[0]) == ("29-1141.00", 1.0)
    assert table.soc_problem[1].startswith("the title is a formula")


def test_list_of_objects_may_become_lines(classifier, tmp_path):
    (tmp_path / "jobs.json").write_text('[{"title": "RN", "id": 1}, 5]')
    code_file(classifier, tmp_path / "jobs.json", tmp_path / "coded.jsonl", top_k=1)
    rows = [json.loads(line) for line in (tmp_path / "coded.jsonl").read_text().splitlines()]
    assert (rows[0]["id"], rows[1]["soc_line"]) == (1, 5)
    assert rows[1]["soc_problem"] == "no JSON object"


def test_workbook_keeps_its_cells_and_sheets_and_codes_are_text(classifier, tmp_path):
    book = openpyxl.Workbook()
    sheet, day = book.active, datetime.datetime(2026, 1, 31)
    for row in ([], ["Job Title", "Since", "Pay", "Code"], ["RN", day, 12.5, "011"], [], ["RN"]):
        sheet.append(row)
    sheet["B3"].number_format = "dd/mm/yyyy"
    sheet["C5"] = "=C3*2"
    book.create_sheet("Notes")["A1"] = "kept"
    book.save(tmp_path / "jobs.xlsx")
    counts = code_file(classifier, tmp_path / "jobs.xlsx", tmp_path / "coded.xlsx", top_k=1)
    book = openpyxl.load_workbook(tmp_path / "coded.xlsx")
    sheet = book.worksheets[0]
    assert counts == {"coded": 2}
    assert [cell.value for cell in sheet[3]][:4] == ["RN", day, 12.5, "011"]
    assert (sheet["B3"].number_format, sheet["C5"].value) == ("dd/mm/yyyy", "=C3*2")
    assert [cell.value for cell in sheet[2]][4:6] == ["soc_code_1", "soc_title_1"]
    assert (sheet["E3"].value, sheet["E3"].number_format) == (sheet["E5"].value, "@")
    assert book["Notes"]["A1"].value == "kept"


def test_cells_beyond_the_header_are_kept(classifier, tmp_path):
    book = openpyxl.Workbook()
    book.active.append(["id", "title"])
    book.active.append([1, "RN", "my note"])
    book.save(tmp_path / "jobs.xlsx")
    code_file(classifier, tmp_path / "jobs.xlsx", tmp_path / "coded.xlsx", top_k=1)
    header, row = openpyxl.load_workbook(tmp_path / "coded.xlsx").active.values
    assert header[:4] == ("id", "title", None, "soc_code_1")
    assert row[:4] == (1, "RN", "my note", "29-1141.00")


def test_formula_without_a_value_is_kept_and_named(classifier, tmp_path):
    book = openpyxl.Workbook()
    for title in ("title", "RN", "=A2", "Wireman"):
        book.active.append([title])
    book.save(tmp_path / "jobs.xlsx")
    counts = code_file(classifier, tmp_path / "jobs.xlsx", tmp_path / "coded.xlsx", top_k=1)
    rows = list(openpyxl.load_workbook(tmp_path / "coded.xlsx").active.values)
    assert [row[0] for row in rows] == ["title", "RN", "=A2", "Wireman"]
    assert rows[2][-1].startswith("the title is a formula without a value")
    assert counts == {"coded": 2, rows[2][-1]: 1}


def test_sheet_with_titles_is_coded(tmp_path):
    book = openpyxl.Workbook()
    book.active.append(["About this file"])
    book.create_sheet("Data").append(["Job Title"])
    book["Data"].append(["RN"])
    book.save(tmp_path / "jobs.xlsx")
    jobs = tables.read_jobs(tmp_path / "jobs.xlsx")
    assert (
        jobs.about() == "jobs.xlsx: titles in column 'Job Title', no descriptions, in sheet 'Data'"
    )


def test_list_of_titles_is_coded(classifier, tmp_path):
    _, rows = coded(classifier, tmp_path / "jobs.jsonl", '["RN", "Wireman"]', top_k=1)
    assert [row["title"] for row in rows] == ["RN", "Wireman"]


# ------------------------------------------------------------------------------ damaged text


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ('title,id\nRN,1\n"Wireman,2\nRN,3\nRN,4\n', 3),
        ('title,id\n"RN,1\n"Wireman",2\n', 2),
        ('title,id\n"RN","1\n\n2"\nRN,"3\n', 5),
    ],
)
def test_quotation_mark_that_is_not_closed_is_an_error_with_its_line(tmp_path, text, line):
    (tmp_path / "jobs.csv").write_text(text)
    with pytest.raises(ValueError, match=f"line {line}: a quotation mark opens a cell"):
        tables.read_table(tmp_path / "jobs.csv")


def test_quotation_marks_within_a_cell_are_kept(classifier, tmp_path):
    text = 'title,id\n"Senior" RN,1\n5" Wireman,2\n'
    _, rows = coded(classifier, tmp_path / "jobs.csv", text, top_k=1)
    assert [row["title"] for row in rows] == ['"Senior" RN', '5" Wireman']


def test_title_that_holds_rows_is_not_coded(classifier, tmp_path):
    text = 'id,title,x\n1,"RN,\n2,Wireman,\n3,",\n'
    _, rows = coded(classifier, tmp_path / "jobs.csv", text, top_k=1)
    assert "is a quotation mark not closed?" in rows[0]["soc_problem"]


@settings(max_examples=200, deadline=None)
@given(
    st.lists(st.text(st.sampled_from('ab, ;\t"\n\r\x00é'), max_size=8), min_size=1, max_size=6),
    st.binary(max_size=3),
)
def test_nothing_of_a_damaged_file_is_lost_without_a_word(tmp_path_factory, lines, noise):
    path = tmp_path_factory.mktemp("csv") / "jobs.csv"
    text = "title,id\n" + "\n".join(lines)
    path.write_bytes(text.encode() + noise)
    try:
        table = tables.read_table(path)
    except ValueError as error:
        assert str(path) in str(error)
        return
    kept = "".join(cell for part in table.parts() for fields, _ in part for cell in fields)
    letters = [c for c in text.split("\n", 1)[1] if c.isalpha()]
    assert sorted(c for c in kept if c.isalpha())[: len(letters)] == sorted(letters) or noise


def test_groups_of_the_first_answer_come_on_request(classifier, tmp_path):
    _, rows = coded(classifier, tmp_path / "jobs.csv", "title\nRN\n", top_k=1, with_levels=True)
    assert rows[0]["soc_6_digits_1"] == "29-1141"
    assert rows[0]["soc_minor_group"] == "29-1000"
    assert (rows[0]["soc_minor_group_title"], rows[0]["soc_major_group_title"]) == (
        "Healthcare Diagnosing or Treating Practitioners",
        "Healthcare Practitioners and Technical",
    )
    assert float(rows[0]["soc_employment_share"]) == pytest.approx(1 / 8, abs=1e-5)


# ------------------------------------------------------------------------------ bad rows


@pytest.mark.parametrize(
    ("name", "text", "problem"),
    [
        ("jobs.csv", "title,id\nRN,1\n ,2\nRN,3\n", "the job title is empty"),
        (
            "jobs.csv",
            "title,id\nRN éé,1\n".encode() + b"Caf\xe9,2\nRN,3\n",
            "the job title has broken characters",
        ),
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

FORMULAS = ["=1+1", "- x", "+1+1", "-1+1", "@SUM(A1)", "\t=1+1", "=HYPERLINK(0)"]


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
        classifier,
        tmp_path / "jobs.csv",
        "title,pay\nRN,-12.5\nRN,+3e2\nRN,a=b\nRN,-5%\nRN,-\nRN,+1 555 123\n",
        top_k=1,
    )
    assert [row["pay"] for row in rows] == ["-12.5", "+3e2", "a=b", "-5%", "-", "+1 555 123"]


# ------------------------------------------------------------------------------ bad files


@pytest.mark.parametrize(
    ("name", "text", "settings", "message"),
    [
        ("jobs.csv", "beruf,id\nRN,1\n", {}, "no column 'title', but 'beruf', 'id': name it"),
        (
            "jobs.csv",
            "title\nRN\n",
            {"description_column": "text"},
            "no column 'text', but 'title'",
        ),
        ("jobs.csv", "title,title\nRN,RN\n", {}, "several columns for the title, 'title', 'title'"),
        (
            "jobs.csv",
            "Title,Occupation\nMs,RN\n",
            {},
            "several columns for the title, 'Title', 'Occ",
        ),
        ("jobs.csv", "Job Title,TITLE\nRN,RN\n", {}, "several columns for the title, 'Job Ti"),
        ("jobs.csv", "title,soc_code_1\nRN,1\n", {}, "'soc_code_1', which is to be added"),
        ("jobs.csv", "title,soc_problem\nRN,1\n", {}, "'soc_problem', which is to be added"),
        ("jobs.csv", "title\nRN\n", {"top_k": 9}, "top_k is 9"),
        ("jobs.csv", "", {}, "has no rows"),
        ("jobs.csv", "title\n", {}, "has no rows"),
        ("jobs.jsonl", "x\n", {}, "no column 'title', but none"),
        ("jobs.parquet", "title\nRN\n", {}, "is no Parquet file"),
        ("jobs.xlsx", "", {}, "cannot be read"),
        ("jobs.csv.gz", "title\nRN\n", {}, "cannot be read"),
        ("jobs.json", "[1, ", {}, "is no JSON"),
        ("jobs.doc", "title\nRN\n", {}, "must end in one of .csv"),
        ("jobs.csv", b"PK\x03\x04", {}, "is a workbook or something else packed: name it .xlsx"),
        ("jobs.json", '[{"title": "RN"}]', {"header": False}, "needs a header"),
    ],
)
def test_file_that_cannot_be_coded_is_named_with_the_reason(
    classifier, tmp_path, name, text, settings, message
):
    with pytest.raises(ValueError, match=message):
        coded(classifier, tmp_path / name, text, **settings)
    assert [entry.name for entry in tmp_path.iterdir()] == [name]


@pytest.mark.parametrize("damaged", ["xl/worksheets/sheet1.xml", "xl/workbook.xml"])
def test_damaged_workbook_is_named_with_the_reason(tmp_path, damaged):
    pd.DataFrame({"title": ["RN"]}).to_excel(tmp_path / "whole.xlsx", index=False)
    with (
        zipfile.ZipFile(tmp_path / "whole.xlsx") as whole,
        zipfile.ZipFile(tmp_path / "jobs.xlsx", "w") as jobs,
    ):
        for name in whole.namelist():
            content = whole.read(name)
            jobs.writestr(name, content[: len(content) // 2] if name == damaged else content)
    with pytest.raises(ValueError, match="jobs.xlsx cannot be read: "):
        tables.read_table(tmp_path / "jobs.xlsx")


def test_damaged_packed_text_is_named_with_the_reason(tmp_path):
    packed = bytearray(gzip.compress(b"title\nRN\n"))
    packed[10] = 0xFF  # no kind of block
    (tmp_path / "jobs.csv.gz").write_bytes(packed)
    with pytest.raises(ValueError, match="jobs.csv.gz cannot be read: "):
        tables.read_table(tmp_path / "jobs.csv.gz")


def test_blank_workbook_has_no_rows(tmp_path):
    openpyxl.Workbook().save(tmp_path / "jobs.xlsx")
    with pytest.raises(ValueError, match="jobs.xlsx has no rows"):
        tables.read_table(tmp_path / "jobs.xlsx")


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
    assert [jobs for jobs, *_ in done] == [[drive, pull], [("RN", "RN")]]
    results = [READ[ending](tmp_path / f"{name}{ending}") for name in ("coded", "whole")]
    pd.testing.assert_frame_equal(*results)
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
    assert result.returncode == 3, result.stderr
    assert "1 of 2 rows coded" in result.stdout
    assert "jobs.csv: titles in column 'title', no descriptions" in result.stderr
    assert "1 not coded: the job title is empty" in result.stdout
    assert "row/s" in result.stderr
    assert len((tmp_path / "coded.csv").read_text().splitlines()) == 3


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--output", "a.csv"], "--output needs --input"),
        (["--title", "Nurse"], "unrecognized arguments: --title"),
        (["RN", "--levels"], "--levels needs --input"),
        (["RN", "--title-column", "x"], "--title-column needs --input or --evaluate"),
        (["--evaluate", "a.csv", "--min-confidence", "1"], "needs a title or --input"),
        (["--explain"], "--explain needs a title"),
        (["RN", "--input", "a", "--output", "b"], "one of them"),
        (["RN", "--evaluate", "a.csv"], "one of them"),
        (["--json"], "--json needs a title or --evaluate"),
        (["RN", "--crosswalk", "a.csv"], "--crosswalk needs --evaluate"),
    ],
)
def test_flags_that_do_not_go_together_are_named(arguments, message):
    result = run(*arguments)
    assert result.returncode == 2
    assert message in result.stderr


def folders(trained_dir, data_dir):
    return ["--model-dir", trained_dir, "--data-dir", data_dir]


def test_titles_on_standard_input_are_coded_to_standard_output(trained_dir, data_dir):
    command = [sys.executable, "inference.py", *map(str, folders(trained_dir, data_dir))]
    result = subprocess.run(
        command, cwd=PROJECT, capture_output=True, text=True, input="RN\nWireman\n"
    )
    assert result.returncode == 0, result.stderr
    header, *rows = result.stdout.splitlines()
    assert header.startswith("title,soc_code_1,")
    assert [row.split(",")[0] for row in rows] == ["RN", "Wireman"]
    assert "2 of 2 rows coded" in result.stderr


def test_silent_pipe_leaves_the_demo_to_run():
    ours, theirs = os.pipe()
    with os.fdopen(ours) as silent, os.fdopen(theirs, "w"):
        assert not inference.is_piped(silent)


def test_output_is_written_beside_the_input_unless_it_is_named(trained_dir, data_dir, tmp_path):
    (tmp_path / "jobs.csv").write_text("title\nRN\n")
    result = run("--input", tmp_path / "jobs.csv", *folders(trained_dir, data_dir))
    assert result.returncode == 0, result.stderr
    assert f"written to {tmp_path / 'jobs.coded.csv'}" in result.stdout
    assert (tmp_path / "jobs.coded.csv").is_file()


def test_missing_folder_of_the_output_is_named(classifier, tmp_path):
    (tmp_path / "jobs.csv").write_text("title\nRN\n")
    with pytest.raises(FileNotFoundError, match="none is no folder: make it"):
        code_file(classifier, tmp_path / "jobs.csv", tmp_path / "none" / "coded.csv")


def test_folders_are_found_beside_the_script(tmp_path):
    command = [sys.executable, str(PROJECT / "inference.py"), "Nurse", "--json"]
    result = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    assert json.loads(result.stdout)[0]["code"].startswith("29-1141")


def test_missing_input_is_reported_in_one_line(trained_dir, data_dir, tmp_path):
    arguments = ["--input", tmp_path / "none.csv", "--output", tmp_path / "coded.csv"]
    result = run(*arguments, "--model-dir", trained_dir, "--data-dir", data_dir)
    assert result.returncode == 2
    assert "none.csv" in result.stderr
    assert "Traceback" not in result.stderr
