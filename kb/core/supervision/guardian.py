"""Stops what a killed `up` leaves behind: it is told what runs, and acts when its standard input ends.

A script of the standard library alone, started by path, so that it stays small and needs no settings.
"""

import fcntl
import json
import os
import signal
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any


def alive(pid: int) -> bool:
    """Whether the process runs; one that only waits to be collected does not."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except FileNotFoundError:
        return not Path("/proc").exists()  # ended just now, or a system without /proc
    return state not in "ZX"


def nobody_else_uses(path: str) -> bool:
    """Locks the file for good when nobody else holds it, so that no new user begins while we stop."""
    if not path:
        return True
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return False
    return True


def stop(children: list[dict[str, Any]]) -> None:
    """Asks each to end, waits as long as it may take, and ends the rest with all its processes."""
    children = [child for child in children if nobody_else_uses(child["users_file"])]
    for child in children:
        with suppress(ProcessLookupError):
            os.kill(child["pid"], child["signal"])
    start = time.monotonic()
    for child in children:
        while alive(child["pid"]) and time.monotonic() - start < child["seconds"]:
            time.sleep(0.05)
        with suppress(ProcessLookupError):
            os.killpg(child["pid"], signal.SIGKILL)


def main() -> None:
    for ignored in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(ignored, signal.SIG_IGN)
    running: dict[int, dict[str, Any]] = {}
    for line in sys.stdin:
        note = json.loads(line)
        if "signal" in note:
            running[note["pid"]] = note
        else:
            running.pop(note["pid"], None)
    for order in sorted({note["order"] for note in running.values()}):
        stop([note for note in running.values() if note["order"] == order])


if __name__ == "__main__":
    main()
