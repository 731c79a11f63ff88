"""Celery's side of embedding; a task works for a while and sends its successor."""

from celery import shared_task
from celery.worker import state

from kb.core.waking import wake
from kb.indexes import embedding
from kb.indexes.models import IndexVersion

SECONDS_PER_TASK = 20


@shared_task(soft_time_limit=600, time_limit=660)
def embed_chunks_task(version_id: int) -> None:
    """Works on a version's queue; a second task for the same version finds other jobs, or none."""
    version = IndexVersion.objects.maintained().select_related("model").filter(pk=version_id).first()
    if version is not None and embedding.embed_for(version, SECONDS_PER_TASK, stopping):
        wake(embed_chunks_task, version_id)


def stopping() -> bool:
    """Whether this worker was asked to stop: a solo pool learns of it only between batches."""
    # Celery writes an exit status there, and that of a good end is 0.
    wishes = (state.should_stop, state.should_terminate)
    return any(wish is not None and wish is not False for wish in wishes)


@shared_task(soft_time_limit=60, time_limit=90)
def sweep_embeddings_task() -> None:
    """Wakes workers for jobs that were left, and finishes documents whose last job is done or given up."""
    for version in IndexVersion.objects.maintained():
        if embedding.has_work(version):
            wake(embed_chunks_task, version.pk, expires=60)
    embedding.give_up_abandoned()
    embedding.settle()


@shared_task(soft_time_limit=600, time_limit=660)
def repair_queue_task() -> None:
    """Writes the jobs that are missing, whatever lost them."""
    for version in IndexVersion.objects.maintained().select_related("index", "model"):
        if embedding.enqueue_missing(version):
            wake(embed_chunks_task, version.pk, expires=60)
