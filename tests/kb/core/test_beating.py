"""A worker that ends on purpose leaves no sign of life behind."""

import os
import socket

import pytest
from celery.signals import worker_process_shutdown, worker_shutdown
from celery.utils.dispatch import Signal
from django.utils import timezone

import kb.core.tasks  # noqa: F401  # connects the signals
from kb.core.beating import beat
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
