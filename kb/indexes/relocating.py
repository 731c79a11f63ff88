"""Brings a collection into another index: it is searched there once the versions there have all its chunks.

Until then it is searched where it was; what its documents become meanwhile reaches both.
"""

import logging
from uuid import UUID

from django.db import connection, transaction
from psycopg import sql

from kb.core.auditing import record
from kb.core.holding import held
from kb.core.models import Collection
from kb.documents.models import Chunk
from kb.indexes import embedding_queue, embedding_table, placing, rechunking, settling
from kb.indexes.models import (
    CollectionMove,
    EmbeddingJob,
    Index,
    IndexedCollection,
    IndexVersion,
    Segment,
)

logger = logging.getLogger(__name__)

State = IndexVersion.State
PORTION = 5000

FORGET = """
DELETE FROM {table} WHERE chunk_id = ANY(ARRAY(
    SELECT chunk_id FROM {table} WHERE collection_id = %(collection)s LIMIT %(most)s
))
"""


def prepare(move: CollectionMove) -> tuple[list[IndexVersion], list[IndexVersion]]:
    """Writes what the index lacks of the collection: documents to be cut, and chunks to be embedded.

    Returns the versions of which documents are still to be cut, and those of which chunks wait.
    """
    cutting, embedding = [], []
    for version in receiving(move.index):
        after: UUID | None = rechunking.FIRST
        while after is not None:
            after, _ = rechunking.enqueue_portion(version, after)
        uncut, why = rechunking.failures(version)
        if uncut:
            logger.warning("%s waits: %s documents could not be cut: %s", move, uncut, why)
        if uncut or rechunking.waits(version):
            cutting.append(version)
        embedding_queue.enqueue_missing(version)
        if EmbeddingJob.objects.filter(version=version, collection=move.collection_id).exists():
            embedding.append(version)
    return cutting, embedding


def receiving(index: Index) -> list[IndexVersion]:
    """The versions that must have the collection; one that is built comes to it by itself."""
    maintained = IndexVersion.objects.maintained().filter(index=index).exclude(state=State.BUILDING)
    return list(maintained.select_related("index", "model", "chunking").order_by("pk"))


@transaction.atomic
def switch(move: CollectionMove) -> int | None:
    """Has the collection be searched in its new index from now on. Returns the index it came from, None if it did not.

    What is written to it meanwhile has a job in the new index, as in any.
    """
    locked = CollectionMove.objects.select_for_update().select_related("collection", "index")
    found = locked.filter(pk=move.pk).first()
    if found is None or not held(Collection, [found.collection_id]):
        return None
    before = placing.index_of(found.collection_id)
    IndexedCollection.objects.update_or_create(collection=found.collection, defaults={"index": found.index})
    found.delete()
    record(found.actor, "move", found.collection, to=found.index.slug, index=before)
    documents = list(found.collection.documents.filter(state="embedding").values_list("pk", flat=True))
    transaction.on_commit(lambda: settle(documents))
    return before


def settle(documents: list[UUID]) -> None:
    if documents:
        settling.settle(documents)


def leave(collection_id: int, index_id: int) -> bool:
    """Deletes a portion of what an index that the collection has left still holds of it. Whether that was all."""
    if (
        placing.index_of(collection_id) == index_id
        or CollectionMove.objects.filter(collection=collection_id, index=index_id).exists()
    ):
        return True  # it came back
    versions = IndexVersion.objects.filter(index=index_id).exclude(state=State.DROPPED)
    EmbeddingJob.objects.filter(version__in=versions, collection=collection_id).delete()
    for version in versions.order_by("pk"):
        if embedding_table.exists(version) and forget(version, collection_id):
            return False
    return leave_chunks(collection_id, {version.chunking_id for version in versions})


def forget(version: IndexVersion, collection_id: int) -> int:
    """Deletes some of the collection's vectors. Returns how many."""
    statement = sql.SQL(FORGET).format(table=sql.Identifier(version.table))
    with connection.cursor() as cursor:
        cursor.execute(statement, {"collection": collection_id, "most": PORTION})
        return int(cursor.rowcount)


def leave_chunks(collection_id: int, chunkings: set[int]) -> bool:
    """Deletes some of the chunks that no version makes use of any more, then their postings. Whether that was all."""
    wanted = {version.chunking_id for version in placing.maintained_for(collection_id)}
    over = chunkings - wanted
    chunks = Chunk.objects.filter(collection=collection_id, chunking__in=over).order_by("pk")
    portion = list(chunks.values_list("pk", flat=True)[:PORTION])
    if portion:
        Chunk.objects.filter(pk__in=portion).delete()
        return False
    Segment.objects.filter(collection=collection_id, chunking__in=over).delete()
    return True
