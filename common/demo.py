"""Answers on the screen, and a demo of ten postings."""

import time
from collections.abc import Set
from pathlib import Path
from textwrap import shorten
from typing import Any

import numpy as np

from common.files import read_json

# Postings of our own, with the codes that a careful human coder would accept
DEMO_FILE = Path(__file__).with_name("demo.json")


def run_demo(classifier: Any, top_k: int) -> None:
    """Classify the demo postings one by one, as a user would, and sum up how that went."""
    postings = read_json(DEMO_FILE)
    first, among, scores, seconds = 0, 0, [], []
    for posting in postings:
        title, description, accepted = posting["title"], posting["description"], posting["accepted"]
        start = time.perf_counter()
        ranked = classifier.predict(title, description, top_k=top_k)
        seconds.append(time.perf_counter() - start)
        first += ranked[0]["code"] in accepted
        among += any(row["code"] in accepted for row in ranked)
        scores.append(ranked[0]["score"])
        print(f"\n{title}\n    {description[:90]}...")
        print_ranking(ranked, set(accepted))
    n = len(postings)
    print(f"\nTop-1 accuracy           {first / n:.0%} ({first}/{n})")
    print(f"Top-{top_k} relevance          {among / n:.0%} ({among}/{n} have an accepted code "
          f"among the first {top_k})")  # fmt: skip
    print(f"Average top-1 score      {np.mean(scores):.3f}")
    print(f"Time per prediction      {1000 * np.mean(seconds):.0f} ms "
          f"(median {1000 * np.median(seconds):.0f} ms)")  # fmt: skip


def print_ranking(ranked: list[dict], accepted: Set[str] = frozenset()) -> None:
    if ranked[0]["code"] is None:
        print(f"     {ranked[0]['reason']}")
        return
    width = max(len(row["title"]) for row in ranked)
    print(f"     O*NET-SOC   {'occupation':<{width}}  confidence  score")
    for row in ranked:
        mark = "*" if row["code"] in accepted else " "
        answer = f"{mark}{row['rank']:>3} {row['code']}  {row['title']:<{width}}"
        print(f"{answer}  {row['confidence']:>10.0%}  {row['score']:.3f}")
        for known in row.get("evidence", []):
            text = shorten(known["text"], 90, placeholder=" ...")
            print(f"           {known['score']:.3f}  {known['kind']}: {text}")
    first = ranked[0]
    if first.get("review"):
        verdict = "not even the major group is sure enough"
        if first["fallback_code"]:
            group = f"{first['fallback_code']} {first['fallback_title']}"
            verdict = f"sure enough is {group} ({first['fallback_confidence']:.0%})"
        print(f"     To be reviewed: {verdict}")
