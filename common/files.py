"""Hashes, JSON, and files that are written whole or not at all."""

import hashlib
import json
import os
import shutil
from pathlib import Path
from typing import Any


class InputError(Exception):
    """Something the user can mend; its text is the one line they see (exit code 2)."""


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


def write_data(output_dir: Path, contents: dict[str, list | dict], manifest: dict) -> None:
    """Write all files beside their final names, then move them into place, the manifest last.

    The manifest holds every file's SHA-256, so a run killed in the middle is noticed by train.py.
    """
    output_dir.mkdir(parents=True, exist_ok=True)
    staging = output_dir / ".staging"
    shutil.rmtree(staging, ignore_errors=True)
    staging.mkdir()
    try:
        for name, content in contents.items():
            (staging / name).write_text(one_a_line(content), encoding="utf-8", newline="\n")
        manifest["outputs"] = {name: sha256(staging / name) for name in contents}
        text = json.dumps(manifest, indent=2) + "\n"
        (staging / "manifest.json").write_text(text, encoding="utf-8", newline="\n")
        for name in (*contents, "manifest.json"):
            os.replace(staging / name, output_dir / name)
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def one_a_line(content: list | dict) -> str:
    """JSON with one item of the list or dictionary on each line."""
    if isinstance(content, list):
        rows = [json.dumps(item, ensure_ascii=False) for item in content]
        opening, closing = "[", "]"
    else:
        rows = [
            f"{json.dumps(key)}: {json.dumps(item, ensure_ascii=False)}"
            for key, item in content.items()
        ]
        opening, closing = "{", "}"
    return f"{opening}\n" + ",\n".join(rows) + f"\n{closing}\n"
