"""Ends versions for good: when the soak time is over, or they were cancelled, their tables go, and nobody waits.

The state goes first, so that nobody goes back to a version whose table may be gone. Then whoever still
uses the table is given time, and it is dropped under a short lock timeout, as often as that takes.
"""

import logging
from datetime import datetime, timedelta

from django.db import OperationalError, connection, transaction
from django.db.models import QuerySet
from django.utils import timezone

from kb.core.problems import Problem
from kb.documents.models import Chunk, Chunking
from kb.indexes import embedding_table, graph, lifecycle, portions
from kb.indexes.models import CuttingJob, EmbeddingJob, IndexTransition, IndexVersion, Segment, Tombstone

logger = logging.getLogger(__name__)

State = IndexVersion.State
GRACE = timedelta(seconds=30)  # a search that chose the version before may still come to its table
LOCK_TIMEOUT = "50ms"
JOBS_AT_ONCE = 10_000
CHUNKS_AT_ONCE = 2000


def end_due(now: datetime | None = None) -> list[int]:
    """Declares dropped what is retired for long enough, and what was cancelled. Returns those versions."""
    due = IndexVersion.objects.filter(state=State.RETIRED, drop_after__lte=now or timezone.now())
    ended = [*due.order_by("pk"), *IndexVersion.objects.filter(state=State.CANCELLED).order_by("pk")]
    return [version.pk for version in ended if end(version)]


def end(version: IndexVersion) -> bool:
    over = "Its soak time is over" if version.state == State.RETIRED else "It was cancelled"
    try:
        lifecycle.move(version.pk, State.DROPPED, None, over)
    except Problem as problem:  # somebody went back to it meanwhile
        logger.info("%s", problem.message)
        return False
    return True


def drop_tables(grace: timedelta = GRACE) -> list[int]:
    """Drops the tables of dropped versions. Returns those that are verified to be gone now."""
    dropped = IndexVersion.objects.filter(state=State.DROPPED).order_by("pk")
    return [version.pk for version in dropped if embedding_table.exists(version) and gone(version, grace)]


def gone(version: IndexVersion, grace: timedelta) -> bool:
    """Drops one version's table and jobs, if nobody can be using it any more; whether it is gone."""
    if in_use(version, grace):
        return False
    graph.stop(version)
    forget_jobs(version)
    try:
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute(f"SET LOCAL lock_timeout = '{LOCK_TIMEOUT}'")
            embedding_table.drop(version)
    except OperationalError as error:  # somebody reads it: next time
        logger.info("%s is not dropped yet: %s", version, error)
        return False
    if embedding_table.exists(version):
        logger.error("Something is left of %s", version.table)
        return False
    return True


def forget_chunkings(most: int = CHUNKS_AT_ONCE) -> int:
    """Deletes about `most` chunks that only dropped versions were made of, and their postings once all are gone.

    Footnotes stay: they name a span of a revision, not a chunk. Returns how many chunks went.
    """
    for chunking in unwanted().order_by("pk"):
        if gone := forget_chunking(chunking, most):
            return gone
    return 0


@transaction.atomic
def forget_chunking(chunking: Chunking, most: int) -> int:
    """Nothing where somebody has begun to build with it again: until the commit nobody else does."""
    chunks = Chunk.objects.filter(chunking=chunking)
    documents = portions.first(chunks, most)
    portions.alone([chunking.pk])
    if not unwanted().filter(pk=chunking.pk).exists():
        return 0
    if documents:
        return portions.delete(chunks, documents)
    Segment.objects.filter(chunking=chunking).delete()
    Tombstone.objects.filter(chunking_id=chunking.pk).delete()
    CuttingJob.objects.filter(chunking=chunking).delete()
    return 0


def unwanted() -> QuerySet[Chunking]:
    """Chunkings of dropped versions that no other version is made of."""
    kept = IndexVersion.objects.exclude(state=State.DROPPED).values("chunking")
    return Chunking.objects.filter(versions__state=State.DROPPED).exclude(pk__in=kept).distinct()


def in_use(version: IndexVersion, grace: timedelta) -> bool:
    """Whether its last transition is not long ago, or a transaction from before it is open."""
    last = IndexTransition.objects.filter(version=version, after=State.DROPPED).order_by("-at").first()
    if last is None:
        return False
    if timezone.now() - last.at < grace:
        return True
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT EXISTS (SELECT FROM pg_stat_activity WHERE datname = current_database() "
            "AND xact_start < %s AND pid <> pg_backend_pid() AND backend_type = 'client backend')",
            [last.at],
        )
        (found,) = cursor.fetchone()
    return bool(found)


def forget_jobs(version: IndexVersion) -> None:
    """In portions, in the order in which workers lock them."""
    while True:
        jobs = EmbeddingJob.objects.filter(version=version).order_by("pk")
        portion = list(jobs.values_list("pk", flat=True)[:JOBS_AT_ONCE])
        if not portion:
            return
        EmbeddingJob.objects.filter(pk__in=portion).delete()
