"""Wakes a worker after the commit; without a broker the sweepers find the row instead."""

import logging
import time
from functools import partial

from celery import Task
from django.db import transaction
from kombu.exceptions import OperationalError

logger = logging.getLogger(__name__)

SILENT_SECONDS = 30.0
_silent = {"until": 0.0}


def wake_on_commit(task: Task, *ids: object) -> None:
    """Sends `task(*ids)` once the transaction is committed."""
    transaction.on_commit(partial(wake, task, *ids))


def wake(task: Task, *ids: object, expires: float | None = None, countdown: float | None = None) -> None:
    """Sends `task(*ids)`, to be begun in `countdown` seconds; one taken later than `expires` seconds is dropped.

    Trying takes seconds while the broker is away, and whoever puts in many files would try for each: for a
    while after a failure nothing is sent.
    """
    if time.monotonic() < _silent["until"]:
        return
    try:
        task.apply_async(args=ids, expires=expires, countdown=countdown)
    except (OperationalError, OSError) as error:
        # The database says what is to be done; a lost message costs seconds until the next sweep.
        _silent["until"] = time.monotonic() + SILENT_SECONDS
        logger.warning(
            "The broker did not take %s%r (%s); a sweep will find the work.", task.name, ids, error
        )
