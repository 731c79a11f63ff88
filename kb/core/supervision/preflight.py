"""What can be known to be wrong before anything is started, each as a sentence that says what to do."""

import errno
import os
import shutil
import socket
from pathlib import Path

from kb.core.embedded.layout import make_private

MINIMUM_FREE = 500 * 1024 * 1024


class CannotStart(Exception):
    """Something outside is in the way; the message says what and how to get on."""


def check_folder(home: Path) -> None:
    """Raises CannotStart unless KB_HOME can be written to and has room."""
    probe = home / f".probe.{os.getpid()}"
    try:
        make_private(home / "logs")
        probe.write_bytes(b"x" * 4096)
        probe.unlink()
    except OSError as error:
        if error.errno in {errno.ENOSPC, errno.EDQUOT}:
            raise CannotStart(full(home)) from error
        raise CannotStart(
            f"cannot write in {home} ({error.strerror}): set KB_HOME to a folder of your own."
        ) from error
    if is_full(home):
        raise CannotStart(full(home))


def is_full(home: Path) -> bool:
    return shutil.disk_usage(home).free < MINIMUM_FREE


def full(home: Path) -> str:
    free = shutil.disk_usage(next(folder for folder in (home, *home.parents) if folder.exists())).free
    return (
        f"the disk of {home} has {free // 2**20} MB left and at least {MINIMUM_FREE // 2**20} are needed: "
        "free some space, or set KB_HOME to a folder on another disk."
    )


def check_port(host: str, port: int) -> None:
    """Raises CannotStart unless we could listen there now."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind, protocol) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
            probe.listen()
    except socket.gaierror as error:
        raise CannotStart(f"HOST {host!r} is not a name or address that this machine knows.") from error
    except OSError as error:
        raise CannotStart(port_problem(host, port, error.errno)) from error


def port_problem(host: str, port: int, code: int | None) -> str:
    if code == errno.EADDRINUSE:
        return f"port {port} on {host} is taken by another program. Choose another: PORT={port + 1}."
    if code in {errno.EACCES, errno.EPERM}:
        return f"this account may not listen on port {port}. Choose one above 1023: PORT=8000."
    if code == errno.EADDRNOTAVAIL:
        return f"HOST {host} is not an address of this machine. Use 127.0.0.1, or 0.0.0.0 for all it has."
    return f"cannot listen on {host} port {port}: {os.strerror(code or 0)}."
