"""Celery's side of a rollout: once a minute each canary is looked at."""

from celery import shared_task

from kb.search import rollout, shadowing


@shared_task(soft_time_limit=120, time_limit=150)
def steer_canaries_task() -> None:
    """Steps canaries up or takes them back, and forgets what shadows showed of versions that are over.

    A second one finds them moved, or does the same.
    """
    rollout.steer_all()
    shadowing.forget()
