"""CSV, TSV, JSON Lines and Parquet files in and out, and coding every row of one."""

import csv
import json
import os
import shutil
from collections import Counter
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any, TextIO

from tqdm import tqdm

from common.files import write_whole
from common.text import job_texts

ROWS_PER_PART = 2000  # rows kept at a time; an interrupted run loses no more
REMEMBERED = (
    100_000  # jobs whose answers are kept, since files name the same titles again and again
)

ADDED = ("soc_code", "soc_title", "soc_score", "soc_confidence")  # each followed by the rank
# Where there is a least confidence: "review" or "", and the SOC group to fall back to
FALLBACK = ("fallback_code", "fallback_title", "fallback_confidence")
REVIEW = ("soc_review", *(f"soc_{name}" for name in FALLBACK))
NUMBERS = ("soc_score", "soc_confidence", "soc_fallback_confidence")  # how their names begin
PROBLEM = "soc_problem"  # why a row was not coded
BAD_LINE = "soc_line"  # keeps a line that is no JSON object

FORMULA = ("=", "+", "-", "@", "\t", "\r")  # what begins so, a spreadsheet takes for a formula

Row = tuple[Any, str]  # a row, and what is wrong about it, if anything


# ------------------------------------------------------------------------------ files


class DelimitedFile:
    """A CSV or TSV file with a header, in UTF-8. Its parts are lists of rows."""

    keep_formulas = False

    def __init__(self, path: Path) -> None:
        self.path = path
        with open(path, "rb") as file:
            self.bom = file.read(3) == b"\xef\xbb\xbf"  # Excel knows UTF-8 by it
        csv.field_size_limit(2**31 - 1)
        with self.open() as file:
            header = file.readline()
            is_tsv = path.suffix.lower() == ".tsv"
            self.delimiter = "\t" if is_tsv else max(",;", key=header.count)
            file.seek(0)
            self.columns = next(csv.reader(file, delimiter=self.delimiter), [])

    def open(self) -> TextIO:
        # Bytes that are no UTF-8 are read as surrogates, and so written as they were
        return open(self.path, encoding="utf-8-sig", errors="surrogateescape", newline="")

    def rows(self) -> Iterator[Row]:
        n = len(self.columns)
        with self.open() as file:
            lines = filter(None, csv.reader(file, delimiter=self.delimiter))
            for fields in islice(lines, 1, None):
                problem = ""
                if len(fields) > n:
                    problem = f"{len(fields)} fields, but the header has {n}"
                # Nothing is lost: what is too much stays in the last column
                fields[n - 1 :] = [self.delimiter.join(fields[n - 1 :])]
                yield fields + [""] * (n - len(fields)), problem

    def __len__(self) -> int:
        return sum(1 for _ in self.rows())

    def parts(self) -> Iterator[list[Row]]:
        rows = self.rows()
        while part := list(islice(rows, ROWS_PER_PART)):
            yield part

    def column(self, part: list[Row], name: str) -> list[Any]:
        place = self.columns.index(name)
        return [fields[place] for fields, _ in part]

    def problems(self, part: list[Row]) -> list[str]:
        return [problem for _, problem in part]

    def write(self, path: Path, part: list[Row], added: dict[str, list], first: bool) -> None:
        rows = [[*self.columns, *added]] if first else []
        for (fields, _), *values in zip(part, *added.values(), strict=True):
            rows.append([*fields, *values])
        if not self.keep_formulas:
            rows = [[without_formula(cell) for cell in row] for row in rows]
        encoding = "utf-8-sig" if first and self.bom else "utf-8"
        with open(path, "w", encoding=encoding, errors="surrogateescape", newline="") as file:
            csv.writer(file, delimiter=self.delimiter, lineterminator="\n").writerows(rows)

    def join(self, parts: list[Path], path: Path) -> None:
        with open(path, "wb") as whole:
            for part in parts:
                with open(part, "rb") as file:
                    shutil.copyfileobj(file, whole)


def without_formula(cell: Any) -> Any:
    """A cell that no spreadsheet runs: an apostrophe makes a formula text. Numbers stay."""
    if not (isinstance(cell, str) and cell.startswith(FORMULA)):
        return cell
    try:
        float(cell)
    except ValueError:
        return f"'{cell}"
    return cell


class JsonLinesFile(DelimitedFile):
    """A file with a JSON object in every line."""

    def __init__(self, path: Path) -> None:
        self.path = path
        objects = (row for row, problem in self.rows() if not problem)
        self.columns = list(next(objects, {}))

    def rows(self) -> Iterator[Row]:
        with self.open() as file:
            for line in filter(str.strip, file):
                try:
                    row = json.loads(line)
                except (ValueError, RecursionError):
                    row = None
                if isinstance(row, dict):
                    yield row, ""
                else:
                    yield {BAD_LINE: line.rstrip("\r\n")}, "no JSON object"

    def column(self, part: list[Row], name: str) -> list[Any]:
        return [row.get(name) for row, _ in part]

    def write(self, path: Path, part: list[Row], added: dict[str, list], first: bool) -> None:
        with open(path, "wb") as file:
            for (row, _), *values in zip(part, *added.values(), strict=True):
                row |= zip(added, values, strict=True)
                try:
                    line = json.dumps(row, ensure_ascii=False).encode(errors="surrogateescape")
                except UnicodeEncodeError:  # half a pair of surrogates, which only JSON can name
                    line = json.dumps(row).encode()
                file.write(line + b"\n")


class ParquetFile:
    """A Parquet file, read and written by pyarrow. Its parts are record batches."""

    keep_formulas = True

    def __init__(self, path: Path) -> None:
        try:
            import pyarrow.parquet
        except ImportError:
            raise ImportError(f"{path} needs pyarrow: pip install pyarrow") from None
        self.arrow = pyarrow
        try:
            self.file = pyarrow.parquet.ParquetFile(path)
        except pyarrow.ArrowInvalid as error:
            raise ValueError(f"{path} is no Parquet file ({error})") from None
        self.columns = self.file.schema_arrow.names

    def __len__(self) -> int:
        return self.file.metadata.num_rows

    def parts(self) -> Iterator[Any]:
        yield from self.file.iter_batches(ROWS_PER_PART)

    def column(self, part: Any, name: str) -> list[Any]:
        return part.column(name).to_pylist()

    def problems(self, part: Any) -> list[str]:
        return [""] * part.num_rows

    def write(self, path: Path, part: Any, added: dict[str, list], first: bool) -> None:
        table = self.arrow.Table.from_batches([part])
        for name, values in added.items():
            kind = self.arrow.float64() if name.startswith(NUMBERS) else self.arrow.string()
            table = table.append_column(name, self.arrow.array(values, kind))
        self.arrow.parquet.write_table(table, path)

    def join(self, parts: list[Path], path: Path) -> None:
        schema = self.arrow.parquet.read_schema(parts[0])
        with self.arrow.parquet.ParquetWriter(path, schema) as writer:
            for part in parts:
                writer.write_table(self.arrow.parquet.read_table(part))


Table = DelimitedFile | ParquetFile
FILES: dict[str, type[Table]] = {
    ".csv": DelimitedFile,
    ".tsv": DelimitedFile,
    ".jsonl": JsonLinesFile,
    ".parquet": ParquetFile,
}


def read_table(path: str | Path, *names: str | None) -> Table:
    """A file that has some columns; None names none.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it cannot be read, has no rows, or not just one column of a name.
    """
    path = Path(path)
    if path.suffix.lower() not in FILES:
        raise ValueError(f"{path} must end in one of {', '.join(FILES)}")
    table = FILES[path.suffix.lower()](path)
    for name in filter(None, names):
        if name not in table.columns:
            found = ", ".join(map(repr, table.columns)) or "none"
            raise ValueError(f"{path} has no column {name!r}, but {found}")
        if table.columns.count(name) > 1:
            raise ValueError(f"{path} has several columns {name!r}: rename all but one")
    if not len(table):
        raise ValueError(f"{path} has no rows")
    return table


def read_jobs(
    path: str | Path, title_column: str, description_column: str | None, *others: str
) -> tuple[Table, str | None]:
    """A file of jobs, and its column of descriptions: by default "description" if it has one.

    Raises:
        FileNotFoundError, ValueError: as from read_table.
    """
    table = read_table(path, title_column, description_column, *others)
    if description_column is None and "description" in table.columns:
        description_column = "description"
    return table, description_column


def jobs_in(
    table: Table, part: Any, title_column: str, description_column: str | None
) -> tuple[list[Any], list[Any]]:
    """Titles and descriptions of a part of a file; None where there is none."""
    titles = table.column(part, title_column)
    if description_column is None:
        return titles, [None] * len(titles)
    return titles, table.column(part, description_column)


def read_own_titles(path: str | Path) -> list[tuple[str, str]]:
    """[(job title, O*NET-SOC code), ...] from a file with the columns title and code.

    Raises:
        FileNotFoundError, ValueError: as from read_table, or a row has too many fields.
    """
    table, pairs = read_table(path, "title", "code"), []
    for part in table.parts():
        titles, codes = table.column(part, "title"), table.column(part, "code")
        for title, code, problem in zip(titles, codes, table.problems(part), strict=True):
            if problem:
                raise ValueError(f"{path}, row {len(pairs) + 1}: {problem}")
            pairs.append((title or "", str(code).strip()))
    return pairs


# ------------------------------------------------------------------------------ coding


def code_file(
    classifier: Any,
    input_path: str | Path,
    output_path: str | Path,
    title_column: str = "title",
    description_column: str | None = None,
    top_k: int = 3,
    min_confidence: float | None = None,
    keep_formulas: bool = False,
) -> dict[str, int]:
    """Code every row of a CSV, TSV, JSON Lines or Parquet file.

    The output, of the same kind, has all columns of the input, then for each rank soc_code_1,
    soc_title_1, soc_score_1, soc_confidence_1, ..., and soc_problem, which says why a row was not
    coded; with min_confidence also soc_review ("review" where the first answer is less sure) and
    for these soc_fallback_code, soc_fallback_title and soc_fallback_confidence, the deepest SOC
    group that is sure enough. It is written in parts, into a folder beside it, and put together at
    the end: a run that was interrupted goes on when it is started again.

    Args:
        classifier: a JobClassifier.
        input_path, output_path: .csv, .tsv (both with a header, in UTF-8), .jsonl or .parquet.
        title_column: column with the job titles.
        description_column: column with the descriptions; by default "description" if there is one.
        top_k: occupations for each row.
        min_confidence: as for predict.
        keep_formulas: of CSV and TSV, write cells that begin with =, +, -, @, tab or carriage
            return as they are. Else all but numbers get an apostrophe before them, so that no
            spreadsheet runs them.

    Returns:
        How many rows were "coded", coded but marked for "review", or not coded for which reason.

    Raises:
        FileNotFoundError: there is no such input.
        FileExistsError: the output exists.
        ValueError: the file cannot be read, a column is missing, or an unfinished run is of
            another input.
    """
    path, output = Path(input_path), Path(output_path)
    if output.suffix.lower() != path.suffix.lower():
        endings = ", ".join(FILES)
        raise ValueError(f"{path} and {output} must have the same ending, one of {endings}")
    if output.exists():
        raise FileExistsError(f"{output} exists already: delete it or give another name")
    table, description_column = read_jobs(path, title_column, description_column)
    table.keep_formulas = keep_formulas
    classifier.check(top_k, min_confidence)
    added = added_columns(top_k, min_confidence)
    for name in added:
        if name in table.columns:
            raise ValueError(f"{path} has a column {name!r}, which is to be added: rename it")

    # What is done already, if an earlier run of just this was interrupted
    folder = output.with_name(f".{output.name}.parts")
    run = {
        "input": [str(path.resolve()), path.stat().st_size, path.stat().st_mtime_ns],
        "columns": [title_column, description_column, *added],
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
    paths = []
    with tqdm(total=len(table), desc="coding", unit="row", smoothing=0) as progress:
        for part in table.parts():
            paths.append(folder / f"{len(paths):06}{output.suffix}")
            tally = paths[-1].with_suffix(".json")
            if not tally.is_file():  # it comes after the part
                jobs = jobs_in(table, part, title_column, description_column)
                problems = table.problems(part)
                columns = new_columns(classifier, *jobs, top_k, min_confidence, problems, answers)
                table.write(paths[-1], part, columns, first=len(paths) == 1)
                write_whole(tally, json.dumps(outcomes(columns)))
            done = Counter(json.loads(tally.read_text()))
            counts.update(done)
            progress.update(done.total())
    table.join(paths, folder / output.name)
    os.replace(folder / output.name, output)
    shutil.rmtree(folder)
    return counts


def added_columns(top_k: int, min_confidence: float | None) -> list[str]:
    """The columns that coding adds to a table."""
    names = [f"{name}_{rank}" for rank in range(1, top_k + 1) for name in ADDED]
    if min_confidence is not None:
        names += REVIEW
    return [*names, PROBLEM]


def new_columns(
    classifier: Any,
    titles: list[Any],
    descriptions: list[Any],
    top_k: int,
    min_confidence: float | None = None,
    problems: list[str] | None = None,
    answers: dict[tuple[str, str], tuple] | None = None,
) -> dict[str, list]:
    """What coding adds to a table, by the names of added_columns.

    Args:
        titles, descriptions: of the rows; None where there is none.
        top_k, min_confidence: as for predict.
        problems: what is wrong with rows already, "" for nothing; such rows are not coded.
        answers: of jobs that came before, by their texts; looked up, and added to.
    """
    problems = list(problems or [""] * len(titles))
    answers = {} if answers is None else answers
    pairs = {}
    for row, (title, description) in enumerate(zip(titles, descriptions, strict=True)):
        if not problems[row]:
            try:
                pairs[row] = job_texts("" if title is None else title, description)
            except (TypeError, ValueError) as error:
                problems[row] = str(error)
    if len(answers) > REMEMBERED:
        answers.clear()
    new = [pair for pair in dict.fromkeys(pairs.values()) if pair not in answers]
    if new:
        answers.update(zip(new, zip(*classifier.best(new, top_k), strict=True), strict=True))

    *names, _ = added_columns(top_k, min_confidence)
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
        if min_confidence is not None:
            found = classifier.review(confidences[0], groups, group_confidences, min_confidence)
            share = found["fallback_confidence"]
            values += ["review" if found["review"] else "", found["fallback_code"]]
            values += [found["fallback_title"], share and round(share, 4)]
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
