"""Workbooks as people have them: read if plain, else refused with the place and the reason."""

import shutil
from pathlib import Path

import openpyxl
import pytest
from conftest import onet_tables, write_workbooks

import data_preparation
from common import onet

SKILLS, TITLES, TASKS = "Skills.xlsx", "Alternate Titles.xlsx", "Task Statements.xlsx"
OCCUPATIONS, TOOLS = "Occupation Data.xlsx", "Tools Used.xlsx"


def edited(workbook: str, edit) -> object:
    """A change to the first sheet of a workbook, or with two arguments to the whole workbook."""

    def change(folder: Path) -> None:
        book = openpyxl.load_workbook(folder / workbook)
        edit(book.active) if edit.__code__.co_argcount == 1 else edit(book, book.active)
        book.save(folder / workbook)

    return change


def cell(workbook: str, place: str, value: object) -> object:
    return edited(workbook, lambda sheet: sheet.__setitem__(place, value))


def on_another_sheet(book, sheet) -> None:
    sheet.title = "Data"
    book.create_sheet("Notes", 0).append(["About this file"])
    book.active = 0


def below_notes(sheet) -> None:
    sheet.insert_rows(1, 3)
    sheet["A1"] = "O*NET 30.1 Database"


def trailing_rows(sheet) -> None:
    for row in (2, 9, 40):  # spaces look empty too
        sheet.cell(sheet.max_row + row, 1, " ")


def columns_in_another_order(sheet) -> None:
    for row in sheet.iter_rows():
        values = [cell.value for cell in row]
        for at, value in zip(row, reversed(values), strict=True):
            at.value = value


def numbers_as_text(sheet) -> None:
    for row in sheet.iter_rows(min_row=2):
        row[3].value = str(row[3].value)


def locked(folder: Path) -> None:
    (folder / f"~${SKILLS}").write_bytes(b"\x05Maria" + bytes(100))


def extra_files(folder: Path) -> None:
    (folder / "My notes.xlsx").write_bytes(b"no workbook")
    shutil.copy(folder / SKILLS, folder / "Skills (1).xlsx")


def no_read_me(folder: Path) -> None:
    (folder / "Read Me.txt").unlink()


READ = {
    "a renamed sheet": edited(SKILLS, lambda sheet: setattr(sheet, "title", "Sheet1")),
    "an extra sheet before it": edited(SKILLS, on_another_sheet),
    "an extra sheet after it": edited(
        SKILLS, lambda book, sheet: book.create_sheet("Pivot").append(["Scale ID"])),
    "a header below notes": edited(TITLES, below_notes),
    "spaces around a header": cell(TASKS, "B1", " Task "),
    "spaces around cells": cell(TITLES, "A2", " 11-2021.00 "),
    "trailing empty rows": edited(TASKS, trailing_rows),
    "empty rows in between": edited(TASKS, lambda sheet: sheet.insert_rows(4, 2)),
    "further columns": edited(TITLES, lambda sheet: sheet.insert_cols(1, 2)),
    "columns in another order": edited(SKILLS, columns_in_another_order),
    "numbers as text": edited(SKILLS, numbers_as_text),
    "a lock file beside it": locked,
    "other files beside it": extra_files,
    "no Read Me": no_read_me,
}  # fmt: skip


@pytest.mark.parametrize("change", READ.values(), ids=READ)
@pytest.mark.parametrize("engine", ["calamine", pytest.param("openpyxl", marks=pytest.mark.slow)])
def test_plain_meaning_is_read(change, engine, onet_dir, data_dir, tmp_path, monkeypatch):
    shutil.copytree(onet_dir, tmp_path / "onet")
    change(tmp_path / "onet")
    if engine == "openpyxl":
        monkeypatch.setattr(onet.importlib.util, "find_spec", lambda name: None)
    assert (
        data_preparation.main(
            ["--onet-dir", str(tmp_path / "onet"), "--output-dir", str(tmp_path / "out")]
        )
        == 0
    )
    for name in ("train.json", "val.json", "corpus.json", "label_map.json"):
        assert (tmp_path / "out" / name).read_bytes() == (data_dir / name).read_bytes()


def half(folder: Path) -> None:
    whole = (folder / SKILLS).read_bytes()
    (folder / SKILLS).write_bytes(whole[: len(whole) // 2])


def csv_renamed(folder: Path) -> None:
    onet_tables()["Skills"].to_csv(folder / SKILLS, index=False)


def web_page(folder: Path) -> None:
    (folder / SKILLS).write_text("<html><body>404 Not Found</body></html>")


def folder_instead(folder: Path) -> None:
    (folder / SKILLS).unlink()
    (folder / SKILLS).mkdir()


def both_layouts(folder: Path) -> None:
    shutil.copy(folder / TITLES, folder / "Job Titles.xlsx")
    book = openpyxl.load_workbook(folder / "Job Titles.xlsx")
    book.active["B1"] = "Job Title"
    book.save(folder / "Job Titles.xlsx")


def levels_alone(sheet) -> None:
    for row in sheet.iter_rows(min_row=2):
        row[2].value = "LV"


def older_taxonomy(folder: Path) -> None:
    """Titles of a release that still had 15-1132.00."""
    cell(TITLES, "A4", "15-1132.00")(folder)


REFUSED = {
    "a missing column": (cell(TASKS, "B1", "Duty"),
                         TASKS, "sheet 'Task Statements', row 1", "no column 'Task'"),
    "a column twice": (cell(SKILLS, "F1", "Data Value"),
                       SKILLS, "row 1", "several columns 'Data Value'"),
    "no header": (edited(TASKS, lambda sheet: sheet.delete_rows(1)),
                  TASKS, "no column 'O*NET-SOC Code'"),
    "a header alone": (edited(TASKS, lambda sheet: sheet.delete_rows(2, 99)),
                       TASKS, "no rows below its header"),
    "empty sheets": (edited(TASKS, lambda sheet: sheet.delete_rows(1, 99)),
                     TASKS, "its sheets are empty"),
    "half a file": (half, SKILLS, "not an Excel workbook", "get it again at https://"),
    "no bytes": (lambda folder: (folder / SKILLS).write_bytes(b""),
                 SKILLS, "not an Excel workbook"),
    "a CSV file renamed": (csv_renamed, SKILLS, "not an Excel workbook"),
    "a web page": (web_page, SKILLS, "not an Excel workbook"),
    "a folder of its name": (folder_instead, "missing", SKILLS),
    "a code without its end": (cell(TITLES, "A5", "15-1252"),
                               TITLES, "row 5: '15-1252' is no O*NET-SOC code"),
    "a code that became a number": (cell(TITLES, "A5", 15.1252),
                                    TITLES, "row 5: '15.1252' is no O*NET-SOC code"),
    "a note below the rows": (edited(TASKS, lambda sheet: sheet.append(["Source: O*NET", None])),
                              TASKS, "row 16: 'Source: O*NET' is no O*NET-SOC code"),
    "a row without a code": (cell(TITLES, "A3", None),
                             TITLES, "row 3: column 'O*NET-SOC Code' is empty"),
    "a row without a title": (cell(TITLES, "B3", None),
                              TITLES, "row 3: column 'Alternate Title' is empty"),
    "no description": (cell(OCCUPATIONS, "C2", " "),
                       OCCUPATIONS, "row 2: column 'Description' is empty"),
    "text for a number": (cell(SKILLS, "D7", "n/a"),
                          SKILLS, "row 7: 'n/a' in column 'Data Value' is no number"),
    "a formula that failed": (cell(SKILLS, "D7", "#DIV/0!"), SKILLS, "row 7"),
    "an occupation twice": (cell(OCCUPATIONS, "A3", "11-2021.00"),
                            OCCUPATIONS, "row 3: the code '11-2021.00' stands"),
    "an occupation removed": (edited(OCCUPATIONS, lambda sheet: sheet.delete_rows(2)),
                              TITLES, "row 2 (and 2 more)", "does not list the code '11-2021.00'"),
    "a code outside the taxonomy": (cell(TOOLS, "A2", "99-9999.00"),
                                    TOOLS, "row 2", "'99-9999.00'"),
    "titles of an older release": (older_taxonomy,
                                   TITLES, "row 4", "'15-1132.00'", "of one release?"),
    "titles of two releases": (both_layouts, TITLES, "Job Titles.xlsx", "different releases"),
    "another scale": (edited(SKILLS, levels_alone), SKILLS, "no row of the scale IM"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED.values(), ids=REFUSED)
def test_what_cannot_be_read_is_named(case, onet_dir, tmp_path, capsys):
    change, *parts = case
    shutil.copytree(onet_dir, tmp_path / "onet")
    change(tmp_path / "onet")
    assert (
        data_preparation.main(
            ["--onet-dir", str(tmp_path / "onet"), "--output-dir", str(tmp_path / "out")]
        )
        == 2
    )
    error = capsys.readouterr().err.splitlines()[-1]
    for part in parts:
        assert part in error
    assert not (tmp_path / "out").exists()


def test_numbers_in_place_of_text_are_read_as_they_are_written(onet_dir, tmp_path):
    shutil.copytree(onet_dir, tmp_path / "onet")
    cell(TITLES, "B2", 360)(tmp_path / "onet")
    layout = onet.TABLES["titles"][0]
    assert onet.read_workbook(tmp_path / "onet" / TITLES, layout.columns).text.iloc[0] == "360"


def test_a_workbook_one_may_not_read_is_named(onet_dir, tmp_path, monkeypatch, capsys):
    def refuse(*args, **kwargs):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(onet.pd, "read_excel", refuse)
    assert (
        data_preparation.main(["--onet-dir", str(onet_dir), "--output-dir", str(tmp_path / "out")])
        == 2
    )
    assert "Occupation Data.xlsx: cannot be opened (Permission denied)" in capsys.readouterr().err


def test_a_release_of_the_2010_taxonomy_is_read_and_named(tmp_path, capsys):
    tables = onet_tables()
    for table in tables.values():
        table["O*NET-SOC Code"] = table["O*NET-SOC Code"].replace("15-1252.00", "15-1132.00")
    folder = write_workbooks(tables, tmp_path / "onet")
    assert (
        data_preparation.main(["--onet-dir", str(folder), "--output-dir", str(tmp_path / "out")])
        == 0
    )
    assert "taxonomy O*NET-SOC 2010" in capsys.readouterr().out
