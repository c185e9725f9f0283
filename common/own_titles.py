"""Job titles of a user's own with their occupations, in whatever form they are given."""

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from common.soc import occupation_of
from common.tables import read_own_titles
from common.text import job_texts


def own_pairs(own_titles: Any, codes: Collection[str]) -> list[tuple[str, str]]:
    """[(job title, O*NET-SOC code), ...] of titles of one's own.

    Args:
        own_titles: {job title: code, ...}, [(job title, code), ...], a DataFrame with the columns
            title and code, or the path of a file with them.
        codes: the O*NET-SOC codes there are.

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
        columns = list(own_titles.columns)
        for name in ("title", "code"):
            if name not in columns:
                found = ", ".join(map(repr, columns)) or "none"
                raise ValueError(f"own_titles has no column {name!r}, but {found}")
        given = list(zip(own_titles["title"], own_titles["code"], strict=True))
    else:
        given = list(own_titles.items() if isinstance(own_titles, Mapping) else own_titles)
    pairs = []
    for i, (title, code) in enumerate(given, start=1):
        try:
            pairs.append((job_texts(title)[1], occupation_of(str(code), codes)))
        except (TypeError, ValueError) as error:
            raise type(error)(f"{of_file}own title {i} ({title}): {error}") from None
    return pairs
