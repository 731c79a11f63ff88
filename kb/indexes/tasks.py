"""Celery's side of embedding; a task works for a while and sends its successor.

One message stands for all that waits in a version: the broker stays nearly empty, however many
documents come at once.
"""

import logging
import time
from functools import partial

from celery import shared_task
from celery.worker import state
from django.core.cache import cache
from django.db import ProgrammingError, transaction
from django.utils import timezone
from redis.exceptions import RedisError

from kb.core.beating import showing_life
from kb.core.waking import wake
from kb.indexes import (
    building,
    calibrating,
    dropping,
    embedding,
    embedding_queue,
    embedding_table,
    merging,
    rechunking,
    relocating,
    reposting,
    settling,
)
from kb.indexes.building import Step
from kb.indexes.models import CollectionLeaving, CollectionMove, IndexVersion
from kb.indexes.throttling import throttle

logger = logging.getLogger(__name__)

SECONDS_PER_TASK = 20
SECONDS_PER_MERGE = 10
# As long as a message may stay unseen, for whatever became of it, before another one is sent.
WAKE_SECONDS = 30


@shared_task(soft_time_limit=600, time_limit=660)
def embed_chunks_task(version_id: int) -> None:
    """Works on a version's queue; a second task for the same version finds other jobs, or none."""
    forget_wake(version_id)  # before the first look: what comes after it sends a new message
    version = IndexVersion.objects.maintained().select_related("model").filter(pk=version_id).first()
    if version is None:
        return
    calibrating.ensure(version.model, stopping)
    pace = throttle(version, stopping)
    try:
        more = embedding.embed_for(version, SECONDS_PER_TASK, pace)
    except ProgrammingError:
        if embedding_table.exists(version):
            raise
        logger.info("%s was dropped meanwhile", version)
        return
    if more and not pace.gave_way:
        wake_embedding(version_id)
    elif not more:
        wake_what_follows(version)


def wake_what_follows(version: IndexVersion) -> None:
    """The queue of a version is empty: a build goes on to its next step, and others have waited for what is live."""
    if version.state == IndexVersion.State.BUILDING and version.pk in building.idle():
        wake(build_version_task, version.pk, expires=WAKE_SECONDS)
    if version.state == IndexVersion.State.LIVE:
        for other in IndexVersion.objects.maintained().exclude(state=IndexVersion.State.LIVE):
            if embedding_queue.has_work(other):
                wake_embedding(other.pk)


# Nobody computes here: it waits for the database, in a thread of the worker that waits for others, too.
@shared_task(soft_time_limit=7000, time_limit=7100)
def build_version_task(version_id: int) -> None:
    """The next step of a build; a second task for the same version finds that the first is at it."""
    with showing_life("fetch"):
        step = building.advance(version_id)
    if step is Step.AGAIN:
        wake(build_version_task, version_id)
    elif step is not Step.OVER:
        wake_for(IndexVersion.objects.get(pk=version_id), step)


def wake_for(version: IndexVersion, step: Step) -> None:
    """Sends for what can be done now; what waits for another worker's lease to run out, a sweep sends for."""
    if step is Step.EMBED and embedding_queue.has_work(version):
        wake_embedding(version.pk)
    if step is Step.CUT and rechunking.has_work(version):
        wake(cut_documents_task, version.pk)


@shared_task(soft_time_limit=600, time_limit=660)
def build_move_task(move_id: int) -> None:
    """The next step of a collection on its way into another index; a sweep sends it until it is there."""
    move = CollectionMove.objects.select_related("index__live_version").filter(pk=move_id).first()
    if move is None or move.index.live_version is None:
        return
    still = relocating.prepare(move)
    for version in still.cutting:
        wake_for(version, Step.CUT)
    for version in still.embedding:
        wake_for(version, Step.EMBED)
    if still.nothing:
        relocating.switch(move)  # what it came from is left later: a sweep sends for that


@shared_task(soft_time_limit=600, time_limit=660)
def build_leaving_task(collection_id: int, index_id: int) -> None:
    """Deletes what an index still holds of a collection that left it, portion by portion, for a while."""
    deadline = time.monotonic() + SECONDS_PER_TASK
    while not relocating.leave(collection_id, index_id):
        if time.monotonic() > deadline:
            wake(build_leaving_task, collection_id, index_id)
            return


@shared_task(soft_time_limit=600, time_limit=660)
def cut_documents_task(version_id: int) -> None:
    """Cuts documents anew for a version, for a while; a second task takes other documents."""
    version = IndexVersion.objects.maintained().filter(pk=version_id).first()
    if version is None:
        return
    pace = throttle(version, stopping)
    if rechunking.cut_for(version, SECONDS_PER_TASK, pace):
        if not pace.gave_way:
            wake(cut_documents_task, version_id)
    elif not rechunking.waits(version):
        wake(build_version_task, version_id)


@shared_task(soft_time_limit=120, time_limit=180)
def end_versions_task() -> None:
    """Drops what was retired long enough ago, or cancelled."""
    dropping.end_due()
    dropping.drop_tables()
    if dropping.forget_chunkings():
        wake(end_versions_task, countdown=1)


def stopping() -> bool:
    """Whether this worker was asked to stop: a solo pool learns of it only between batches."""
    # Celery writes an exit status there, and that of a good end is 0.
    wishes = (state.should_stop, state.should_terminate)
    return any(wish is not None and wish is not False for wish in wishes)


@shared_task(soft_time_limit=60, time_limit=90)
def sweep_embeddings_task() -> None:
    """Wakes workers for jobs that were left, and finishes documents whose last job is done or given up."""
    for version in IndexVersion.objects.maintained():
        if embedding_queue.has_work(version):
            wake_embedding(version.pk, expires=2 * WAKE_SECONDS)
        # Of a build its next step sends for that.
        if version.state != IndexVersion.State.BUILDING and rechunking.has_work(version):
            wake(cut_documents_task, version.pk, expires=WAKE_SECONDS)
    for version_id in building.idle():
        wake(build_version_task, version_id, expires=WAKE_SECONDS)
    for move_id in CollectionMove.objects.order_by("pk").values_list("pk", flat=True):
        wake(build_move_task, move_id, expires=WAKE_SECONDS)
    leavings = CollectionLeaving.objects.filter(begin_after__lte=timezone.now()).order_by("pk")
    for collection_id, index_id in leavings.values_list("collection", "index"):
        wake(build_leaving_task, collection_id, index_id, expires=WAKE_SECONDS)
    settling.give_up_abandoned()
    settling.settle()


@shared_task(soft_time_limit=600, time_limit=660)
def repair_queue_task() -> None:
    """Writes the jobs that are missing, whatever lost them. A build does so itself, after what it derives."""
    maintained = IndexVersion.objects.maintained().exclude(state=IndexVersion.State.BUILDING)
    for version in maintained.select_related("index", "model"):
        if rechunking.enqueue_missing(version):
            wake(cut_documents_task, version.pk)
        if embedding_queue.enqueue_missing(version):
            wake_embedding(version.pk)


@shared_task(soft_time_limit=600, time_limit=660)
def merge_segments_task() -> None:
    """Merges postings that came in small batches, for a while; a second one works on other collections."""
    merging.forget_strays()
    if merging.merge_for(SECONDS_PER_MERGE):
        wake(merge_segments_task, expires=60)


@shared_task(soft_time_limit=600, time_limit=660)
def repost_segments_task() -> None:
    """Rebuilds postings that another analyser made, for a while; what is written stays."""
    if reposting.repost_for(SECONDS_PER_TASK):
        wake(repost_segments_task, expires=300)


def wake_embedding_on_commit(version_id: int) -> None:
    """Sends the version's message once the transaction is committed, unless one waits already."""
    transaction.on_commit(partial(wake_embedding, version_id))


def wake_embedding(version_id: int, expires: float | None = None) -> None:
    """Sends the version's message, unless one waits in the broker already."""
    if first_wake(version_id):
        wake(embed_chunks_task, version_id, expires=expires)


def first_wake(version_id: int) -> bool:
    """Whether no message of the version is known to wait. Without a cache nothing is known."""
    try:
        return cache.add(wake_key(version_id), True, WAKE_SECONDS)
    except (RedisError, OSError) as error:
        logger.warning("The cache does not answer (%s); a message is sent in any case.", error)
        return True


def forget_wake(version_id: int) -> None:
    try:
        cache.delete(wake_key(version_id))
    except (RedisError, OSError) as error:
        logger.warning("The cache does not answer (%s); the next message may wait for a sweep.", error)


def wake_key(version_id: int) -> str:
    return f"embed-wake:{version_id}"
