"""Celery's side of embedding; a task works for a while and sends its successor.

One message stands for all that waits in a version: the broker stays nearly empty, however many
documents come at once.
"""

import logging
from functools import partial

from celery import shared_task
from celery.worker import state
from django.core.cache import cache
from django.db import transaction
from redis.exceptions import RedisError

from kb.core.waking import wake
from kb.indexes import calibrating, embedding, embedding_queue, merging, reposting, settling
from kb.indexes.models import IndexVersion

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
    if embedding.embed_for(version, SECONDS_PER_TASK, stopping):
        wake_embedding(version_id)


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
    settling.give_up_abandoned()
    settling.settle()


@shared_task(soft_time_limit=600, time_limit=660)
def repair_queue_task() -> None:
    """Writes the jobs that are missing, whatever lost them."""
    for version in IndexVersion.objects.maintained().select_related("index", "model"):
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
