"""What must work for the site to work: each check says what is wrong in a sentence."""

from dataclasses import dataclass

from celery import current_app
from django.db import DatabaseError, connection
from kombu.exceptions import OperationalError

from kb.core.models import Heartbeat


@dataclass(frozen=True)
class Check:
    name: str
    ok: bool
    detail: str = ""


def database() -> Check:
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")
    except DatabaseError as error:
        return Check("database", False, f"PostgreSQL does not answer: {error}")
    return Check("database", True)


def broker() -> Check:
    try:
        with current_app.connection_for_write() as connected:
            connected.ensure_connection(max_retries=1, timeout=2, interval_start=0)
    except (OperationalError, OSError) as error:
        return Check("broker", False, f"The message broker does not answer: {error}")
    return Check("broker", True)


def workers_alive(queue: str) -> bool:
    return Heartbeat.objects.all().fresh().filter(queue=queue).exists()


def workers() -> list[Check]:
    alive = set(Heartbeat.objects.all().fresh().values_list("queue", flat=True))
    return [
        Check(
            f"worker:{queue}",
            queue in alive,
            "" if queue in alive else f"No worker takes from the queue {queue}.",
        )
        for queue in ("parse", "embed")
    ]


def checks() -> list[Check]:
    """Database, broker and workers; without the database the rest cannot be known."""
    first = database()
    return [first, broker(), *workers()] if first.ok else [first]
