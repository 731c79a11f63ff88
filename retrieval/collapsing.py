"""Which of several texts say the same: near-duplicates by the words that follow each other.

Resemblance of shingles: Broder (1997), "On the resemblance and containment of documents".
"""

import re
from collections.abc import Sequence

ALIKE = 0.9
SHINGLE = 3  # words
_WORD = re.compile(r"\w+")
_NUMBER = re.compile(r"\w*\d\w*")
_LONG_WORDS = 20  # characters a word on average: a script that writes no spaces


def firsts(texts: Sequence[str], alike: float = ALIKE) -> list[int]:
    """For each text the place of the first one that it repeats: its own where it repeats none.

    Texts repeat each other when they share at least `alike` of their shingles (Jaccard) and all their
    numbers: pages that differ in a year, a version or a price say different things.
    """
    sketches = [sketch(text) for text in texts]
    found: list[int] = []
    for place, mine in enumerate(sketches):
        earlier = (other for other in range(place) if found[other] == other)
        found.append(next((other for other in earlier if _repeats(mine, sketches[other], alike)), place))
    return found


Sketch = tuple[frozenset[int], frozenset[str]]
"""A text's shingles, hashed, and its numbers."""


def sketch(text: str) -> Sketch:
    folded = text.casefold()
    words = _WORD.findall(folded)
    numbers = frozenset(word for word in words if _NUMBER.fullmatch(word))
    if sum(map(len, words)) > _LONG_WORDS * len(words):
        words = list("".join(words))
    count = max(1, len(words) - SHINGLE + 1)
    return frozenset(hash(tuple(words[at : at + SHINGLE])) for at in range(count)), numbers


def resemblance(one: frozenset[int], other: frozenset[int]) -> float:
    """Jaccard's index, in [0, 1]."""
    shared = len(one & other)
    return shared / (len(one) + len(other) - shared) if shared else 0.0


def _repeats(one: Sketch, other: Sketch, alike: float) -> bool:
    sizes = len(one[0]), len(other[0])
    if one[1] != other[1] or min(sizes) < alike * max(sizes):  # they cannot share so much
        return False
    return resemblance(one[0], other[0]) >= alike
