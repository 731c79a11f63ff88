"""How far two rankings of the same question agree.

Rank-biased overlap, extrapolated: Webber, Moffat & Zobel (2010), "A Similarity Measure for Indefinite
Rankings", ACM TOIS 28(4), equation 32.
"""

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import TypeVar

DEPTH = 10
PERSISTENCE = 0.9  # the first ten ranks have 86 % of the weight

Item = TypeVar("Item", bound=Hashable)


@dataclass(frozen=True)
class Agreement:
    """`overlap` is the share of the first ten that both have, `rbo` their rank-biased overlap, each in 0..1.

    `score_shift` is how much higher the second scores what both have, on average; None where they share
    nothing.
    """

    overlap: float
    rbo: float
    score_shift: float | None


def agreement(one: Mapping[Item, float], other: Mapping[Item, float]) -> Agreement:
    """Of two rankings with their scores, each in the order of its ranks."""
    first, second = list(one)[:DEPTH], list(other)[:DEPTH]
    both = set(first) & set(second)
    return Agreement(
        overlap(first, second),
        rank_biased_overlap(first, second),
        fmean(other[item] - one[item] for item in both) if both else None,
    )


def overlap(one: Sequence[Item], other: Sequence[Item], k: int = DEPTH) -> float:
    """|A ∩ B| over the longer of the first `k` of each. Two empty rankings agree."""
    first, second = one[:k], other[:k]
    longer = max(len(first), len(second))
    return len(set(first) & set(second)) / longer if longer else 1.0


def rank_biased_overlap(one: Sequence[Item], other: Sequence[Item], p: float = PERSISTENCE) -> float:
    """RBO_ext in 0..1: as if the agreement at the end of the lists went on for ever.

    `p` is the chance that a reader looks at the next rank. No item stands twice in a ranking.
    """
    shorter, longer = sorted((one, other), key=len)
    short, long = len(shorter), len(longer)
    if not short:
        return float(not long)
    seen_short: set[Item] = set()
    seen_long: set[Item] = set()
    common, at_short, total = 0, 0, 0.0
    for depth in range(1, long + 1):
        item = longer[depth - 1]
        seen_long.add(item)
        common += item in seen_short
        if depth <= short:
            item = shorter[depth - 1]
            seen_short.add(item)
            common += item in seen_long
            at_short = common
        extrapolated = at_short * (depth - short) / short if depth > short else 0.0
        total += (common + extrapolated) / depth * p**depth
    return (1 - p) / p * total + ((common - at_short) / long + at_short / short) * p**long
