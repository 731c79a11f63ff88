"""One `up` for each folder."""

import fcntl
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from kb.core.supervision import lock
from kb.core.supervision.lock import AlreadyRunning, acquire, lock_path


def test_a_second_one_is_told_where_the_first_is(tmp_path: Path) -> None:
    told = re.escape(f"already running at http://127.0.0.1:8000/ (process {os.getpid()})")
    with acquire(tmp_path, "http://127.0.0.1:8000/"), pytest.raises(AlreadyRunning, match=told):
        acquire(tmp_path, "http://127.0.0.1:9000/")


def test_the_next_one_gets_it(tmp_path: Path) -> None:
    acquire(tmp_path, "first").close()
    with acquire(tmp_path, "second"):
        assert json.loads(lock_path(tmp_path).read_text())["address"] == "second"


def test_one_that_is_only_just_starting(tmp_path: Path) -> None:
    with lock_path(tmp_path).open("w") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        with pytest.raises(AlreadyRunning, match=r"already running\. Stop"):
            acquire(tmp_path, "mine")


def test_waits_while_a_killed_one_is_cleaned_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The lock outlives its owner in the guardian, which lets go when it is done."""
    held = acquire(tmp_path, "killed")
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    lock_path(tmp_path).write_text(json.dumps({"pid": dead.pid, "address": "killed"}))
    monkeypatch.setattr(lock.time, "sleep", lambda _: held.close())
    with acquire(tmp_path, "mine"):
        assert json.loads(lock_path(tmp_path).read_text())["address"] == "mine"


def test_does_not_wait_for_ever(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lock, "CLEANING_SECONDS", 0)
    monkeypatch.setattr(lock, "alive", lambda _: False)
    with acquire(tmp_path, "first"), pytest.raises(AlreadyRunning):
        acquire(tmp_path, "second")
