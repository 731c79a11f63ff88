"""Brings a collection into another index: it is searched there once the versions there have all its chunks.

Until then it is searched where it was; what its documents become meanwhile reaches both.
"""

from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID

from django.db import connection, transaction
from django.db.models import Exists, OuterRef, Q, QuerySet
from django.utils import timezone
from psycopg import sql

from kb.core.auditing import record
from kb.core.holding import held
from kb.core.models import Collection
from kb.documents.models import Chunk
from kb.indexes import (
    embedding_queue,
    embedding_table,
    lifecycle,
    placing,
    portions,
    rechunking,
    settling,
)
from kb.indexes.models import (
    CollectionLeaving,
    CollectionMove,
    EmbeddingJob,
    Index,
    IndexedCollection,
    IndexVersion,
    Segment,
)

State = IndexVersion.State
PORTION = 2000
MOST_TOLD = 300  # characters of an error
LEAVE_AFTER = timedelta(seconds=60)  # a search that looked up where a collection is may still come there

FORGET = """
DELETE FROM {table} WHERE chunk_id = ANY(ARRAY(
    SELECT chunk_id FROM {table} WHERE collection_id = %(collection)s LIMIT %(most)s
))
"""


@dataclass(frozen=True)
class Open:
    """What a move still waits for: versions of which documents are to be cut, and of which chunks wait.

    `error` says what does not go on by itself; empty where everything does.
    """

    cutting: list[IndexVersion]
    embedding: list[IndexVersion]
    error: str = ""

    @property
    def nothing(self) -> bool:
        return not (self.cutting or self.embedding or self.error)


def prepare(move: CollectionMove) -> Open:
    """Writes what the index lacks of the collection: documents to be cut, and chunks to be embedded.

    A version that serves nobody gets it as well, but is not waited for: its model may be away.
    """
    cutting, embedding, errors = [], [], []
    for version in receiving(move.index):
        rechunking.enqueue_missing(version)
        embedding_queue.enqueue_missing(version)
        if version.state not in lifecycle.SERVING:
            continue
        jobs = unfinished(move, version)
        if rechunking.waits(version, move.collection_id):
            cutting.append(version)
        if jobs.filter(attempts__lt=EmbeddingJob.MOST_ATTEMPTS, paused=False).exists():
            embedding.append(version)
        errors += obstacles(move, version, jobs)
    error = " ".join(errors)
    if error != move.error:
        CollectionMove.objects.filter(pk=move.pk).update(error=error)
    return Open(cutting, embedding, error)


def unfinished(move: CollectionMove, version: IndexVersion) -> QuerySet[EmbeddingJob]:
    """The collection's jobs, without those of documents that are held back or were given up where it is, too."""
    jobs = EmbeddingJob.objects.filter(version=version, collection=move.collection_id)
    home = EmbeddingJob.objects.filter(
        Q(paused=True) | Q(attempts__gte=EmbeddingJob.MOST_ATTEMPTS),
        version=placing.live_of(move.collection_id),
        chunk__document=OuterRef("chunk__document"),
    )
    return jobs.exclude(Exists(home))


def obstacles(move: CollectionMove, version: IndexVersion, jobs: QuerySet[EmbeddingJob]) -> list[str]:
    """What only a person can help with."""
    found = []
    uncut, why = rechunking.failures(version, move.collection_id)
    if uncut:
        found.append(f"{uncut:,} documents could not be cut: {why[:MOST_TOLD]}")
    given_up = jobs.filter(attempts__gte=EmbeddingJob.MOST_ATTEMPTS).order_by("pk")
    if stuck := given_up.first():
        found.append(f"{given_up.count():,} chunks could not be embedded: {stuck.error[:MOST_TOLD]}")
    if paused := jobs.filter(paused=True, attempts__lt=EmbeddingJob.MOST_ATTEMPTS).count():
        found.append(f"{paused:,} chunks are of documents that are paused: resume them.")
    return found


def retry(move: CollectionMove) -> None:
    """What could not be cut or embedded is tried anew."""
    for version in receiving(move.index):
        rechunking.forget(version)
        jobs = EmbeddingJob.objects.filter(version=version, collection=move.collection_id)
        given_up = jobs.filter(attempts__gte=EmbeddingJob.MOST_ATTEMPTS)
        ordered = given_up.order_by("pk").select_for_update().values("pk")
        EmbeddingJob.objects.filter(pk__in=ordered).update(attempts=0, error="", lease_until=None)


def receiving(index: Index) -> list[IndexVersion]:
    """The versions that must have the collection; one that is built comes to it by itself."""
    maintained = IndexVersion.objects.maintained().filter(index=index).exclude(state=State.BUILDING)
    return list(maintained.select_related("index", "model", "chunking").order_by("pk"))


@transaction.atomic
def switch(move: CollectionMove) -> bool:
    """Has the collection be searched in its new index from now on. Whether it does; the one it came from is left.

    What is written to it meanwhile has a job in the new index, as in any.
    """
    locked = CollectionMove.objects.select_for_update().select_related("collection", "index")
    found = locked.filter(pk=move.pk, index=move.index).first()
    if found is None or not held(Collection, [found.collection_id]):
        return False
    before = placing.index_of(found.collection_id)
    IndexedCollection.objects.update_or_create(collection=found.collection, defaults={"index": found.index})
    found.delete()
    if before is not None:
        begin_to_leave(found.collection_id, before, LEAVE_AFTER)
    record(found.actor, "move", found.collection, to=found.index.slug, index=before)
    documents = list(found.collection.documents.filter(state="embedding").values_list("pk", flat=True))
    transaction.on_commit(lambda: settle(documents))
    return True


def settle(documents: list[UUID]) -> None:
    if documents:
        settling.settle(documents)


def begin_to_leave(collection_id: int, index_id: int, after: timedelta = timedelta(0)) -> None:
    """Has what an index holds of a collection be deleted: a row, so that it is done whatever happens meanwhile."""
    CollectionLeaving.objects.update_or_create(
        collection_id=collection_id, index_id=index_id, defaults={"begin_after": timezone.now() + after}
    )


def leave(collection_id: int, index_id: int) -> bool:
    """Deletes a portion of what an index that the collection has left still holds of it.

    Whether that was all, or another process is at it. Beginning to move back waits for the portion.
    """
    with transaction.atomic():
        leavings = CollectionLeaving.objects.filter(collection=collection_id, index=index_id)
        if not leavings.select_for_update(skip_locked=True):
            return True
        versions = list(
            IndexVersion.objects.filter(index=index_id).exclude(state=State.DROPPED).order_by("pk")
        )
        chunkings = {version.chunking_id for version in versions}
        documents = portions.first(unused(collection_id, chunkings), PORTION)
        portions.alone(chunkings)
        over = came_back(collection_id, index_id) or left(collection_id, versions, documents)
        if over:
            leavings.delete()
    return over


def came_back(collection_id: int, index_id: int) -> bool:
    coming = CollectionMove.objects.filter(collection=collection_id, index=index_id)
    return placing.index_of(collection_id) == index_id or coming.exists()


def left(collection_id: int, versions: list[IndexVersion], documents: list[UUID]) -> bool:
    """Jobs first, then vectors, then the chunks of `documents`, then postings. Whether that was all."""
    jobs = EmbeddingJob.objects.filter(version__in=versions, collection=collection_id).order_by("pk")
    if portion := list(jobs.values_list("pk", flat=True)[:PORTION]):
        EmbeddingJob.objects.filter(pk__in=portion).delete()
        return False
    for version in versions:
        if embedding_table.exists(version) and forget(version, collection_id):
            return False
    chunks = unused(collection_id, {version.chunking_id for version in versions})
    if documents:
        portions.delete(chunks, documents)
        return False
    wanted = {version.chunking_id for version in placing.maintained_for(collection_id)}
    over = {version.chunking_id for version in versions} - wanted
    Segment.objects.filter(collection=collection_id, chunking__in=over).delete()
    return True


def unused(collection_id: int, chunkings: set[int]) -> QuerySet[Chunk]:
    """The collection's chunks, of these chunkings, that no version makes use of any more."""
    wanted = {version.chunking_id for version in placing.maintained_for(collection_id)}
    return Chunk.objects.filter(collection=collection_id, chunking__in=chunkings - wanted)


def forget(version: IndexVersion, collection_id: int) -> int:
    """Deletes some of the collection's vectors. Returns how many."""
    statement = sql.SQL(FORGET).format(table=sql.Identifier(version.table))
    with connection.cursor() as cursor:
        cursor.execute(statement, {"collection": collection_id, "most": PORTION})
        return int(cursor.rowcount)
