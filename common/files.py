"""Hashes, JSON, and files that are written whole or not at all."""

import hashlib
import json
import os
import shutil
from pathlib import Path
from typing import Any

PROJECT = Path(__file__).resolve().parent.parent  # the folder of the scripts


class InputError(Exception):
    """Something the user can mend; its text is the one line they see (exit code 2)."""


def here_or_beside_scripts(path: str | Path) -> Path:
    """A path as given; a relative one that is not there from the folder of the scripts, if it is.

    So the scripts find their folders whatever folder they are called from.
    """
    beside = PROJECT / path
    return beside if beside.exists() and not Path(path).exists() else Path(path)


def sha256(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def read_json(path: Path) -> Any:
    """The content of a JSON file; a ValueError that names it if it is damaged."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path} is damaged ({error})") from None


def write_whole(path: Path, text: str) -> None:
    """Write a file beside its place first: whoever reads it finds the old one or the new one."""
    staged = path.with_name(f".{path.name}")
    staged.write_text(text, encoding="utf-8", newline="\n")
    os.replace(staged, path)


def write_json(path: Path, content: dict) -> None:
    write_whole(path, json.dumps(content, indent=2) + "\n")


def put_in_place(staged: Path, final: Path) -> None:
    """Put a finished folder in place of an earlier one."""
    old = final.with_name(f".{final.name}.old")
    shutil.rmtree(old, ignore_errors=True)
    if final.exists():
        os.replace(final, old)
    os.replace(staged, final)
    shutil.rmtree(old, ignore_errors=True)


def in_one_line(error: Exception, output: str | Path) -> str:
    """What an error says; of a full disk, which has no name, also what was being written."""
    message = str(error)
    if isinstance(error, OSError) and error.errno is not None and error.filename is None:
        message += f", writing {output}"
    return " ".join(message.split())
