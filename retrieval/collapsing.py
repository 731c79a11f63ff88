"""Which of several texts say the same: near-duplicates by the words that follow each other.

Resemblance of shingles: Broder (1997), "On the resemblance and containment of documents". What cannot resemble is
told by a few shingles: prefix filtering, Bayardo, Ma & Srikant (2007), "Scaling Up All Pairs Similarity Search".
"""

import math
import re
from array import array
from collections.abc import Iterable, Sequence
from functools import lru_cache

ALIKE = 0.9
SHINGLE = 3  # words
KEPT = 2048  # texts whose outline is remembered, some kilobytes each: the same passages are found again and again
_WORD = re.compile(r"\w+")
_DIGIT = re.compile(r"\d")
_LONG_WORDS = 20  # characters a word on average: a script that writes no spaces


def firsts(texts: Sequence[str], alike: float = ALIKE) -> list[int]:
    """For each text the place of the first one that it repeats: its own where it repeats none.

    Texts repeat each other when they share at least `alike` of their shingles (Jaccard) and all their
    numbers: pages that differ in a year, a version or a price say different things.
    """
    found: list[int] = []
    # By their numbers: most texts are compared with few others.
    different: dict[frozenset[str], list[int]] = {}
    for place, text in enumerate(texts):
        earlier = different.setdefault(numbers(text), [])
        repeated = (other for other in earlier if _repeats(text, texts[other], alike))
        first = next(repeated, place)
        if first == place:
            earlier.append(place)
        found.append(first)
    return found


@lru_cache(maxsize=KEPT)
def numbers(text: str) -> frozenset[str]:
    """The words with a digit in them."""
    if not _DIGIT.search(text):
        return frozenset()
    return frozenset(word for word in words(text) if not word.isalpha() and _DIGIT.search(word))


def words(text: str) -> list[str]:
    return _WORD.findall(text.casefold())


@lru_cache(maxsize=KEPT)
def shingles(text: str) -> "array[int]":
    """Each run of words, hashed (of letters, where no spaces are written): ascending, each once."""
    found = words(text)
    if sum(map(len, found)) > _LONG_WORDS * (len(found) + 1):
        found = list("".join(found))
    following = zip(*(found[at:] for at in range(SHINGLE)), strict=False)
    return array("q", sorted(set(map(hash, following))) or [hash(tuple(found))])


@lru_cache(maxsize=KEPT)
def least(text: str, alike: float) -> frozenset[int]:
    """The shingles that come first in one order: who shares `alike` of all misses too few of them to miss all these."""
    hashed = shingles(text)
    return frozenset(hashed[: len(hashed) - math.ceil(alike * len(hashed)) + 1])


def resemblance(one: Iterable[int], other: Iterable[int]) -> float:
    """Jaccard's index of two sets, of which one is not empty, in [0, 1]."""
    left, right = set(one), set(other)
    shared = len(left & right)
    return shared / (len(left) + len(right) - shared)


def _repeats(one: str, other: str, alike: float) -> bool:
    if least(one, alike).isdisjoint(least(other, alike)):
        return False
    return resemblance(shingles(one), shingles(other)) >= alike
