"""BM25 over packed postings, computed when asked, so that its statistics are never stale.

Robertson & Zaragoza (2009), "The Probabilistic Relevance Framework: BM25 and Beyond", with the
idf that cannot be negative, ln(1 + (N - df + 0.5) / (df + 0.5)).
"""

import math
from collections import Counter
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from retrieval.protocols import NOTHING, Postings, Ranked, TermPostings

K1 = 1.2
B = 0.75
BYTES_PER_POSTING = 8
_ID, _SMALL = "<i4", "<u2"


def pack(ids: ArrayLike, frequencies: ArrayLike, lengths: ArrayLike) -> bytes:
    """One block of a term: all ids (int32), all frequencies (uint16), all lengths (uint16), little-endian.

    Raises ValueError where a number does not fit, or the three are not equally long.
    """
    if not np.shape(ids) == np.shape(frequencies) == np.shape(lengths):
        raise ValueError("ids, frequencies and lengths must be equally long")
    return _column(ids, _ID) + _column(frequencies, _SMALL) + _column(lengths, _SMALL)


def unpack(term: str, blocks: Sequence[bytes]) -> TermPostings:
    """The postings of a term from its packed blocks. Raises ValueError for a block of broken size."""
    if any(len(block) % BYTES_PER_POSTING for block in blocks):
        raise ValueError(f"A block of the term {term!r} is not a whole number of postings")
    counts = [len(block) // BYTES_PER_POSTING for block in blocks]
    ids = [np.frombuffer(block, _ID, n) for block, n in zip(blocks, counts, strict=True)]
    frequencies = [np.frombuffer(block, _SMALL, n, 4 * n) for block, n in zip(blocks, counts, strict=True)]
    lengths = [np.frombuffer(block, _SMALL, n, 6 * n) for block, n in zip(blocks, counts, strict=True)]
    return TermPostings(
        term,
        np.concatenate([np.empty(0, np.int32), *ids], dtype=np.int32),
        np.concatenate([np.empty(0, np.uint16), *frequencies], dtype=np.uint16),
        np.concatenate([np.empty(0, np.int32), *lengths], dtype=np.int32),
    )


def rank(
    postings: Postings, query_terms: Sequence[str], k: int, among: NDArray[np.int64] | None = None
) -> Ranked:
    """The `k` best chunks for the analysed query; a term counts as often as the query repeats it.

    With `among` (sorted ids) only of those.
    """
    if k <= 0 or postings.count <= 0:
        return NOTHING
    repeated = Counter(query_terms)
    found = sorted((p for p in postings.terms if p.term in repeated), key=lambda p: p.term)
    # Always in the order of the terms: float addition is not associative, and the same question
    # must give the same ranking whatever the order in which a store returns its rows.
    weights = [repeated[term.term] * _weights(term, postings) for term in found]
    if not any(len(term.ids) for term in found):
        return NOTHING
    ids, scores = _summed(np.concatenate([term.ids for term in found]), np.concatenate(weights))
    if among is not None:
        wanted = np.isin(ids, among)
        ids, scores = ids[wanted], scores[wanted]
    return best(ids, scores, k)


def idf(count: int, df: int) -> float:
    """ln(1 + (N - df + 0.5) / (df + 0.5))."""
    return math.log1p((count - df + 0.5) / (df + 0.5))


def _weights(term: TermPostings, postings: Postings) -> NDArray[np.float64]:
    """What the term gives to each of its chunks: above 0, and 0 for deleted ones."""
    gone = _among(term.ids, postings.deleted)
    df = len(term.ids) - int(np.count_nonzero(gone))
    average = postings.total_length / postings.count or 1.0
    norm = K1 * (1 - B) + (K1 * B / average) * term.lengths
    weights: NDArray[np.float64] = term.frequencies / (term.frequencies + norm)
    weights *= idf(postings.count, df) * (K1 + 1)
    weights[gone] = 0.0
    return weights


def _among(ids: NDArray[np.int32], deleted: NDArray[np.int32]) -> NDArray[np.bool_]:
    if not len(deleted):
        return np.zeros(len(ids), np.bool_)
    # numpy by itself would sort; a table of the deleted ids is ten times as fast while it stays small.
    narrow = int(deleted[-1]) - int(deleted[0]) < 4_000_000
    return np.isin(ids, deleted, kind="table" if narrow else "sort")


def _summed(
    ids: NDArray[np.int32], weights: NDArray[np.float64]
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Distinct ids, ascending, with the sum of their weights; those that come to 0 are left out."""
    low = int(ids.min())
    if int(ids.max()) - low <= 16 * len(ids) + 1_000_000:  # a table by id, while it stays small
        totals = np.bincount(ids - low, weights).astype(np.float64, copy=False)
        touched = np.flatnonzero(totals)
        return touched.astype(np.int64) + low, totals[touched]
    distinct, inverse = np.unique(ids, return_inverse=True)
    totals = np.bincount(inverse, weights).astype(np.float64, copy=False)
    return distinct[totals > 0].astype(np.int64), totals[totals > 0]


def best(ids: NDArray[np.int64], scores: NDArray[np.float64], k: int) -> Ranked:
    """The `k` highest; `ids` ascend, so that the lower id wins among equals also at the cut."""
    if len(ids) > k:
        cut = np.partition(scores, len(scores) - k)[len(scores) - k]
        above = np.flatnonzero(scores > cut)
        level = np.flatnonzero(scores == cut)[: k - len(above)]
        chosen = np.concatenate([above, level])
        ids, scores = ids[chosen], scores[chosen]
    order = np.lexsort((ids, -scores))
    return Ranked(ids[order].astype(np.int64), scores[order])


def _column(values: ArrayLike, dtype: str) -> bytes:
    column, bounds = np.asarray(values, np.int64), np.iinfo(dtype)
    if column.size and (column.min() < bounds.min or column.max() > bounds.max):
        raise ValueError(f"{column.min()} to {column.max()} does not fit into {bounds.dtype}")
    return column.astype(dtype).tobytes()
