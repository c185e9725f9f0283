"""Job titles of a user's own with their occupations, in whatever form they are given."""

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from common.columns import frame, required_column
from common.soc import occupation_of
from common.tables import read_table
from common.text import job_texts


def own_pairs(own_titles: Any, known: Collection[str]) -> list[tuple[str, str]]:
    """[(job title, O*NET-SOC code), ...] of titles of one's own.

    Args:
        own_titles: {job title: code, ...}, [(job title, code), ...], a DataFrame with the columns
            title and code, or the path of a file with them.
        known: the O*NET-SOC codes there are.

    Raises:
        FileNotFoundError: there is no such file.
        TypeError: a title is no string.
        ValueError: the file cannot be read, a column is missing, a title is blank, or its code does
            not mean one occupation.
    """
    of_file = ""
    if isinstance(own_titles, str | Path):
        given, of_file = read_own_titles(own_titles), f"{own_titles}: "
    elif hasattr(own_titles, "columns"):
        table = frame(own_titles, "own_titles")
        places = map(table.columns.index, title_and_code(table))
        titles, codes = (own_titles.iloc[:, place] for place in places)
        given = list(zip(titles, codes, strict=True))
    else:
        given = list(own_titles.items() if isinstance(own_titles, Mapping) else own_titles)
    pairs = []
    for i, pair in enumerate(given, start=1):
        if isinstance(pair, str) or len(pair) != 2:
            raise TypeError("own_titles must be {title: code, ...}, pairs, a DataFrame or a file")
        title, code = pair
        try:
            pairs.append((job_texts(title)[1], occupation_of(str(code), known)))
        except (TypeError, ValueError) as error:
            raise (ValueError if of_file else type(error))(
                f"{of_file}own title {i} ({title}): {error}"
            ) from None
    return pairs


def read_own_titles(path: str | Path) -> list[tuple[str, str]]:
    """[(job title, O*NET-SOC code), ...] from a file with the columns title and code.

    Raises:
        FileNotFoundError, ValueError: as from read_table, or a row has too many fields.
    """
    table, pairs = read_table(path), []
    columns = title_and_code(table)
    for part in table.parts():
        titles, codes = (table.column(part, name) for name in columns)
        for title, code, problem in zip(titles, codes, table.problems(part), strict=True):
            if problem:
                raise ValueError(f"{path}, row {len(pairs) + 1}: {problem}")
            pairs.append((title or "", str(code).strip()))
    return pairs


def title_and_code(table: Any) -> list[str]:
    """Both columns of a table, or of what frame returns."""
    return [required_column(table, name, None, "rename it") for name in ("title", "code")]
