"""The sentences of a posting that tell what is done there, chosen before any is encoded."""

import html
import re
import zlib
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file, save_file

SENTENCES_FILE = "sentences.safetensors"
WORDS_READ = 90  # of a longer description those that tell most, about 120 tokens
FEATURES = 1 << 15  # hashed words and pairs of words

MARKUP = re.compile(
    r"<(script|style)\b.*?</\1\s*>|<[/!]?[a-z][^<>]{0,300}>", re.IGNORECASE | re.DOTALL
)
BREAK = re.compile(r"\n+|(?<=[.!?;])\s+(?=[^a-z])|\s*[•·▪●◦*\uf0b7]\s+|\s+[-–]\s+(?=[A-Z])")
WORD = re.compile(r"[a-z']+|\d|[$%]")


def sentences_of(text: str) -> list[str]:
    """The sentences and bullets of a text, without markup; those without letters are left out."""
    # Text that was copied twice is escaped twice
    text = MARKUP.sub("\n", html.unescape(html.unescape(text)))
    parts = (" ".join(part.split()).strip(" -–•*") for part in BREAK.split(text) if part)
    return [part for part in parts if any(letter.isalpha() for letter in part)]


def features(sentence: str) -> np.ndarray:
    """The hashed words and pairs of neighbouring words of a sentence, each once."""
    words = ["^", *("0" if word.isdigit() else word for word in WORD.findall(sentence.lower()))]
    pairs = [f"{first} {second}" for first, second in zip(words, words[1:], strict=False)]
    return np.unique([zlib.crc32(term.encode()) % FEATURES for term in words + pairs])


class SentenceChooser:
    """A logistic regression on words: how likely a sentence tells of duties."""

    def __init__(self, weights: np.ndarray) -> None:
        """
        Args:
            weights: of the features, and last the intercept, shape (FEATURES + 1,).
        """
        self.weights = weights

    @classmethod
    def fitted(cls, duties: list[str], others: list[str]) -> "SentenceChooser":
        """One that tells sentences about duties from others."""
        from scipy.sparse import csr_matrix
        from sklearn.linear_model import LogisticRegression

        rows = [features(sentence) for sentence in duties + others]
        values = [np.full(len(row), len(row) ** -0.5) for row in rows]
        ends = np.cumsum([0, *map(len, rows)])
        matrix = csr_matrix(
            (np.concatenate(values), np.concatenate(rows), ends), (len(rows), FEATURES)
        )
        model = LogisticRegression(C=30, class_weight="balanced", max_iter=1000)
        model.fit(matrix, [1] * len(duties) + [0] * len(others))
        return cls(np.append(model.coef_, model.intercept_).astype(np.float32))

    @classmethod
    def load(cls, path: Path) -> "SentenceChooser":
        return cls(load_file(path)["weights"].astype(np.float32))

    def save(self, path: Path) -> None:
        save_file({"weights": self.weights.astype(np.float16)}, path)

    def log_odds(self, sentence: str) -> float:
        """Of telling about duties."""
        found = features(sentence)
        return float(self.weights[found].sum() / len(found) ** 0.5 + self.weights[-1])

    def read(self, description: str) -> str:
        """What is read of a description: of a long one the sentences that tell most, in order."""
        sentences = sentences_of(description)
        lengths = [len(sentence.split()) for sentence in sentences]
        if sum(lengths) <= WORDS_READ:
            return " ".join(ended(sentence) for sentence in sentences)
        odds = [self.log_odds(sentence) for sentence in sentences]
        chosen, left = [], WORDS_READ
        for i in sorted(range(len(sentences)), key=lambda i: -odds[i]):
            if left > 0:
                chosen.append(i)
                left -= lengths[i]
        return " ".join(ended(sentences[i]) for i in sorted(chosen))


def ended(sentence: str) -> str:
    """A sentence with a mark at its end, so that it does not run into the next."""
    return sentence if sentence[-1] in ".!?;:," else f"{sentence}."
