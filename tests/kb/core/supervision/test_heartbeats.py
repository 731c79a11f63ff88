"""Readings of heartbeats: whose they are, and since when silence means something."""

import os
import subprocess
import sys
import threading

import pytest
from django.db import OperationalError

from kb.core.beating import beat, fall_silent
from kb.core.supervision import heartbeats
from kb.core.supervision.heartbeats import Signs, Watch, following


def test_trust_lasts_while_readings_follow_each_other() -> None:
    first = following(None, {}, 100.0)
    second = following(first, {}, 115.0)
    assert (first.since, second.since) == (100.0, 100.0)


def test_trust_begins_anew_after_a_gap() -> None:
    assert following(Signs(100.0, 0.0, {}), {}, 161.0).since == 161.0


def test_a_sign_of_any_process_of_the_group_counts() -> None:
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE, start_new_session=True)
    try:
        signs = Signs(0.0, 0.0, {child.pid: 5.0, os.getpid(): 9.0, 2**22 + 1: 7.0})
        assert signs.of_group(child.pid) == 5.0
        assert signs.of_group(os.getpgrp()) == 9.0
        assert signs.of_group(2**22 + 1) is None
    finally:
        child.communicate()


@pytest.mark.django_db(transaction=True)
def test_readings_come_from_the_database() -> None:
    fall_silent()  # or a sign that another test gave just now makes this one wait
    beat("embed")
    assert heartbeats.read().keys() == {os.getpid()}


def test_a_database_that_fails_is_no_silence() -> None:
    asked = threading.Semaphore(0)
    answers = iter([{1: 1.0}, OperationalError("gone"), {1: 2.0}])

    def reading() -> dict[int, float]:
        asked.release()
        answer = next(answers)
        if isinstance(answer, Exception):
            raise answer
        if answer == {1: 2.0}:
            watch.ended.set()
        return answer

    watch = Watch(reading, every=0.0)
    watch.thread.start()
    watch.thread.join(10)
    assert watch.latest is not None
    assert watch.latest.seen == {1: 2.0}
    assert watch.latest.since == watch.latest.at
