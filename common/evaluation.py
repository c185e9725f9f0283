"""How often codes are right, with intervals."""

import math
import re
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

import numpy as np

from common.columns import required_column
from common.soc import DIGITS
from common.tables import read_jobs
from common.text import job_texts

TOP_K = (1, 3, 5)
EVALUATED = (8, 6, 2)  # digits that have to agree
THRESHOLDS = (0.0, 0.3, 0.5, 0.7, 0.9)  # least confidences at which coverage is told
CONFUSIONS = 10  # pairs of codes to list
CODE = re.compile(r"\d\d-\d{4}(\.\d\d)?")  # 8 digits, or 6


def hits(ranked: list[list[str]], accepted: list[set[str]], digits: int) -> np.ndarray:
    """Whether codes are right, in so many digits like an accepted one, shape (jobs, ranks)."""
    length, rows = DIGITS[digits], []
    for codes, right in zip(ranked, accepted, strict=True):
        prefixes = {code[:length] for code in right}
        rows.append([code[:length] in prefixes for code in codes])
    return np.array(rows)


def wilson(share: float, n: int) -> tuple[float, float]:
    """The 95 % Wilson interval of a share of n.

    Wilson 1927, https://doi.org/10.1080/01621459.1927.10502953
    """
    z = 1.959964
    middle = share + z**2 / (2 * n)
    half = z * math.sqrt(share * (1 - share) / n + (z / (2 * n)) ** 2)
    return (middle - half) / (1 + z**2 / n), (middle + half) / (1 + z**2 / n)


def evaluate(
    classifier: Any,
    path: str | Path,
    title_column: str | None = None,
    description_column: str | None = None,
    code_column: str | None = None,
) -> dict[str, Any]:
    """How often the classifier is right on labelled jobs.

    Args:
        classifier: a JobClassifier.
        path: a file of jobs, of any kind that code_file reads.
        title_column, description_column: as for code_file.
        code_column: column with the right code, of 8 or 6 digits, or several with '|' between; by
            default "code", "SOC code" and the like.

    Returns:
        {"rows": jobs evaluated, "skipped": {reason: rows},
        "accuracy": [{"digits": 8, 6 or 2, "n": jobs labelled that deep, "k": 1, 3 or 5,
            "share", "low", "high"}, ...] with the 95 % interval,
        "coverage": [{"min_confidence", "covered": share of the jobs,
            "right": share of these, or None}, ...],
        "confidence": its mean,
        "confusions": [{"code", "title", "instead_of": codes accepted,
            "instead_of_title": of the first of them, "rows", "example": a job title}, ...],
            the most frequent ones.
        } Confidence and confusions are about the first answer, counted at 6 digits where no label
        has 8.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it cannot be read, a column is missing, or no row can be evaluated.
    """
    columns = (title_column, description_column, code_column)
    pairs, accepted, skipped = labelled_jobs(path, *columns)
    ranking = classifier.best(pairs, min(max(TOP_K), len(classifier.codes)))
    ranked = classifier.codes_of(ranking).tolist()

    depth = np.array([min(len(code) for code in codes) for codes in accepted])
    accuracy: list[dict[str, Any]] = []
    for digits in EVALUATED:
        right = hits(ranked, accepted, digits)[depth >= DIGITS[digits]]
        for k in TOP_K if len(right) else ():
            share = float(right[:, :k].any(axis=1).mean())
            low, high = wilson(share, len(right))
            row = {"digits": digits, "n": len(right), "k": k}
            accuracy.append(row | {"share": share, "low": low, "high": high})

    deepest = accuracy[0]["digits"]
    judged = depth >= DIGITS[deepest]
    right = hits(ranked, accepted, deepest)[:, 0]
    confidences = ranking.confidences[:, 0]
    coverage = []
    for threshold in THRESHOLDS:
        sure = judged & (confidences >= threshold)
        among = float(right[sure].mean()) if sure.any() else None
        covered = float(sure.sum() / judged.sum())
        coverage.append({"min_confidence": threshold, "covered": covered, "right": among})

    wrong = defaultdict(list)
    for i in np.flatnonzero(judged & ~right):
        wrong[ranking.rows[i, 0], "|".join(sorted(accepted[i]))].append(pairs[i][1])
    title_of = dict(zip(classifier.codes, classifier.titles, strict=True))
    confusions = []
    for (row, codes), titles in sorted(wrong.items(), key=lambda item: -len(item[1]))[:CONFUSIONS]:
        first = codes.split("|")[0]
        confusions.append(
            {
                "code": classifier.codes[row],
                "title": classifier.titles[row],
                "instead_of": codes,
                "instead_of_title": title_of.get(f"{first}.00"[: DIGITS[8]], ""),
                "rows": len(titles),
                "example": titles[0],
            }
        )
    return {
        "rows": len(pairs),
        "skipped": dict(skipped),
        "accuracy": accuracy,
        "coverage": coverage,
        "confidence": float(confidences[judged].mean()),
        "confusions": confusions,
    }


def labelled_jobs(
    path: str | Path,
    title_column: str | None,
    description_column: str | None,
    code_column: str | None,
) -> tuple[list[tuple[str, str]], list[set[str]], Counter]:
    """The jobs in a file as job_texts returns them, their codes, and why rows were skipped."""
    jobs = read_jobs(path, title_column, description_column)
    code_column = required_column(jobs.table, "code", code_column)
    pairs, accepted, skipped = [], [], Counter()
    for part in jobs.table.parts():
        titles, descriptions = jobs.texts(part)
        labels, problems = jobs.table.column(part, code_column), jobs.table.problems(part)
        for title, description, label, problem in zip(
            titles, descriptions, labels, problems, strict=True
        ):
            codes = {code.strip() for code in str(label).split("|")}
            if not problem and not all(map(CODE.fullmatch, codes)):
                problem = f"the code {label!r} is none such as 15-1252.00 or 15-1252"
            try:
                if problem:
                    raise ValueError(problem)
                pairs.append(job_texts(title, description))
                accepted.append(codes)
            except (TypeError, ValueError) as error:
                skipped[str(error)] += 1
    if not pairs:
        reason = skipped.most_common(1)[0][0]
        raise ValueError(f"{path} has no row that can be evaluated: {reason}")
    return pairs, accepted, skipped


def print_evaluation(result: dict[str, Any]) -> None:
    """Print what evaluate returns."""
    print(f"{result['rows']:,} rows evaluated")
    for problem, count in result["skipped"].items():
        print(f"{count:>9,} left out: {problem}")

    heading = "".join(f"  {f'top-{k}':<20}" for k in TOP_K)
    print(f"\ndigits       n  {heading}")
    for digits in dict.fromkeys(row["digits"] for row in result["accuracy"]):
        rows = [row for row in result["accuracy"] if row["digits"] == digits]
        cells = ""
        for row in rows:
            cell = f"  {row['share']:.1%} ({row['low']:.1%}–{row['high']:.1%})"
            cells += cell.ljust(22)
        print(f"{digits:>6}{rows[0]['n']:>8,}  {cells}")
    print("In brackets: 95 % intervals.")

    print(f"\nMean confidence {result['confidence']:.1%}")
    print("\nconfidence   share of rows   right")
    for row in result["coverage"]:
        right = "     –" if row["right"] is None else f"{row['right']:>6.1%}"
        print(f"from {row['min_confidence']:>5.0%}{row['covered']:>16.1%}  {right}")

    if result["confusions"]:
        print("\n  rows  answer, instead of, such as")
    for row in result["confusions"]:
        print(f"{row['rows']:>6,}  {row['code']}  {row['title']}")
        print(f"        {row['instead_of']}  {row['instead_of_title']}   {row['example']!r}")
