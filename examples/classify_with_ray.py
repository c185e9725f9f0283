"""Code a folder of Parquet files on many processes or machines, with Ray Data.

    pip install "ray[data]"
    python examples/classify_with_ray.py jobs/ coded/                  # two workers
    python examples/classify_with_ray.py jobs/ coded/ --workers 64     # on a cluster: RAY_ADDRESS

Each worker loads one classifier and codes batch after batch; columns that are added are those of
`python inference.py --input`. Every worker takes one core and needs about 0.5 GB of memory.
"""

import argparse
import sys
from pathlib import Path
from types import SimpleNamespace

PROJECT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(PROJECT))

import pyarrow as pa  # noqa: E402
import ray  # noqa: E402

from common import coding, columns, encoders, tables  # noqa: E402
from inference import DATA_DIR, MODEL_DIR, JobClassifier  # noqa: E402

BLOCK = 5000  # rows coded, and written, together


class Coder:
    """One classifier, kept by a worker for all its batches."""

    def __init__(self, title_column: str, description_column: str | None, top_k: int) -> None:
        encoders.THREADS = 1
        self.classifier = JobClassifier(PROJECT / MODEL_DIR, PROJECT / DATA_DIR)
        self.columns, self.top_k = (title_column, description_column), top_k
        self.answers = {}  # so that a worker codes repeated titles once

    def __call__(self, table: pa.Table) -> pa.Table:
        titles, descriptions = (
            table.column(name).to_pylist() if name else [None] * table.num_rows
            for name in self.columns
        )
        for name, values in coding.new_columns(
            self.classifier, titles, descriptions, self.top_k, answers=self.answers
        ).items():
            kind = pa.float64() if name.startswith(tables.NUMBERS) else pa.string()
            table = table.append_column(name, pa.array(values, kind))
        return table


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("input", help="folder with .parquet files")
    parser.add_argument("output", help="folder to write, one .parquet file for each block of rows")
    parser.add_argument("--title-column", help="found by its name, as by inference.py --input")
    parser.add_argument("--description-column", help="likewise, if there is one")
    parser.add_argument("--top-k", type=int, default=3)
    parser.add_argument("--workers", type=int, default=2)
    args = parser.parse_args()

    ray.init()
    files = ray.data.read_parquet(args.input)
    table = SimpleNamespace(path=args.input, columns=files.schema().names)
    title = columns.required_column(table, "title", args.title_column)
    description = columns.find_column(table, "description", args.description_column)
    jobs = files.repartition(target_num_rows_per_block=BLOCK)  # else small files make one
    jobs.map_batches(
        Coder,
        fn_constructor_args=(title, description, args.top_k),
        compute=ray.data.ActorPoolStrategy(size=args.workers),
        num_cpus=0.5,  # else workers on every core leave none for reading and writing, and all wait
        batch_size=BLOCK,
        batch_format="pyarrow",
    ).write_parquet(args.output)


if __name__ == "__main__":
    main()
