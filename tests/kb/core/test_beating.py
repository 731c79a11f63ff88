"""A worker that ends on purpose leaves no sign of life behind."""

import os
import socket

import pytest
from celery.signals import worker_process_shutdown, worker_shutdown
from celery.utils.dispatch import Signal
from django.utils import timezone

import kb.core.tasks  # noqa: F401  # connects the signals
from kb.core import beating
from kb.core.beating import Pace, beat, fall_silent
from kb.core.models import Heartbeat


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("signal", [worker_shutdown, worker_process_shutdown])
def test_an_ended_process_has_no_heartbeat(signal: Signal) -> None:
    other = f"parse@{socket.gethostname()}:{2**22 + 1}"
    elsewhere = f"parse@another-machine:{os.getpid()}"
    for worker, pid in ((other, 2**22 + 1), (elsewhere, os.getpid())):
        Heartbeat.objects.create(worker=worker, queue="parse", pid=pid, at=timezone.now())
    beat("parse")
    beat("control")
    signal.send(sender=None)
    assert set(Heartbeat.objects.values_list("worker", flat=True)) == {other, elsewhere}
    beat("parse")
    assert Heartbeat.objects.filter(pid=os.getpid()).count() == 2


@pytest.mark.django_db
def test_a_sign_of_life_tells_the_rate_and_keeps_it_where_none_is_known() -> None:
    fall_silent()  # of what other tests left
    beat("parse", rate=12.5)
    assert Heartbeat.objects.get().rate == 12.5
    beat("parse", rate=99)
    assert Heartbeat.objects.get().rate == 12.5, "it was written a moment ago"
    beating._last.clear()
    beat("parse")
    assert Heartbeat.objects.get().rate == 12.5
    fall_silent()


@pytest.mark.parametrize(
    ("measured", "rate"),
    [
        ([], 0.0),
        ([(10, 2.0)], 5.0),
        ([(10, 1.0), (10, 1.0)], 10.0),
        # Half of the first minute's weight is gone after half a minute of work.
        ([(0, 30.0), (300, 30.0)], 300 / 45),
        ([(1, 0.001), (1000, 10.0)], pytest.approx(100, rel=0.01)),
    ],
)
def test_a_pace_is_of_late(measured: list[tuple[float, float]], rate: float) -> None:
    pace = Pace()
    for units, seconds in measured:
        pace.add(units, seconds)
    assert pace.rate == pytest.approx(rate)
