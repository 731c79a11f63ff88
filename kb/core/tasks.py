"""Keeps the workers' heartbeats going: each queue is asked to show that it consumes; and has them give way."""

import logging

from celery import shared_task
from celery.signals import task_prerun, worker_init, worker_process_shutdown, worker_shutdown
from django.conf import settings
from django.db import DatabaseError

from kb.core.beating import beat, fall_silent, forget_old
from retrieval.priority import give_way

logger = logging.getLogger(__name__)

QUEUES = ("parse", "embed", "fetch", "control")


@shared_task(soft_time_limit=20, time_limit=30)
def ask_for_heartbeats_task() -> None:
    """Sends one task to each queue; who takes it is alive."""
    forget_old()
    for queue in QUEUES:
        heartbeat_task.apply_async(args=[queue], queue=queue, expires=30)


@shared_task(soft_time_limit=20, time_limit=30)
def heartbeat_task(queue: str) -> None:
    beat(queue)


@worker_init.connect
def give_way_to_readers(**_: object) -> None:
    """Documents may wait a little for a search on the same machine, not the other way round."""
    give_way(settings.WORKER_NICE)


@task_prerun.connect
def beat_before_each_task(task: object, **_: object) -> None:
    """A queue with a long backlog shows life with every task it takes."""
    request = getattr(task, "request", None)
    delivery = getattr(request, "delivery_info", None) or {}
    if (queue := delivery.get("routing_key")) in QUEUES and not getattr(request, "is_eager", False):
        beat(queue)


@worker_process_shutdown.connect
@worker_shutdown.connect
def fall_silent_at_the_end(**_: object) -> None:
    """A worker that is stopped, and each process of its pool, is not taken for alive afterwards."""
    try:
        fall_silent()
    except DatabaseError as error:
        logger.warning("The last sign of life stays until it is old: %s", error)
