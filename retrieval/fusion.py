"""One ranking out of several.

The convex combination normalises each arm by its theoretical minimum and its observed maximum:
Bruch, Gai & Ingber (2023), "An Analysis of Fusion Functions for Hybrid Retrieval", ACM TOIS 42(1).
Reciprocal rank fusion: Cormack, Clarke & Büttcher (2009), SIGIR.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from retrieval.protocols import NOTHING, Ranked

COSINE_FLOOR = -1.0
BM25_FLOOR = 0.0
RANK_CONSTANT = 60

Strategy = Literal["convex", "reciprocal_rank", "learned"]
STRATEGIES: tuple[Strategy, ...] = get_args(Strategy)


@dataclass(frozen=True)
class Fusion:
    """How both arms become one ranking, whose scores lie in 0..1 under every strategy.

    `learned` is the convex combination as well: what was learned from judgements (`retrieval.tuning`)
    is its weight. Reciprocal rank fusion has no weight; its scores are divided by the best there can
    be, which is first place in both arms.
    """

    weight: float = 0.8
    strategy: Strategy = "convex"

    def __post_init__(self) -> None:
        if not 0 <= self.weight <= 1:
            raise ValueError(f"The weight of the dense arm must lie in 0..1, not {self.weight}")
        if self.strategy not in STRATEGIES:
            raise ValueError(f"The strategy is one of {', '.join(STRATEGIES)}, not {self.strategy!r}")

    @property
    def weighted(self) -> bool:
        """Whether the weight counts at all."""
        return self.strategy != "reciprocal_rank"

    @property
    def weights(self) -> tuple[float, float]:
        """What the dense and the lexical arm may give at most."""
        return (self.weight, 1 - self.weight) if self.weighted else (0.5, 0.5)

    def normalised(self, dense: Ranked, lexical: Ranked) -> tuple[Ranked, Ranked]:
        """Each arm with its scores brought to 0..1, in the same order."""
        if not self.weighted:
            return _by_rank(dense), _by_rank(lexical)
        return (
            Ranked(dense.ids, _normalised(dense.scores, COSINE_FLOOR)),
            Ranked(lexical.ids, _normalised(lexical.scores, BM25_FLOOR)),
        )

    def fuse(self, dense: Ranked, lexical: Ranked) -> Ranked:
        """A chunk that an arm did not bring back gets nothing from it."""
        arms = zip(self.normalised(dense, lexical), self.weights, strict=True)
        return _summed([(arm.ids, weight * arm.scores) for arm, weight in arms])


def convex(dense: Ranked, lexical: Ranked, weight: float = 0.8) -> Ranked:
    """`weight` × normalised cosine + (1 − `weight`) × normalised BM25, each in 0..1.

    A chunk that an arm did not bring back has that arm's floor, 0 after normalising.
    """
    return Fusion(weight).fuse(dense, lexical)


def reciprocal_rank(arms: Sequence[Ranked], k: int = RANK_CONSTANT) -> Ranked:
    """Each arm gives 1 / (`k` + rank) to what it brings back, its rank counted from 1."""
    return _summed([(arm.ids, 1.0 / (k + np.arange(1, len(arm) + 1))) for arm in arms])


def best_per_document(ranked: Ranked, documents: Mapping[int, int]) -> Ranked:
    """A ranking of documents, each with the score of its best chunk; `documents` maps chunk to document."""
    best: dict[int, float] = {}
    for chunk, score in zip(ranked.ids.tolist(), ranked.scores.tolist(), strict=True):
        best.setdefault(documents[chunk], score)
    return Ranked(np.fromiter(best, np.int64, len(best)), np.fromiter(best.values(), np.float64, len(best)))


def _by_rank(arm: Ranked) -> Ranked:
    return Ranked(arm.ids, (RANK_CONSTANT + 1) / (RANK_CONSTANT + np.arange(1.0, len(arm) + 1)))


def _normalised(scores: NDArray[np.float64], floor: float) -> NDArray[np.float64]:
    span = scores.max(initial=floor) - floor
    return (scores - floor) / span if span > 0 else np.zeros_like(scores)


def _summed(parts: Sequence[tuple[NDArray[np.int64], NDArray[np.float64]]]) -> Ranked:
    if not sum(len(ids) for ids, _ in parts):
        return NOTHING
    ids, inverse = np.unique(np.concatenate([ids for ids, _ in parts]), return_inverse=True)
    scores = np.bincount(inverse, np.concatenate([scores for _, scores in parts])).astype(np.float64)
    order = np.lexsort((ids, -scores))
    return Ranked(ids[order], scores[order])
