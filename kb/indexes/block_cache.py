"""Postings that this process has read before. Segments never change, so nothing here can become wrong, only unused.

What is deleted and what a reader may see is no matter of the cache: each search reads which segments its scope holds
and what is deleted of them, and asks here for these segments alone.
"""

import hashlib
import threading
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from retrieval.protocols import TermPostings

MOST_BYTES = 128 * 1024 * 1024
OVERHEAD = 1000  # bytes of an entry beside its arrays: objects, names


@dataclass(frozen=True, eq=False)
class Sources:
    """Of which segments postings are, block after block: `ids` of those that hold the term, `counts` of postings."""

    ids: NDArray[np.int64]
    counts: NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Entry:
    """The postings of one term in `segments` (ids as int64, big-endian, ascending)."""

    segments: bytes
    postings: TermPostings
    sources: Sources

    @property
    def size(self) -> int:
        found = self.postings
        arrays = (found.ids, found.frequencies, found.lengths, self.sources.ids, self.sources.counts)
        return sum(array.nbytes for array in arrays) + len(self.segments) + OVERHEAD

    def missing(self, wanted: bytes) -> bytes:
        """Those of the `wanted` segments that are not in here."""
        if wanted == self.segments:
            return b""
        return np.setdiff1d(numbers(wanted), numbers(self.segments), assume_unique=True).tobytes()

    def within(self, wanted: bytes) -> "Entry":
        """What is in here of the `wanted` segments: a merge takes some away, and the others stay known."""
        if self.segments == wanted:
            return self
        held = numbers(self.segments)
        there = np.isin(held, numbers(wanted), assume_unique=True)
        if there.all():
            return self
        stays = np.isin(self.sources.ids, held[there])
        sources = Sources(self.sources.ids[stays], self.sources.counts[stays])
        chosen, found = np.repeat(stays, self.sources.counts), self.postings
        arrays = (found.ids[chosen], found.frequencies[chosen], found.lengths[chosen])
        return Entry(held[there].tobytes(), TermPostings(found.term, *closed(*arrays)), sources)


_entries: OrderedDict[tuple[bytes, str], Entry] = OrderedDict()
_size = 0
_lock = threading.Lock()


def place(database: str, chunking_id: int, collections: Sequence[int]) -> bytes:
    """Where a search looks, in short."""
    named = f"{database}\0{chunking_id}\0".encode() + np.array(collections, np.int64).tobytes()
    return hashlib.blake2b(named, digest_size=16).digest()


def known(place: bytes, terms: Sequence[str], segments: bytes) -> dict[str, Entry]:
    """What is known of `terms` in some of `segments`, and in no others."""
    found = {}
    with _lock:
        for term in terms:
            entry = _entries.get((place, term))
            if entry is not None:
                _entries.move_to_end((place, term))
                found[term] = entry
    chosen = {term: entry.within(segments) for term, entry in found.items()}
    keep(place, {term: entry for term, entry in chosen.items() if entry is not found[term]})
    return chosen


def keep(place: bytes, entries: Mapping[str, Entry]) -> None:
    """Keeps what was read; what was not asked for the longest goes where room is needed."""
    global _size  # noqa: PLW0603  # one cache a process
    with _lock:
        for term, entry in entries.items():
            old = _entries.pop((place, term), None)
            _size -= old.size if old else 0
            if entry.size <= MOST_BYTES // 4:
                _entries[place, term] = entry
                _size += entry.size
        while _size > MOST_BYTES:
            _, oldest = _entries.popitem(last=False)
            _size -= oldest.size


def joined(entry: Entry | None, segments: bytes, more: TermPostings, sources: Sources) -> Entry:
    """What is known and what was read of the other `segments`, together; nobody can change it any more."""
    parts = [entry.postings, more] if entry else [more]
    origins = [entry.sources, sources] if entry else [sources]
    arrays = closed(
        np.concatenate([part.ids for part in parts]),
        np.concatenate([part.frequencies for part in parts]),
        np.concatenate([part.lengths for part in parts]),
    )
    ids, counts = [part.ids for part in origins], [part.counts for part in origins]
    return Entry(
        segments, TermPostings(more.term, *arrays), Sources(np.concatenate(ids), np.concatenate(counts))
    )


def closed(*arrays: NDArray[Any]) -> tuple[NDArray[Any], ...]:
    for array in arrays:
        array.flags.writeable = False
    return arrays


def numbers(segments: bytes) -> NDArray[np.int64]:
    return np.frombuffer(segments, ">i8")


def size() -> int:
    """Bytes that are kept."""
    return _size


def clear() -> None:
    global _size  # noqa: PLW0603
    with _lock:
        _entries.clear()
        _size = 0
