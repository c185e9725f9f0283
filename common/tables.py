"""Files of rows in and out: delimited text, a title a line, JSON, Excel workbooks and Parquet."""

import codecs
import csv
import gzip
import json
import re
import shutil
import zipfile
import zlib
from abc import ABC, abstractmethod
from collections.abc import Iterator
from functools import cached_property
from io import TextIOWrapper
from itertools import chain, islice
from pathlib import Path
from typing import Any, NamedTuple, TextIO

from common.columns import find_column, frame, is_named, required_column

ROWS_PER_PART = 2000  # rows kept at a time; an interrupted run loses no more
CHUNK = 1 << 20  # bytes looked at together

# Columns of numbers begin so
NUMBERS = ("soc_score", "soc_confidence", "soc_fallback_confidence", "soc_employment_share")
BAD_LINE = "soc_line"  # keeps a line that is no JSON object

WORKBOOK = b"PK\x03\x04"  # how an .xlsx file begins
FORMULA = ("=", "+", "-", "@", "\t", "\r")  # what begins so, a spreadsheet takes for a formula
NUMBER = re.compile(r"[-+][\d\s.,]*%?")  # with it neither a formula nor a name
SEPARATOR = re.compile(r"sep=(.)\s*", re.IGNORECASE)  # a first line by which Excel is told
NOT_ASCII, BROKEN = re.compile(r"[^\x00-\x7f]"), re.compile("[\udc80-\udcff]")

Row = tuple[Any, str]  # a row, and what is wrong about it, if anything


# ------------------------------------------------------------------------------ text


def opened(path: Path) -> Any:
    """A file of bytes, unpacked if its name ends in .gz."""
    return gzip.open(path) if path.suffix.lower() == ".gz" else open(path, "rb")


def created(path: Path) -> Any:
    """The same to be written."""
    return gzip.open(path, "wb") if path.suffix.lower() == ".gz" else open(path, "wb")


def ending_of(path: Path) -> str:
    """What a name ends in, in small letters: .csv, and .csv.gz in whole."""
    ends = path.suffixes[-2:] if path.suffix.lower() == ".gz" else path.suffixes[-1:]
    return "".join(ends).lower()


def encoding_of(path: Path) -> str:
    """UTF-8, or what else Excel saves text in: UTF-16 and, on Windows, code page 1252."""
    with opened(path) as file:
        chunk = file.read(CHUNK)
        if chunk.startswith(codecs.BOM_UTF16_BE):
            return "utf-16-be"
        zeros = chunk[1:1000:2].count(0)  # every other byte of English in UTF-16
        if chunk.startswith(codecs.BOM_UTF16_LE) or 2 * zeros > len(chunk[1:1000:2]):
            return "utf-16-le"
        decode = codecs.getincrementaldecoder("utf-8")("surrogateescape").decode
        broken, letters = 0, 0
        is_last = False
        while not is_last:
            text = decode(chunk, is_last := not chunk)
            broken += len(BROKEN.findall(text))
            letters += len(NOT_ASCII.findall(text))
            chunk = file.read(CHUNK)
    # Where few of many are broken it is damaged UTF-8, where nearly all are it is another code
    return "cp1252" if 2 * broken > letters else "utf-8"


class Table(ABC):
    """The rows of a file, read in parts, and written in parts with more columns."""

    path: Path
    columns: list[str]
    keep_formulas = False  # of text: see coding.code_file

    def about(self) -> list[str]:
        """What was guessed of the file, for people."""
        return []

    @abstractmethod
    def __len__(self) -> int:
        """How many rows there are."""

    @abstractmethod
    def parts(self) -> Iterator[Any]:
        """ROWS_PER_PART rows at a time."""

    @abstractmethod
    def column(self, part: Any, name: str) -> list[Any]:
        """The cells of a column; None where there is none."""

    def problems(self, part: Any) -> list[str]:
        """What is wrong with each row, "" for nothing."""
        return [""] * len(part)

    @abstractmethod
    def write(self, path: Path, part: Any, added: dict[str, list], first: bool) -> None:
        """Write a part with columns added; the first has the header."""

    @abstractmethod
    def join(self, parts: list[Path], path: Path) -> None:
        """Put written parts together."""


class TextFile(Table):
    """A file of text, one row after the other. Its parts are lists of rows."""

    def __init__(self, path: Path) -> None:
        with opened(path) as file:
            head = file.read(4)
        if head == WORKBOOK:
            raise ValueError(f"{path} is a workbook or something else packed: name it .xlsx")
        self.path, self.encoding = path, encoding_of(path)
        # Bytes that are no text are read as surrogates, and so written as they were
        is_wide = self.encoding.startswith("utf-16")
        self.errors = "surrogatepass" if is_wide else "surrogateescape"
        start = head.decode(self.encoding, "ignore")
        self.mark = "\ufeff" if start.startswith("\ufeff") else ""  # Excel knows Unicode by it

    def open(self) -> TextIO:
        file = TextIOWrapper(opened(self.path), self.encoding, self.errors, newline="")
        file.read(len(self.mark))
        return file

    def about(self) -> list[str]:
        names = {"cp1252": "Windows-1252", "utf-16-le": "UTF-16", "utf-16-be": "UTF-16"}
        return [f"encoded in {names[self.encoding]}"] if self.encoding in names else []

    def first(self) -> str:
        """The first line that is not blank."""
        with self.open() as file:
            return next(filter(str.strip, file), "")

    @abstractmethod
    def rows(self) -> Iterator[Row]:
        """All of them, each with what is wrong about it."""

    @cached_property
    def count(self) -> int:
        return sum(1 for _ in self.rows())

    def __len__(self) -> int:
        return self.count

    def parts(self) -> Iterator[list[Row]]:
        rows = self.rows()
        while part := list(islice(rows, ROWS_PER_PART)):
            yield part

    def problems(self, part: list[Row]) -> list[str]:
        return [problem for _, problem in part]


class DelimitedFile(TextFile):
    """A file with a delimiter between its cells, CSV above all."""

    def __init__(self, path: Path, header: bool = True) -> None:
        super().__init__(path)
        csv.field_size_limit(2**31 - 1)
        first = self.first()
        told = SEPARATOR.fullmatch(first)
        self.first_line = first if told else ""
        if told:
            self.delimiter = told[1]
        else:
            is_tsv = ending_of(path).startswith(".tsv")
            self.delimiter = "\t" if is_tsv else max(",;\t", key=first.count)
        # Excel saves blank rows above a table as well
        self.columns, self.above = [], 0  # records above the rows
        for fields in self.records():
            self.columns = fields if header else [str(n) for n in range(1, len(fields) + 1)]
            if any(map(str.strip, fields)):
                self.above += header
                break
            self.above += 1

    def records(self) -> Iterator[list[str]]:
        """The cells of all lines that are not blank.

        Raises:
            ValueError: a quotation mark opens a cell that nothing closes. Python's reader would
                take the rest of the file for that cell.
        """
        lines: list[str] = []  # of the record
        with self.open() as file:

            def read() -> Iterator[str]:
                for line in file:
                    lines.append(line)
                    yield line

            number = 1
            for fields in csv.reader(read(), delimiter=self.delimiter):
                start, number = number, number + len(lines)
                if any('"' in line for line in lines):
                    fields = self.checked(fields, lines, start)
                is_told = self.first_line and lines == [self.first_line]
                lines.clear()
                if fields and not is_told:
                    yield fields

    def checked(self, fields: list[str], lines: list[str], start: int) -> list[str]:
        """The cells of a record with quotation marks, given its lines."""
        try:
            list(csv.reader(lines, delimiter=self.delimiter, strict=True))
        except csv.Error as error:
            if len(lines) > 1 or "unexpected end" in str(error):
                raise ValueError(
                    f"{self.path}, line {start}: a quotation mark opens a cell there that none "
                    "closes: mend that line"
                ) from None
            # Marks that are part of the text, as in "Senior" Nurse, stay
            as_they_are = lines[0].rstrip("\r\n").split(self.delimiter)
            return as_they_are if len(as_they_are) == len(fields) else fields
        return fields

    def rows(self) -> Iterator[Row]:
        n = len(self.columns)
        for fields in islice(self.records(), self.above, None):
            problem = ""
            while len(fields) > n and not fields[-1].strip():  # a delimiter too many at the end
                fields.pop()
            if len(fields) > n:
                problem = f"{len(fields)} fields, but the header has {n}: cells with "
                problem += f"{self.delimiter!r} in them need quotation marks"
            # Nothing is lost: what is too much stays in the last column
            fields[n - 1 :] = [self.delimiter.join(fields[n - 1 :])]
            yield fields + [""] * (n - len(fields)), problem

    def column(self, part: list[Row], name: str) -> list[Any]:
        place = self.columns.index(name)
        return [fields[place] for fields, _ in part]

    def write(self, path: Path, part: list[Row], added: dict[str, list], first: bool) -> None:
        rows = [[*self.columns, *added]] if first else []
        for (fields, _), *values in zip(part, *added.values(), strict=True):
            rows.append([*fields, *values])
        if not self.keep_formulas:
            rows = [[without_formula(cell) for cell in row] for row in rows]
        delimiter = self.delimiter
        if path.suffix != ending_of(self.path).removesuffix(".gz"):
            delimiter = "," if path.suffix == ".csv" else "\t"
        with open(path, "w", encoding=self.encoding, errors=self.errors, newline="") as file:
            if first:
                file.write(self.mark + (self.first_line if delimiter == self.delimiter else ""))
            csv.writer(file, delimiter=delimiter, lineterminator="\n").writerows(rows)

    def join(self, parts: list[Path], path: Path) -> None:
        with created(path) as whole:
            for part in parts:
                with open(part, "rb") as file:
                    shutil.copyfileobj(file, whole)


def without_formula(cell: Any) -> Any:
    """A cell that no spreadsheet runs: an apostrophe makes a formula text. Numbers stay."""
    if not (isinstance(cell, str) and cell.startswith(FORMULA)) or NUMBER.fullmatch(cell):
        return cell
    try:
        float(cell)  # such as -1e3
    except ValueError:
        return f"'{cell}"
    return cell


class LinesFile(DelimitedFile):
    """A title in every line, perhaps below a line that says so."""

    def __init__(self, path: Path, header: bool = True) -> None:
        TextFile.__init__(self, path)
        first = self.first().strip()
        self.above = int(header and is_named(first, "title"))
        self.columns = [first if self.above else "title" if header else "1"]
        self.delimiter, self.first_line = "\t", ""

    def rows(self) -> Iterator[Row]:
        with self.open() as file:
            for line in islice(filter(str.strip, file), self.above, None):
                yield [line.rstrip("\r\n")], ""


def text_table(path: Path, header: bool = True) -> DelimitedFile:
    """A .txt file: delimited if it has tabs, or a header of several columns; else lines."""
    table = LinesFile(path, header)
    first = table.first()
    names = first.split(max(",;", key=first.count))
    has_header = header and len(names) > 1 and any(is_named(name, "title") for name in names)
    return DelimitedFile(path, header) if "\t" in first or has_header else table


class JsonFile(TextFile):
    """A list of JSON objects, or one in every line."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.is_list = self.first().lstrip().startswith("[")
        found = (row for row, problem in self.rows() if not problem)
        self.columns = list(dict.fromkeys(chain.from_iterable(found)))

    @cached_property
    def listed(self) -> list[Any]:
        with self.open() as file:
            try:
                return json.load(file)
            except (ValueError, RecursionError) as error:
                raise ValueError(f"{self.path} is no JSON: {error}") from None

    def rows(self) -> Iterator[Row]:
        if self.is_list:
            for row in self.listed:
                row = {"title": row} if isinstance(row, str) else row
                is_object = isinstance(row, dict)
                yield (row, "") if is_object else ({BAD_LINE: row}, "no JSON object")
            return
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
                row = row | dict(zip(added, values, strict=True))  # rows of a list are kept
                try:
                    line = json.dumps(row, ensure_ascii=False).encode(errors="surrogateescape")
                except UnicodeEncodeError:  # half a pair of surrogates, which only JSON can name
                    line = json.dumps(row).encode()
                file.write(line + b"\n")

    def join(self, parts: list[Path], path: Path) -> None:
        as_list = kind_of(path) == ".json" and (self.is_list or kind_of(self.path) != ".json")
        with created(path) as whole:
            start = b"[\n"
            for part in parts:
                with open(part, "rb") as file:
                    for line in file:
                        whole.write(start + line.rstrip(b"\n") if as_list else line)
                        start = b",\n"
            whole.write(b"\n]\n" if as_list else b"")


# ------------------------------------------------------------------------------ other files


class ExcelFile(Table):
    """A workbook, of which one sheet is coded: the first with a column of titles, or with anything.

    Its parts are lists of rows, each with its number in the sheet. What is added is kept as JSON
    until the end, when it is put into a copy of the workbook: so cells and other sheets stay what
    they were. Pictures may get lost, and formulas are computed anew when Excel opens it.
    """

    def __init__(self, path: Path) -> None:
        import openpyxl  # a third of a second, so only where it is needed

        self.path, self.load = path, openpyxl.load_workbook
        # What formulas came to, and the formulas, which some programs save without that
        values = self.load(path, read_only=True, data_only=True)
        formulas = self.load(path, read_only=True)
        shown = [sheet for sheet in values.worksheets if sheet.sheet_state == "visible"]
        if not shown:
            raise ValueError(f"{path} has no sheet to be seen")
        self.sheet_names = [sheet.title for sheet in shown]
        tops = []
        for sheet in shown:
            both = sheet, formulas[sheet.title]
            for one in both:
                one.reset_dimensions()  # some programs write wrong ones
            number, cells = next(filled(both), (1, ()))
            names = ["" if cell is None else str(cell) for cell in cells]
            has_titles = any(is_named(name, "title") for name in names)
            tops.append((has_titles, bool(names), names, number, both))
        *_, self.columns, self.header, self.sheets = max(tops, key=lambda top: top[:2])
        while self.columns and not self.columns[-1]:
            self.columns.pop()
        self.count, self.width = -1, len(self.columns)  # rows below the header; columns of any row
        for _, cells in self.filled():
            self.count += 1
            last = max(place for place, cell in enumerate(cells) if cell is not None)
            self.width = max(self.width, last + 1)

    def about(self) -> list[str]:
        name = self.sheets[0].title
        return [f"in sheet {name!r}"] if len(self.sheet_names) > 1 else []

    def filled(self) -> Iterator[tuple[int, tuple]]:
        return filled(self.sheets)

    def __len__(self) -> int:
        return max(self.count, 0)

    def parts(self) -> Iterator[list]:
        rows = islice(self.filled(), 1, None)
        while part := list(islice(rows, ROWS_PER_PART)):
            yield part

    def column(self, part: list, name: str) -> list[Any]:
        place = self.columns.index(name)
        cells = [cells[place] if place < len(cells) else None for _, cells in part]
        return [cell if cell is None else str(cell) for cell in cells]

    def write(self, path: Path, part: list, added: dict[str, list], first: bool) -> None:
        rows = [number for number, _ in part]
        path.write_text(json.dumps({"rows": rows, "added": added}), encoding="utf-8")

    def join(self, parts: list[Path], path: Path) -> None:
        book = self.load(self.path)
        sheet = book[self.sheets[0].title]
        for part in parts:
            content = json.loads(part.read_text(encoding="utf-8"))
            for column, name in enumerate(content["added"], start=self.width + 1):
                sheet.cell(self.header, column, name)
                for row, value in zip(content["rows"], content["added"][name], strict=True):
                    cell = sheet.cell(row, column, value)
                    if isinstance(value, str):
                        cell.number_format = "@"  # text, or Excel may make a date of 11-2021
        book.save(path)


def filled(sheets: tuple[Any, Any]) -> Iterator[tuple[int, tuple]]:
    """The rows that are not blank, with their numbers; formulas without a value as they are.

    Args:
        sheets: the same one, with values and with formulas.
    """
    rows = zip(*(sheet.iter_rows(values_only=True) for sheet in sheets), strict=True)
    for number, both in enumerate(rows, start=1):
        row = [
            getattr(formula, "text", formula) if value is None else value  # text of an array's
            for value, formula in zip(*both, strict=True)
        ]
        if any(cell is not None and str(cell).strip() for cell in row):
            yield number, tuple(row)


class ParquetFile(Table):
    """A Parquet file, read and written by pyarrow. Its parts are record batches."""

    def __init__(self, path: Path) -> None:
        try:
            import pyarrow.parquet
        except ImportError:
            raise ImportError(f"{path} needs pyarrow: pip install pyarrow") from None
        self.path, self.arrow = path, pyarrow
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


# ------------------------------------------------------------------------------ reading

# What packed text and workbooks raise when they are damaged; that of XML is a SyntaxError
DAMAGED = (
    UnicodeError, EOFError, KeyError, SyntaxError, NotImplementedError,
    csv.Error, gzip.BadGzipFile, zipfile.error, zlib.error,
)  # fmt: skip

FILES: dict[str, Any] = {
    ".csv": DelimitedFile,
    ".tsv": DelimitedFile,
    ".txt": text_table,
    ".json": JsonFile,
    ".jsonl": JsonFile,
    ".ndjson": JsonFile,
    ".xlsx": ExcelFile,
    ".parquet": ParquetFile,
}
TEXT = (".csv", ".tsv", ".txt")  # of which one may become another
JSON = (".json", ".jsonl", ".ndjson")  # and so of these


def kind_of(path: Path) -> str:
    """The ending by which a file is read, as in FILES, .gz aside.

    Raises:
        ValueError: there is none such.
    """
    kind = ending_of(path).removesuffix(".gz")
    packed = ending_of(path).endswith(".gz")
    if kind not in FILES or (packed and kind not in TEXT + JSON):
        endings = f"{', '.join(FILES)}, text also in .gz"
        raise ValueError(f"{path} must end in one of {endings}; save other workbooks as .xlsx")
    return kind


def read_table(path: str | Path, header: bool = True) -> Table:
    """A file of rows.

    Args:
        header: whether the first row names the columns; else they are called 1, 2, ...

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it cannot be read, or has no rows.
    """
    path = Path(path)
    if path.is_dir():
        raise ValueError(f"{path} is a folder: name a file in it")
    kind = kind_of(path)
    if not header and kind not in TEXT:
        raise ValueError(f"{path} needs a header: only {', '.join(TEXT)} are read without one")
    try:
        table = FILES[kind](path) if header else FILES[kind](path, header)
        n = len(table)
    except DAMAGED as error:
        raise ValueError(f"{path} cannot be read: {error}") from None
    if not n:
        raise ValueError(f"{path} has no rows")
    return table


class Jobs(NamedTuple):
    """A file of jobs, and which of its columns hold what."""

    table: Table
    title: str
    description: str | None
    industry: str | None

    def texts(self, part: Any) -> tuple[list[Any], ...]:
        """Titles, descriptions and industries of a part of the file; None where there is none."""
        titles = self.table.column(part, self.title)
        others = [
            [None] * len(titles) if name is None else self.table.column(part, name)
            for name in (self.description, self.industry)
        ]
        return titles, *others

    def about(self) -> str:
        """What is read of the file, in one line for people."""
        facts = [f"titles in column {self.title!r}"]
        if self.industry is not None:
            facts.append(f"industries in {self.industry!r}")
        if self.description is not None:
            facts.append(f"descriptions in {self.description!r}")
        else:
            facts.append("no descriptions")
        return f"{self.table.path.name}: {', '.join(facts + self.table.about())}"


def read_jobs(
    path: str | Path,
    title_column: str | None = None,
    description_column: str | None = None,
    industry_column: str | None = None,
    header: bool = True,
) -> Jobs:
    """A file of jobs. Columns that are not given are found by their names, see COLUMN_NAMES.

    Raises:
        FileNotFoundError, ValueError: as from read_table and find_column.
    """
    table = read_table(path, header)
    return Jobs(
        table,
        required_column(table, "title", title_column),
        find_column(table, "description", description_column),
        find_column(table, "industry", industry_column),
    )


def records_of(jobs: Any) -> list[tuple[Any, Any]]:
    """Titles and descriptions of jobs in memory, as JobClassifier.predict_batch takes them.

    Raises:
        TypeError, ValueError: there are none, or they are nothing of the kind.
    """
    if isinstance(jobs, str | bytes | dict) or not hasattr(jobs, "__iter__"):
        raise TypeError(f"jobs must be a list of titles or of dicts, not {type(jobs).__name__}")
    if hasattr(jobs, "columns"):  # a DataFrame
        table = frame(jobs, "the table")
        title = required_column(table, "title", None, "rename it")
        description = find_column(table, "description", None, "rename the others")
        titles = jobs.iloc[:, table.columns.index(title)].tolist()
        descriptions = [""] * len(titles)
        if description is not None:
            descriptions = jobs.iloc[:, table.columns.index(description)].tolist()
        records: list[tuple[Any, Any]] = list(zip(titles, descriptions, strict=True))
    else:
        jobs = list(jobs)
        dicts = [job for job in jobs if isinstance(job, dict)]
        if dicts and not any(name in job for job in dicts for name in ("title", "job_title")):
            raise TypeError(f"jobs: no dict has a 'title', the first is {dicts[0]!r:.80}")
        records = [
            (job.get("title", job.get("job_title")), job.get("description"))
            if isinstance(job, dict)
            else (job, None)
            for job in jobs
        ]
    if not records:
        raise ValueError("jobs is empty: give at least one title")
    return records
