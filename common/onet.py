"""The O*NET workbooks: fetching a release and reading its tables.

Source: O*NET Database by the U.S. Department of Labor, Employment and Training Administration
(USDOL/ETA), CC BY 4.0, https://www.onetcenter.org/database.html
"""

import hashlib
import http.client
import importlib.util
import os
import re
import shutil
import urllib.error
import urllib.request
import zipfile
from pathlib import Path
from typing import Literal, NamedTuple
from urllib.parse import urlsplit

import numpy as np
import pandas as pd
from tqdm import tqdm

from common.files import InputError

DEFAULT_RELEASE = "30.1"
DOWNLOAD_URL = "https://www.onetcenter.org/dl_files/database/db_{release}_excel.zip"
DOWNLOAD_PAGE = "https://www.onetcenter.org/database.html"
MAX_BYTES = 500_000_000  # of a release, packed or unpacked: it has 60 MB, this is no release

CODE, TITLE = "O*NET-SOC Code", "Title"
CODE_FORM = r"\d\d-\d{4}\.\d\d"
HEADER_ROWS = 20  # in which a header is looked for; notes above it take fewer
MAY_BE_EMPTY = ("suppress", "not_relevant")
IMPORTANCE = "IM"  # scale, from 1 to 5
# An occupation that only one taxonomy has: Software Developers, and their forerunners
TAXONOMIES = {"15-1252.00": "O*NET-SOC 2019", "15-1132.00": "O*NET-SOC 2010"}
RATING_COLUMNS = {
    CODE: "code",
    "Element Name": "element",
    "Scale ID": "scale",
    "Data Value": "value",
    "Recommend Suppress": "suppress",
    "Not Relevant": "not_relevant",
}


class Layout(NamedTuple):
    """Where one table stands in a release: its workbooks and the columns to read from them."""

    workbooks: tuple[str, ...]
    columns: dict[str, str]  # name in the workbook -> our name


OCCUPATION_COLUMNS = {CODE: "code", TITLE: "title", "Description": "description"}
SOFTWARE_COLUMNS = {CODE: "code", "Hot Technology": "hot"}
OLD_SOFTWARE_COLUMNS = {"Example": "text", "Commodity Title": "commodity", **SOFTWARE_COLUMNS}
NEW_SOFTWARE_COLUMNS = {
    "Workplace Example": "text",
    "Element Name": "commodity",
    **SOFTWARE_COLUMNS,
}
TOOL_COLUMNS = {CODE: "code", "Example": "text", "Commodity Title": "commodity"}

# Each table's layouts: the classic one (releases 25.1 to 30.2), then that of 30.3 and later
TABLES = {
    "occupations": [Layout(("Occupation Data.xlsx",), OCCUPATION_COLUMNS)],
    "titles": [
        Layout(("Alternate Titles.xlsx",), {CODE: "code", "Alternate Title": "text"}),
        Layout(("Job Titles.xlsx",), {CODE: "code", "Job Title": "text"}),
    ],
    "tasks": [Layout(("Task Statements.xlsx",), {CODE: "code", "Task": "text"})],
    "skills": [
        Layout(("Skills.xlsx",), RATING_COLUMNS),
        Layout(("Essential Skills.xlsx", "Transferable Skills.xlsx"), RATING_COLUMNS),
    ],
    "knowledge": [Layout(("Knowledge.xlsx",), RATING_COLUMNS)],
    "abilities": [Layout(("Abilities.xlsx",), RATING_COLUMNS)],
    "technology": [
        Layout(("Technology Skills.xlsx",), OLD_SOFTWARE_COLUMNS),
        Layout(("Software Skills.xlsx",), NEW_SOFTWARE_COLUMNS),
    ],
    "tools": [Layout(("Tools Used.xlsx",), TOOL_COLUMNS)],
}
README = "Read Me.txt"  # of the release; its first line is "O*NET 30.1 Database"
# Releases that are known without it, by the fingerprint of their tables
KNOWN_ROWS = {"749e64d1355006d7164e5181702b3d8f7818b6553a4542433a6a74616629e079": "30.1"}
WANTED_FILES = {README}
WANTED_FILES |= {name for table in TABLES.values() for layout in table for name in layout.workbooks}


# ------------------------------------------------------------------------------ download


class RedirectsWithinHost(urllib.request.HTTPRedirectHandler):
    """Follows no redirect to another host, nor to plain HTTP."""

    def redirect_request(self, request, response, code, message, headers, url):
        if urlsplit(url)[:2] != urlsplit(request.full_url)[:2]:
            raise InputError(
                f"{request.full_url}: leads to {url}, which is not O*NET's; see {DOWNLOAD_PAGE}"
            )
        return super().redirect_request(request, response, code, message, headers, url)


def download(release: str, onet_dir: Path) -> None:
    """Fetch a release's zip from the O*NET Resource Center and unpack the workbooks we read.

    Args:
        release: such as "30.1".
        onet_dir: folder for the workbooks; made if absent. Files of the same names are replaced.

    Raises:
        InputError: no such release, no connection, or what came is not a whole O*NET release.
    """
    if not re.fullmatch(r"\d+\.\d+", release):
        raise InputError(f"--download {release}: a release looks like {DEFAULT_RELEASE}")
    url = DOWNLOAD_URL.format(release=release.replace(".", "_"))
    onet_dir.mkdir(parents=True, exist_ok=True)
    partial = onet_dir / f".onet_{release}.zip.part"
    try:
        fetch(url, partial, f"O*NET {release}")
        unpack(url, partial, onet_dir)
    except urllib.error.HTTPError as error:
        raise InputError(
            f"{url}: the server answered {error.code}; releases are listed at {DOWNLOAD_PAGE}"
        ) from error
    except (
        urllib.error.URLError,
        http.client.HTTPException,
        TimeoutError,
        ConnectionError,
    ) as error:
        reason = getattr(error, "reason", error)
        raise InputError(f"{url}: could not be reached ({reason})") from error
    except zipfile.BadZipFile as error:
        raise InputError(f"{url}: what came is not a zip file") from error
    finally:
        for leftover in onet_dir.glob(".*.part"):
            leftover.unlink()


def fetch(url: str, path: Path, name: str) -> None:
    with urllib.request.build_opener(RedirectsWithinHost).open(url, timeout=60) as response:
        expected = int(response.headers.get("Content-Length") or 0)
        bar = tqdm(total=expected or None, unit="B", unit_scale=True, desc=name)
        with open(path, "wb") as file, bar:
            while chunk := response.read(1 << 18):
                bar.update(file.write(chunk))
                if bar.n > MAX_BYTES:
                    raise InputError(
                        f"{url}: over {MAX_BYTES:,} bytes, no O*NET release is that large"
                    )
    came = path.stat().st_size
    if came < expected:
        raise InputError(f"{url}: the connection broke off after {came:,} of {expected:,} bytes")


def unpack(url: str, path: Path, onet_dir: Path) -> None:
    with zipfile.ZipFile(path) as archive:
        # Only base names are used, so no entry can be written outside onet_dir
        entries = {Path(e.filename).name: e for e in archive.infolist() if not e.is_dir()}
        if "Occupation Data.xlsx" not in entries:
            raise InputError(
                f"{url}: holds no 'Occupation Data.xlsx', so it is not an O*NET Excel release"
            )
        absent = WANTED_FILES - entries.keys()
        strangers = sorted(name for name in absent if (onet_dir / name).exists())
        if strangers:  # the reader would take them for a part of this release
            raise InputError(
                f"{onet_dir.resolve()} holds {', '.join(strangers)}, which this release does not "
                "have: move them away or give another --onet-dir"
            )
        if sum(entry.file_size for entry in archive.infolist()) > MAX_BYTES:
            raise InputError(
                f"{url}: over {MAX_BYTES:,} bytes unpacked, no O*NET release is that large"
            )
        if archive.testzip() is not None:
            raise InputError(f"{url}: the zip is damaged, please try again")
        for name in sorted(WANTED_FILES & entries.keys()):
            staged = onet_dir / f".{name}.part"
            with archive.open(entries[name]) as source, open(staged, "wb") as target:
                shutil.copyfileobj(source, target)
            os.replace(staged, onet_dir / name)


# ------------------------------------------------------------------------------ reading


def find_workbooks(onet_dir: Path) -> dict[str, Layout]:
    """Choose each table's layout by the workbooks present.

    Raises:
        InputError: names every missing workbook, or those of two releases. Tools Used is not
            missed from a release in the new layout, which no longer has it.
    """
    found, missing = {}, {}
    for table, layouts in TABLES.items():
        present = []
        for layout in layouts:
            if all((onet_dir / name).is_file() for name in layout.workbooks):
                present.append(layout)
        if len(present) > 1:
            names = " and ".join(" + ".join(layout.workbooks) for layout in present)
            raise InputError(
                f"{onet_dir.resolve()} holds {names}, which are of different releases: "
                "move one away"
            )
        if present:
            found[table] = present[0]
        else:
            missing[table] = " or ".join(" + ".join(layout.workbooks) for layout in layouts)
    if "titles" in found and found["titles"] != TABLES["titles"][0]:
        missing.pop("tools", None)
    if missing:
        raise InputError(
            f"missing in {onet_dir.resolve()}: {'; '.join(missing.values())}. Get the Excel files "
            f"at {DOWNLOAD_PAGE}, or run: python data_preparation.py --download"
        )
    return found


def read_tables(onet_dir: Path, layouts: dict[str, Layout]) -> dict[str, pd.DataFrame]:
    """Read all tables, the occupations first, whose codes those of the others must be among.

    Raises:
        InputError: as from read_workbook; or the workbooks do not belong together.
    """
    tables = {}
    for name, layout in tqdm(layouts.items(), desc="reading", unit="table"):
        sheets = [read_workbook(onet_dir / book, layout.columns) for book in layout.workbooks]
        table = pd.concat(sheets)
        check_table(table, layout, tables.get("occupations"))
        tables[name] = table.reset_index(drop=True)
    return tables


def check_table(table: pd.DataFrame, layout: Layout, occupations: pd.DataFrame | None) -> None:
    """Raise an InputError if a table's codes are not those of the occupations, read before it."""
    if occupations is None:
        again = table.code[table.code.duplicated()]
        refuse(again, "the code {!r} stands in an earlier row already")
    else:
        unknown = table.code[~table.code.isin(occupations.code)]
        problem = "Occupation Data.xlsx does not list the code {!r}"
        refuse(unknown, f"{problem}; are the workbooks of one release?")
    if "scale" in table and not (table.scale == IMPORTANCE).any():
        names = " and ".join(layout.workbooks)
        raise InputError(f"{names}: no row of the scale {IMPORTANCE} (importance)")


def read_workbook(path: Path, columns: dict[str, str]) -> pd.DataFrame:
    """Read columns of a workbook under our names, wherever their header stands.

    Returns:
        The rows that are not empty, text stripped; indexed by where they stand, such as
        "Skills.xlsx, sheet 'Skills', row 2".

    Raises:
        InputError: names what is wrong with the file, a column or a row.
    """
    try:
        sheets = pd.read_excel(
            path,
            engine=excel_engine(),
            sheet_name=None,
            header=None,
            dtype=str,
            keep_default_na=False,  # "None" and "NA" are text here
            na_values=[""],
        )
    except PermissionError as error:
        raise InputError(
            f"{path}: cannot be opened ({error.strerror}): close it where it is open"
        ) from error
    except Exception as error:  # each engine has its own errors for a damaged file
        raise InputError(
            f"{path}: not an Excel workbook, or not a whole one ({error}): "
            f"get it again at {DOWNLOAD_PAGE}"
        ) from error

    sheet, row, header = find_header(path, sheets, columns)
    table = sheets[sheet].loc[row + 1 :, [header.index(column) for column in columns]]
    table.columns = list(columns.values())
    table = table.apply(lambda cells: cells.str.strip()).replace("", np.nan).dropna(how="all")
    table.index = [f"{path.name}, sheet {sheet!r}, row {row + 1}" for row in table.index]
    if table.empty:
        raise InputError(f"{path.name}, sheet {sheet!r}: no rows below its header")
    for column, name in columns.items():
        cells = table[name]
        if name not in MAY_BE_EMPTY:
            refuse(cells[cells.isna()], f"column {column!r} is empty")
        if name == "code":
            strange = cells[~cells.str.fullmatch(CODE_FORM)]
            refuse(strange, "{!r} is no O*NET-SOC code, such as 15-1252.00")
        if name == "value":
            table[name] = pd.to_numeric(cells, errors="coerce")
            refuse(cells[table[name].isna()], f"{{!r}} in column {column!r} is no number")
    return table


def excel_engine() -> Literal["calamine", "openpyxl"]:
    """What pandas reads workbooks with: calamine is five times faster than openpyxl."""
    return "calamine" if importlib.util.find_spec("python_calamine") else "openpyxl"


def find_header(
    path: Path, sheets: dict[str, pd.DataFrame], columns: dict[str, str]
) -> tuple[str, int, list[str]]:
    """Sheet, row and cells of the row that has most of the columns.

    Raises:
        InputError: it lacks a column, or has one twice.
    """
    best, most = None, -1
    for sheet, cells in sheets.items():
        for row in cells.index[:HEADER_ROWS]:
            header = [str(cell).strip() for cell in cells.loc[row]]
            count = len(columns.keys() & set(header))
            if count > most:
                best, most = (sheet, row, header), count
    if best is None:
        raise InputError(f"{path.name}: its sheets are empty")
    sheet, row, header = best
    for column in columns:
        if header.count(column) != 1:
            what = "several columns" if column in header else "no column"
            raise InputError(
                f"{path.name}, sheet {sheet!r}, row {row + 1}: {what} {column!r} in its header"
            )
    return best


def refuse(cells: pd.Series, problem: str) -> None:
    """Raise an InputError if there are cells: where the first stands, and the problem.

    {!r} in the problem becomes the first cell's text.
    """
    if len(cells):
        more = f" (and {len(cells) - 1:,} more)" if len(cells) > 1 else ""
        raise InputError(f"{cells.index[0]}{more}: {problem.format(cells.iloc[0])}")


def release_of(onet_dir: Path, tables: dict[str, pd.DataFrame]) -> str:
    """The number in the release's own Read Me; without one that of the same rows, or "unknown".

    Nothing in the workbooks names it; the dates in them are those of single rows.
    """
    path = onet_dir / README
    if not path.is_file():
        return KNOWN_ROWS.get(fingerprint(tables), "unknown")
    first_line = path.read_text(encoding="utf-8", errors="replace").split("\n", 1)[0]
    match = re.search(r"O\*NET (\d+\.\d+)", first_line)
    return match.group(1) if match else "unknown"


def fingerprint(tables: dict[str, pd.DataFrame]) -> str:
    """SHA-256 of all that read_tables read, whoever wrote the workbooks."""
    digest = hashlib.sha256()
    for table in tables.values():
        digest.update(table.to_csv(index=False, lineterminator="\n").encode())
    return digest.hexdigest()


def taxonomy_of(codes: set[str]) -> str:
    """The taxonomy that the codes of a release belong to, or "unknown"."""
    for code, name in TAXONOMIES.items():
        if code in codes:
            return name
    return "unknown"
