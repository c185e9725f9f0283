"""Answers that are no occupation: retired, none, an employer's name, somebody else's job."""

import numpy as np

from common.sentences import FEATURES, features

# Why nothing is coded, by reason in written/no_occupation.tsv
REASONS = {
    "status": "no job is told: out of work, retired, studying or at home",
    "refusal": "no answer is given",
    "class": "only how somebody is employed is told",
    "junk": "nothing is told about a job",
    "other": "somebody else's job is told",
    "language": "it is not in English",
    "employer": "only an employer is told",
    "industry": "only an industry or a workplace is told",
    "vague": "the title is too vague without a description",
}
PREFIX = "no occupation: "
AS_KNOWN = 0.95  # cosine to a known title, from which on a title is an occupation like that
KEPT = 0.992  # of titles that are occupations
ENOUGH = 500  # validation titles to tell that part by; with fewer none is left out by its embedding
TITLES_FITTED = 20_000  # known ones, against which the others are told apart


def reason_of(title: str) -> str:
    """The reason why a title is no occupation that its letters tell, or ""."""
    letters = [letter for letter in title.casefold() if letter.isalpha()]
    if not letters:
        return "refusal"
    foreign = sum(ord(letter) > 0x24F for letter in letters)  # beyond Latin ones
    return "language" if 2 * foreign > len(letters) else ""


class Detector:
    """A logistic regression, on the embedding and the words of a title, that tells occupations from
    each reason why a title is none."""

    def __init__(self, weights: np.ndarray, bias: np.ndarray) -> None:
        """
        Args:
            weights: of the embedding, then of the hashed words, shape (1 + reasons, dimensions +
                FEATURES); the first row is of occupations.
            bias: shape (1 + reasons,).
        """
        self.weights, self.bias = weights.astype(np.float32), bias

    @classmethod
    def fitted(
        cls, titles: list[str], others: list[tuple[str, str]], embeddings: np.ndarray
    ) -> "Detector":
        """One that tells titles that are occupations from others.

        Args:
            others: texts that are none, as (reason, text).
            embeddings: unit embeddings of the titles and then of the others.
        """
        from scipy.sparse import csr_matrix, hstack
        from sklearn.linear_model import LogisticRegression

        rows = [features(text) for text in [*titles, *(text for _, text in others)]]
        values = np.concatenate([np.full(len(row), len(row) ** -0.5) for row in rows])
        ends = np.cumsum([0, *map(len, rows)])
        words = csr_matrix((values, np.concatenate(rows), ends), (len(rows), FEATURES))
        classes = [0] * len(titles) + [1 + list(REASONS).index(reason) for reason, _ in others]
        model = LogisticRegression(C=100, max_iter=1000)
        model.fit(hstack([csr_matrix(embeddings), words]).tocsr(), classes)
        return cls(np.ascontiguousarray(model.coef_), model.intercept_.astype(np.float32))

    def odds(self, titles: list[str], embeddings: np.ndarray) -> tuple[np.ndarray, list[str]]:
        """The logarithm of the odds that titles are no occupation, and the likeliest reasons."""
        dimensions = embeddings.shape[1]
        logits = embeddings @ self.weights[:, :dimensions].T + self.bias
        for row, title in enumerate(titles):
            found = features(title)
            logits[row] += self.weights[:, dimensions + found].sum(axis=1) * len(found) ** -0.5
        logits -= logits.max(axis=1, keepdims=True)
        against = np.log(np.exp(logits[:, 1:]).sum(axis=1)) - logits[:, 0]
        names = list(REASONS)
        return against, [names[row] for row in logits[:, 1:].argmax(axis=1)]
