"""Turn the O*NET workbooks into training pairs (anchor text, occupation).

    python data_preparation.py                    # eight workbooks in the project root
    python data_preparation.py --onet-dir DIR     # ... or in another folder
    python data_preparation.py --download         # fetch release 30.1 first (60 MB)
    python data_preparation.py --download 31.0    # ... or another release

Writes to processed_data/: train.json and val.json (lists of {"anchor", "code", "source"}),
corpus.json (every occupation's label text in each label mode, its known titles and its tasks),
label_map.json (code -> row of the label matrix) and manifest.json. The same workbooks and seed give the same bytes.
Takes about 7 s for O*NET 30.1 on two laptop cores.

Source: O*NET Database by the U.S. Department of Labor, Employment and Training Administration
(USDOL/ETA), CC BY 4.0, https://www.onetcenter.org/database.html
"""

import argparse
import http.client
import importlib.util
import json
import os
import re
import shutil
import sys
import urllib.error
import urllib.request
import zipfile
from collections import Counter, defaultdict
from collections.abc import Mapping
from itertools import combinations
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

import numpy as np
import pandas as pd
from tqdm import tqdm

from inference import in_one_line, normalize, sha256

# ------------------------------------------------------------------------------ settings

SCRIPT_VERSION = "4"  # goes into the manifest; raise it when the samples or the corpus change
SEED = 42  # of the split; nothing else is random
VAL_FRACTION = 0.1  # of each occupation's samples, never less than one
TASK_MIN_CHARS = 20  # shorter task statements name no recognisable duty
LABEL_DESC_CHARS = 200  # of the description in a title_desc label: about 45 tokens

IMPORTANT = 2.5  # on O*NET's importance scale, 1 to 5: half-way from "somewhat" to "important"
DISTINCTIVE = 8  # elements kept per occupation, those that set it most apart from the others
GROUP_SIZES = (3, 4)  # elements joined in one sample: one alone stands for hundreds of occupations
SKILL_GROUPS, KNOWLEDGE_GROUPS, ABILITY_GROUPS = 22, 13, 3  # samples per occupation at most
TOOLS_PER_OCCUPATION = 12  # rarest first; the common rest (desktop computer, pen) says little

# Elements nearly every occupation rates as important: they tell occupations apart no better
# than chance, so no sample mentions them.
GENERIC_SKILLS = [
    "Active Learning", "Active Listening", "Complex Problem Solving", "Coordination",
    "Critical Thinking", "Judgment and Decision Making", "Monitoring", "Reading Comprehension",
    "Social Perceptiveness", "Speaking", "Time Management", "Writing",
]  # fmt: skip
GENERIC_KNOWLEDGE = [
    "Administration and Management", "Administrative", "Computers and Electronics",
    "Customer and Personal Service", "Education and Training", "English Language", "Mathematics",
]  # fmt: skip
GENERIC_ABILITIES = [
    "Category Flexibility", "Deductive Reasoning", "Far Vision", "Flexibility of Closure",
    "Fluency of Ideas", "Inductive Reasoning", "Information Ordering", "Mathematical Reasoning",
    "Memorization", "Near Vision", "Number Facility", "Oral Comprehension", "Oral Expression",
    "Originality", "Perceptual Speed", "Problem Sensitivity", "Selective Attention",
    "Speech Clarity", "Speech Recognition", "Speed of Closure", "Time Sharing",
    "Written Comprehension", "Written Expression",
]  # fmt: skip

DEFAULT_RELEASE = "30.1"
DOWNLOAD_URL = "https://www.onetcenter.org/dl_files/database/db_{release}_excel.zip"
DOWNLOAD_PAGE = "https://www.onetcenter.org/database.html"
MAX_BYTES = 500_000_000  # of a release, packed or unpacked: it is about 60 MB, and anything near this is not one

CODE, TITLE = "O*NET-SOC Code", "Title"
CODE_FORM = r"\d\d-\d{4}\.\d\d"
HEADER_ROWS = 20  # in which a header is looked for; notes above it take fewer
MAY_BE_EMPTY = ("suppress", "not_relevant")
IMPORTANCE = "IM"  # scale
# An occupation that only one taxonomy has: Software Developers, and their forerunners for applications
TAXONOMIES = {"15-1252.00": "O*NET-SOC 2019", "15-1132.00": "O*NET-SOC 2010"}
RATING_COLUMNS = {
    CODE: "code", "Element Name": "element", "Scale ID": "scale", "Data Value": "value",
    "Recommend Suppress": "suppress", "Not Relevant": "not_relevant",
}  # fmt: skip


class Layout(NamedTuple):
    """Where one table stands in a release: its workbooks and the columns to read from them."""

    workbooks: tuple[str, ...]
    columns: dict[str, str]  # name in the workbook -> our name


# Each table's layouts, the classic one (releases 25.1 to 30.2) first, then that of 30.3 and later.
TABLES = {
    "occupations": [
        Layout(("Occupation Data.xlsx",), {CODE: "code", TITLE: "title", "Description": "description"}),
    ],
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
        Layout(
            ("Technology Skills.xlsx",),
            {CODE: "code", "Example": "text", "Commodity Title": "commodity", "Hot Technology": "hot"},
        ),
        Layout(
            ("Software Skills.xlsx",),
            {CODE: "code", "Workplace Example": "text", "Element Name": "commodity", "Hot Technology": "hot"},
        ),
    ],
    "tools": [
        Layout(("Tools Used.xlsx",), {CODE: "code", "Example": "text", "Commodity Title": "commodity"}),
    ],
}
README = "Read Me.txt"  # of the release; its first line is "O*NET 30.1 Database"
WANTED_FILES = {README} | {w for layouts in TABLES.values() for layout in layouts for w in layout.workbooks}


class InputError(Exception):
    """Something the user can mend; its text is the one line they see (exit code 2)."""


# ------------------------------------------------------------------------------ download


class RedirectsWithinHost(urllib.request.HTTPRedirectHandler):
    """Follows no redirect to another host, nor to plain HTTP."""

    def redirect_request(self, request, response, code, message, headers, url):
        if urlsplit(url)[:2] != urlsplit(request.full_url)[:2]:
            raise InputError(f"{request.full_url}: leads to {url}, which is not O*NET's; see {DOWNLOAD_PAGE}")
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
        with urllib.request.build_opener(RedirectsWithinHost).open(url, timeout=60) as response:
            expected = int(response.headers.get("Content-Length") or 0)
            bar = tqdm(total=expected or None, unit="B", unit_scale=True, desc=f"O*NET {release}")
            with open(partial, "wb") as file, bar:
                while chunk := response.read(1 << 18):
                    bar.update(file.write(chunk))
                    if bar.n > MAX_BYTES:
                        raise InputError(f"{url}: over {MAX_BYTES:,} bytes, no O*NET release is that large")
        if partial.stat().st_size < expected:
            raise InputError(f"{url}: the connection broke off after {partial.stat().st_size:,} of {expected:,} bytes")
        with zipfile.ZipFile(partial) as archive:
            # Only base names are used, so no entry can be written outside onet_dir.
            entries = {Path(e.filename).name: e for e in archive.infolist() if not e.is_dir()}
            if "Occupation Data.xlsx" not in entries:
                raise InputError(f"{url}: holds no 'Occupation Data.xlsx', so it is not an O*NET Excel release")
            strangers = sorted(name for name in WANTED_FILES - entries.keys() if (onet_dir / name).exists())
            if strangers:  # the reader would take them for a part of this release
                raise InputError(
                    f"{onet_dir.resolve()} holds {', '.join(strangers)}, which release {release} does not have: "
                    "move them away or give another --onet-dir"
                )
            if sum(entry.file_size for entry in archive.infolist()) > MAX_BYTES:
                raise InputError(f"{url}: over {MAX_BYTES:,} bytes unpacked, no O*NET release is that large")
            if archive.testzip() is not None:
                raise InputError(f"{url}: the zip is damaged, please try again")
            for name in sorted(WANTED_FILES & entries.keys()):
                staged = onet_dir / f".{name}.part"
                with archive.open(entries[name]) as source, open(staged, "wb") as target:
                    shutil.copyfileobj(source, target)
                os.replace(staged, onet_dir / name)
    except urllib.error.HTTPError as error:
        raise InputError(f"{url}: the server answered {error.code}; releases are listed at {DOWNLOAD_PAGE}") from error
    except (urllib.error.URLError, http.client.HTTPException, TimeoutError, ConnectionError) as error:
        raise InputError(f"{url}: could not be reached ({getattr(error, 'reason', error)})") from error
    except zipfile.BadZipFile as error:
        raise InputError(f"{url}: what came is not a zip file") from error
    finally:
        for leftover in onet_dir.glob(".*.part"):
            leftover.unlink()


# ------------------------------------------------------------------------------ reading


def find_workbooks(onet_dir: Path) -> dict[str, Layout]:
    """Choose each table's layout by the workbooks present.

    Raises:
        InputError: names every missing workbook, or those of two releases. Tools Used is not missed from a release in
            the new layout, which no longer has it.
    """
    found, missing = {}, []
    for table, layouts in TABLES.items():
        present = [layout for layout in layouts if all((onet_dir / name).is_file() for name in layout.workbooks)]
        if len(present) > 1:
            names = " and ".join(" + ".join(layout.workbooks) for layout in present)
            raise InputError(f"{onet_dir.resolve()} holds {names}, which are of different releases: move one away")
        if present:
            found[table] = present[0]
        else:
            missing.append((table, " or ".join(" + ".join(layout.workbooks) for layout in layouts)))
    if "titles" in found and found["titles"] != TABLES["titles"][0]:
        missing = [(table, names) for table, names in missing if table != "tools"]
    if missing:
        raise InputError(
            f"missing in {onet_dir.resolve()}: {'; '.join(names for _, names in missing)}. "
            f"Get the Excel files at {DOWNLOAD_PAGE}, or run: python data_preparation.py --download"
        )
    return found


def read_workbook(path: Path, columns: dict[str, str]) -> pd.DataFrame:
    """Read columns of a workbook under our names, from whichever sheet and row their header stands in.

    Returns:
        The rows that are not empty, text stripped; indexed by where they stand: "Skills.xlsx, sheet 'Skills', row 2".

    Raises:
        InputError: names what is wrong with the file, a column or a row.
    """
    # calamine reads the release five times faster than openpyxl.
    engine = "calamine" if importlib.util.find_spec("python_calamine") else "openpyxl"
    try:
        sheets = pd.read_excel(
            path,
            engine=engine,
            sheet_name=None,
            header=None,
            dtype=str,
            keep_default_na=False,  # "None" and "NA" are text here
            na_values=[""],
        )
    except PermissionError as error:
        raise InputError(f"{path}: cannot be opened ({error.strerror}): close it where it is open") from error
    except Exception as error:  # each engine has its own errors for a damaged file
        raise InputError(
            f"{path}: not an Excel workbook, or not a whole one ({error}): get it again at {DOWNLOAD_PAGE}"
        ) from error
    headers = [
        (sheet, row, [str(cell).strip() for cell in cells.loc[row]])
        for sheet, cells in sheets.items()
        for row in cells.index[:HEADER_ROWS]
    ]
    if not headers:
        raise InputError(f"{path.name}: its sheets are empty")
    sheet, row, header = max(headers, key=lambda candidate: len(columns.keys() & set(candidate[2])))
    for column in columns:
        if header.count(column) != 1:
            what = "several columns" if column in header else "no column"
            raise InputError(f"{path.name}, sheet {sheet!r}, row {row + 1}: {what} {column!r} in its header")

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
            refuse(cells[~cells.str.fullmatch(CODE_FORM)], "{!r} is no O*NET-SOC code, such as 15-1252.00")
        if name == "value":
            table[name] = pd.to_numeric(cells, errors="coerce")
            refuse(cells[table[name].isna()], f"{{!r}} in column {column!r} is no number")
    return table


def refuse(cells: pd.Series, problem: str) -> None:
    """Raise an InputError if there are cells, naming where the first stands; {!r} in the problem becomes its text."""
    if len(cells):
        more = f" (and {len(cells) - 1:,} more)" if len(cells) > 1 else ""
        raise InputError(f"{cells.index[0]}{more}: {problem.format(cells.iloc[0])}")


def read_tables(onet_dir: Path, layouts: dict[str, Layout]) -> dict[str, pd.DataFrame]:
    """Read all tables, the occupations first, whose codes those of the others must be among.

    Raises:
        InputError: as from read_workbook; or the workbooks do not belong together.
    """
    tables = {}
    for name, layout in tqdm(layouts.items(), desc="reading", unit="table"):
        table = pd.concat([read_workbook(onet_dir / workbook, layout.columns) for workbook in layout.workbooks])
        if not tables:
            refuse(table.code[table.code.duplicated()], "the code {!r} stands in an earlier row already")
        else:
            unknown = table.code[~table.code.isin(tables["occupations"].code)]
            refuse(unknown, "Occupation Data.xlsx does not list the code {!r}; are the workbooks of one release?")
        if "scale" in table and not (table.scale == IMPORTANCE).any():
            raise InputError(f"{' and '.join(layout.workbooks)}: no row of the scale {IMPORTANCE} (importance)")
        tables[name] = table.reset_index(drop=True)
    return tables


def read_release(onet_dir: Path) -> str:
    """The release number in the release's own Read Me, or "unknown"."""
    path = onet_dir / README
    first_line = path.read_text(encoding="utf-8", errors="replace").split("\n", 1)[0] if path.is_file() else ""
    match = re.search(r"O\*NET (\d+\.\d+)", first_line)
    return match.group(1) if match else "unknown"


# ------------------------------------------------------------------------------ samples


def cut_at_word(text: str, limit: int) -> str:
    """The first `limit` characters of a text, ending with a whole word."""
    if len(text) <= limit:
        return text
    return text[: limit + 1].rsplit(" ", 1)[0].rstrip(" ,;:")


def title_forms(title: str) -> list[str]:
    """The two forms that a title such as "User Experience Designer (UX Designer)" consists of; of others none."""
    both = re.fullmatch(r"([^()]+?) ?\(([^()]+)\)", title)
    return list(both.groups()) if both else []


def build_corpus(tables: dict[str, pd.DataFrame]) -> dict[str, dict]:
    """Each occupation's label text in every label mode, its known titles and its tasks, by code in ascending order.

    This is the only place that builds label texts; train.py and inference.py look them up.
    The known titles are the standard title, then the alternate ones, then the forms of both.
    """
    alternate, tasks = (tables[name].dropna().groupby("code").text.agg(list) for name in ("titles", "tasks"))
    occupations = tables["occupations"][["code", "title", "description"]]
    corpus = {}
    for code, title, description in sorted(occupations.itertuples(index=False)):
        listed = [title, *alternate.get(code, [])]
        corpus[code] = {
            "title": title,
            "description": description,
            "title_desc": f"{title}. {cut_at_word(description, LABEL_DESC_CHARS)}",
            "full_text": f"{title}. {description}",
            "titles": list(dict.fromkeys([*listed, *(form for known in listed for form in title_forms(known))])),
            "tasks": list(dict.fromkeys(tasks.get(code, []))),
        }
    return corpus


def element_groups(ratings: pd.DataFrame, prefix: str, generic: list[str], groups: int) -> pd.DataFrame:
    """Join an occupation's distinctive elements into samples such as "Skills: Programming, Systems Analysis, ...".

    How distinctive an element is: how many standard deviations its importance here lies above
    its mean over all occupations. Selections come in order of distinctiveness.
    """
    irrelevant = ratings.loc[ratings.not_relevant == "Y", ["code", "element"]]
    rows = ratings[(ratings.scale == IMPORTANCE) & (ratings.suppress != "Y") & ~ratings.element.isin(generic)]
    rows = rows[~pd.MultiIndex.from_frame(rows[["code", "element"]]).isin(pd.MultiIndex.from_frame(irrelevant))]
    by_element = rows.groupby("element").value
    rows = rows.assign(z=(rows.value - by_element.transform("mean")) / by_element.transform("std"))
    rows = rows[(rows.value >= IMPORTANT) & (rows.z > 0)].sort_values(
        ["code", "z", "element"], ascending=[True, False, True]
    )

    samples = []
    for code, elements in rows.groupby("code").element:
        names = elements.tolist()[:DISTINCTIVE]
        sizes = (2,) if len(names) == 2 else GROUP_SIZES
        selections = [selection for size in sizes for selection in combinations(range(len(names)), size)]
        # By the sum of ranks, so that selections of the most distinctive elements come first.
        for selection in sorted(selections, key=lambda ranks: (sum(ranks), ranks))[:groups]:
            samples.append((code, f"{prefix}: {', '.join(names[i] for i in selection)}"))
    return pd.DataFrame(samples, columns=["code", "text"])


def build_samples(tables: dict[str, pd.DataFrame], corpus: dict[str, dict]) -> list[dict[str, str]]:
    """All samples {"anchor", "code", "source"}, no two with the same anchor and code.

    Where two sources give the same anchor for a code, the first source below keeps it.
    """
    title_of = {code: texts["title"] for code, texts in corpus.items()}
    occupations = pd.DataFrame({"code": list(title_of), "text": list(title_of.values())})
    sources = {
        "standard_title": occupations,
        "alternate_title": tables["titles"],
        "title_description": occupations.assign(text=[texts["full_text"] for texts in corpus.values()]),
        "task": tables["tasks"],
        "skill": element_groups(tables["skills"], "Skills", GENERIC_SKILLS, SKILL_GROUPS),
        "knowledge": element_groups(tables["knowledge"], "Knowledge", GENERIC_KNOWLEDGE, KNOWLEDGE_GROUPS),
        "ability": element_groups(tables["abilities"], "Abilities", GENERIC_ABILITIES, ABILITY_GROUPS),
    }

    # One technology for each kind of software an occupation uses, a sought-after one if there is one.
    technology = tables["technology"].sort_values("hot", ascending=False, kind="stable")
    technology = technology.drop_duplicates(["code", "commodity"]).sort_index()
    sources["technology"] = technology.assign(
        text=technology.code.map(title_of) + " uses technology: " + technology.text
    )

    if "tools" in tables:
        tools = tables["tools"].drop_duplicates(["code", "commodity"])
        tools = tools.assign(rarity=tools.groupby("commodity").code.transform("size"))
        tools = tools.sort_values("rarity", kind="stable").groupby("code").head(TOOLS_PER_OCCUPATION).sort_index()
        sources["tool"] = tools.assign(text=tools.code.map(title_of) + " uses tool: " + tools.text)

    frame = pd.concat([rows[["code", "text"]].assign(source=source) for source, rows in sources.items()])
    frame = frame.dropna().rename(columns={"text": "anchor"})
    return frame.drop_duplicates(["anchor", "code"])[["anchor", "code", "source"]].to_dict("records")


# ------------------------------------------------------------------------------ split


def split(samples: list[dict[str, str]], seed: int) -> tuple[list[dict], list[dict]]:
    """Split into train and validation, stratified by occupation, no anchor on both sides.

    The plain random split of most such projects leaks: 6,819 titles of O*NET 30.1 stand under
    several occupations, and a model that saw "Team Leader" in training with one code is then
    asked for it in validation. Here a text goes to one side with all its occupations.

    Every occupation gets at least one validation sample and keeps at least one for training.
    """
    by_anchor = defaultdict(list)
    for i, sample in enumerate(samples):
        by_anchor[normalize(sample["anchor"])].append(i)
    size = Counter(sample["code"] for sample in samples)
    room = {code: max(1, round(VAL_FRACTION * n)) for code, n in size.items()}  # validation samples still to place

    # Ambiguous texts first: once an occupation's share is full, only texts of its own could be
    # added to one side alone. Each of them goes to validation with the same chance as any other.
    groups = list(by_anchor.values())
    rng = np.random.default_rng(seed)
    shuffled = [groups[i] for i in rng.permutation(len(groups))]

    def codes_of(group: list[int]) -> Counter:
        return Counter(samples[i]["code"] for i in group)

    ambiguous = [group for group in shuffled if len(codes_of(group)) > 1]
    val = set()
    for group in ambiguous[: round(VAL_FRACTION * len(ambiguous))]:
        codes = codes_of(group)
        if all(room[code] >= n for code, n in codes.items()):
            val.update(group)
            for code, n in codes.items():
                room[code] -= n
    for group in shuffled:
        codes = codes_of(group)
        if len(codes) == 1:
            [(code, n)] = codes.items()
            if room[code] >= n and size[code] > n:
                val.update(group)
                room[code] -= n

    in_val = Counter(samples[i]["code"] for i in val)
    for code, n in size.items():
        if not 0 < in_val[code] < n:
            raise InputError(f"{code}: its {n} samples cannot be divided between training and validation")
    train = [samples[i] for i in range(len(samples)) if i not in val]
    return train, [samples[i] for i in sorted(val)]


# ------------------------------------------------------------------------------ output


def write_outputs(output_dir: Path, contents: Mapping[str, list | dict], manifest: dict) -> None:
    """Write all files beside their final names, then move them into place, the manifest last.

    The manifest holds every file's SHA-256, so a run killed in the middle is noticed by train.py.
    """
    output_dir.mkdir(parents=True, exist_ok=True)
    staging = output_dir / ".staging"
    shutil.rmtree(staging, ignore_errors=True)
    staging.mkdir()
    try:
        for name, content in contents.items():
            rows = [
                json.dumps(row, ensure_ascii=False)
                for row in (content if isinstance(content, list) else content.values())
            ]
            if isinstance(content, dict):
                rows = [f"{json.dumps(key)}: {row}" for key, row in zip(content, rows, strict=True)]
            opening, closing = "[]" if isinstance(content, list) else "{}"
            text = f"{opening}\n" + ",\n".join(rows) + f"\n{closing}\n"
            (staging / name).write_text(text, encoding="utf-8", newline="\n")
        manifest["outputs"] = {name: sha256(staging / name) for name in contents}
        (staging / "manifest.json").write_text(json.dumps(manifest, indent=2) + "\n", encoding="utf-8", newline="\n")
        for name in [*contents, "manifest.json"]:
            os.replace(staging / name, output_dir / name)
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def print_counts(train: list[dict], val: list[dict]) -> dict[str, dict[str, int]]:
    """Print samples by source, and return them for the manifest."""
    in_train, in_val = (Counter(sample["source"] for sample in side) for side in (train, val))
    print(f"\n{'source':<20}{'train':>10}{'val':>10}{'total':>10}")
    for source in in_train:
        print(f"{source:<20}{in_train[source]:>10,}{in_val[source]:>10,}{in_train[source] + in_val[source]:>10,}")
    print(f"{'all':<20}{len(train):>10,}{len(val):>10,}{len(train) + len(val):>10,}")
    return {"train": dict(in_train), "val": dict(in_val)}


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__.split("\n\n")[0], formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    parser.add_argument("--onet-dir", type=Path, default=Path("."), help="folder with the O*NET workbooks")
    parser.add_argument("--output-dir", type=Path, default=Path("processed_data"), help="folder for the JSON files")
    parser.add_argument(
        "--download",
        nargs="?",
        const=DEFAULT_RELEASE,
        metavar="RELEASE",
        help=f"fetch this O*NET release into --onet-dir first ({DEFAULT_RELEASE} if none is named)",
    )
    parser.add_argument("--seed", type=int, default=SEED, help="of the train/validation split")
    args = parser.parse_args(argv)
    try:
        if args.download:
            download(args.download, args.onet_dir)
        layouts = find_workbooks(args.onet_dir)
        release = read_release(args.onet_dir)
        print(f"O*NET release {release}, workbooks in {args.onet_dir}")
        tables = read_tables(args.onet_dir, layouts)
        if "tools" not in tables:
            print("Tools Used.xlsx is absent, as in every release from 30.3 on: no tool samples")
        codes = set(tables["occupations"].code)
        taxonomy = next((name for code, name in TAXONOMIES.items() if code in codes), "unknown")
        print(f"{len(codes):,} occupations, taxonomy {taxonomy}")

        tables["tasks"] = tables["tasks"][tables["tasks"].text.str.len() > TASK_MIN_CHARS]
        corpus = build_corpus(tables)
        train, val = split(build_samples(tables, corpus), args.seed)
        manifest = {
            "script_version": SCRIPT_VERSION,
            "release": release,
            "taxonomy": taxonomy,
            "seed": args.seed,
            "occupations": len(corpus),
            "samples": print_counts(train, val),
            "inputs": {w: sha256(args.onet_dir / w) for layout in layouts.values() for w in layout.workbooks},
        }
        label_map = {code: i for i, code in enumerate(corpus)}
        contents: dict[str, list | dict] = {
            "train.json": train,
            "val.json": val,
            "corpus.json": corpus,
            "label_map.json": label_map,
        }
        write_outputs(args.output_dir, contents, manifest)
    except (InputError, OSError) as error:
        print(f"error: {in_one_line(error, args.output_dir)}", file=sys.stderr)
        return 2
    print(f"\n{len(corpus):,} occupations; written to {args.output_dir}/")
    return 0


if __name__ == "__main__":
    sys.exit(main())
