"""Which of several texts say the same: near-duplicates by the words that follow each other.

Resemblance of shingles: Broder (1997), "On the resemblance and containment of documents". What cannot resemble is
told by a few shingles: prefix filtering, Bayardo, Ma & Srikant (2007), "Scaling Up All Pairs Similarity Search".
"""

import math
import re
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

ALIKE = 0.9
SHINGLE = 3  # words
_WORD = re.compile(r"\w+")
_DIGIT = re.compile(r"\d")
_LONG_WORDS = 20  # characters a word on average: a script that writes no spaces


def firsts(texts: Sequence[str], alike: float = ALIKE) -> list[int]:
    """For each text the place of the first one that it repeats: its own where it repeats none.

    Texts repeat each other when they share at least `alike` of their shingles (Jaccard) and all their
    numbers: pages that differ in a year, a version or a price say different things.
    """
    words = [_WORD.findall(text.casefold()) for text in texts]
    sketches: dict[int, Sketch] = {}

    def sketched(place: int) -> Sketch:
        if place not in sketches:
            sketches[place] = sketch(words[place], alike)
        return sketches[place]

    found: list[int] = []
    different: dict[frozenset[str], list[int]] = {}  # by their numbers: most texts need no sketch
    for place, mine in enumerate(words):
        earlier = different.setdefault(frozenset(numbers(mine)), [])
        repeated = (other for other in earlier if _repeats(sketched(place), sketched(other), alike))
        first = next(repeated, place)
        if first == place:
            earlier.append(place)
        found.append(first)
    return found


def numbers(words: Iterable[str]) -> Iterator[str]:
    """The words with a digit in them; most have letters alone, which is told sooner."""
    return (word for word in words if not word.isalpha() and _DIGIT.search(word))


class Sketch(NamedTuple):
    """A text's shingles, hashed, and the least of them, of which resembling texts share one."""

    shingles: frozenset[int]
    prefix: frozenset[int]


def sketch(words: Sequence[str], alike: float = ALIKE) -> Sketch:
    if sum(map(len, words)) > _LONG_WORDS * (len(words) + 1):
        words = list("".join(words))
    following = zip(*(words[at:] for at in range(SHINGLE)), strict=False)
    shingles = frozenset(map(hash, following)) or frozenset([hash(tuple(words))])
    # Who shares `alike` of these misses too few of them to miss all that come first in one order.
    least = sorted(shingles)[: len(shingles) - math.ceil(alike * len(shingles)) + 1]
    return Sketch(shingles, frozenset(least))


def resemblance(one: frozenset[int], other: frozenset[int]) -> float:
    """Jaccard's index, in [0, 1]."""
    shared = len(one & other)
    return shared / (len(one) + len(other) - shared) if shared else 0.0


def _repeats(one: Sketch, other: Sketch, alike: float) -> bool:
    if one.prefix.isdisjoint(other.prefix):
        return False
    return resemblance(one.shingles, other.shingles) >= alike
