"""Merges the segments of a collection into fewer and larger ones, in the background, beside searches and writers.

Segments are taken together when they are of about one size (size-tiered compaction, as in Lucene's
TieredMergePolicy and in log-structured merge trees: O'Neil et al. 1996), and none grows beyond a bound, so that a
posting is rewritten a few times in its life, however large the corpus becomes.

A merge is one transaction: readers see the segments before it or the one after it. It takes no lock that a writer
of new segments or a search waits for; of merges of the same collection the second finds the advisory lock taken
and leaves.
"""

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from itertools import chain, groupby
from operator import itemgetter
from typing import TypeAlias

import numpy as np
from django.db import connection, transaction
from django.utils import timezone
from numpy.typing import NDArray

from kb.core.holding import held
from kb.core.models import Collection
from kb.indexes import lexical
from kb.indexes.models import Segment, Tombstone
from retrieval import bm25
from retrieval.analysis import analyser_hash
from retrieval.protocols import TermPostings

Pair: TypeAlias = tuple[int, int]
"""Chunking and collection."""

MOST_CHUNKS = 50_000  # of a merged segment
FEWEST = 8  # segments of one size that are worth a merge
RATIO = 4  # a segment so many times as large as the smaller ones together is of another size
SMALL = 250  # smaller ones are of one size: it is their number that costs
# What share of a segment may be deleted before it is rewritten. While documents come, the next merge may
# do it anyway; afterwards each search would pay for what nobody cleans up.
MOST_DELETED, MOST_DELETED_AT_REST = 0.1, 0.01
REST = timedelta(seconds=60)  # a collection into which nothing came for so long is at rest
BLOCKS_AT_ONCE = 5_000

LOCK = "SELECT pg_try_advisory_xact_lock(hashtextextended(%s, 0))"
PAIRS = """
SELECT chunking_id, collection_id, array_agg(id), array_agg(count), max(created_at), (
    SELECT count(*) FROM indexes_tombstone gone
    WHERE gone.chunking_id = segment.chunking_id AND gone.collection_id = segment.collection_id
) FROM indexes_segment segment WHERE live AND analyser = %s GROUP BY chunking_id, collection_id ORDER BY 1, 2
"""
BLOCKS = (
    "SELECT term, postings FROM indexes_postingblock WHERE segment_id = ANY(%s) ORDER BY term, segment_id"
)
EVERY = "SELECT postings FROM indexes_postingblock WHERE term = %s AND segment_id = ANY(%s)"
STRAY_TOMBSTONES = """
DELETE FROM indexes_tombstone gone WHERE NOT EXISTS (
    SELECT FROM indexes_segment segment
    WHERE segment.chunking_id = gone.chunking_id AND segment.collection_id = gone.collection_id
)
"""


@dataclass(frozen=True)
class Held:
    """A segment of `count` chunks, of which `deleted` are gone."""

    id: int
    count: int
    deleted: int = 0

    @property
    def alive(self) -> int:
        return self.count - self.deleted


def chosen(segments: Sequence[Held], at_rest: bool) -> tuple[Held, ...]:
    """Which segments to merge next, none if all is well.

    Those of about one size, once there are enough of them or they fill a segment; at rest, any two; and
    one of which too much is deleted.
    """
    for run in runs(segments):
        full = sum(held.alive for held in run) > MOST_CHUNKS // 2
        if len(run) >= (2 if at_rest or full else FEWEST):
            return tuple(run)
    share = MOST_DELETED_AT_REST if at_rest else MOST_DELETED
    return tuple(held for held in segments if held.deleted and held.deleted >= share * held.count)[:1]


def runs(segments: Sequence[Held]) -> Iterator[list[Held]]:
    """The segments by size, cut where the next one is much larger than all before it or would be too much."""
    run: list[Held] = []
    total = 0
    for segment in sorted(segments, key=lambda held: (held.alive, held.id)):
        if run and (segment.alive > RATIO * max(total, SMALL) or total + segment.alive > MOST_CHUNKS):
            yield run
            run, total = [], 0
        run.append(segment)
        total += segment.alive
    if run:
        yield run


def waiting(at_rest: bool = False) -> list[Pair]:
    """Where there is something to merge. With `at_rest` as if nothing had come for a while."""
    with connection.cursor() as cursor:
        cursor.execute(PAIRS, [analyser_hash()])
        rows = cursor.fetchall()
    found = []
    for chunking, collection, ids, counts, newest, deleted in rows:
        resting = at_rest or newest < timezone.now() - REST
        share = MOST_DELETED_AT_REST if resting else MOST_DELETED
        segments = [Held(key, count) for key, count in zip(ids, counts, strict=True)]
        if chosen(segments, resting) or (deleted and deleted >= share * sum(counts)):
            found.append((chunking, collection))
    return found


def merge_for(seconds: float) -> bool:
    """Merges what is worth it, for about `seconds`. Returns whether there may be more to do."""
    deadline = time.monotonic() + seconds
    pairs = waiting()
    while pairs and time.monotonic() < deadline:
        pairs = [pair for pair in pairs if time.monotonic() >= deadline or merge(*pair)]
    return bool(pairs)


def merge_all() -> None:
    """Merges all that can be merged, as if nothing had come for a while."""
    for pair in waiting(at_rest=True):
        while merge(*pair, at_rest=True):
            pass


def forget_strays() -> None:
    """Removes the tombstones of collections that hold no segment, as after their deletion."""
    with connection.cursor() as cursor:
        cursor.execute(STRAY_TOMBSTONES)


@transaction.atomic
def merge(chunking_id: int, collection_id: int, at_rest: bool = False) -> bool:
    """One merge in the collection. False if there is nothing to merge, or another process is at it."""
    if not locked(chunking_id, collection_id):
        return False
    # First the tombstones: what they name was in a segment by then, and nobody else takes segments away.
    gone = deleted(chunking_id, collection_id)
    segments = list(Segment.objects.filter(chunking_id=chunking_id, collection_id=collection_id))
    analyser = analyser_hash()
    mergeable = [segment for segment in segments if segment.live and segment.analyser == analyser]
    if not mergeable:
        return False
    chunks = {segment.pk: chunks_of([segment.pk]) for segment in mergeable} if len(gone) else {}
    resting = at_rest or max(segment.created_at for segment in mergeable) < timezone.now() - REST
    group = chosen([counted(segment, chunks, gone) for segment in mergeable], resting)
    if group:
        return replace([segment for segment in mergeable if segment.pk in {held.id for held in group}], gone)
    if len(gone) and len(mergeable) == len(segments):
        return forget(np.setdiff1d(gone, np.concatenate(list(chunks.values()))))
    return False


def counted(segment: Segment, chunks: Mapping[int, NDArray[np.int32]], gone: NDArray[np.int32]) -> Held:
    within = chunks.get(segment.pk)
    return Held(segment.pk, segment.count, 0 if within is None else int(np.isin(within, gone).sum()))


def replace(group: Sequence[Segment], gone: NDArray[np.int32]) -> bool:
    """Puts one segment in the place of those in `group`, without what is gone of them, and removes its tombstones.

    False if the collection is being deleted.
    """
    one, keys = group[0], [segment.pk for segment in group]
    applied = np.intersect1d(chunks_of(keys), gone)
    blocks = merged(keys, applied)
    # Held only now: who deletes the collection waits for the writing at most.
    if not held(Collection, [one.collection_id]):
        return False
    if Segment.objects.filter(pk__in=keys).delete()[0] != len(keys):
        raise RuntimeError("Segments were taken away while they were merged")
    if blocks:
        segment = lexical.write(one.chunking_id, one.collection_id, blocks, one.analyser)
        # Whether the collection is at rest is for new chunks to say, not for a merge.
        Segment.objects.filter(pk=segment.pk).update(created_at=max(part.created_at for part in group))
    forget(applied)
    return True


def merged(segments: Sequence[int], gone: NDArray[np.int32]) -> list[tuple[str, bytes]]:
    """The blocks of each term in the segments, as one; terms of which nothing is left are left out."""
    with connection.chunked_cursor() as cursor:
        cursor.execute(BLOCKS, [list(segments)])
        rows = chain.from_iterable(iter(partial(cursor.fetchmany, BLOCKS_AT_ONCE), []))
        joined = [
            (term, bm25.merge([bytes(block) for _, block in same], gone))
            for term, same in groupby(rows, itemgetter(0))
        ]
    return [(term, block) for term, block in joined if block]


def chunks_of(segments: Sequence[int]) -> NDArray[np.int32]:
    """All chunks that the segments hold, deleted or not."""
    return every(segments).ids


def every(segments: Sequence[int]) -> TermPostings:
    """All chunks that the segments hold, deleted or not, with their lengths."""
    with connection.cursor() as cursor:
        cursor.execute(EVERY, [bm25.EVERY, list(segments)])
        return bm25.unpack(bm25.EVERY, [bytes(block) for (block,) in cursor.fetchall()])


def deleted(chunking_id: int, collection_id: int) -> NDArray[np.int32]:
    found = Tombstone.objects.filter(chunking_id=chunking_id, collection_id=collection_id)
    return np.array(sorted(found.values_list("chunk_id", flat=True)), np.int32)


def forget(chunks: NDArray[np.int32]) -> bool:
    """Removes the tombstones of these chunks. False if there are none."""
    return Tombstone.objects.filter(chunk_id__in=chunks.tolist()).delete()[0] > 0


def locked(chunking_id: int, collection_id: int) -> bool:
    """Whether this transaction is the one that changes what segments the collection has; others only add some."""
    with connection.cursor() as cursor:
        cursor.execute(LOCK, [f"segments:{chunking_id}:{collection_id}"])
        (got,) = cursor.fetchone()
    return bool(got)
