"""Puts passages into an order in which each adds something to those before it.

Carbonell & Goldstein (1998), "The Use of MMR, Diversity-Based Reranking for Reordering Documents and
Producing Summaries", SIGIR.
"""

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from retrieval.analysis import analyse


def maximal_marginal_relevance(
    relevance: Sequence[float], similarity: NDArray[np.float64], trade_off: float
) -> list[int]:
    """The places of all, in the order in which they are chosen.

    Each time the highest `trade_off` × relevance − (1 − `trade_off`) × greatest similarity to what
    was chosen before. `relevance` is divided by its maximum, `similarity` (n, n) lies in 0..1; with a
    `trade_off` of 1 the order is that of relevance. The earlier wins among equals.
    """
    if not 0 <= trade_off <= 1:
        raise ValueError(f"The trade-off must lie in 0..1, not {trade_off}")
    worth = np.asarray(relevance, np.float64)
    worth = worth / worth.max(initial=0.0) if worth.max(initial=0.0) > 0 else worth
    nearest = np.zeros(len(worth))
    left = np.ones(len(worth), np.bool_)
    order: list[int] = []
    while left.any():
        marginal = np.where(left, trade_off * worth - (1 - trade_off) * nearest, -np.inf)
        chosen = int(marginal.argmax())
        order.append(chosen)
        left[chosen] = False
        nearest = np.maximum(nearest, similarity[chosen])
    return order


def word_similarity(texts: Sequence[str]) -> NDArray[np.float64]:
    """(n, n): the cosine between the sets of the texts' terms, however often each occurs."""
    terms = [frozenset(analyse(text)) for text in texts]
    found = np.eye(len(texts))
    for one, mine in enumerate(terms):
        for other in range(one):
            shared = len(mine & terms[other])
            found[one, other] = found[other, one] = shared / math.sqrt(len(mine) * len(terms[other]) or 1)
    return found
