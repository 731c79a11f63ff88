"""What must be there before the site can run: schema, extension, static files, first administrator."""

import hashlib
import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path

from django.conf import settings
from django.contrib.staticfiles.finders import get_finders
from django.db import connection
from django.db.backends.utils import CursorWrapper

from kb.core.auditing import record
from kb.core.models import User

LOCK = 0x466F6F74  # "Foot": the key under which one process at a time prepares the database
OLDEST_PGVECTOR = (0, 8, 4)  # iterative scans, and the repair of parallel HNSW builds
ASK_AGAIN_SECONDS = 0.5


@contextmanager
def alone() -> Iterator[None]:
    """Holds the database's preparation lock on the connection that the block uses.

    Waits by asking again and again: a waiting statement would hold a snapshot, and the first process's
    CREATE INDEX CONCURRENTLY waits for those to end.
    """
    with connection.cursor() as cursor:
        while not take(cursor):
            time.sleep(ASK_AGAIN_SECONDS)
        try:
            yield
        finally:
            if not connection.needs_rollback:
                cursor.execute("SELECT pg_advisory_unlock(%s)", [LOCK])


def take(cursor: CursorWrapper) -> bool:
    cursor.execute("SELECT pg_try_advisory_lock(%s)", [LOCK])
    row = cursor.fetchone()
    return bool(row and row[0])


def extension_refusal(error: BaseException) -> str | None:
    """What to do when the database would not create the extension `vector`; None if that was not it."""
    cause = error.__cause__ or error
    state, text = getattr(cause, "sqlstate", None), str(cause)
    if "vector" not in text:
        return None
    database = connection.settings_dict["NAME"]
    if state == "42501":
        return (
            f'this account may not create the extension "vector". Ask a superuser to run, once, '
            f"in the database {database}: CREATE EXTENSION vector;"
        )
    if state in {"0A000", "58P01"}:
        return (
            "this PostgreSQL has no pgvector. Install it on the database server (for example the package "
            f"postgresql-18-pgvector), then run, in the database {database}: CREATE EXTENSION vector;"
        )
    return None


def old_extension(version: str) -> str | None:
    """What to do when pgvector is too old to search under a filter; None if it is not."""
    numbers = tuple(int(part) for part in version.split(".") if part.isdecimal())
    if numbers >= OLDEST_PGVECTOR:
        return None
    return f"pgvector is {version}, but 0.8.4 is needed: install it, then run ALTER EXTENSION vector UPDATE;"


def pgvector_version() -> str:
    with connection.cursor() as cursor:
        cursor.execute("SELECT extversion FROM pg_extension WHERE extname = 'vector'")
        row = cursor.fetchone()
    return str(row[0]) if row else "0"


@dataclass(frozen=True)
class Login:
    username: str
    password: str


def first_administrator() -> Login | None:
    """Makes an administrator with a new password where there is none; None where there is one."""
    if User.objects.filter(is_superuser=True).exists():
        return None
    names = ("admin" if number == 1 else f"admin{number}" for number in count(1))
    name = next(name for name in names if not User.objects.filter(username=name).exists())
    password = secrets.token_urlsafe(12)
    user = User.objects.create_superuser(username=name, password=password)
    record(user, "create", user, reason="first administrator")
    return Login(name, password)


def collected() -> Path:
    """Says, beside the collected static files, what they were collected from."""
    return Path(settings.STATIC_ROOT).with_name("static.collected")


def static_sources() -> str:
    """A hash over names, sizes and times of all static files: collecting them again takes seconds."""
    found = hashlib.sha256(str(settings.STORAGES["staticfiles"]).encode())
    for finder in get_finders():
        for path, storage in finder.list([]):
            state = Path(storage.path(path)).stat()
            found.update(f"{path}\0{state.st_size}\0{state.st_mtime_ns}\0".encode())
    return found.hexdigest()


def static_is_current() -> bool:
    marker = collected()
    return Path(settings.STATIC_ROOT).is_dir() and marker.exists() and marker.read_text() == static_sources()
