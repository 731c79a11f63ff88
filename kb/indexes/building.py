"""Brings a version from its first vector to its validation, by steps that may run twice and be cut short anywhere.

What is to be done next is read off the database: vectors to be derived, jobs to be written and worked off by
the embedding queue, then the HNSW index, built concurrently.
"""

import enum
import logging
import math
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from uuid import UUID

import psycopg
from django.db import Error, connection
from django.db.models import Exists, OuterRef, QuerySet
from django.utils import timezone

from kb.core.problems import Problem
from kb.indexes import deriving, embedding_queue, embedding_table, graph, lifecycle, rechunking
from kb.indexes.models import EmbeddingJob, IndexVersion
from kb.indexes.throttling import never, throttle

logger = logging.getLogger(__name__)

State = IndexVersion.State
STEP_SECONDS = 60.0  # so soon a pause is noticed
MOST_TOLD = 300  # characters of an error
MOST_INDEX_TRIES = 5
# Classes of PostgreSQL's errors: connection, transaction rollback, operator intervention; and two that name one.
PASSING = ("08", "40", "57", "53300", "55P03")


class Step(enum.Enum):
    """What is to follow a step of a build."""

    OVER = "over"  # nothing: it is not building any more, or another process is at it
    AGAIN = "again"  # another step, at once
    CUT = "cut"  # documents are to be cut anew
    EMBED = "embed"  # the embedding queue has work


@dataclass(frozen=True)
class Phase:
    """How far a build is: `done` of `total` chunks have their vector; `graph` is how far its index is, from 0 to 1.

    `given_up` are those that could not be embedded, `paused` those that people hold back. `uncut` documents
    have no chunks yet.
    """

    name: str
    done: int
    total: int
    given_up: int = 0
    paused: int = 0
    uncut: int = 0
    graph: float | None = None


def advance(version_id: int, seconds: float = STEP_SECONDS) -> Step:
    """One step of the build, of about `seconds`, or as long as its index takes."""
    with alone(version_id) as mine:
        version = (
            IndexVersion.objects.select_related("index__live_version", "model", "derived_from__model")
            .filter(pk=version_id, state=State.BUILDING)
            .first()
        )
        if not mine or version is None:
            return Step.OVER
        deadline = time.monotonic() + seconds
        if rechunking.needed(version):
            if not listed(version, deadline):
                return Step.AGAIN
            if rechunking.waits(version):
                return Step.CUT
        if not loaded(version, deadline):
            return Step.AGAIN
        if EmbeddingJob.objects.filter(version=version, attempts__lt=EmbeddingJob.MOST_ATTEMPTS).exists():
            return Step.EMBED
        return finished(version)


def listed(version: IndexVersion, deadline: float) -> bool:
    """Whether every document that is to be cut anew has a job, by the deadline."""
    after: UUID | None = rechunking.FIRST
    while after is not None:
        after, _ = rechunking.enqueue_portion(version, after)
        if time.monotonic() > deadline and after is not None:
            return False
    return True


def loaded(version: IndexVersion, deadline: float) -> bool:
    """Whether what can be derived is, and every other chunk that lacks its vector has a job, by the deadline."""
    after: int | None = 0
    source = deriving.source_of(version)
    pace = throttle(version, bool)
    pace.busy = never  # the database computes it, where live work waits for the model
    while source is not None and after is not None:
        pace()
        after = deriving.derive_portion(version, source, after)
        if time.monotonic() > deadline and after is not None:
            return False
    after = 0
    while after is not None:
        after, _ = embedding_queue.enqueue_portion(version, after)
        if time.monotonic() > deadline and after is not None:
            return False
    return True


def finished(version: IndexVersion) -> Step:
    """The queue is empty: the index is built, and with it the version."""
    uncut, why = rechunking.failures(version)
    if uncut:
        fail(version, f"{uncut:,} documents could not be cut: {why[:MOST_TOLD]}")
        return Step.OVER
    if stuck := own_failures(version).first():
        count = own_failures(version).count()
        fail(version, f"{count:,} chunks could not be embedded: {stuck.error[:MOST_TOLD]}")
        return Step.OVER
    rows = embedding_table.count(version)
    try:
        graph.ensure(version, rows)
    except psycopg.Error as error:
        unindexed(version, error)
        return Step.OVER
    if embedding_queue.enqueue_missing(version):
        return Step.EMBED
    if rechunking.needed(version) and not complete(version):
        return Step.CUT
    try:
        reason = f"{rows:,} vectors are there and indexed"
        lifecycle.move(version.pk, State.VALIDATING, None, reason, built_at=timezone.now())
    except Problem as problem:  # somebody paused or cancelled it meanwhile
        logger.info("%s", problem.message)
    return Step.OVER


def complete(version: IndexVersion) -> bool:
    """Whether no document came that is to be cut while the index was built."""
    listed(version, math.inf)
    if rechunking.waits(version):
        return False
    rechunking.forget(version)
    return True


def own_failures(version: IndexVersion) -> "QuerySet[EmbeddingJob]":
    """Jobs that were given up, though the live version has the chunk: what cannot be embedded at all stops nobody."""
    given_up = EmbeddingJob.objects.filter(version=version, attempts__gte=EmbeddingJob.MOST_ATTEMPTS)
    live = EmbeddingJob.objects.filter(
        version=version.index.live_version_id,
        chunk=OuterRef("chunk"),
        attempts__gte=EmbeddingJob.MOST_ATTEMPTS,
    )
    return given_up.exclude(Exists(live)).order_by("pk")


def unindexed(version: IndexVersion, error: psycopg.Error) -> None:
    """Notes that the index could not be built. A sweep tries again where the database went away; not for ever, since
    it may have gone because of that."""
    logger.warning("The index of %s is not there yet: %s", version, error)
    tries = version.index_tries + 1
    why = f"Its index could not be built: {str(error).strip()[:MOST_TOLD]}"
    if passing(error) and tries < MOST_INDEX_TRIES:
        building = IndexVersion.objects.filter(pk=version.pk, state=State.BUILDING)
        building.update(index_tries=tries, error=f"{why} It is tried again.")
    else:
        fail(version, why)


def passing(error: psycopg.Error) -> bool:
    """Whether the same may succeed next time: the connection was lost or refused, or somebody cut it short."""
    return error.sqlstate is None or error.sqlstate.startswith(PASSING)


def fail(version: IndexVersion, reason: str) -> None:
    try:
        lifecycle.move(version.pk, State.FAILED, None, reason)
    except Problem as problem:
        logger.info("%s", problem.message)


def retry_given_up(version: IndexVersion) -> None:
    """Lets the jobs that were given up wait anew."""
    rechunking.forget(version)
    given_up = EmbeddingJob.objects.filter(version=version, attempts__gte=EmbeddingJob.MOST_ATTEMPTS)
    ordered = given_up.order_by("pk").select_for_update().values("pk")
    EmbeddingJob.objects.filter(pk__in=ordered).update(attempts=0, error="", lease_until=None)


def idle() -> list[int]:
    """Versions that are building and of which no job waits: their next step is due."""
    jobs = EmbeddingJob.objects.filter(version=OuterRef("pk"), attempts__lt=EmbeddingJob.MOST_ATTEMPTS)
    building = IndexVersion.objects.filter(state=State.BUILDING).exclude(Exists(jobs))
    return list(building.order_by("pk").values_list("pk", flat=True))


def phase(version: IndexVersion) -> Phase:
    """How far the version is, counted."""
    if version.state == State.DROPPED:
        return Phase(version.state, 0, 0)
    jobs = EmbeddingJob.objects.filter(version=version)
    given_up = jobs.filter(attempts__gte=EmbeddingJob.MOST_ATTEMPTS).count()
    making = graph.progress(version) if version.state == State.BUILDING else None
    return Phase(
        name="indexing" if making is not None else version.state,
        done=embedding_table.count(version),
        total=embedding_queue.chunks_of(version),
        given_up=given_up,
        paused=jobs.filter(paused=True).count(),
        uncut=rechunking.waiting(version).count(),
        graph=making,
    )


@contextmanager
def alone(version_id: int, work: str = "build") -> Iterator[bool]:
    """Whether this process alone does this work on the version; another one's end, or its connection's, lets it go."""
    key = f"{work}:{version_id}"
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_try_advisory_lock(hashtextextended(%s, 0))", [key])
        (mine,) = cursor.fetchone()
    try:
        yield bool(mine)
    finally:
        if mine:
            unlock(key)


def unlock(key: str) -> None:
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_advisory_unlock(hashtextextended(%s, 0))", [key])
    except Error:  # the database went away, and the lock with it
        connection.close()
