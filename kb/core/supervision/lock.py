"""One `up` per KB_HOME: a locked file that says which process it is and where it listens."""

import fcntl
import json
import os
import time
from pathlib import Path
from typing import IO

from kb.core.supervision.guardian import alive

CLEANING_SECONDS = 120


class AlreadyRunning(Exception):
    """Another `up` works in this folder; the message says which and where."""


def lock_path(home: Path) -> Path:
    return home / "up.pid"


def acquire(home: Path, address: str) -> IO[str]:
    """The locked file; closing it (in every process that has it) lets go. Raises AlreadyRunning.

    A killed `up` leaves the lock to its guardian for the seconds that cleaning up takes: we wait for that.
    """
    file = lock_path(home).open("a+")
    deadline = time.monotonic() + CLEANING_SECONDS
    while True:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            break
        except BlockingIOError:
            pid, where = holder(file)
            if pid is None or alive(pid) or time.monotonic() > deadline:
                file.close()
                raise AlreadyRunning(
                    f"already running{where}. Stop that one first, or choose another KB_HOME."
                ) from None
        time.sleep(0.1)
    file.seek(0)
    file.truncate()
    json.dump({"pid": os.getpid(), "address": address}, file)
    file.flush()
    return file


def holder(file: IO[str]) -> tuple[int | None, str]:
    """The process that wrote itself into the file, and words that say where it is."""
    file.seek(0)
    try:
        note = json.load(file)
        return int(note["pid"]), f" at {note['address']} (process {note['pid']})"
    except (ValueError, KeyError, TypeError):
        return None, ""  # it is only just starting and has not written yet
