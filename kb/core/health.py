"""What must work for the site to work: each check says what is wrong in a sentence."""

import logging
from collections.abc import Callable
from dataclasses import dataclass

from celery import current_app
from django.db import Error, connection
from kombu.exceptions import OperationalError

from kb.core.models import Heartbeat

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Check:
    name: str
    ok: bool
    detail: str = ""


def database() -> Check:
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")
    except Error:
        # Who may ask is not known here: the error names hosts, accounts and databases.
        logger.exception("PostgreSQL does not answer")
        return Check("database", False, "PostgreSQL does not answer; the log says why.")
    return Check("database", True)


def broker() -> Check:
    try:
        with current_app.connection_for_write() as connected:
            connected.ensure_connection(max_retries=1, timeout=2, interval_start=0)
    except (OperationalError, OSError):
        logger.exception("The message broker does not answer")
        return Check("broker", False, "The message broker does not answer; the log says why.")
    return Check("broker", True)


# What apps further out need, and only they can judge; added when they are ready.
of_apps: list[Callable[[], Check]] = []


def workers_alive(queue: str) -> bool:
    return Heartbeat.objects.all().fresh().filter(queue=queue).exists()


def workers() -> list[Check]:
    return [worker(queue, workers_alive(queue)) for queue in ("control", "parse", "embed")]


def worker(queue: str, ok: bool) -> Check:
    return Check(f"worker:{queue}", ok, "" if ok else f"No worker takes from the queue {queue}.")


def checks() -> list[Check]:
    """Database, broker, workers and what apps have added; without the database the rest cannot be known."""
    first = database()
    return [first, broker(), *workers(), *(check() for check in of_apps)] if first.ok else [first]
