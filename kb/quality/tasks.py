"""Celery's side of validation: in a worker that has the models in memory."""

from celery import shared_task

from kb.core.beating import showing_life
from kb.core.waking import wake
from kb.indexes.tasks import WAKE_SECONDS
from kb.quality import requested


@shared_task(soft_time_limit=1800, time_limit=1860)
def validate_version_task(version_id: int) -> None:
    """Writes the report that is asked for. A second task finds the first at it, or nothing asked for any more."""
    with showing_life("embed"):
        requested.carry_out(version_id)


@shared_task(soft_time_limit=60, time_limit=90)
def sweep_validations_task() -> None:
    """Wakes workers for what is to be measured and was left, whatever became of its message or its worker."""
    for version_id in requested.left():
        wake(validate_version_task, version_id, expires=WAKE_SECONDS)
