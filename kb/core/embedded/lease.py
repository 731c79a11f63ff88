"""Runs the embedded PostgreSQL for as long as somebody here needs it, and no longer."""

import fcntl
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from kb.core.embedded import layout, postgres


@contextmanager
def exclusively(file: IO[str], *, wait: bool = True) -> Iterator[None]:
    """Holds the file alone; without `wait` raises BlockingIOError where somebody else has it."""
    fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    try:
        yield
    finally:
        fcntl.flock(file, fcntl.LOCK_UN)


def starting_file(home: Path) -> Path:
    """Locked by who starts or stops the server."""
    return home / "postgres.start"


def users_file(home: Path) -> Path:
    """Locked in common by all who need the server."""
    return home / "postgres.users"


class Share:
    """One share in the server: while it is held, no command that ends stops the server."""

    def __init__(self, home: Path) -> None:
        home.mkdir(parents=True, exist_ok=True)
        self.file = users_file(home).open("w")
        fcntl.flock(self.file, fcntl.LOCK_SH)

    def is_last(self) -> bool:
        """Gives the share up; True if nobody else has one, and then nobody gets one before `close`."""
        fcntl.flock(self.file, fcntl.LOCK_UN)
        try:
            fcntl.flock(self.file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def close(self) -> None:
        self.file.close()


# Servers that this process started and others still need: nobody waits for them here any more.
_left_running: list[subprocess.Popen[bytes]] = []


@contextmanager
def postgres_lease(home: Path) -> Iterator[None]:
    """The database server runs inside this block: started if nobody had, stopped if nobody else needs it.

    Processes that need it hold a shared lock on one file; who can take it exclusively is the last.
    A killed process lets go of its lock by dying.
    """
    home.mkdir(parents=True, exist_ok=True)
    with starting_file(home).open("w") as starting:
        started: subprocess.Popen[bytes] | None = None
        with exclusively(starting):
            share = Share(home)
        try:
            with exclusively(starting):
                if postgres.running_pid(home) is None:
                    started = start(home)
                postgres.wait_until_ready(home, lambda: started is None or started.poll() is None)
            yield
        finally:
            with exclusively(starting):
                release(home, share, started)


def start(home: Path) -> subprocess.Popen[bytes]:
    """Starts the server in a session of its own, so that a Ctrl-C meant for us does not reach it."""
    postgres.prepare(home)
    layout.make_private(postgres.log(home).parent)
    with postgres.log(home).open("ab") as log:
        return subprocess.Popen(
            postgres.command(home),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
            cwd="/",
        )


def release(home: Path, share: Share, started: subprocess.Popen[bytes] | None) -> None:
    """Gives up our share, and stops the server where that was the last; somebody else does otherwise."""
    try:
        if not share.is_last():
            if started is not None:
                _left_running.append(started)
            return
        pid = postgres.running_pid(home) if started is None or started.poll() is not None else started.pid
        if pid is not None:
            postgres.stop(home, pid)
        if started is not None:
            started.wait(timeout=60)
    finally:
        share.close()
