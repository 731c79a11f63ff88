"""Runs the embedded PostgreSQL for as long as somebody here needs it, and no longer."""

import fcntl
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from kb.core.embedded import postgres


@contextmanager
def exclusively(file: IO[str]) -> Iterator[None]:
    fcntl.flock(file, fcntl.LOCK_EX)
    try:
        yield
    finally:
        fcntl.flock(file, fcntl.LOCK_UN)


@contextmanager
def postgres_lease(home: Path) -> Iterator[None]:
    """The database server runs inside this block: started if nobody had, stopped if nobody else needs it.

    Processes that need it hold a shared lock on one file; who can take it exclusively is the last.
    A killed process lets go of its lock by dying.
    """
    home.mkdir(parents=True, exist_ok=True)
    with (home / "postgres.start").open("w") as starting, (home / "postgres.users").open("w") as users:
        with exclusively(starting):
            fcntl.flock(users, fcntl.LOCK_SH)
            started = start(home) if postgres.running_pid(home) is None else None
            postgres.wait_until_ready(home, lambda: started is None or started.poll() is None)
        try:
            yield
        finally:
            with exclusively(starting):
                release(home, users, started)


def start(home: Path) -> subprocess.Popen[bytes]:
    """Starts the server in a session of its own, so that a Ctrl-C meant for us does not reach it."""
    postgres.prepare(home)
    postgres.log(home).parent.mkdir(exist_ok=True)
    with postgres.log(home).open("ab") as log:
        return subprocess.Popen(postgres.command(home), stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                start_new_session=True, cwd="/")


def release(home: Path, users: IO[str], started: subprocess.Popen[bytes] | None) -> None:
    fcntl.flock(users, fcntl.LOCK_UN)
    try:
        fcntl.flock(users, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return  # somebody else still needs the server, and will stop it
    pid = postgres.running_pid(home)
    if started is not None and started.pid == pid:
        started.send_signal(postgres.FAST_SHUTDOWN)
        started.wait(timeout=60)
    elif pid is not None:
        postgres.stop(pid)
