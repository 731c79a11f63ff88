"""Workers' signs of life, written to the database because a busy solo worker sends none."""

import os
import socket
import time
from dataclasses import dataclass

from django.utils import timezone

from kb.core.models import Heartbeat

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


def beat(queue: str, rate: float | None = None) -> None:
    """Notes that this process works on `queue`, of late at `rate` units a second, where that is known.

    Costs nothing when it did so seconds ago.
    """
    now = time.monotonic()
    if now - _last.get(queue, -EVERY_SECONDS) < EVERY_SECONDS:
        return
    known = {} if rate is None else {"rate": rate}
    Heartbeat.objects.update_or_create(
        worker=f"{queue}@{socket.gethostname()}:{os.getpid()}",
        defaults={"queue": queue, "pid": os.getpid(), "at": timezone.now(), **known},
    )
    _last[queue] = now


def fall_silent() -> None:
    """Removes the signs of this process, which ends on purpose."""
    mine = f"@{socket.gethostname()}:{os.getpid()}"
    Heartbeat.objects.filter(pid=os.getpid(), worker__endswith=mine).delete()
    _last.clear()


def forget_old() -> None:
    """Removes the rows of workers that ended long ago."""
    Heartbeat.objects.filter(at__lt=timezone.now() - 10 * Heartbeat.objects.all().FRESH).delete()
