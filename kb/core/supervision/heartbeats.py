"""Reads the workers' signs of life in a thread, so that a database that hangs holds up nobody."""

import os
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from django.db import DatabaseError, connection

from kb.core.models import Heartbeat

EVERY_SECONDS = 15.0
GAP_SECONDS = 60.0  # a longer pause than this between two readings: the machine slept


@dataclass(frozen=True)
class Signs:
    """The last sign of each process (`seen`, by pid), read at `at`; trusted without a gap `since` then."""

    at: float
    since: float
    seen: dict[int, float]

    def of_group(self, leader: int) -> float | None:
        """The last sign of any process in the group that `leader` leads."""
        return max((at for pid, at in self.seen.items() if group(pid) == leader), default=None)


def group(pid: int) -> int | None:
    try:
        return os.getpgid(pid)
    except (ProcessLookupError, PermissionError):
        return None  # it has ended, or lives on another machine that shares the database


def read() -> dict[int, float]:
    """Seconds since the epoch of each process's last heartbeat. Raises DatabaseError."""
    try:
        return {pid: at.timestamp() for pid, at in Heartbeat.objects.values_list("pid", "at")}
    finally:
        connection.close()


def following(previous: Signs | None, seen: dict[int, float], now: float) -> Signs:
    """The next reading; trust begins anew after a gap in which nobody could have written or read."""
    unbroken = previous is not None and now - previous.at <= GAP_SECONDS
    return Signs(now, previous.since if previous is not None and unbroken else now, seen)


class Watch:
    """`latest` is the newest reading, or None while the database cannot be read."""

    def __init__(self, reading: Callable[[], dict[int, float]] = read, every: float = EVERY_SECONDS) -> None:
        self.latest: Signs | None = None
        self.reading = reading
        self.every = every
        self.ended = threading.Event()
        self.thread = threading.Thread(target=self.run, name="heartbeats", daemon=True)

    def run(self) -> None:
        while not self.ended.is_set():
            try:
                seen = self.reading()
                self.latest = following(self.latest, seen, time.time())
            except DatabaseError:
                self.latest = None  # nobody could write a sign either: silence means nothing for a while
            self.ended.wait(self.every)
