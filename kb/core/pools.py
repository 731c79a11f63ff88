"""Database connections of searches and of API keys: bounded pools beside Django's, safe to use from threads."""

import select
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from contextvars import ContextVar, copy_context
from typing import Any, TypeVar
from weakref import WeakKeyDictionary

import psycopg
from django.db import connection as django_connection
from psycopg import Connection
from psycopg_pool import ConnectionPool

from kb.core import arrays

MOST_CONNECTIONS = 6  # for each purpose
STATEMENT_SECONDS = 10.0
WAIT_SECONDS = 2.0  # for a connection
SLACK = 0.9  # a connection is told anew how long it may take where that has changed by more than this share
RENEWED_SECONDS = 1.0
RESTED_SECONDS = 30.0  # a connection that was not used for so long is asked whether it is alive
NOT_LIBPQS = {"pool", "server_side_binding", "isolation_level", "assume_role"}
# Neither compiling nor starting more processes pays for searches of milliseconds, and nobody waits for the disk
# that is to keep the record of one.
OPTIONS = "-c jit=off -c max_parallel_workers_per_gather=0 -c synchronous_commit=off"
# What is asked for, and whether its plan is made anew for the very parameters: a plan for any would walk the graph for
# none or for all, while that of other statements is always the same, and takes longer to make than to follow.
PURPOSES = {
    "vectors": "force_custom_plan",
    "words": "force_generic_plan",
    "rows": "force_generic_plan",
    "filters": "force_custom_plan",
    "aside": "force_custom_plan",  # what a search can do without
}

T = TypeVar("T")

_pools: dict[tuple[str, str], ConnectionPool] = {}
_opening = threading.Lock()
_renewed = {"at": float("-inf")}
_until: ContextVar[float | None] = ContextVar("until", default=None)
_used: "WeakKeyDictionary[Connection, float]" = WeakKeyDictionary()
_told: "WeakKeyDictionary[Connection, dict[str, str]]" = WeakKeyDictionary()


class OutOfTime(psycopg.OperationalError):
    """The time given for reading is over."""


@contextmanager
def within(seconds: float) -> Iterator[None]:
    """What is read inside ends `seconds` from now, or when an outer block says: the database cancels it.

    Threads do not inherit this; those of `Threads` do.
    """
    outer, until = _until.get(), time.monotonic() + seconds
    token = _until.set(until if outer is None else min(outer, until))
    try:
        yield
    finally:
        _until.reset(token)


def left() -> float:
    """Seconds that a statement may take now; OutOfTime if there are none."""
    until = _until.get()
    seconds = STATEMENT_SECONDS if until is None else min(STATEMENT_SECONDS, until - time.monotonic())
    if seconds <= 0:
        raise OutOfTime("There was no time left to ask the database.")
    return seconds


class Threads(ThreadPoolExecutor):
    """Runs work under the deadline of whoever hands it in."""

    def submit(self, work: Callable[..., T], /, *args: Any, **kwargs: Any) -> "Future[T]":
        return super().submit(copy_context().run, work, *args, **kwargs)


def parameters() -> dict[str, Any]:
    """libpq's parameters of the default database, under the name it has now (a test changes it)."""
    settings = django_connection.settings_dict
    given = {
        "dbname": settings["NAME"],
        "user": settings["USER"],
        "password": settings["PASSWORD"],
        "host": settings["HOST"],
        "port": settings["PORT"],
    }
    options = {name: value for name, value in settings["OPTIONS"].items() if name not in NOT_LIBPQS}
    return {name: value for name, value in (given | options).items() if value not in ("", None)}


def database() -> str:
    """The database's name now."""
    return str(django_connection.settings_dict["NAME"])


@contextmanager
def asking(purpose: str, **settings: object) -> Iterator[Connection]:
    """A connection on which each statement is a transaction of its own, under `settings` of PostgreSQL's.

    Each purpose has connections of its own. They keep what they were told: where that is what is wanted, as it
    mostly is for one purpose, a statement costs one round trip, and beginning, setting and ending none.
    """
    seconds = left()
    with pool(purpose).connection(min(seconds, WAIT_SECONDS)) as connected:
        told = tell(connected, {name: str(value) for name, value in settings.items()}, 1000 * seconds)
        try:
            yield connected
        finally:
            _used[connected] = time.monotonic()
        _told[connected] = told  # after an error it is told everything anew


def tell(connected: Connection, settings: dict[str, str], milliseconds: float) -> dict[str, str]:
    """Has the settings hold for what is asked next, and nothing last longer; returns all that holds now."""
    told = _told.pop(connected, None)
    if told is None or told.keys() - settings.keys() - {"statement_timeout"}:
        connected.execute("RESET ALL")
        told = {}
    until = float(told.get("statement_timeout", "inf"))
    if not SLACK * until <= milliseconds <= until / SLACK:
        settings = settings | {"statement_timeout": str(max(1, round(milliseconds)))}
    if changed := {name: value for name, value in settings.items() if told.get(name) != value}:
        setting = ", ".join(["set_config(%s, %s, false)"] * len(changed))
        connected.execute(f"SELECT {setting}", [text for pair in changed.items() for text in pair])
    return told | settings


def pool(purpose: str) -> ConnectionPool:
    wanted = parameters()
    with _opening:
        found = _pools.get((wanted["dbname"], purpose))
        if found is None:
            options = f"{wanted.get('options', '')} {OPTIONS} -c plan_cache_mode={PURPOSES[purpose]}"
            found = _pools[wanted["dbname"], purpose] = ConnectionPool(
                kwargs=wanted | {"options": options, "autocommit": True},
                min_size=1,
                max_size=MOST_CONNECTIONS,
                name=f"search-{purpose}",
                open=True,
                check=check,
                configure=configure,
            )
    return found


def configure(connected: Connection) -> None:
    arrays.register(connected)
    _told[connected] = {}
    _used[connected] = time.monotonic()


def check(connected: Connection) -> None:
    """Raises OperationalError for a connection that is gone: the pool then gives another one, and waits for seconds
    where that is gone, too. When one is, so are most others, as after a restart of the server: all are made anew."""
    try:
        look_at(connected)
    except psycopg.OperationalError:
        renew()
        raise


def look_at(connected: Connection) -> None:
    """A server that ended a connection has said so: there is something to read where nothing was asked.

    Asking it costs a round trip, and is done only after a rest.
    """
    waiting = select.poll()
    waiting.register(connected.fileno(), select.POLLIN)
    if waiting.poll(0):
        connected.close()  # or the pool would take it back for a good one, and hand it out again
        raise psycopg.OperationalError("The server ended the connection.")
    if time.monotonic() - _used.get(connected, float("-inf")) > RESTED_SECONDS:
        ConnectionPool.check_connection(connected)


def renew() -> None:
    """Has every pool of the process, that of Django's requests too, make its connections anew."""
    with _opening:
        if time.monotonic() - _renewed["at"] < RENEWED_SECONDS:  # several find one that is gone
            return
        _renewed["at"] = time.monotonic()
        renewed = list(_pools.values())
    of_requests: ConnectionPool | None = getattr(django_connection, "pool", None)
    for each in filter(None, [*renewed, of_requests]):
        each.drain()


def close() -> None:
    """Ends all connections, as before the database is dropped."""
    with _opening:
        while _pools:
            _pools.popitem()[1].close()
