"""BM25 over packed postings, computed when asked, so that its statistics are never stale.

Robertson & Zaragoza (2009), "The Probabilistic Relevance Framework: BM25 and Beyond", with the
idf that cannot be negative, ln(1 + (N - df + 0.5) / (df + 0.5)).
"""

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from retrieval.protocols import NOTHING, Postings, Ranked, TermPostings

K1 = 1.2
B = 0.75
# One posting after the other: blocks of the same term are joined by putting their bytes together.
POSTING = np.dtype([("id", "<i4"), ("frequency", "<u2"), ("length", "<u2")])
BYTES_PER_POSTING = POSTING.itemsize
EVERY = ""
"""The term under which a segment lists all its chunks, those without any term included. No analyser gives it."""


def pack(ids: ArrayLike, frequencies: ArrayLike, lengths: ArrayLike) -> bytes:
    """One block of a term: for each chunk its id (int32), frequency (uint16) and length (uint16), little-endian.

    Raises ValueError where a number does not fit, or the three are not equally long.
    """
    if not np.shape(ids) == np.shape(frequencies) == np.shape(lengths):
        raise ValueError("ids, frequencies and lengths must be equally long")
    block = np.empty(np.shape(ids), POSTING)
    for name, column in (("id", ids), ("frequency", frequencies), ("length", lengths)):
        block[name] = _fitting(column, POSTING[name])
    return block.tobytes()


def invert(chunks: Iterable[tuple[int, Sequence[str]]]) -> list[tuple[str, bytes]]:
    """The block of each term in `chunks` (id, analysed terms), by term; the first is that of `EVERY`.

    Nothing for no chunks. Raises ValueError where a number does not fit.
    """
    rows: dict[str, list[tuple[int, int, int]]] = defaultdict(list)
    for chunk, terms in chunks:
        rows[EVERY].append((chunk, 0, len(terms)))
        for term, frequency in Counter(terms).items():
            rows[term].append((chunk, frequency, len(terms)))
    if not rows:
        return []
    ordered = sorted(rows)
    # Packed at once and cut: a term that occurs in one chunk is not worth three arrays.
    packed = pack(*np.array([row for term in ordered for row in rows[term]], np.int64).T)
    ends = (np.cumsum([len(rows[term]) for term in ordered]) * BYTES_PER_POSTING).tolist()
    return [(term, packed[a:b]) for term, a, b in zip(ordered, [0, *ends], ends, strict=False)]


def merge(blocks: Iterable[bytes], gone: NDArray[np.int32]) -> bytes:
    """The blocks of one term as one, by id, without the chunks that are gone."""
    postings = np.frombuffer(b"".join(blocks), POSTING)
    if len(gone):
        postings = postings[~_among(postings["id"], gone)]
    return postings[np.argsort(postings["id"], kind="stable")].tobytes()


def unpack(term: str, blocks: Sequence[bytes]) -> TermPostings:
    """The postings of a term from its packed blocks. Raises ValueError for a block of broken size."""
    if any(len(block) % BYTES_PER_POSTING for block in blocks):
        raise ValueError(f"A block of the term {term!r} is not a whole number of postings")
    postings = np.frombuffer(b"".join(blocks), POSTING)
    return TermPostings(
        term,
        postings["id"].astype(np.int32),
        postings["frequency"].astype(np.uint16),
        postings["length"].astype(np.int32),
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
    # Always in the order of the terms: float addition is not associative, and the same question
    # must give the same ranking whatever the order in which a store returns its rows. A term that a store
    # returns twice is one.
    distinct = {p.term: p for p in postings.terms if p.term in repeated and len(p.ids)}
    found = [distinct[term] for term in sorted(distinct)]
    if not found:
        return NOTHING
    ids = np.concatenate([term.ids for term in found])
    weights = _weights(ids, found, postings, repeated)
    totals = _Totals(ids, weights)
    return totals.best(k) if among is None else totals.among(among, k)


def idf(count: int, df: int) -> float:
    """ln(1 + (N - df + 0.5) / (df + 0.5))."""
    return math.log1p((count - df + 0.5) / (df + 0.5))


def _weights(
    ids: NDArray[np.int32], found: Sequence[TermPostings], postings: Postings, repeated: Counter[str]
) -> NDArray[np.float64]:
    """What each posting of the terms in `found` gives to its chunk: above 0, and 0 for deleted ones."""
    frequencies = np.concatenate([term.frequencies for term in found])
    average = postings.total_length / postings.count or 1.0
    weights: NDArray[np.float64] = np.concatenate([term.lengths for term in found]) * (K1 * B / average)
    weights += K1 * (1 - B)
    weights += frequencies
    np.divide(frequencies, weights, out=weights)
    gone = _among(ids, postings.deleted) if len(postings.deleted) else None
    if gone is not None:
        weights[gone] = 0.0
    start = 0
    for term in found:
        end = start + len(term.ids)
        df = len(term.ids) - (0 if gone is None else int(np.count_nonzero(gone[start:end])))
        weights[start:end] *= repeated[term.term] * idf(postings.count, df) * (K1 + 1)
        start = end
    return weights


def _among(ids: NDArray[np.int32], deleted: NDArray[np.int32]) -> NDArray[np.bool_]:
    # numpy by itself would sort; a table of the deleted ids is ten times as fast while it stays small.
    narrow = int(deleted[-1]) - int(deleted[0]) < 4_000_000
    return np.isin(ids, deleted, kind="table" if narrow else "sort")


class _Totals:
    """The sum of the weights of each chunk. Those that come to 0 are not found."""

    def __init__(self, ids: NDArray[np.int32], weights: NDArray[np.float64]) -> None:
        low = int(ids.min())
        self.ids: NDArray[np.int64] | None = None
        # A table by id is faster than sorting as long as it is not much longer than what is put into it.
        if int(ids.max()) - low <= 16 * len(ids) + 20_000:
            self.low = low
            self.scores = np.bincount(ids - low, weights).astype(np.float64, copy=False)
        else:
            distinct, places = np.unique(ids, return_inverse=True)
            self.ids = distinct.astype(np.int64)
            self.scores = np.bincount(places, weights).astype(np.float64, copy=False)

    def best(self, k: int) -> Ranked:
        places = np.flatnonzero(self.scores >= _floor(self.scores, k))
        ids = places + self.low if self.ids is None else self.ids[places]
        return best(ids.astype(np.int64, copy=False), self.scores[places], k)

    def among(self, wanted: NDArray[np.int64], k: int) -> Ranked:
        """`wanted` is sorted."""
        if self.ids is None:
            first, last = np.searchsorted(wanted, [self.low, self.low + len(self.scores)])
            ids = wanted[first:last]
            scores = self.scores[ids - self.low]
        else:
            ids, places, _ = np.intersect1d(self.ids, wanted, assume_unique=True, return_indices=True)
            scores = self.scores[places]
        return best(ids[scores > 0], scores[scores > 0], k)


def _floor(scores: NDArray[np.float64], k: int) -> float:
    """A positive score that at least `k` chunks reach, if so many have one at all, found without sorting.

    The best of each of some 4k equal parts are so many different chunks.
    """
    least = float(np.nextafter(0, 1))
    size = len(scores) // (4 * k)
    if size < 2:
        return least
    tops = scores[: len(scores) // size * size].reshape(-1, size).max(axis=1)
    return max(least, float(np.partition(tops, len(tops) - k)[len(tops) - k]))


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


def _fitting(values: ArrayLike, dtype: np.dtype[np.integer]) -> NDArray[np.int64]:
    column, bounds = np.asarray(values, np.int64), np.iinfo(dtype)
    if column.size and (column.min() < bounds.min or column.max() > bounds.max):
        raise ValueError(f"{column.min()} to {column.max()} does not fit into {dtype}")
    return column
