"""How sure an answer is: the softmax over the scores, fitted to jobs whose codes are known."""

from typing import Any

import numpy as np
from scipy.optimize import minimize_scalar
from sklearn.metrics import log_loss

from common.text import job_texts
from common.written import read_calibration

SHARPEST = 200.0  # softmax that is tried; calibrated ones are at 25 to 40
SHARPNESS = 30.0  # where there are too few jobs to fit it to
ENOUGH = 50  # jobs


def calibrate(classifier: Any) -> dict[str, float]:
    """Fit how sharp the softmax is that makes confidences of scores, for titles and for postings.

    At the best sharpness the confidences of the first answers to jobs of our own, whose accepted
    codes were written down before, tell best which are right (log loss; Guo et al. 2017,
    https://arxiv.org/abs/1706.04599).

    Args:
        classifier: a JobClassifier.
    """
    jobs = [job for job in read_calibration() if job[2] & set(classifier.codes)]
    calibration = {}
    for kind in ("title", "posting"):
        chosen = [job for job in jobs if bool(job[1]) == (kind == "posting")]
        if len(chosen) < ENOUGH:
            calibration[kind] = SHARPNESS
            continue
        pairs = [job_texts(title, description) for title, description, _ in chosen]
        scores = np.concatenate([found for found, *_ in classifier.scores(pairs)])
        first = np.array(classifier.codes)[scores.argmax(axis=1)]
        right = [code in codes for code, (*_, codes) in zip(first, chosen, strict=True)]
        calibration[kind] = round(likeliest_sharpness(scores, np.array(right)), 1)
    return calibration


def likeliest_sharpness(scores: np.ndarray, right: np.ndarray) -> float:
    """The sharpness at which the confidences of the first answers have the least log loss.

    Args:
        scores: of all occupations, shape (jobs, occupations).
        right: whether the first answer is, shape (jobs,).
    """
    below = scores - scores.max(axis=1, keepdims=True)

    def loss(sharpness: float) -> float:
        confidences = 1 / np.exp(sharpness * below).sum(axis=1)
        return log_loss(right, confidences, labels=[False, True])

    return float(minimize_scalar(loss, bounds=(1, SHARPEST), method="bounded").x)
