"""Misspelt, clipped and abbreviated words of titles, written out."""

import re
from collections import Counter, defaultdict
from collections.abc import Iterable
from functools import lru_cache

WORD = re.compile(r"[^\W\d_]+(?:'[^\W\d_]+)?\.?")
SHORTEST = 4  # letters of a word that may be misspelt; of shorter ones any may be meant
LONG = 8  # letters from which on a word may have two slips, and is no short form
RARE = 3  # times that a word stands in titles, below which it is no correction


class Speller:
    """Corrects the words of titles that no known title has."""

    def __init__(self, titles: Iterable[str], words: Iterable[str]) -> None:
        """
        Args:
            titles: known ones, whose words may be meant.
            words: that are no mistakes besides these.
        """
        counts = Counter(word.casefold() for title in titles for word in WORD.findall(title))
        self.known = {word.rstrip(".") for word in counts} | set(words)
        common = (word for word, n in counts.items() if n >= RARE and len(word) >= SHORTEST)
        self.meant = lru_cache(100_000)(self._meant)
        self.by_letter = defaultdict(list)  # the commonest first
        for word in sorted(common, key=lambda word: -counts[word]):
            self.by_letter[word[0]].append(word)

    def corrected(self, title: str) -> str:
        """The title with each of its unknown words as the known one that is likely meant."""
        return WORD.sub(lambda match: self.meant(match[0]), title)

    def _meant(self, word: str) -> str:
        lower = word.casefold().rstrip(".")
        if lower in self.known or len(lower) < SHORTEST:
            return word
        candidates = self.by_letter[lower[0]]
        most = 1 if len(lower) < LONG else 2
        near = [(slips(lower, known, most), known) for known in candidates]
        near = [(count, known) for count, known in near if count <= most]
        if near:
            return min(near, key=lambda pair: pair[0])[1]
        if len(lower) >= LONG:
            return word
        short = [known for known in candidates if abbreviates(lower, known)]
        return (short or [word])[0]


def slips(word: str, known: str, most: int) -> int:
    """How many slips make one word of the other; where there are more than most, most + 1.

    A slip is a letter left out, put in or changed, or two neighbours turned (Damerau 1964,
    https://doi.org/10.1145/363958.363994).
    """
    if abs(len(word) - len(known)) > most:
        return most + 1
    before, last = [], list(range(len(known) + 1))
    for i, letter in enumerate(word, start=1):
        row = [i]
        for j, other in enumerate(known, start=1):
            fewest = min(last[j] + 1, row[j - 1] + 1, last[j - 1] + (letter != other))
            if i > 1 and j > 1 and letter == known[j - 2] and word[i - 2] == other:
                fewest = min(fewest, before[j - 2] + 1)
            row.append(fewest)
        if min(row) > most:
            return most + 1
        before, last = last, row
    return last[-1]


def abbreviates(short: str, known: str) -> bool:
    """Whether a word has the letters of a short form in their order, and all but vowels go out.

    The last letter is the same, as in whse for warehouse, mgr for manager, bkkpr for bookkeeper.
    """
    if len(known) < len(short) + 2 or short[-1] != known[-1]:
        return False
    letters = iter(known)
    return all(letter in letters for letter in short)
