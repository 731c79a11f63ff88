"""The nearest words to one that nobody wrote: by letters left out, put in, mistaken or swapped.

The distance is Damerau and Levenshtein's in its restricted form (optimal string alignment): what was swapped
is not edited again.
"""

import string
from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

SHORTEST = 4  # letters: what is shorter has neighbours of every meaning
LONG = 8
_OPENING = 4
_ALPHABETS = (
    string.ascii_lowercase,
    "абвгдежзийклмнопрстуфхцчшщъыьэюяіїєўґ",
    "αβγδεζηθικλμνξοπρστυφχψω",
)


def allowance(word: str) -> int:
    """How many edits may lie between a word and what it was meant to be: the longer, the more."""
    if len(word) < SHORTEST or not word.isalpha():
        return 0
    return 1 if len(word) < LONG else 2


def edits(word: str) -> set[str]:
    """Whatever one edit makes of the word, with letters of its script; and the word itself."""
    letters = "".join(alphabet for alphabet in _ALPHABETS if set(word) & set(alphabet)) or "".join(set(word))
    parted = [(word[:at], word[at:]) for at in range(len(word) + 1)]
    return (
        {word}
        | {left + right[1:] for left, right in parted if right}
        | {left + right[1] + right[0] + right[2:] for left, right in parted if len(right) > 1}
        | {left + letter + right[1:] for left, right in parted if right for letter in letters}
        | {left + letter + right for left, right in parted for letter in letters}
    )


def openings(word: str) -> set[str]:
    """First letters of the words that are meant by a long one, if at most one edit is among them."""
    return {edited[:_OPENING] for edited in edits(word)}


def nearest(word: str, terms: Iterable[str]) -> list[str]:
    """Those of the terms that are least edits away, within the allowance, in alphabetical order."""
    away = within(word, terms)
    least = min(away.values(), default=0)
    return sorted(term for term, edited in away.items() if edited == least)


def within(word: str, terms: Iterable[str]) -> dict[str, int]:
    """How many edits away those of the terms are that the allowance lets be meant."""
    most = allowance(word)
    among = list({term for term in terms if abs(len(term) - len(word)) <= most}) if most else []
    away = distances(word, among).tolist()
    return {term: edited for term, edited in zip(among, away, strict=True) if edited <= most}


def distances(word: str, terms: Sequence[str]) -> NDArray[np.int64]:
    """How many edits lie between the word and each of the terms (n,); all of them at once."""
    if not terms:
        return np.empty(0, np.int64)
    longest = max(1, *map(len, terms))
    letters = np.array(terms, f"U{longest}").view(np.uint32).reshape(len(terms), longest).T.copy()
    before = np.zeros((longest + 1, len(terms)), np.int16)
    last = np.repeat(np.arange(longest + 1, dtype=np.int16)[:, None], len(terms), axis=1)
    for row, letter in enumerate(word):
        now = np.empty_like(last)
        now[0] = row + 1
        other = letters != ord(letter)
        for at in range(longest):
            now[at + 1] = np.minimum(np.minimum(last[at + 1], now[at]) + 1, last[at] + other[at])
            if row and at:
                swapped = ~other[at - 1] & (letters[at] == ord(word[row - 1]))
                now[at + 1] = np.where(swapped, np.minimum(now[at + 1], before[at - 1] + 1), now[at + 1])
        before, last = last, now
    lengths = np.array([len(term) for term in terms])
    found: NDArray[np.int64] = last[lengths, np.arange(len(terms))].astype(np.int64)
    return found
