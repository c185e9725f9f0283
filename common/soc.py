"""SOC 2018 (bls.gov/soc/2018): how codes are written, their levels and groups, older codes."""

import csv
import math
import re
import unicodedata
import zipfile
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from numbers import Real
from pathlib import Path

from common.files import read_json

# Digits of a SOC code -> characters of 15-1252.00: the O*NET-SOC occupation, the SOC occupation,
# the broad, the minor and the major group
DIGITS = {8: 10, 6: 7, 5: 6, 3: 4, 2: 2}

# {code: title} of the broad, minor and major groups
SOC_GROUPS: dict[str, str] = read_json(Path(__file__).with_name("soc_groups.json"))
MAJOR_GROUPS = {
    code[:2]: title.removesuffix(" Occupations")
    for code, title in SOC_GROUPS.items()
    if code.endswith("-0000")
}
# Most are the first three digits and 000, but 15-1 is 15-1200
MINOR_GROUPS = {
    code[: DIGITS[3]]: code
    for code in SOC_GROUPS
    if code.endswith("00") and not code.endswith("-0000")
}
BROAD_GROUPS = {"29-122": "29-1210"}  # all others are the first five digits and 0

# ------------------------------------------------------------------------------ codes as written

CODE = re.compile(r"([0-9]{2})-?([0-9]{4})(?:[.-]?([0-9]{2}))?(?:\.0)?")  # .0 is of a number
DASHES = dict.fromkeys(
    map(ord, "_\N{HYPHEN}\N{FIGURE DASH}\N{EN DASH}\N{EM DASH}\N{MINUS SIGN}"), "-"
)
SEPARATORS = re.compile(r"[|;,]")
LISTED = 12  # occupations that an error names: a SOC occupation has no more


def read_code(text: str) -> str:
    """A code as 15-1252.00 or 15-1252, however people or spreadsheets write it; "" if it is none.

    151252, 151252.0 and 15-1252.0 are read as 15-1252, and 15125200 as 15-1252.00. Whether there
    is such an occupation is not looked at.
    """
    # NFKC makes a non-breaking hyphen a plain one and a non-breaking space a space
    plain = "".join(unicodedata.normalize("NFKC", text).translate(DASHES).split())
    match = CODE.fullmatch(plain.removeprefix("'"))  # an apostrophe makes it text in Excel
    if match is None:
        return ""
    return f"{match[1]}-{match[2]}" + (f".{match[3]}" if match[3] else "")


def split_codes(text: str) -> list[str]:
    """The parts of a text between '|', ';' or ',', blank ones left out."""
    return [part.strip() for part in SEPARATORS.split(text) if part.strip()]


def occupation_of(text: str, codes: Collection[str]) -> str:
    """The one O*NET-SOC occupation that a code of 8 or 6 digits means.

    One of 6 digits means the occupation that ends in .00, which is the SOC occupation itself, or
    else the only one that begins so.

    Args:
        text: the code, as read_code reads it.
        codes: the O*NET-SOC codes there are.

    Raises:
        ValueError: it is no code, or means none or several of them.
    """
    code = read_code(text)
    for exact in (code, f"{code}.00"):
        if exact in codes:
            return exact
    digits = digits_of(code)
    among = [known for known in codes if group_code(known, digits) == code]
    if len(among) == 1:
        return among[0]
    if among:
        several = ", ".join(among[:LISTED]) + (", ..." if len(among) > LISTED else "")
        raise ValueError(f"{text!r} is several O*NET-SOC occupations: give one of {several}")
    raise ValueError(f"{text!r} is no code of O*NET-SOC 2019, such as {min(codes)}")


# ------------------------------------------------------------------------------ levels


def digits_of(code: str) -> int:
    """How many digits of a code as read_code returns it tell something: 8, 6, 5, 3 or 2.

    Codes of groups end in zeros, and no SOC occupation's does.
    """
    if len(code) == DIGITS[8]:
        return 8
    for ending, digits in (("-0000", 2), ("00", 3), ("0", 5)):
        if code.endswith(ending):
            return digits
    return 6


def group_code(code: str, digits: int) -> str:
    """The code of an occupation's group as SOC has it: 29-1141, 29-1140, 29-1000 or 29-0000."""
    prefix = code[: DIGITS[digits]]
    if digits == 5:
        return BROAD_GROUPS.get(prefix, f"{prefix}0")
    if digits == 3:
        return MINOR_GROUPS.get(prefix, f"{prefix}000")
    return f"{prefix}-0000" if digits == 2 else prefix


def levels(code: str, titles: Mapping[str, str]) -> dict[str, str]:
    """The SOC levels above an O*NET-SOC occupation, with SOC's own titles.

    Args:
        code: of the occupation.
        titles: of the occupations, by O*NET-SOC code. Those that end in .00 have SOC's titles.

    Returns:
        {"soc": such as 29-1141, "soc_title", "broad_group": such as 29-1140, "broad_group_title",
        "minor_group": such as 29-1000, "minor_group_title", "major_group": such as 29-0000,
        "major_group_title": without the word Occupations}. Where titles lack the SOC occupation,
        its title is its broad group's.
    """
    soc, broad, minor, major = (group_code(code, digits) for digits in (6, 5, 3, 2))
    broad_title = SOC_GROUPS.get(broad, "")
    return {
        "soc": soc,
        "soc_title": titles.get(f"{soc}.00", broad_title),
        "broad_group": broad,
        "broad_group_title": broad_title,
        "minor_group": minor,
        "minor_group_title": SOC_GROUPS.get(minor, ""),
        "major_group": major,
        "major_group_title": MAJOR_GROUPS.get(code[: DIGITS[2]], ""),
    }


# ------------------------------------------------------------------------------ older codes

# What the columns with codes are called in a crosswalk, such as "2010 SOC Code" and "soc2018"
FROM = re.compile(r"(?i)(soc.*2010|2010.*soc)(?!.*title)")
TO = re.compile(r"(?i)(soc.*201[89]|201[89].*soc)(?!.*title)")


def read_crosswalks(paths: Iterable[str | Path]) -> dict[str, list[str]]:
    """The codes of today that codes of SOC 2010 or O*NET-SOC 2010 have become.

    Args:
        paths: the official tables from SOC or O*NET-SOC 2010 to 2018 or 2019, as .csv, .tsv or
            .xlsx.

    Returns:
        {old code: new ones}. Of 8 digits are those that a table has so; 15-1132.00 is 15-1132 where
        only that one is in a table, and 15-1132 all that begins so.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: one cannot be read, or is no crosswalk.
    """
    listed: dict[str, dict[str, None]] = defaultdict(dict)  # in the order of the tables
    general: dict[str, dict[str, None]] = defaultdict(dict)
    for path in map(Path, paths):
        for old, new in crosswalk_pairs(path):
            listed[old][new] = None
            for code in (old[: DIGITS[6]], f"{old[: DIGITS[6]]}.00"):
                general[code][new[: DIGITS[6]]] = None
    return {old: list(new) for old, new in (general | listed).items()}


def crosswalk_pairs(path: Path) -> list[tuple[str, str]]:
    """Old and new code of each row of a crosswalk, below its header and whatever stands above."""
    rows = crosswalk_rows(path)
    for i, row in enumerate(rows):
        old, new = ([j for j, name in enumerate(row) if kind.search(name)] for kind in (FROM, TO))
        if len(old) == len(new) == 1 and old != new:
            cells = [row for row in rows[i + 1 :] if len(row) > max(*old, *new)]
            pairs = [(read_code(row[old[0]]), read_code(row[new[0]])) for row in cells]
            return [(before, after) for before, after in pairs if before and after]
    raise ValueError(f"{path}: no crosswalk with one column each of old (2010) and new codes")


def crosswalk_rows(path: Path) -> list[list[str]]:
    kind = path.suffix.lower()
    try:
        if kind in (".csv", ".tsv"):
            text = path.read_text(encoding="utf-8-sig", errors="replace")
            delimiter = "\t" if kind == ".tsv" else max(",;", key=text.count)
            return list(csv.reader(text.splitlines(), delimiter=delimiter))
        if kind == ".xlsx":
            import openpyxl  # a third of a second, so only where it is needed

            sheet = openpyxl.load_workbook(path, read_only=True, data_only=True).worksheets[0]
            rows = sheet.iter_rows(values_only=True)
            return [["" if cell is None else str(cell) for cell in row] for row in rows]
    except (csv.Error, KeyError, zipfile.error) as error:
        raise ValueError(f"{path}: cannot be read ({error})") from None
    raise ValueError(f"{path}: a crosswalk must end in .csv, .tsv or .xlsx")


# ------------------------------------------------------------------------------ employment


def employment_of(counts: Mapping[str, float], codes: Sequence[str]) -> list[float]:
    """Employed people of O*NET-SOC occupations, from counts by codes of 8 or of 6 digits.

    Of a count by 6 digits the general occupation, which ends in .00, has as much as its specialties
    together; without a general one they share alike.

    Raises:
        ValueError: a count is no number from zero, or none is of these occupations.
    """
    for code, count in counts.items():
        if not (isinstance(count, Real) and 0 <= count < math.inf):
            raise ValueError(f"employment of {code} is {count!r}, but must be a number from 0")
    counts = {read_code(str(code)): count for code, count in counts.items()}
    parts: dict[str, float] = defaultdict(float)
    for code in codes:
        parts[code[: DIGITS[6]]] += not code.endswith(".00")
    employed = []
    for code in codes:
        soc = code[: DIGITS[6]]
        share = max(parts[soc], 1) if code.endswith(".00") else 1
        all_shares = parts[soc] + (f"{soc}.00" in codes) * max(parts[soc], 1)
        employed.append(float(counts.get(code, counts.get(soc, 0) * share / all_shares)))
    if counts and not any(employed):
        raise ValueError("employment: no code is an O*NET-SOC or SOC 2018 one with people in it")
    return employed
