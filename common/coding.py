"""Coding every row of a file, part by part, so that an interrupted run goes on where it was."""

import json
import os
import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from common.files import sha256, write_whole
from common.soc import group_code, levels
from common.tables import JSON, TEXT, ending_of, kind_of, read_jobs
from common.text import row_texts

REMEMBERED = 300_000  # answers that are kept, since files name the same titles often

# Columns for each answer, followed by its rank
ADDED = ("soc_code", "soc_title", "soc_score", "soc_confidence", "soc_6_digits")
# Where there is a least confidence: "review" or "", and the SOC group to fall back to
FALLBACK = ("fallback_code", "fallback_title", "fallback_confidence")
REVIEW = ("soc_review", *(f"soc_{name}" for name in FALLBACK))
# On request, of the first answer
LEVEL_COLUMNS = (
    "soc_6_digits_title", "soc_broad_group", "soc_broad_group_title", "soc_minor_group",
    "soc_minor_group_title", "soc_major_group", "soc_major_group_title", "soc_employment_share",
)  # fmt: skip
PROBLEM = "soc_problem"  # why a row was not coded


def code_file(
    classifier: Any,
    input_path: str | Path,
    output_path: str | Path,
    title_column: str | None = None,
    description_column: str | None = None,
    top_k: int = 3,
    min_confidence: float | None = None,
    keep_formulas: bool = False,
    industry_column: str | None = None,
    header: bool = True,
    with_levels: bool = False,
    tell: Callable[[str], None] = lambda line: None,
) -> dict[str, int]:
    """Code every row of a file.

    The output has all columns of the input, then for each rank soc_code_1, soc_title_1,
    soc_score_1, soc_confidence_1, soc_6_digits_1 (the SOC code, by which wages are published), ...,
    and soc_problem, which says why a row was not coded; with min_confidence also soc_review
    ("review" where the first answer is less sure) and for these soc_fallback_code,
    soc_fallback_title and soc_fallback_confidence, the deepest SOC group that is sure enough; and
    what with_levels adds. It is written in parts, into a folder beside it, and put together at the
    end: a run that was interrupted goes on when it is started again.

    Args:
        classifier: a JobClassifier.
        input_path: .csv, .tsv, .txt (a title a line, or with tabs), .json (a list of objects),
            .jsonl or .ndjson, these also with .gz; .xlsx or .parquet. Text may be in UTF-8, UTF-16
            or Windows-1252, and stays so; JSON becomes UTF-8.
        output_path: of the same kind; text may change between .csv, .tsv and .txt, JSON between its
            kinds.
        title_column: with the job titles; by default "title", "Job Title" and the like.
        description_column: with the descriptions; by default "description", "Job Description" and
            the like, if there is one; "" for none.
        top_k: occupations for each row.
        min_confidence: as for predict.
        keep_formulas: of text, write cells that begin with =, +, -, @, tab or carriage return as
            they are. Else all but numbers get an apostrophe before them, so that no spreadsheet
            runs them.
        industry_column: with the employers' industries, which are read before the titles.
        with_levels: also add LEVEL_COLUMNS: the SOC groups of the first answer with their titles,
            and which share of all employed people, in the classifier's population, has it.
        header: whether the first row of a text names the columns; else they are called 1, 2, ...
        tell: is called with a line on which columns are read.

    Returns:
        How many rows were "coded", coded but marked for "review", or not coded for which reason.

    Raises:
        FileNotFoundError: there is no such input, or no such folder for the output.
        FileExistsError: the output exists.
        ValueError: the file cannot be read, a column is missing, or an unfinished run is of
            another input.
    """
    path, output = Path(input_path), Path(output_path)
    kinds = kind_of(path), kind_of(output)
    if kinds[0] != kinds[1] and not any(set(kinds) <= set(family) for family in (TEXT, JSON)):
        raise ValueError(f"{output} must end in {kinds[0]}, as {path} does")
    if not output.parent.is_dir():
        raise FileNotFoundError(f"{output.parent} is no folder: make it, or name another output")
    if output.exists():
        raise FileExistsError(f"{output} exists already: delete it or give another name")
    jobs = read_jobs(path, title_column, description_column, industry_column, header)
    table = jobs.table
    table.keep_formulas = keep_formulas
    classifier.check(top_k, min_confidence)
    added = added_columns(top_k, min_confidence, with_levels)
    for name in added:
        if name in table.columns:
            raise ValueError(f"{path} has a column {name!r}, which is to be added: rename it")
    tell(jobs.about())

    # What is done already, if an earlier run of just this was interrupted
    folder = output.with_name(f".{output.name}.parts")
    run = {
        "input": sha256(path),
        "columns": [*jobs[1:], header, *added],
        "min_confidence": min_confidence,
        "keep_formulas": keep_formulas,
        "classifier": classifier.identity,
    }
    run_file = folder / "run.json"
    if run_file.is_file() and json.loads(run_file.read_text()) != run:
        raise ValueError(
            f"{folder} holds an unfinished run of another input or other settings: delete it"
        )
    folder.mkdir(exist_ok=True)
    write_whole(run_file, json.dumps(run))

    counts = Counter({"coded": 0})
    answers: dict[tuple[str, str], tuple] = {}
    paths: list[Path] = []
    with tqdm(total=len(table), desc="coding", unit="row", smoothing=0) as progress:
        for part in table.parts():

            def show(rows: int, before: int = progress.n) -> None:
                progress.update(before + rows - progress.n)

            paths.append(folder / f"{len(paths):06}{kinds[1]}")
            tally = paths[-1].with_suffix(".tally")
            if not tally.is_file():  # it comes after the part
                titles, descriptions, industries = jobs.texts(part)
                columns = new_columns(
                    classifier,
                    titles,
                    descriptions,
                    top_k,
                    min_confidence,
                    industries,
                    with_levels,
                    problems=table.problems(part),
                    answers=answers,
                    progress=show,
                )
                table.write(paths[-1], part, columns, first=len(paths) == 1)
                write_whole(tally, json.dumps(outcomes(columns)))
            done = Counter(json.loads(tally.read_text()))
            counts.update(done)
            show(done.total())
    table.join(paths, folder / output.name)
    os.replace(folder / output.name, output)
    shutil.rmtree(folder)
    return counts


def output_beside(path: Path) -> Path:
    """Where the coded rows of a file go unless it is said: jobs.csv into jobs.coded.csv."""
    ending = ending_of(path)
    stem = path.name[: len(path.name) - len(ending)]
    return path.with_name(f"{stem}.coded{ending.replace('.txt', '.csv')}")


def added_columns(top_k: int, min_confidence: float | None, with_levels: bool = False) -> list[str]:
    """The columns that coding adds to a table."""
    names = [f"{name}_{rank}" for rank in range(1, top_k + 1) for name in ADDED]
    if min_confidence is not None:
        names += REVIEW
    if with_levels:
        names += LEVEL_COLUMNS
    return [*names, PROBLEM]


def new_columns(
    classifier: Any,
    titles: list[Any],
    descriptions: list[Any],
    top_k: int,
    min_confidence: float | None = None,
    industries: list[Any] | None = None,
    with_levels: bool = False,
    problems: list[str] | None = None,
    answers: dict[tuple[str, str], tuple] | None = None,
    progress: Callable[[int], Any] = lambda rows: None,
) -> dict[str, list]:
    """What coding adds to a table, by the names of added_columns.

    Args:
        titles, descriptions, industries: of the rows; None where there is none.
        top_k, min_confidence, with_levels: as for code_file.
        problems: what is wrong with rows already, "" for nothing; such rows are not coded.
        answers: of jobs that came before, by their texts; looked up, and added to.
        progress: is called now and then with about how many rows are done.
    """
    problems = list(problems or [""] * len(titles))
    answers = {} if answers is None else answers
    pairs = {}
    rows = zip(titles, descriptions, industries or [None] * len(titles), strict=True)
    for row, (title, description, industry) in enumerate(rows):
        if not problems[row]:
            try:
                pairs[row] = row_texts(title, description, industry, classifier.own)
            except (TypeError, ValueError) as error:
                problems[row] = str(error)
    if len(answers) * top_k > REMEMBERED:
        answers.clear()
    new = [pair for pair in dict.fromkeys(pairs.values()) if pair not in answers]
    if new:
        best = classifier.best(new, top_k, lambda share: progress(int(share * len(titles))))
        answers.update(zip(new, zip(*best, strict=True), strict=True))

    *names, _ = added_columns(top_k, min_confidence, with_levels)
    columns: dict[str, list] = {name: [None] * len(titles) for name in names}
    for row, pair in pairs.items():
        occupations, scores, confidences, groups, group_confidences, reason = answers[pair]
        if reason:
            problems[row] = reason
            continue
        values = []
        for i, score, share in zip(occupations, scores, confidences, strict=True):
            code, title = classifier.codes[i], classifier.titles[i]
            values += [code, title, round(float(score), 4), round(float(share), 4)]
            values.append(group_code(code, 6))
        if min_confidence is not None:
            found = classifier.review(confidences[0], groups, group_confidences, min_confidence)
            share = found["fallback_confidence"]
            values += ["review" if found["review"] else "", found["fallback_code"]]
            values += [found["fallback_title"], share and round(share, 4)]
        if with_levels:
            first = occupations[0]
            _, *above = levels(classifier.codes[first], classifier.title_of).values()
            values += [*above, round(float(np.exp(classifier.index.employment[first])), 6)]
        for column, value in zip(columns.values(), values, strict=True):
            column[row] = value
    return columns | {PROBLEM: problems}


def outcomes(columns: dict[str, list]) -> Counter:
    """How many rows were "coded", are for "review", or have which problem."""
    reviews = columns.get(REVIEW[0], [None] * len(columns[PROBLEM]))
    counts = Counter()
    for problem, review in zip(columns[PROBLEM], reviews, strict=True):
        counts[problem or review or "coded"] += 1
    return counts


def summary(counts: dict[str, int]) -> str:
    """What became of the rows of a file, by the counts of code_file, as lines of text."""
    problems = Counter(counts)
    sure, review = problems.pop("coded"), problems.pop("review", 0)
    marked = f", {review:,} of them marked for review" if review else ""
    lines = [f"{sure + review:,} of {sum(counts.values()):,} rows coded{marked}"]
    for problem, count in problems.most_common(5):
        lines.append(f"{count:>9,} not coded: {problem}")
    if len(problems) > 5:
        lines.append(f"          and others: see column {PROBLEM}")
    return "\n".join(lines)
