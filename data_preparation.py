"""Turn the O*NET workbooks into training pairs (anchor text, occupation).

    python data_preparation.py                    # eight workbooks in the project root
    python data_preparation.py --onet-dir DIR     # ... or in another folder
    python data_preparation.py --download         # fetch release 30.1 first (60 MB)
    python data_preparation.py --download 31.0    # ... or another release
    python data_preparation.py --labelled FILE    # learn from titles coded by others as well
    python data_preparation.py --onet-only        # the workbooks alone, without our own text

Writes to processed_data/:
    train.json, val.json    lists of {"anchor", "code", "source"}
    corpus.json             every occupation's label text in each label mode, known titles and tasks
    label_map.json          code -> row of the label matrix
    manifest.json           release, counts, and the hashes of what was read and written

The same workbooks and seed give the same bytes. Takes about 7 s for O*NET 30.1 on two laptop cores.
"""

import common.full_install  # isort: skip  # noqa: F401  # or says in one line what is missing

import argparse
import sys
from collections import Counter, defaultdict
from itertools import combinations
from pathlib import Path

import numpy as np
import pandas as pd

from common.files import InputError, in_one_line, sha256
from common.labelled import read_employment, read_labelled
from common.onet import (
    DEFAULT_RELEASE,
    IMPORTANCE,
    README,
    download,
    find_workbooks,
    read_tables,
    release_of,
    taxonomy_of,
)
from common.samples import DATA_VERSION, WRITTEN_DUTIES, WRITTEN_TITLE, Sample, write_data
from common.soc import employment_of
from common.text import label_texts, normalize, title_forms
from common.written import (
    DUTIES,
    SHORT_DUTIES,
    TITLES,
    by_code,
    read_duties,
    read_short_duties,
    read_titles,
    samples_of,
)

# ------------------------------------------------------------------------------ settings

SEED = 42  # of the split; nothing else is random
VAL_FRACTION = 0.1  # of each occupation's samples, never less than one

TASK_MIN_CHARS = 20  # shorter task statements name no recognisable duty

IMPORTANT = 2.5  # on the importance scale, 1 to 5: half-way from "somewhat" to "important"
DISTINCTIVE = 8  # elements kept per occupation, those that set it most apart from the others
GROUP_SIZES = (3, 4)  # elements in one sample: one alone stands for hundreds of occupations
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

# ------------------------------------------------------------------------------ corpus


def build_corpus(tables: dict[str, pd.DataFrame], with_written: bool) -> dict[str, dict]:
    """Each occupation's label text in every label mode, known titles and tasks, by ascending code.

    The known titles are the standard title, the alternate ones, the forms of both, and those
    written for this project; the known tasks are O*NET's and the duties written for this project.
    """
    written_titles = by_code(read_titles()) if with_written else {}
    written_duties = by_code(read_duties() + read_short_duties()) if with_written else {}
    alternate = tables["titles"].dropna().groupby("code").text.agg(list)
    tasks = tables["tasks"].dropna().groupby("code").text.agg(list)
    occupations = tables["occupations"][["code", "title", "description"]]
    corpus = {}
    for code, title, description in sorted(occupations.itertuples(index=False)):
        titles = [title, *alternate.get(code, [])]
        titles += [form for known in titles for form in title_forms(known)]
        known = {normalize(known) for known in titles}
        titles += [own for own in written_titles.get(code, []) if normalize(own) not in known]
        corpus[code] = {
            "title": title,
            "description": description,
            **label_texts(title, description),
            "titles": list(dict.fromkeys(titles)),
            "tasks": list(dict.fromkeys([*tasks.get(code, []), *written_duties.get(code, [])])),
        }
    return corpus


# ------------------------------------------------------------------------------ samples


def build_samples(tables: dict[str, pd.DataFrame], corpus: dict[str, dict]) -> list[Sample]:
    """All samples {"anchor", "code", "source"}, no two with the same anchor and code.

    Where two sources give the same anchor for a code, the first source below keeps it.
    """
    title_of = {code: texts["title"] for code, texts in corpus.items()}
    full_texts = [texts["full_text"] for texts in corpus.values()]
    occupations = pd.DataFrame({"code": list(title_of), "text": list(title_of.values())})
    skills, knowledge, abilities = tables["skills"], tables["knowledge"], tables["abilities"]
    sources = {
        "standard_title": occupations,
        "alternate_title": tables["titles"],
        "title_description": occupations.assign(text=full_texts),
        "task": tables["tasks"],
        "skill": element_groups(skills, "Skills", GENERIC_SKILLS, SKILL_GROUPS),
        "knowledge": element_groups(knowledge, "Knowledge", GENERIC_KNOWLEDGE, KNOWLEDGE_GROUPS),
        "ability": element_groups(abilities, "Abilities", GENERIC_ABILITIES, ABILITY_GROUPS),
    }

    # One technology for each kind of software an occupation uses, a sought-after one if possible
    technology = tables["technology"].sort_values("hot", ascending=False, kind="stable")
    technology = technology.drop_duplicates(["code", "commodity"]).sort_index()
    texts = technology.code.map(title_of) + " uses technology: " + technology.text
    sources["technology"] = technology.assign(text=texts)

    if "tools" in tables:
        tools = tables["tools"].drop_duplicates(["code", "commodity"])
        tools = tools.assign(rarity=tools.groupby("commodity").code.transform("size"))
        tools = tools.sort_values("rarity", kind="stable").groupby("code")
        tools = tools.head(TOOLS_PER_OCCUPATION).sort_index()
        texts = tools.code.map(title_of) + " uses tool: " + tools.text
        sources["tool"] = tools.assign(text=texts)

    tagged = [rows[["code", "text"]].assign(source=source) for source, rows in sources.items()]
    samples = pd.concat(tagged).dropna().rename(columns={"text": "anchor"})
    samples = samples.drop_duplicates(["anchor", "code"])
    return samples[["anchor", "code", "source"]].to_dict("records")


def element_groups(
    ratings: pd.DataFrame, prefix: str, generic: list[str], groups: int
) -> pd.DataFrame:
    """Samples such as "Skills: Programming, Systems Analysis, ...", of elements that tell apart.

    How distinctive an element is: how many standard deviations its importance here lies above
    its mean over all occupations. Groups come in order of distinctiveness, `groups` at most.
    """
    pairs = pd.MultiIndex.from_frame(ratings[["code", "element"]])
    irrelevant = pairs.isin(pairs[ratings.not_relevant == "Y"])
    usable = (ratings.scale == IMPORTANCE) & (ratings.suppress != "Y") & ~irrelevant
    rows = ratings[usable & ~ratings.element.isin(generic)]

    by_element = rows.groupby("element").value
    distance = rows.value - by_element.transform("mean")
    rows = rows.assign(z=distance / by_element.transform("std"))
    rows = rows[(rows.value >= IMPORTANT) & (rows.z > 0)]
    rows = rows.sort_values(["code", "z", "element"], ascending=[True, False, True])

    samples = []
    for code, elements in rows.groupby("code").element:
        names = elements.tolist()[:DISTINCTIVE]
        selections = []
        for size in (2,) if len(names) == 2 else GROUP_SIZES:
            selections += combinations(range(len(names)), size)
        # By the sum of ranks, so that selections of the most distinctive elements come first
        selections.sort(key=lambda ranks: (sum(ranks), ranks))
        for selection in selections[:groups]:
            samples.append((code, f"{prefix}: {', '.join(names[i] for i in selection)}"))
    return pd.DataFrame(samples, columns=["code", "text"])


# ------------------------------------------------------------------------------ split


def split(samples: list[Sample], seed: int) -> tuple[list[Sample], list[Sample]]:
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
    # Validation samples that each occupation still has to get
    room = {code: max(1, round(VAL_FRACTION * n)) for code, n in size.items()}

    groups = list(by_anchor.values())
    rng = np.random.default_rng(seed)
    shuffled = [groups[i] for i in rng.permutation(len(groups))]
    codes_of = [Counter(samples[i]["code"] for i in group) for group in shuffled]
    val = set()

    # Ambiguous texts first: once an occupation's share is full, only texts of its own could be
    # added to one side alone. Each of them goes to validation with the same chance as any other.
    ambiguous = [i for i, codes in enumerate(codes_of) if len(codes) > 1]
    for i in ambiguous[: round(VAL_FRACTION * len(ambiguous))]:
        if all(room[code] >= n for code, n in codes_of[i].items()):
            val.update(shuffled[i])
            for code, n in codes_of[i].items():
                room[code] -= n

    for group, codes in zip(shuffled, codes_of, strict=True):
        if len(codes) == 1:
            [(code, n)] = codes.items()
            if room[code] >= n and size[code] > n:
                val.update(group)
                room[code] -= n

    in_val = Counter(samples[i]["code"] for i in val)
    for code, n in size.items():
        if not 0 < in_val[code] < n:
            raise InputError(
                f"{code}: its {n} samples cannot be divided between training and validation"
            )
    train = [samples[i] for i in range(len(samples)) if i not in val]
    return train, [samples[i] for i in sorted(val)]


def add_to_split(
    train: list[Sample], val: list[Sample], more: list[Sample], seed: int
) -> tuple[list[Sample], list[Sample]]:
    """Add samples that are not O*NET's, a tenth of them to validation.

    A text goes where O*NET's samples of that text are, and a title with a description where its
    title goes: so no text is on both sides, and O*NET's own split is the same with and without.
    """
    in_val = {normalize(sample["anchor"]): True for sample in val}
    in_val |= {normalize(sample["anchor"]): False for sample in train}
    known = {(normalize(sample["anchor"]), sample["code"]) for sample in train + val}
    rng = np.random.default_rng((seed, 1))
    sides: dict[bool, list[Sample]] = {True: list(val), False: list(train)}
    for sample in more:
        text = normalize(sample.get("title") or sample["anchor"])
        if text not in in_val:
            in_val[text] = bool(rng.random() < VAL_FRACTION)
        if sample["source"] != WRITTEN_TITLE or (text, sample["code"]) not in known:
            sides[in_val[text]].append(sample)
    return sides[False], sides[True]


def print_counts(train: list[Sample], val: list[Sample]) -> dict[str, dict[str, int]]:
    """Print samples by source, and return them for the manifest."""
    in_train = Counter(sample["source"] for sample in train)
    in_val = Counter(sample["source"] for sample in val)
    print(f"\n{'source':<20}{'train':>10}{'val':>10}{'total':>10}")
    for source, n in in_train.items():
        print(f"{source:<20}{n:>10,}{in_val[source]:>10,}{n + in_val[source]:>10,}")
    print(f"{'all':<20}{len(train):>10,}{len(val):>10,}{len(train) + len(val):>10,}")
    return {"train": dict(in_train), "val": dict(in_val)}


# ------------------------------------------------------------------------------ command line


def prepare(args: argparse.Namespace) -> None:
    layouts = find_workbooks(args.onet_dir)
    tables = read_tables(args.onet_dir, layouts)
    release = release_of(args.onet_dir, tables)
    hint = f": put O*NET's {README!r} beside them" if release == "unknown" else ""
    print(f"O*NET release {release}, workbooks in {args.onet_dir}{hint}")
    if "tools" not in tables:
        print("Tools Used.xlsx is absent, as in every release from 30.3 on: no tool samples")
    codes = set(tables["occupations"].code)
    taxonomy = taxonomy_of(codes)
    print(f"{len(codes):,} occupations, taxonomy {taxonomy}")

    tables["tasks"] = tables["tasks"][tables["tasks"].text.str.len() > TASK_MIN_CHARS]
    corpus = build_corpus(tables, with_written=not args.onet_only)
    if args.employment:
        counts = employment_of(read_employment(args.employment), list(corpus))
        for texts, count in zip(corpus.values(), counts, strict=True):
            texts["employment"] = count
    train, val = split(build_samples(tables, corpus), args.seed)

    inputs = [args.onet_dir / name for layout in layouts.values() for name in layout.workbooks]
    more = []
    if not args.onet_only:
        more += samples_of(WRITTEN_TITLE, read_titles(), codes)
        more += samples_of(WRITTEN_DUTIES, read_duties(), codes)
        inputs += [TITLES, DUTIES, SHORT_DUTIES]
    if args.labelled:
        more += read_labelled(args.labelled, args.crosswalk, list(corpus))
        inputs += [*args.labelled, *args.crosswalk]
    if not args.onet_only:  # last, as they came last: all earlier texts stay on their sides
        more += samples_of(WRITTEN_DUTIES, read_short_duties(), codes)
    inputs += [args.employment] if args.employment else []
    train, val = add_to_split(train, val, more, args.seed)

    manifest = {
        "script_version": DATA_VERSION,
        "release": release,
        "taxonomy": taxonomy,
        "seed": args.seed,
        "occupations": len(corpus),
        "samples": print_counts(train, val),
        "inputs": {path.name: sha256(path) for path in inputs},
    }
    contents: dict[str, list | dict] = {
        "train.json": train,
        "val.json": val,
        "corpus.json": corpus,
        "label_map.json": {code: row for row, code in enumerate(corpus)},
    }
    write_data(args.output_dir, contents, manifest)
    print(f"\n{len(corpus):,} occupations; written to {args.output_dir}/")


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0], allow_abbrev=False)
    add = parser.add_argument
    add("--onet-dir", type=Path, default=Path("."), metavar="DIR", help="with the workbooks (.)")
    add("--output-dir", type=Path, default=Path("processed_data"), metavar="DIR",
        help="for the JSON files (processed_data)")  # fmt: skip
    add("--download", nargs="?", const=DEFAULT_RELEASE, metavar="RELEASE",
        help=f"fetch this O*NET release into --onet-dir first ({DEFAULT_RELEASE})")  # fmt: skip
    add("--onet-only", action="store_true", help="leave out the text written for this project")
    columns = "title, code, perhaps description and count"
    add("--labelled", type=Path, nargs="+", default=[], metavar="FILE",
        help=f"titles coded by others, with the columns {columns}")  # fmt: skip
    add("--crosswalk", type=Path, nargs="+", default=[], metavar="FILE",
        help="official tables from SOC 2010 to 2018 or 2019, for old codes among them")  # fmt: skip
    add("--employment", type=Path, metavar="FILE",
        help="employed people by SOC code, columns code and count")  # fmt: skip
    add("--seed", type=int, default=SEED, help=f"of the train/validation split ({SEED})")
    args = parser.parse_args(argv)
    try:
        if args.download:
            download(args.download, args.onet_dir)
        prepare(args)
    except (InputError, OSError, ValueError) as error:
        print(f"error: {in_one_line(error, args.output_dir)}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
