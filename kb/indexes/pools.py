"""Database connections of the search arms: a bounded pool beside Django's, safe to use from threads."""

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

from kb.indexes import arrays

MOST_CONNECTIONS = 8
STATEMENT_SECONDS = 10.0
WAIT_SECONDS = 2.0  # for a connection
RESTED_SECONDS = 30.0  # a connection that was not used for so long is asked whether it is alive
NOT_LIBPQS = {"pool", "server_side_binding", "isolation_level", "assume_role"}
# Plans are made for the very parameters: a plan for any would walk the graph for none or for all. Neither
# compiling nor starting more processes pays for searches of milliseconds.
OPTIONS = "-c plan_cache_mode=force_custom_plan -c jit=off -c max_parallel_workers_per_gather=0"

T = TypeVar("T")

_pools: dict[str, ConnectionPool] = {}
_opening = threading.Lock()
_until: ContextVar[float | None] = ContextVar("until", default=None)
_used: "WeakKeyDictionary[Connection, float]" = WeakKeyDictionary()


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
    return str(parameters()["dbname"])


@contextmanager
def transaction(**settings: object) -> Iterator[Connection]:
    """A transaction for reading on a pooled connection, with `settings` of PostgreSQL's for itself alone.

    Statements are sent ahead of the answers of those before (psycopg's pipeline mode), so beginning,
    setting and asking take one round trip together.
    """
    seconds = left()
    chosen = {"statement_timeout": max(1, round(1000 * seconds)), **settings}
    setting = ", ".join(["set_config(%s, %s, true)"] * len(chosen))
    given = [text for name, value in chosen.items() for text in (name, str(value))]
    with pool().connection(min(seconds, WAIT_SECONDS)) as connected:
        try:
            with connected.pipeline(), connected.transaction():
                connected.execute(f"SELECT {setting}", given)
                yield connected
        finally:
            _used[connected] = time.monotonic()


def pool() -> ConnectionPool:
    wanted = parameters()
    with _opening:
        found = _pools.get(wanted["dbname"])
        if found is None:
            options = f"{wanted.get('options', '')} {OPTIONS}"
            found = _pools[wanted["dbname"]] = ConnectionPool(
                kwargs=wanted | {"options": options},
                min_size=1,
                max_size=MOST_CONNECTIONS,
                name="search",
                open=True,
                check=check,
                configure=arrays.register,
            )
    return found


def check(connected: Connection) -> None:
    """Raises OperationalError for a connection that is gone: the pool then makes another one.

    A server that ended a connection has said so: there is something to read where nothing was asked.
    Asking it costs a round trip, and is done only after a rest.
    """
    waiting = select.poll()
    waiting.register(connected.fileno(), select.POLLIN)
    if waiting.poll(0):
        raise psycopg.OperationalError("The server ended the connection.")
    if time.monotonic() - _used.get(connected, float("-inf")) > RESTED_SECONDS:
        ConnectionPool.check_connection(connected)


def close() -> None:
    """Ends all connections, as before the database is dropped."""
    with _opening:
        while _pools:
            _pools.popitem()[1].close()
