"""Workers' signs of life, written to the database because a busy solo worker sends none."""

import os
import socket
import time

from django.utils import timezone

from kb.core.models import Heartbeat

EVERY_SECONDS = 5.0
_last: dict[str, float] = {}


def beat(queue: str) -> None:
    """Notes that this process works on `queue`; costs nothing when it did so seconds ago."""
    now = time.monotonic()
    if now - _last.get(queue, -EVERY_SECONDS) < EVERY_SECONDS:
        return
    Heartbeat.objects.update_or_create(
        worker=f"{queue}@{socket.gethostname()}:{os.getpid()}",
        defaults={"queue": queue, "pid": os.getpid(), "at": timezone.now()},
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
