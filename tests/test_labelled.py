"""common/labelled.py: titles coded by others, from files of every kind."""

import gzip
import json

import pandas as pd
import pytest
from conftest import OCCUPATIONS

import data_preparation
from common.files import InputError
from common.labelled import read_employment, read_labelled
from common.soc import employment_of

CODES = ["15-1252.00", "15-1253.00", "29-1141.00", "29-1141.01", "35-3023.01"]
ROWS = [("Latte Artist", "35-3023.01", 3), ("Code Monkey", "15-1252.00", 1)]


def labelled(path, text, crosswalks=()):
    """Samples by title."""
    path.write_text(text)
    samples = read_labelled([path], list(crosswalks), CODES)
    return {sample["anchor"]: sample for sample in samples}


# ------------------------------------------------------------------------------ files

WRITE = {
    ".csv": lambda table, path: table.to_csv(path, index=False),
    ".tsv": lambda table, path: table.to_csv(path, index=False, sep="\t"),
    ".csv.gz": lambda table, path: table.to_csv(path, index=False),
    ".tsv.gz": lambda table, path: table.to_csv(path, index=False, sep="\t"),
    ".xlsx": lambda table, path: table.to_excel(path, index=False),
    ".parquet": lambda table, path: table.to_parquet(path),
}


@pytest.mark.parametrize("ending", WRITE)
def test_files_of_every_kind_give_the_same_samples(tmp_path, ending):
    table = pd.DataFrame(ROWS, columns=["title", "code", "count"])
    WRITE[ending](table, tmp_path / f"titles{ending}")
    samples = read_labelled([tmp_path / f"titles{ending}"], [], CODES)
    assert [(sample["anchor"], sample["code"]) for sample in samples] == [r[:2] for r in ROWS]
    assert [sample["weight"] for sample in samples] == [2.099, 1.0]


@pytest.mark.parametrize(
    "names",
    [
        ("JOB_TITLE", "SOC_CODE"),  # LCA, H-2B
        ("JOB_TITLE", "PWD_SOC_CODE"),  # PERM since 2023, PWD
        ("JOB_INFO_JOB_TITLE", "PW_SOC_CODE"),  # PERM of 2015 to 2019
        ("lca_case_job_title", "lca_case_soc_code"),
        (" Title ", "CODE"),
    ],
)
def test_columns_of_the_department_of_labor_are_known(tmp_path, names):
    text = f"CASE_NUMBER,{names[0]},{names[1]}\n1,Latte Artist,35-3023.01\n"
    assert labelled(tmp_path / "cases.csv", text)["Latte Artist"]["code"] == "35-3023.01"


def test_sheet_with_a_heading_above_its_header_is_read(tmp_path):
    rows = [["Titles of 2025", None], [None, None], ["title", "code"], ["Latte Artist", "35-3023"]]
    pd.DataFrame(rows).to_excel(tmp_path / "titles.xlsx", header=False, index=False)
    (sample,) = read_labelled([tmp_path / "titles.xlsx"], [], CODES)
    assert (sample["anchor"], sample["code"]) == ("Latte Artist", "35-3023.01")


# ------------------------------------------------------------------------------ codes


@pytest.mark.parametrize(
    "code", ["15-1252.00", "15-1252", "151252", "15\N{EN DASH}1252", " 15-1252 "]
)
def test_codes_are_read_as_people_write_them(tmp_path, code):
    found = labelled(tmp_path / "titles.csv", f"title,code\nCode Monkey,{code}\n")
    assert found["Code Monkey"]["code"] == "15-1252.00"


def test_codes_may_be_parted_by_a_semicolon(tmp_path):
    found = labelled(tmp_path / "titles.csv", "title,code\nTester,15-1252;15-1253;\n")
    assert found["Tester"]["shares"] == {"15-1252.00": 0.5, "15-1253.00": 0.5}


def test_six_digits_are_shared_out_over_their_occupations(tmp_path):
    found = labelled(tmp_path / "titles.csv", "title,code\nFloor Nurse,29-1141\n")
    assert found["Floor Nurse"]["shares"] == {"29-1141.00": 0.5, "29-1141.01": 0.5}


def test_a_title_with_several_codes_is_a_distribution(tmp_path):
    text = (
        "title,code,count\nTester,15-1253.00,6\ntester ,15-1252.00,1\n"
        "TESTER,15-1252.00|15-1253.00,1\n"
    )
    (sample,) = labelled(tmp_path / "titles.csv", text).values()
    assert sample["code"] == "15-1253.00"
    assert sample["shares"] == {"15-1252.00": 0.188, "15-1253.00": 0.812}
    assert sample["weight"] == pytest.approx(1 + 2.079, abs=0.001)  # of 8 cases


def test_a_description_makes_a_sample_of_its_own(tmp_path):
    text = "title,description,code\nLatte Artist,Pours hearts.,35-3023\n"
    found = labelled(tmp_path / "titles.csv", text)
    described = found["Latte Artist. Pours hearts."]
    assert (described["source"], described["title"]) == ("labelled_description", "Latte Artist")
    assert found["Latte Artist"]["source"] == "labelled_title"


CROSSWALKS = {
    "O*NET's": "O*NET-SOC 2010 Code,O*NET-SOC 2010 Title,O*NET-SOC 2019 Code,O*NET-SOC 2019 Title\n"
    "15-1132.00,Old,15-1252.00,New\n15-1132.00,Old,15-1253.00,New\n",
    "of the BLS": "2010 SOC Code,2010 SOC Title,2018 SOC Code,2018 SOC Title\n"
    "15-1132,Old,15-1252,New\n15-1132,Old,15-1253,New\n",
}


@pytest.mark.parametrize("crosswalk", CROSSWALKS.values(), ids=CROSSWALKS)
def test_old_codes_become_new_ones_by_a_crosswalk(tmp_path, crosswalk):
    (tmp_path / "crosswalk.csv").write_text(crosswalk)
    code = "15-1132.00" if "O*NET" in crosswalk else "15-1132"
    text = f"title,code\nCode Monkey,{code}\n"
    found = labelled(tmp_path / "titles.csv", text, [tmp_path / "crosswalk.csv"])
    assert set(found["Code Monkey"]["shares"]) == {"15-1252.00", "15-1253.00"}


# ------------------------------------------------------------------------------ bad input


def test_rows_that_cannot_be_used_are_counted(tmp_path, capsys):
    text = "title,code\nLatte Artist,35-3023\n,35-3023\nCoder,99-9999\nCoder,nurse\n"
    assert set(labelled(tmp_path / "titles.csv", text)) == {"Latte Artist"}
    assert capsys.readouterr().out == (
        "titles.csv: 4 rows, 1 left out: they have no title, "
        "2 left out: their code is none of O*NET-SOC 2019\n"
    )


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("titles.csv", "job,code\nRN,29-1141\n", "no column 'title', nor job_title, .*'job'"),
        ("titles.csv", "title,label\nRN,29-1141\n", "no column 'code'"),
        ("titles.csv", "title,code\nRN,nurse\n", "none of its 1 rows can be used"),
        ("titles.csv", "title,code,count\nRN,29-1141,many\n", "row 2: the count 'many' is none"),
        ("titles.csv", "title,code,count\nRN,29-1141,0\n", "row 2: the count '0' is none"),
        ("titles.xlsx", "no workbook", "cannot be read"),
        ("titles.tsv.gz", "no gzip", "cannot be read"),
        ("titles.doc", "", "must end in .csv"),
    ],
)
def test_a_file_that_cannot_be_used_is_named_with_the_reason(tmp_path, name, text, message):
    with pytest.raises(InputError, match=f"{name}.*{message}"):
        labelled(tmp_path / name, text)


def test_a_table_that_is_no_crosswalk_is_named(tmp_path):
    (tmp_path / "other.csv").write_text("a,b\n1,2\n")
    with pytest.raises(InputError, match="other.csv: no crosswalk"):
        labelled(tmp_path / "titles.csv", "title,code\nRN,29-1141\n", [tmp_path / "other.csv"])


# ------------------------------------------------------------------------------ the whole script


@pytest.fixture
def prepared(onet_dir, tmp_path, capsys):
    """Run data_preparation.py with a labelled file; returns what it wrote and printed."""
    lines = ["title\tdescription\tcode\tcount"]
    for i in range(200):
        code = list(OCCUPATIONS)[i % len(OCCUPATIONS)]
        lines.append(f"Title {i}\tDoes {i} things.\t{code}\t{i + 1}")
    lines.append("Wireman\t\t29-1141.00\t1")
    with gzip.open(tmp_path / "titles.tsv.gz", "wt") as file:
        file.write("\n".join(lines))

    def run(*more):
        folders = ["--onet-dir", str(onet_dir), "--output-dir", str(tmp_path / "out")]
        assert data_preparation.main([*folders, *more]) == 0
        names = ("train", "val", "manifest")
        return {name: json.loads((tmp_path / "out" / f"{name}.json").read_text()) for name in names}

    return run("--labelled", str(tmp_path / "titles.tsv.gz")), run()


def of_onet(samples):
    return [s for s in samples if not s["source"].startswith(("labelled", "written"))]


def test_labelled_titles_are_on_both_sides_and_no_text_twice(prepared):
    data, _ = prepared
    sides = []
    for side in ("train", "val"):
        labelled = [s for s in data[side] if s["source"].startswith("labelled")]
        assert labelled
        sides.append({s.get("title", s["anchor"]).casefold() for s in labelled})
    assert not sides[0] & sides[1]


def test_a_labelled_title_goes_where_onets_own_is(prepared):
    data, _ = prepared
    sides = {}
    for side in ("train", "val"):
        for sample in data[side]:
            if sample["anchor"] == "Wireman":
                sides.setdefault(side, []).append(sample["source"])
    assert len(sides) == 1


def test_onets_samples_are_split_alike_with_and_without_labelled_ones(prepared):
    with_labelled, without = prepared
    for side in ("train", "val"):
        assert of_onet(with_labelled[side]) == of_onet(without[side])


def test_manifest_names_the_labelled_file(prepared):
    assert len(prepared[0]["manifest"]["inputs"]["titles.tsv.gz"]) == 64


# ------------------------------------------------------------------------------ employment


def test_employment_of_a_soc_code_goes_to_the_general_occupation_by_half():
    codes = ["29-1141.00", "29-1141.01", "29-1141.03", "15-1299.01", "15-1299.02"]
    counts = {"29-1141": 8.0, "15-1299": 6.0}
    assert employment_of(counts, codes) == [4.0, 2.0, 2.0, 3.0, 3.0]


def test_codes_of_employment_are_read_as_people_write_them():
    assert employment_of({"291141": 5.0}, ["29-1141.00"]) == [5.0]


def test_a_count_of_eight_digits_stays_as_it_is():
    assert employment_of({"29-1141.01": 5.0}, ["29-1141.00", "29-1141.01"]) == [0.0, 5.0]


@pytest.mark.parametrize("counts", [{"29-1141": -1.0}, {"29-1141": float("nan")}, {"99-9999": 3.0}])
def test_employment_that_is_none_is_refused(counts):
    with pytest.raises(ValueError, match="employment"):
        employment_of(counts, ["29-1141.00"])


def test_employment_is_read_under_our_names_and_the_bureaus(tmp_path):
    (tmp_path / "ours.csv").write_text("code,count\n29-1141,7\n55-1011,\n")
    (tmp_path / "bureau.tsv").write_text("soc2018\tep_2024_incl_selfemployed\n29-1141\t7\n")
    for name in ("ours.csv", "bureau.tsv"):
        assert read_employment(tmp_path / name) == {"29-1141": 7.0}


@pytest.mark.parametrize(
    ("text", "message"),
    [("code,people\n29-1141,7\n", "no column 'count'"), ("code,count\n29-1141,many\n", "row 2")],
)
def test_a_table_without_counts_is_refused_in_one_line(tmp_path, text, message):
    (tmp_path / "table.csv").write_text(text)
    with pytest.raises(InputError, match=message):
        read_employment(tmp_path / "table.csv")
