"""Which column of a table holds what, by the name that the user gave or by its own."""

from types import SimpleNamespace
from typing import Any

# What a column may be called, letter case and what stands between words aside. Of several that a
# file has, those of an earlier group are meant; of several in one group nobody can tell.
COLUMN_NAMES: dict[str, tuple[tuple[str, ...], ...]] = {
    "title": (
        ("title", "titles", "jobtitle", "jobtitles", "positiontitle", "position", "job", "jobname",
         "occupation"),
    ),
    "description": (
        ("description", "jobdescription", "jobdesc"),
        ("duties", "jobduties", "tasks", "responsibilities"),
    ),
    "code": (("code", "soccode", "onetcode", "onetsoccode", "soc", "onetsoc"),),
}  # fmt: skip


def plain(name: str) -> str:
    """A column's name in the form of COLUMN_NAMES."""
    return "".join(letter for letter in name.casefold() if letter.isalnum())


def is_named(name: str, what: str) -> bool:
    """Whether a column may hold titles, descriptions or codes, by its name."""
    return any(plain(name) in names for names in COLUMN_NAMES[what])


def find_column(table: Any, what: str, wanted: str | None, hint: str = "") -> str | None:
    """The column that holds something, by the name that was given for it, or by its own.

    Args:
        what: the flag's name is made of it: "title" for --title-column.
        wanted: None to take the one that COLUMN_NAMES know, "" to take none.
        hint: what to do where it cannot be told, by default to use the flag.

    Returns:
        None if none is to be taken, or none was given and none is known.

    Raises:
        ValueError: there is none of that name, or several may be meant.
    """
    if wanted == "":
        return None
    if wanted is not None and wanted in table.columns:
        groups: list[list[str]] = [[name for name in table.columns if name == wanted]]
    elif wanted is not None:
        groups = [[name for name in table.columns if plain(name) == plain(wanted)]]
    else:
        known = COLUMN_NAMES.get(what, ())
        groups = [[name for name in table.columns if plain(name) in names] for names in known]
    found = next(filter(None, groups), [])
    if len(found) == 1:
        return found[0]
    if found:
        listed = ", ".join(map(repr, found))
        hint = hint or f"name one with --{what}-column, or rename the others"
        raise ValueError(f"{table.path} has several columns for the {what}, {listed}: {hint}")
    if wanted is not None:
        listed = ", ".join(map(repr, table.columns)) or "none"
        raise ValueError(f"{table.path} has no column {wanted!r}, but {listed}")
    return None


def required_column(table: Any, what: str, wanted: str | None, hint: str = "") -> str:
    """As find_column, but it must be there."""
    found = find_column(table, what, wanted, hint)
    if found is None:
        listed = ", ".join(f"{name!r:.40}" for name in table.columns) or "none"
        hint = hint or f"name it with --{what}-column, or put a row of names above"
        raise ValueError(f"{table.path} has no column {what!r}, but {listed}: {hint}")
    return found


def frame(table: Any, name: str) -> SimpleNamespace:
    """What find_column needs to know of a pandas DataFrame, and what it is called in errors."""
    return SimpleNamespace(path=name, columns=[str(column) for column in table.columns])
