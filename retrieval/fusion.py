"""One ranking out of several.

The convex combination normalises each arm by its theoretical minimum and its observed maximum:
Bruch, Gai & Ingber (2023), "An Analysis of Fusion Functions for Hybrid Retrieval", ACM TOIS 42(1).
Reciprocal rank fusion: Cormack, Clarke & Büttcher (2009), SIGIR.
"""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from retrieval.protocols import NOTHING, Ranked

COSINE_FLOOR = -1.0
BM25_FLOOR = 0.0


def convex(dense: Ranked, lexical: Ranked, weight: float = 0.8) -> Ranked:
    """`weight` × normalised cosine + (1 − `weight`) × normalised BM25, each in 0..1.

    A chunk that an arm did not bring back has that arm's floor, 0 after normalising.
    """
    if not 0 <= weight <= 1:
        raise ValueError(f"The weight of the dense arm must lie in 0..1, not {weight}")
    return _summed(
        [
            (dense.ids, weight * _normalised(dense.scores, COSINE_FLOOR)),
            (lexical.ids, (1 - weight) * _normalised(lexical.scores, BM25_FLOOR)),
        ]
    )


def reciprocal_rank(arms: Sequence[Ranked], k: int = 60) -> Ranked:
    """Each arm gives 1 / (`k` + rank) to what it brings back, its rank counted from 1."""
    return _summed([(arm.ids, 1.0 / (k + np.arange(1, len(arm) + 1))) for arm in arms])


def best_per_document(ranked: Ranked, documents: Mapping[int, int]) -> Ranked:
    """A ranking of documents, each with the score of its best chunk; `documents` maps chunk to document."""
    best: dict[int, float] = {}
    for chunk, score in zip(ranked.ids.tolist(), ranked.scores.tolist(), strict=True):
        best.setdefault(documents[chunk], score)
    return Ranked(np.fromiter(best, np.int64, len(best)), np.fromiter(best.values(), np.float64, len(best)))


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
