"""common/soc.py: how codes are written, their levels and groups, older codes."""

import subprocess
import sys

import pandas as pd
import pytest
from conftest import PROJECT

from common.soc import (
    MINOR_GROUPS,
    SOC_GROUPS,
    digits_of,
    group_code,
    levels,
    occupation_of,
    read_code,
    read_crosswalks,
    split_codes,
)

# ------------------------------------------------------------------------------ codes as written


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("15-1252.00", "15-1252.00"),
        ("15-1252", "15-1252"),
        ("151252", "15-1252"),
        ("151252.0", "15-1252"),
        ("15-1252.0", "15-1252"),
        ("15125200", "15-1252.00"),
        ("15125200.0", "15-1252.00"),
        ("15-1252.00 ", "15-1252.00"),
        ("\N{NO-BREAK SPACE}15 - 1252", "15-1252"),
        ("15\N{EN DASH}1252.01", "15-1252.01"),
        ("15\N{EM DASH}1252", "15-1252"),
        ("15\N{NON-BREAKING HYPHEN}1252", "15-1252"),
        ("15\N{MINUS SIGN}1252", "15-1252"),
        ("15_1252_00", "15-1252.00"),
        ("'15-1252", "15-1252"),
    ],
)
def test_code_is_read_as_it_was_meant(text, code):
    assert read_code(text) == code


@pytest.mark.parametrize(
    "text", ["", "nurse", "15", "1512", "15-125", "15-1252.1", "1512520", "15-1252.000", "None"]
)
def test_what_is_no_code_is_told_from_one(text):
    assert read_code(text) == ""


@pytest.mark.parametrize("text", ["a|b", "a;b", "a, b", "a | b |", "|a|b"])
def test_codes_are_parted(text):
    assert split_codes(text) == ["a", "b"]


# ------------------------------------------------------------------------------ one occupation

CODES = ["15-1252.00", "29-1141.00", "29-1141.01", "35-3023.01", "47-2111.01", "47-2111.02"]


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("29-1141.01", "29-1141.01"),
        ("29-1141", "29-1141.00"),  # the SOC occupation itself
        ("353023", "35-3023.01"),  # the only one
    ],
)
def test_code_means_one_occupation(text, code):
    assert occupation_of(text, CODES) == code


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("47-2111", "'47-2111' is several .* give one of 47-2111.01, 47-2111.02"),
        ("29-1000", "'29-1000' is several .* give one of 29-1141.00, 29-1141.01"),
        ("29-1141.09", r"'29-1141.09' is no code of O\*NET-SOC 2019, such as 15-1252.00"),
        ("nurse", "'nurse' is no code"),
        ("", "'' is no code"),
    ],
)
def test_code_that_means_none_or_several_is_refused(text, message):
    with pytest.raises(ValueError, match=message):
        occupation_of(text, CODES)


# ------------------------------------------------------------------------------ levels


def test_every_group_of_an_occupation_has_a_title(shipped):
    for code in shipped.codes:
        assert {group_code(code, digits) for digits in (5, 3, 2)} <= set(SOC_GROUPS)


def test_groups_are_those_of_soc_2018():
    counts = {2: 0, 3: 0, 5: 0}
    for code in SOC_GROUPS:
        counts[digits_of(code)] += 1
    assert counts == {2: 23, 3: 98, 5: 459}
    assert len(MINOR_GROUPS) == 98


def test_every_group_is_its_own_group():
    assert all(group_code(code, digits_of(code)) == code for code in SOC_GROUPS)


def test_no_occupations_code_looks_like_a_groups(shipped):
    assert {digits_of(code[:7]) for code in shipped.codes} == {6}


@pytest.mark.parametrize(
    ("code", "groups"),
    [
        ("29-1141.03", ["29-1141", "29-1140", "29-1000", "29-0000"]),
        ("15-1252.00", ["15-1252", "15-1250", "15-1200", "15-0000"]),
        ("29-1229.06", ["29-1229", "29-1210", "29-1000", "29-0000"]),
    ],
)
def test_groups_have_the_codes_of_soc_tables(code, groups):
    assert [group_code(code, digits) for digits in (6, 5, 3, 2)] == groups


def test_levels_have_socs_titles():
    assert levels("29-1141.03", {"29-1141.00": "Registered Nurses"}) == {
        "soc": "29-1141",
        "soc_title": "Registered Nurses",
        "broad_group": "29-1140",
        "broad_group_title": "Registered Nurses",
        "minor_group": "29-1000",
        "minor_group_title": "Healthcare Diagnosing or Treating Practitioners",
        "major_group": "29-0000",
        "major_group_title": "Healthcare Practitioners and Technical",
    }


def test_every_soc_occupation_has_a_title(shipped):
    assert {f"{code[:7]}.00" for code in shipped.codes} <= set(shipped.codes)


# ------------------------------------------------------------------------------ older codes

OF_ONET = (
    "O*NET-SOC 2010 Code,O*NET-SOC 2010 Title,O*NET-SOC 2019 Code,O*NET-SOC 2019 Title\n"
    '15-1199.01,"Testers, All",15-1253.00,Testers\n15-1199.02,Others,15-1299.08,Others\n'
)
OF_BLS = "2010 SOC Code,2010 SOC Title,2018 SOC Code,2018 SOC Title\n15-1199,Old,15-1253,New\n"


def crosswalk(path, text):
    path.write_text(text)
    return read_crosswalks([path])


def test_crosswalk_of_eight_digits_tells_of_six_too(tmp_path):
    found = crosswalk(tmp_path / "crosswalk.csv", OF_ONET)
    assert found["15-1199.01"] == ["15-1253.00"]
    assert found["15-1199"] == found["15-1199.00"] == ["15-1253", "15-1299"]


def test_what_a_crosswalk_lists_comes_before_what_is_derived(tmp_path):
    (tmp_path / "onet.csv").write_text(OF_ONET)
    (tmp_path / "bls.csv").write_text(OF_BLS)
    for names in (("onet.csv", "bls.csv"), ("bls.csv", "onet.csv")):
        assert read_crosswalks(tmp_path / name for name in names)["15-1199"] == ["15-1253"]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("crosswalk.csv", OF_BLS),
        ("crosswalk.csv", OF_BLS.replace(",", ";")),
        ("crosswalk.tsv", OF_BLS.replace(",", "\t")),
        ("crosswalk.csv", f"2010 SOC to 2018 SOC,,,\n,,,\n{OF_BLS}\nNote: of 2017\n"),
        ("crosswalk.csv", f"\N{ZERO WIDTH NO-BREAK SPACE}{OF_BLS}"),
    ],
    ids=["csv", "semicolons", "tsv", "heading", "bom"],
)
def test_crosswalk_is_read_from_text_of_every_kind(tmp_path, name, text):
    assert crosswalk(tmp_path / name, text)["15-1199"] == ["15-1253"]


def test_crosswalk_is_read_from_a_workbook(tmp_path):
    rows = [line.split(",") for line in OF_BLS.splitlines()]
    sheet = pd.DataFrame([["Crosswalk", None, None, None], *rows])
    sheet.to_excel(tmp_path / "crosswalk.xlsx", header=False, index=False)
    assert read_crosswalks([tmp_path / "crosswalk.xlsx"])["15-1199"] == ["15-1253"]


@pytest.mark.parametrize("name", ["other.csv", "other.xlsx", "other.doc"])
def test_what_is_no_crosswalk_is_named(tmp_path, name):
    with pytest.raises(ValueError, match=f"{name}: "):
        crosswalk(tmp_path / name, "title,code\nRN,29-1141\n")


def test_crosswalks_are_read_without_pandas(tmp_path):
    pd.DataFrame([["2010 SOC Code", "2018 SOC Code"], ["15-1132", "15-1252"]]).to_excel(
        tmp_path / "crosswalk.xlsx", header=False, index=False
    )
    code = (
        "import sys; sys.modules['pandas'] = None\n"
        "from common.soc import read_crosswalks\n"
        f"print(read_crosswalks([{str(tmp_path / 'crosswalk.xlsx')!r}])['15-1132'])"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], cwd=PROJECT, capture_output=True, text=True
    )
    assert result.stdout == "['15-1252']\n", result.stderr
