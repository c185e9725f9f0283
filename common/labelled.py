"""Job titles that others have coded, from files of many kinds, as weighted samples."""

import math
from collections import Counter, defaultdict
from pathlib import Path

import pandas as pd

from common.files import InputError
from common.onet import HEADER_ROWS, excel_engine
from common.samples import LABELLED_DESCRIPTION, LABELLED_TITLE, Sample
from common.soc import DIGITS, read_code, read_crosswalks, split_codes
from common.text import normalize

# What a column may be called, in small letters: our own names, then those of the disclosure files
# of the US Department of Labor (https://www.dol.gov/agencies/eta/foreign-labor/performance)
COLUMNS = {
    "title": ("title", "job_title", "job_info_job_title", "lca_case_job_title"),
    "code": ("code", "soc_code", "pwd_soc_code", "pw_soc_code", "lca_case_soc_code"),
    "description": ("description", "job_duties"),
    "count": ("count",),
}
# The same in tables of employment, after ours: those of the US Bureau of Labor Statistics
EMPLOYMENT_COLUMNS = {
    "code": ("code", "soc2018", "occ_code", "soc_code"),
    "count": ("count", "employment", "tot_emp", "ep_2024_incl_selfemployed"),
}


def read_labelled(paths: list[Path], crosswalks: list[Path], codes: list[str]) -> list[Sample]:
    """Samples of the titles in some files; prints what became of the rows of each.

    A row's cases are shared out equally over its codes ('|', ';' or ',' between), and those of a
    code with 6 digits over the occupations that begin with it. A code that O*NET-SOC 2019 does not
    have is looked up in the crosswalks.

    Args:
        paths: .csv, .tsv (both also .gz), .xlsx or .parquet, with the columns title, code and
            perhaps description and count, or with those of the Department of Labor.
        crosswalks: the official tables from SOC or O*NET-SOC 2010 to 2018 or 2019.
        codes: the O*NET-SOC codes there are.

    Returns:
        One for each title, and for each title with a description ("title" is its title alone),
        with the most frequent code. Where a text has several, "shares" has them all. "weight" is
        1 + the logarithm of the cases, so that the titles of a few large employers do not drown
        the rest.

    Raises:
        InputError: a file cannot be read or lacks a column, or none of its rows can be used.
    """
    occupations = occupations_by_code(codes, crosswalks)
    shares_of: dict[str, dict[str, float]] = {}  # by what stands in a row's code column
    titles: dict[str, str] = {}  # as first written, by their normalised form
    cases: dict[tuple[str, str], dict[str, float]] = {}  # by title and description, by code
    for path in paths:
        table, left_out = read_rows(path), Counter()
        for title, given, description, count in table.itertuples(index=False):
            if given not in shares_of:
                shares_of[given] = shared_out(given, occupations)
            if not title:
                left_out["they have no title"] += 1
            elif not shares_of[given]:
                left_out["their code is none of O*NET-SOC 2019"] += 1
            else:
                title = titles.setdefault(normalize(title), title)
                for text in {"", description}:
                    counts = cases.setdefault((title, text), {})
                    for code, share in shares_of[given].items():
                        counts[code] = counts.get(code, 0) + count * share
        reasons = "".join(f", {n:,} left out: {reason}" for reason, n in left_out.items())
        if left_out.total() == len(table):
            raise InputError(f"{path}: none of its {len(table):,} rows can be used{reasons}")
        print(f"{path.name}: {len(table):,} rows{reasons}")

    samples: list[Sample] = []
    for (title, description), counts in cases.items():
        total = sum(counts.values())
        sample: Sample = {
            "anchor": f"{title}. {description}" if description else title,
            "code": min(counts, key=lambda code: (-counts[code], code)),
            "source": LABELLED_DESCRIPTION if description else LABELLED_TITLE,
            "weight": round(1 + math.log(max(total, 1)), 3),
        }
        if description:
            sample["title"] = title
        if len(counts) > 1:
            sample["shares"] = {code: round(n / total, 3) for code, n in sorted(counts.items())}
        samples.append(sample)
    return samples


def shared_out(given: str, occupations: dict[str, list[str]]) -> dict[str, float]:
    """Shares of the occupations that some codes mean, as split_codes parts them; none if none."""
    labels = [occupations.get(read_code(code), []) for code in split_codes(given)]
    labels = [label for label in labels if label]
    shares: dict[str, float] = defaultdict(float)
    for label in labels:
        for code in label:
            shares[code] += 1 / len(labels) / len(label)
    return dict(shares)


def read_rows(path: Path) -> pd.DataFrame:
    """Title, code, description and count of a file's rows, texts stripped.

    Raises:
        InputError: it cannot be read, or lacks a title or a code.
    """
    table = read_any(path)
    names = {name.strip().lower(): name for name in table.columns}
    columns = {}
    for column, candidates in COLUMNS.items():
        present = [names[name] for name in candidates if name in names]
        if present:
            columns[column] = table[present[0]].fillna("").astype(str).str.strip()
        elif column in ("title", "code"):
            raise InputError(
                f"{path}: no column {column!r}, nor {', '.join(candidates[1:])}, "
                f"but {', '.join(map(repr, table.columns))}"
            )
        else:
            columns[column] = pd.Series("", index=table.index)
    counts = columns["count"].replace("", "1")
    columns["count"] = pd.to_numeric(counts, errors="coerce")
    bad = columns["count"].isna() | (columns["count"] <= 0)
    if bad.any():
        row = int(bad.to_numpy().argmax())
        raise InputError(f"{path}, row {row + 2}: the count {counts.iloc[row]!r} is none")
    return pd.DataFrame(columns)[["title", "code", "description", "count"]]


def read_employment(path: Path) -> dict[str, float]:
    """Employed people by code of 8 or 6 digits, from the columns code and count of a file.

    Codes without a count are left out: of some occupations, such as military ones, nobody counts.

    Raises:
        InputError: it cannot be read, lacks a column, or a count is no number from zero.
    """
    table, columns = read_any(path), []
    names = {str(name).strip().lower(): name for name in table.columns}
    for wanted in EMPLOYMENT_COLUMNS.values():
        found = [names[name] for name in wanted if name in names]
        if not found:
            raise InputError(
                f"{path}: no column {wanted[0]!r}, but {', '.join(map(repr, table.columns))}"
            )
        columns.append(table[found[0]])
    given = columns[1].fillna("").astype(str).str.strip()
    counts = pd.to_numeric(given, errors="coerce")
    bad = ~(counts >= 0) & (given != "")
    if bad.any():
        row = int(bad.to_numpy().argmax())
        raise InputError(f"{path}, row {row + 2}: the count {given.iloc[row]!r} is none")
    pairs = zip(map(read_code, columns[0].astype(str)), counts.tolist(), strict=True)
    return {code: count for code, count in pairs if count == count}


def read_any(path: Path) -> pd.DataFrame:
    """A table of text from a file of any kind that pandas reads."""
    kind = path.name.lower().removesuffix(".gz").rpartition(".")[2]
    try:
        if kind in ("csv", "tsv"):
            separator = "\t" if kind == "tsv" else ","
            return pd.read_csv(path, sep=separator, dtype=str, keep_default_na=False)
        if kind == "xlsx":
            sheet = pd.read_excel(path, engine=excel_engine(), dtype=str, header=None)
            header = sheet.head(HEADER_ROWS).notna().sum(axis=1).idxmax()
            table = sheet.loc[header + 1 :].dropna(how="all").fillna("")
            return table.set_axis(sheet.loc[header].fillna("").tolist(), axis=1)
        if kind == "parquet":
            return pd.read_parquet(path)
    except FileNotFoundError:
        raise
    except Exception as error:  # each reader has its own errors for a damaged file
        reason = " ".join(str(error).split())
        raise InputError(f"{path}: cannot be read ({reason})") from error
    raise InputError(f"{path}: must end in .csv, .tsv, .csv.gz, .tsv.gz, .xlsx or .parquet")


def occupations_by_code(codes: list[str], crosswalks: list[Path]) -> dict[str, list[str]]:
    """The O*NET-SOC occupations that a code means, by codes of 8 and of 6 digits, old ones too."""
    occupations = defaultdict(list)
    for code in codes:
        occupations[code].append(code)
        occupations[code[: DIGITS[6]]].append(code)
    try:
        new_codes = read_crosswalks(crosswalks)
    except ValueError as error:
        raise InputError(str(error)) from None
    old = {}
    for before, after in new_codes.items():
        old[before] = list(dict.fromkeys(c for new in after for c in occupations.get(new, [])))
    # A code that is still in use means what it means now
    return {**old, **occupations}
