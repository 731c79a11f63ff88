"""What ranking asks of a store of vectors and of a store of postings."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class Scope:
    """Where to search: the collections that the reader may see, and of their chunks perhaps only some.

    `chunks` (int64, sorted) are the only ones that may be found, None where the question restricts itself
    to none; the statistics of BM25 are those of the collections all the same.
    """

    collections: tuple[int, ...]
    chunks: NDArray[np.int64] | None = None


@dataclass(frozen=True, eq=False)
class Ranked:
    """Chunks, best first: `ids` int64 (n,) without repetition, `scores` float64 (n,).

    A dense score is a cosine, a lexical one BM25. Equal scores stand in the order of their ids.
    """

    ids: NDArray[np.int64]
    scores: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.ids)

    def top(self, k: int) -> "Ranked":
        return Ranked(self.ids[:k], self.scores[:k])


NOTHING = Ranked(np.empty(0, np.int64), np.empty(0, np.float64))


@dataclass(frozen=True, eq=False)
class TermPostings:
    """Where one term occurs in the scope; a chunk's id stands at most once, in any order.

    `ids` int32 (n,), `frequencies` uint16 (n,) of the term in the chunk, `lengths` (n,) of the
    chunk in analysed terms.
    """

    term: str
    ids: NDArray[np.int32]
    frequencies: NDArray[np.uint16]
    lengths: NDArray[np.int32]


@dataclass(frozen=True, eq=False)
class Postings:
    """What BM25 needs to know of one scope, read at one moment.

    `count` and `total_length` (in analysed terms) are of the chunks that are alive. `terms` may
    still hold chunks that are gone, if `deleted` (int32, sorted) names them. A term that the scope
    does not hold may be missing.
    """

    count: int
    total_length: int
    terms: tuple[TermPostings, ...]
    deleted: NDArray[np.int32]

    def alive(self) -> set[str]:
        """The terms that some chunk holds which is not deleted: one in more chunks than are deleted does."""
        gone = self.deleted
        return {
            entry.term
            for entry in self.terms
            if len(entry.ids) > len(gone) or not np.isin(entry.ids, gone).all()
        }


class Dense(Protocol):
    """Vectors of one index version."""

    def nearest(self, vector: NDArray[np.float32], scope: Scope, k: int) -> Ranked:
        """The `k` chunks in `scope` of the highest cosine to `vector` (d,); fewer if there are fewer."""
        ...


class Lexical(Protocol):
    """Postings of one chunking."""

    def postings(self, terms: Sequence[str], scope: Scope) -> Postings:
        """Postings of the (distinct, analysed) `terms`, and the statistics of `scope` alone."""
        ...
