"""How often codes are right, with intervals."""

import math
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence, Set
from pathlib import Path
from typing import Any

import numpy as np

from common.columns import required_column
from common.soc import (
    DIGITS,
    SOC_GROUPS,
    digits_of,
    group_code,
    read_code,
    read_crosswalks,
    split_codes,
)
from common.tables import Jobs, read_jobs
from common.text import row_texts

TOP_K = (1, 3, 5)
EVALUATED = (8, 6, 2)  # digits that have to agree
# What so many digits name; groups of 5 and 3 are told where a label goes no deeper
LEVEL_NAMES = {
    8: "O*NET-SOC occupation",
    6: "SOC occupation",
    5: "broad group",
    3: "minor group",
    2: "major group",
}
THRESHOLDS = (0.0, 0.3, 0.5, 0.7, 0.9)  # least confidences at which coverage is told
CONFUSIONS = 10  # pairs of codes to list
NO_CODE = "the code is none such as 15-1252.00 or 15-1252"
UNKNOWN = "the code is none of O*NET-SOC 2019 or SOC 2018"
PERHAPS_OLDER = ", perhaps of SOC 2010: --crosswalk reads the official table"
NOT_CONVERTED = ", nor in the crosswalk"


def hits(ranked: list[list[str]], accepted: list[set[str]], digits: int) -> np.ndarray:
    """Whether codes are right, in so many digits like an accepted one, shape (jobs, ranks)."""
    rows = []
    for codes, right in zip(ranked, accepted, strict=True):
        groups = {group_code(code, digits) for code in right}
        rows.append([group_code(code, digits) in groups for code in codes])
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
    crosswalks: Sequence[str | Path] = (),
    industry_column: str | None = None,
) -> dict[str, Any]:
    """How often the classifier is right on labelled jobs.

    Args:
        classifier: a JobClassifier.
        path: a file of jobs, of any kind that code_file reads.
        title_column, description_column, industry_column: as for code_file.
        code_column: column with the right code, or several with '|', ';' or ',' between, of which
            each is right: of O*NET-SOC 2019 or SOC 2018, with 8 or 6 digits, or of a broad, minor
            or major group, such as 15-1250, 15-1200 or 15-0000; by default "code", "SOC code" and
            the like.
        crosswalks: the official tables from SOC or O*NET-SOC 2010, .csv, .tsv or .xlsx, for codes
            of these; where one has become several, each is right.

    Returns:
        {"rows": jobs evaluated, "skipped": {reason: rows},
        "converted": rows of them with a code that the crosswalks converted,
        "accuracy": [{"digits": 8, 6 or 2, "n": jobs labelled that deep, "k": 1, 3 or 5,
            "share", "low", "high"}, ...] with the 95 % interval; also of 5 (broad groups) and
            3 digits (minor groups) where a label goes no deeper,
        "coverage": [{"min_confidence", "covered": share of the jobs,
            "right": share of these, or None}, ...],
        "confidence": its mean,
        "confusions": [{"code", "title", "instead_of": codes accepted,
            "instead_of_title": of the first of them, "rows", "example": a job title}, ...],
            the most frequent ones.
        } Confidence and confusions are about the first answer, counted at the deepest level that
        a label has.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: one cannot be read, a column is missing, or no row can be evaluated.
    """
    jobs = read_jobs(path, title_column, description_column, industry_column)
    new_codes = read_crosswalks(crosswalks)
    code_column = required_column(jobs.table, "code", code_column)
    pairs, accepted, converted, skipped = labelled_jobs(jobs, code_column, classifier, new_codes)
    ranking = classifier.best(pairs, min(max(TOP_K), len(classifier.codes)))
    ranked = classifier.codes_of(ranking).tolist()

    depth = np.array([min(map(digits_of, codes)) for codes in accepted])
    accuracy: list[dict[str, Any]] = []
    for digits in LEVEL_NAMES:
        if digits not in EVALUATED and digits not in depth:
            continue
        right = hits(ranked, accepted, digits)[depth >= digits]
        for k in TOP_K if len(right) else ():
            share = float(right[:, :k].any(axis=1).mean())
            low, high = wilson(share, len(right))
            row = {"digits": digits, "n": len(right), "k": k}
            accuracy.append(row | {"share": share, "low": low, "high": high})

    deepest = accuracy[0]["digits"]
    judged = depth >= deepest
    right = hits(ranked, accepted, deepest)[:, 0]
    confidences = ranking.confidences[:, 0]
    coverage = []
    for threshold in THRESHOLDS:
        sure = judged & (ranking.reasons == "") & (confidences >= threshold)
        among = float(right[sure].mean()) if sure.any() else None
        covered = float(sure.sum() / judged.sum())
        coverage.append({"min_confidence": threshold, "covered": covered, "right": among})

    wrong = defaultdict(list)
    for i in np.flatnonzero(judged & ~right):
        wrong[ranked[i][0], "|".join(sorted(accepted[i]))].append(pairs[i][1])
    title_of = SOC_GROUPS | classifier.title_of | {"": "no occupation"}
    confusions = []
    for (code, codes), titles in sorted(wrong.items(), key=lambda item: -len(item[1]))[:CONFUSIONS]:
        first = codes.split("|")[0]
        confusions.append(
            {
                "code": code,
                "title": title_of[code],
                "instead_of": codes,
                "instead_of_title": title_of.get(first) or title_of.get(f"{first}.00", ""),
                "rows": len(titles),
                "example": titles[0],
            }
        )
    return {
        "rows": len(pairs),
        "skipped": skipped,
        "converted": converted,
        "accuracy": accuracy,
        "coverage": coverage,
        "confidence": float(confidences[judged].mean()),
        "confusions": confusions,
    }


def labelled_jobs(
    jobs: Jobs, code_column: str, classifier: Any, new_codes: Mapping[str, Sequence[str]]
) -> tuple[list[tuple[str, str]], list[set[str]], int, dict[str, int]]:
    """The jobs in a file as job_texts returns them, and the codes that are right for each.

    Args:
        new_codes: of older codes, as from read_crosswalks.

    Returns:
        jobs, codes of each, how many of them had an older code, and {reason: rows left out}

    Raises:
        ValueError: as from read_jobs, or all rows are left out.
    """
    codes = classifier.codes
    known = {*codes, *(code[: DIGITS[6]] for code in codes), *SOC_GROUPS}
    pairs, accepted, converted, reasons = [], [], 0, Counter()
    examples: dict[str, Counter] = {NO_CODE: Counter(), UNKNOWN: Counter()}  # labels, by reason
    for part in jobs.table.parts():
        labels, problems = jobs.table.column(part, code_column), jobs.table.problems(part)
        for title, description, industry, label, problem in zip(
            *jobs.texts(part), labels, problems, strict=True
        ):
            label = "" if label is None else str(label)
            try:
                if problem:
                    raise ValueError(problem)
                right, is_older = right_codes(label, known, new_codes)
                pairs.append(row_texts(title, description, industry, classifier.own))
                accepted.append(right)
                converted += is_older
            except (TypeError, ValueError) as error:
                reason = str(error)
                reasons[reason] += 1
                if reason in examples:
                    examples[reason][label] += 1

    skipped = {}
    for reason, count in reasons.items():
        text = reason
        if reason == UNKNOWN:
            text += NOT_CONVERTED if new_codes else PERHAPS_OLDER
        if reason in examples:
            (example, _), *others = examples[reason].most_common()
            text += f" ({example!r} and {len(others):,} more)" if others else f" ({example!r})"
        skipped[text] = count
    if not pairs:
        reason = max(skipped, key=lambda text: skipped[text])
        raise ValueError(f"{jobs.table.path} has no row that can be evaluated: {reason}")
    return pairs, accepted, converted, skipped


def right_codes(
    label: str, known: Set[str], new_codes: Mapping[str, Sequence[str]]
) -> tuple[set[str], bool]:
    """The codes that a label means, and whether one in it is older than they are.

    Args:
        label: one or several codes, as split_codes parts them.
        known: the codes of occupations and groups there are.
        new_codes: of older codes, as from read_crosswalks.

    Raises:
        ValueError: it is empty, or a code in it is none, or none that is known.
    """
    right, is_older = set(), False
    for part in split_codes(label):
        code = read_code(part)
        if not code:
            raise ValueError(NO_CODE)
        # A code that is still in use means what it means now
        found = known & {current_code(code, known)}
        if not found:
            found, is_older = known & set(new_codes.get(code, [])), True
        if not found:
            raise ValueError(UNKNOWN)
        right |= found
    if not right:
        raise ValueError("the code is empty")
    return right, is_older


def current_code(code: str, known: Set[str]) -> str:
    """A code as it may stand among those known: 15-1250.00 as 15-1250, 15-1000 as 15-1200."""
    if code not in known:
        code = code.removesuffix(".00")
    return group_code(code, 3) if digits_of(code) == 3 else code


def print_evaluation(result: dict[str, Any]) -> None:
    """Print what evaluate returns."""
    print(f"{result['rows']:,} rows evaluated")
    for problem, count in result["skipped"].items():
        print(f"{count:>9,} left out: {problem}")
    if result["converted"]:
        print(f"{result['converted']:>9,} evaluated by a code that the crosswalk converted")

    heading = "".join(f"  {f'top-{k}':<20}" for k in TOP_K)
    print(f"\ndigits       n  {heading}")
    for digits in dict.fromkeys(row["digits"] for row in result["accuracy"]):
        rows = [row for row in result["accuracy"] if row["digits"] == digits]
        cells = ""
        for row in rows:
            cell = f"  {row['share']:.1%} ({row['low']:.1%}–{row['high']:.1%})"
            cells += cell.ljust(22)
        print(f"{digits:>6}{rows[0]['n']:>8,}  {cells}  {LEVEL_NAMES[digits]}")
    print("In brackets: 95 % intervals.")

    deepest = result["accuracy"][0]
    print(f"\nOf the {deepest['n']:,} rows labelled with {deepest['digits']} digits:")
    print(f"mean confidence {result['confidence']:.1%}")
    print("\nconfidence   share of rows   right")
    for row in result["coverage"]:
        right = "     –" if row["right"] is None else f"{row['right']:>6.1%}"
        print(f"from {row['min_confidence']:>5.0%}{row['covered']:>16.1%}  {right}")

    if result["confusions"]:
        print("\n  rows  answer, instead of, such as")
    for row in result["confusions"]:
        print(f"{row['rows']:>6,}  {row['code']}  {row['title']}")
        print(f"        {row['instead_of']}  {row['instead_of_title']}   {row['example']!r}")
