"""Workers' signs of life, written to the database because a busy solo worker sends none."""

import logging
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from django.db import DatabaseError, connection
from django.utils import timezone

from kb.core.models import Heartbeat

logger = logging.getLogger(__name__)

EVERY_SECONDS = 5.0
_last: dict[str, float] = {}


@dataclass
class Pace:
    """How many units a second are done of late: what was `HALF_LIFE` working seconds ago counts half."""

    HALF_LIFE = 30.0

    units: float = 0.0
    seconds: float = 0.0

    def add(self, units: float, seconds: float) -> None:
        kept = 0.5 ** (seconds / self.HALF_LIFE)
        self.units, self.seconds = self.units * kept + units, self.seconds * kept + seconds

    @property
    def rate(self) -> float:
        """Units a second; 0 before anything was measured."""
        return self.units / self.seconds if self.seconds else 0.0


def worker_name(queue: str) -> str:
    """What this process is called in the heartbeats that it writes for `queue`."""
    return f"{queue}@{socket.gethostname()}:{os.getpid()}"


def beat(queue: str, rate: float | None = None) -> None:
    """Notes that this process works on `queue`, of late at `rate` units a second, where that is known.

    Costs nothing when it did so seconds ago.
    """
    now = time.monotonic()
    if now - _last.get(queue, -EVERY_SECONDS) < EVERY_SECONDS:
        return
    known = {} if rate is None else {"rate": rate}
    Heartbeat.objects.update_or_create(
        worker=worker_name(queue),
        defaults={"queue": queue, "pid": os.getpid(), "at": timezone.now(), **known},
    )
    _last[queue] = now


@contextmanager
def showing_life(
    queue: str, also: Callable[[], object] | None = None, every: float = EVERY_SECONDS
) -> Iterator[None]:
    """While the block works or waits, the queue's worker is seen to live, and `also` is done each time.

    Costs no statement where the block is done within seconds, and holds no transaction.
    """
    over = threading.Event()
    beating = threading.Thread(target=_beat_until, args=(over, queue, also, every), daemon=True)
    beating.start()
    try:
        yield
    finally:
        over.set()
        beating.join()


def _beat_until(over: threading.Event, queue: str, also: Callable[[], object] | None, every: float) -> None:
    """In a thread of its own, with its own connection, which is opened at the first beat."""
    try:
        while not over.wait(every):
            try:
                beat(queue)
                if also is not None:
                    also()
            except DatabaseError as error:
                logger.warning("A sign of life could not be written: %s", error)
                connection.close()
    finally:
        connection.close()


def fall_silent() -> None:
    """Removes the signs of this process, which ends on purpose."""
    mine = f"@{socket.gethostname()}:{os.getpid()}"
    Heartbeat.objects.filter(pid=os.getpid(), worker__endswith=mine).delete()
    _last.clear()


def forget_old() -> None:
    """Removes the rows of workers that ended long ago."""
    Heartbeat.objects.filter(at__lt=timezone.now() - 10 * Heartbeat.objects.all().FRESH).delete()
