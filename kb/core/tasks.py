"""Keeps the workers' heartbeats going: each queue is asked to show that it consumes."""

from celery import shared_task
from celery.signals import task_prerun

from kb.core.beating import beat, forget_old

QUEUES = ("parse", "embed", "control")


@shared_task(soft_time_limit=20, time_limit=30)
def ask_for_heartbeats_task() -> None:
    """Sends one task to each queue; who takes it is alive."""
    forget_old()
    for queue in QUEUES:
        heartbeat_task.apply_async(args=[queue], queue=queue, expires=30)


@shared_task(soft_time_limit=20, time_limit=30)
def heartbeat_task(queue: str) -> None:
    beat(queue)


@task_prerun.connect
def beat_before_each_task(task: object, **_: object) -> None:
    """A queue with a long backlog shows life with every task it takes."""
    request = getattr(task, "request", None)
    delivery = getattr(request, "delivery_info", None) or {}
    if (queue := delivery.get("routing_key")) in QUEUES and not getattr(request, "is_eager", False):
        beat(queue)
