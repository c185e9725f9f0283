"""The prepared data split as most projects do: plain at random, nine to one.

    python data_preparation.py --onet-only --output-dir output/onet
    python -m benchmarks.plain_split --data-dir output/onet --output-dir output/plain_split
    python train.py --data-dir output/plain_split --output-dir output/of_plain_split --epochs 1 \
        --sources standard_title alternate_title title_description task skill knowledge ability \
        technology tool

Only for figures that can be held beside those of such projects: a text that stands under several
occupations is trained with one code here and asked for in validation with another.
"""

import argparse
import random
from collections import Counter
from pathlib import Path

from common.samples import load_data, write_data

VALIDATION = 0.1


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    add = parser.add_argument
    add("--data-dir", type=Path, required=True, help="folder that data_preparation.py wrote")
    add("--output-dir", type=Path, required=True, help="folder for the same data, split again")
    add("--seed", type=int, default=42, help="of the split")
    args = parser.parse_args()

    data = load_data(args.data_dir)
    samples = data["train"] + data["val"]
    random.Random(args.seed).shuffle(samples)
    count = round(VALIDATION * len(samples))
    sides = {"val": samples[:count], "train": samples[count:]}
    manifest = data["manifest"] | {"seed": args.seed}
    manifest["samples"] = {
        side: dict(Counter(sample["source"] for sample in rows)) for side, rows in sides.items()
    }
    contents = {f"{side}.json": rows for side, rows in sides.items()}
    write_data(
        args.output_dir,
        contents | {f"{name}.json": data[name] for name in ("corpus", "label_map")},
        manifest,
    )
    print(f"{len(sides['train']):,} samples to train on, {count:,} to validate")


if __name__ == "__main__":
    main()
