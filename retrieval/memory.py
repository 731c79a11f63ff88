"""Vectors and postings held in memory: for tests, experiments and small evaluations."""

from collections import Counter
from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from retrieval.bm25 import best
from retrieval.protocols import NOTHING, Postings, Ranked, Scope, TermPostings


class MemoryDense:
    """Exact nearest neighbours by cosine."""

    def __init__(self) -> None:
        self._rows: dict[int, tuple[int, NDArray[np.float32]]] = {}

    def add(self, chunk: int, collection: int, vector: ArrayLike) -> None:
        """Puts a chunk in, or in the place of one with the same id. The vector must have unit length."""
        self._rows[chunk] = collection, np.asarray(vector, np.float32)

    def delete(self, chunks: Iterable[int]) -> None:
        for chunk in chunks:
            self._rows.pop(chunk, None)

    def nearest(self, vector: NDArray[np.float32], scope: Scope, k: int) -> Ranked:
        seen = {
            chunk: row
            for chunk, (collection, row) in sorted(self._rows.items())
            if collection in scope.collections and (scope.chunks is None or chunk in scope.chunks)
        }
        if not seen or k <= 0:
            return NOTHING
        ids = np.fromiter(seen, np.int64, len(seen))
        return best(ids, np.stack(list(seen.values())).astype(np.float64) @ vector.astype(np.float64), k)


class MemoryLexical:
    """An inverted index for each collection."""

    def __init__(self) -> None:
        self._lengths: dict[int, dict[int, int]] = {}  # collection -> chunk -> terms
        self._frequencies: dict[int, dict[str, dict[int, int]]] = {}  # collection -> term -> chunk -> times

    def add(self, chunk: int, collection: int, terms: Sequence[str]) -> None:
        """Puts a chunk in, or in the place of one with the same id."""
        self.delete([chunk])
        self._lengths.setdefault(collection, {})[chunk] = len(terms)
        index = self._frequencies.setdefault(collection, {})
        for term, times in Counter(terms).items():
            index.setdefault(term, {})[chunk] = times

    def delete(self, chunks: Iterable[int]) -> None:
        for chunk in chunks:
            for collection, lengths in self._lengths.items():
                if lengths.pop(chunk, None) is not None:
                    for found in self._frequencies[collection].values():
                        found.pop(chunk, None)

    def postings(self, terms: Sequence[str], scope: Scope) -> Postings:
        seen = [collection for collection in self._lengths if collection in scope.collections]
        return Postings(
            count=sum(len(self._lengths[collection]) for collection in seen),
            total_length=sum(sum(self._lengths[collection].values()) for collection in seen),
            terms=tuple(self._term(term, seen) for term in dict.fromkeys(terms)),
            deleted=np.empty(0, np.int32),
        )

    def _term(self, term: str, collections: Sequence[int]) -> TermPostings:
        rows = [
            (chunk, times, self._lengths[collection][chunk])
            for collection in collections
            for chunk, times in self._frequencies[collection].get(term, {}).items()
        ]
        ids, frequencies, lengths = zip(*rows, strict=True) if rows else ((), (), ())
        return TermPostings(
            term, np.array(ids, np.int32), np.array(frequencies, np.uint16), np.array(lengths, np.int32)
        )
