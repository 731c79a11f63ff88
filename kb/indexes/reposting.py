"""Rebuilds the postings of a collection with today's analyser, and puts them in the place of the old ones at once.

The new segments are written a batch at a time and are not searched until all are there: until then searches see
the old ones, afterwards the new ones, never some of each. What is written stays, so whoever is interrupted goes on
where he was.
"""

import logging
import time

import numpy as np
from django.db import connection, transaction
from numpy.typing import NDArray

from kb.core.holding import held
from kb.core.models import Collection
from kb.documents.chunks import note_languages
from kb.documents.models import Chunk, Chunking, DocumentRevision
from kb.indexes import lexical, merging
from kb.indexes.merging import Pair
from kb.indexes.models import Segment
from retrieval import bm25
from retrieval.analysis import analyse, analyser_hash
from retrieval.chunking import render
from retrieval.protocols import TermPostings

logger = logging.getLogger(__name__)

CHUNKS_AT_ONCE = 2_000

CHUNKS = """
SELECT string_agg(int4send(id), ''::bytea ORDER BY id) FROM documents_chunk
WHERE chunking_id = %s AND collection_id = %s
"""
# A row that somebody is changing or deleting is left out, and then there are fewer than there should be.
CHANGED = """
SELECT chunk.id FROM documents_chunk chunk
    JOIN unnest(%(chunks)s::integer[], %(lengths)s::integer[]) given (id, length) USING (id)
    WHERE chunk.length <> given.length
"""
LOCKED = CHANGED + "ORDER BY chunk.id FOR NO KEY UPDATE OF chunk SKIP LOCKED"
CHUNK_LENGTHS = """
UPDATE documents_chunk chunk SET length = given.length
FROM unnest(%(chunks)s::integer[], %(lengths)s::integer[]) given (id, length)
WHERE chunk.id = given.id AND chunk.length <> given.length
"""
TOMBSTONE_LENGTHS = """
UPDATE indexes_tombstone gone SET length = given.length
FROM unnest(%(chunks)s::integer[], %(lengths)s::integer[]) given (id, length)
WHERE gone.chunk_id = given.id AND gone.length <> given.length
"""


def waiting() -> list[Pair]:
    """Where there are postings of another analyser."""
    others = Segment.objects.filter(live=True).exclude(analyser=analyser_hash())
    pairs = others.values_list("chunking_id", "collection_id").distinct()
    return list(pairs.order_by("chunking_id", "collection_id"))


def repost_for(seconds: float) -> bool:
    """Rebuilds what another analyser made, for about `seconds`. Returns whether there may be more to do."""
    deadline = time.monotonic() + seconds
    for chunking_id, collection_id in waiting():
        while step(chunking_id, collection_id):
            if time.monotonic() >= deadline:
                return True
        if time.monotonic() >= deadline:
            return True
    return False


def repost(chunking_id: int, collection_id: int) -> None:
    """Rebuilds all postings that the collection has in the chunking by another analyser."""
    while step(chunking_id, collection_id):
        pass


@transaction.atomic
def step(chunking_id: int, collection_id: int) -> bool:
    """Writes the postings of some more chunks, or puts them all in their place. False when that is done, or
    cannot be done just now."""
    if not merging.locked(chunking_id, collection_id):
        return False
    segments = Segment.objects.filter(chunking_id=chunking_id, collection_id=collection_id)
    segments.filter(live=False).exclude(analyser=analyser_hash()).delete()
    old = list(segments.filter(live=True).exclude(analyser=analyser_hash()).values_list("pk", flat=True))
    if not old:
        segments.filter(live=False).delete()
        return False
    # First the chunks: the segment of each is there by then.
    chunks = chunks_of(chunking_id, collection_id)
    posted = merging.chunks_of(today(chunking_id, collection_id))
    missing = np.setdiff1d(chunks, posted)
    if len(missing):
        return write(chunking_id, collection_id, missing[:CHUNKS_AT_ONCE].tolist())
    switch(chunking_id, collection_id, old)
    return False


def write(chunking_id: int, collection_id: int, chunks: list[int]) -> bool:
    """Postings of these chunks, not searched yet. False if the collection is being deleted."""
    rows = (
        Chunk.objects.filter(pk__in=chunks)
        .order_by("pk")
        .values_list("pk", "document__title", "heading_path", "text", "revision__language")
    )
    blocks = bm25.invert(
        (chunk, analyse(render(title, path, text), language)) for chunk, title, path, text, language in rows
    )
    if not held(Collection, [collection_id]):
        return False
    if blocks:
        lexical.write(chunking_id, collection_id, blocks, analyser_hash(), live=False)
    return True


def switch(chunking_id: int, collection_id: int, old: list[int]) -> None:
    """From the segments `old` to those that were written. Each living chunk is in the latter.

    The lengths of chunks are those that the new segments have: a deletion tells them to the statistics. If
    somebody is at one of the chunks, all stays as it is until the next time.
    """
    # First the tombstones: what they name was in a segment by then.
    gone = merging.deleted(chunking_id, collection_id)
    new = Segment.objects.filter(
        chunking_id=chunking_id, collection_id=collection_id, live=False, analyser=analyser_hash()
    )
    posted = merging.every(list(new.values_list("pk", flat=True)))
    if not rewrite_lengths(posted):
        return
    merging.forget(np.setdiff1d(gone, merging.chunks_of(today(chunking_id, collection_id))))
    Segment.objects.filter(pk__in=old).delete()
    new.update(live=True)
    languages = DocumentRevision.objects.filter(
        chunks__chunking=chunking_id, chunks__collection=collection_id
    ).values_list("language", flat=True)
    note_languages(collection_id, set(languages.order_by().distinct()))
    if (
        not Segment.objects.filter(chunking_id=chunking_id, live=True)
        .exclude(analyser=analyser_hash())
        .exists()
    ):
        take_over(chunking_id)
    logger.info("Collection %s has postings of today's analyser: %d chunks", collection_id, len(posted.ids))


def rewrite_lengths(posted: TermPostings) -> bool:
    """Gives chunks and tombstones the lengths of their new postings. False if somebody is at one of them."""
    given = {"chunks": posted.ids.tolist(), "lengths": posted.lengths.tolist()}
    with connection.cursor() as cursor:
        cursor.execute(LOCKED, given)
        locked = len(cursor.fetchall())
        cursor.execute(CHANGED, given)
        if locked < len(cursor.fetchall()):
            return False
        cursor.execute(CHUNK_LENGTHS, given)
        # Now: who deleted a chunk before it was locked has left its tombstone by this time.
        cursor.execute(TOMBSTONE_LENGTHS, given)
    return True


def take_over(chunking_id: int) -> None:
    """The chunking is of today's analyser now, unless there is one that is the same in all."""
    chunking = Chunking.objects.get(pk=chunking_id)
    same = Chunking.objects.filter(
        settings=chunking.settings, tokenizer_hash=chunking.tokenizer_hash, analyser_hash=analyser_hash()
    )
    if not same.exists():
        chunking.analyser_hash = analyser_hash()
        chunking.save(update_fields=["analyser_hash"])


def chunks_of(chunking_id: int, collection_id: int) -> NDArray[np.int32]:
    with connection.cursor() as cursor:
        cursor.execute(CHUNKS, [chunking_id, collection_id])
        (ids,) = cursor.fetchone()
    return np.frombuffer(ids or b"", ">i4").astype(np.int32)


def today(chunking_id: int, collection_id: int) -> list[int]:
    """The segments that today's analyser made, searched or not."""
    segments = Segment.objects.filter(
        chunking_id=chunking_id, collection_id=collection_id, analyser=analyser_hash()
    )
    return list(segments.values_list("pk", flat=True))
