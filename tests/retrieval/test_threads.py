"""Bounded threads: no more than were allowed, each used again, none of them waited for at the end."""

import subprocess
import sys
import threading

import pytest

from retrieval.threads import DaemonThreads


def test_results_and_errors_come_back() -> None:
    threads = DaemonThreads(2, "test")
    assert threads.submit(lambda: 7).result(10) == 7
    with pytest.raises(ZeroDivisionError):
        threads.submit(lambda: 1 / 0).result(10)


def test_there_are_never_more_than_allowed_and_idle_ones_are_used_again() -> None:
    threads, names, gate = DaemonThreads(3, "few"), [], threading.Event()

    def work() -> None:
        names.append(threading.current_thread().name)
        gate.wait(10)

    asked = [threads.submit(work) for _ in range(20)]
    gate.set()
    for future in asked:
        future.result(10)
    assert {name.rpartition("-")[0] for name in names} == {"few"}
    assert len(names) == 20
    assert len(set(names)) <= 3


def test_what_is_cancelled_before_its_turn_is_not_begun() -> None:
    threads, gate, done = DaemonThreads(1, "one"), threading.Event(), []
    first = threads.submit(lambda: gate.wait(10))
    second = threads.submit(lambda: done.append("second"))
    assert second.cancel()
    gate.set()
    assert first.result(10)
    threads.submit(lambda: done.append("third")).result(10)
    assert done == ["third"]


def test_a_thread_that_hangs_does_not_keep_the_process_from_ending() -> None:
    program = (
        "import threading; from retrieval.threads import DaemonThreads; "
        "DaemonThreads(1, 'hanging').submit(threading.Event().wait)"
    )
    subprocess.run([sys.executable, "-c", program], check=True, timeout=20)
