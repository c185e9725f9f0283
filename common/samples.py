"""What data_preparation.py hands on to train.py and inference.py."""

import json
import os
import shutil
from collections import defaultdict
from pathlib import Path
from typing import Any

from common.files import InputError, read_json, sha256
from common.text import normalize, title_forms

DATA_VERSION = "5"  # in the manifest; raise it when the samples or the corpus change
FILES = ("train.json", "val.json", "corpus.json", "label_map.json")
MANIFEST_FILE = "manifest.json"  # names the other files' hashes
# Sources of samples besides those of the workbooks
WRITTEN_TITLE, WRITTEN_DUTIES = "written_title", "written_duties"
LABELLED_TITLE, LABELLED_DESCRIPTION = "labelled_title", "labelled_description"
OWN_TITLE = "own_title"  # of titles that users add
TITLE_SOURCES = ("standard_title", "alternate_title", WRITTEN_TITLE, LABELLED_TITLE, OWN_TITLE)

LISTED_SHARE = 0.2  # of a title's cases, from which on a code is no slip

Sample = dict[str, Any]  # "anchor", "code", "source"; labelled ones have more


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
        (staging / MANIFEST_FILE).write_text(text, encoding="utf-8", newline="\n")
        for name in (*contents, MANIFEST_FILE):
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


def load_data(data_dir: Path) -> dict[str, Any]:
    """Read what data_preparation.py wrote, by file name without ending.

    Raises:
        InputError: files are missing, are not those the manifest was written for, or are of
            another version.
    """
    data = {}
    for name in (MANIFEST_FILE, *FILES):
        path = data_dir / name
        if not path.is_file():
            raise InputError(f"{path} is missing: run python data_preparation.py first")
        if name != MANIFEST_FILE and sha256(path) != data["manifest"]["outputs"][name]:
            raise InputError(
                f"{path} does not belong to {data_dir / MANIFEST_FILE}: "
                "run data_preparation.py again"
            )
        try:
            data[path.stem] = read_json(path)
        except ValueError as error:
            raise InputError(f"{error}: run data_preparation.py again") from None
    if data["manifest"]["script_version"] != DATA_VERSION:
        raise InputError(
            f"the data in {data_dir} are of another version: run python data_preparation.py again"
        )
    return data


def listed_codes(samples: list[Sample]) -> dict[str, set[str]]:
    """All codes that a text stands under, by the text's normalised form.

    Of those that coders gave it, the ones that a fifth of the cases have.
    """
    listed = defaultdict(set)
    for sample in samples:
        shares = sample.get("shares", {})
        codes = [code for code, share in shares.items() if share >= LISTED_SHARE]
        listed[normalize(sample["anchor"])].update([sample["code"], *codes])
    return listed


def pairs_of(samples: list[Sample]) -> set[tuple[str, str]]:
    """The samples as (code, text), with the forms of their titles.

    That is what a classifier must not know if it is measured on these samples.
    """
    pairs = set()
    for sample in samples:
        pairs.add((sample["code"], sample["anchor"]))
        for form in title_forms(sample["anchor"]):
            pairs.add((sample["code"], form))
    return pairs
