"""Database connections of the search arms: a bounded pool beside Django's, safe to use from threads."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from django.db import connection as django_connection
from psycopg import Connection
from psycopg_pool import ConnectionPool

MOST_CONNECTIONS = 8
STATEMENT_SECONDS = 10
NOT_LIBPQS = {"pool", "server_side_binding", "isolation_level", "assume_role"}

_pools: dict[str, ConnectionPool] = {}
_opening = threading.Lock()


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


@contextmanager
def transaction() -> Iterator[Connection]:
    """A read-only transaction on a pooled connection; what it SETs LOCAL ends with it."""
    wanted = parameters()
    with _opening:
        pool = _pools.get(wanted["dbname"])
        if pool is None:
            pool = ConnectionPool(
                kwargs=wanted | {"options": f"-c statement_timeout={STATEMENT_SECONDS}s"},
                min_size=1,
                max_size=MOST_CONNECTIONS,
                timeout=STATEMENT_SECONDS,
                name="search",
                open=True,
                check=ConnectionPool.check_connection,
            )
            _pools[wanted["dbname"]] = pool
    with pool.connection() as connected, connected.transaction():
        yield connected


def close() -> None:
    """Ends all connections, as before the database is dropped."""
    with _opening:
        while _pools:
            _pools.popitem()[1].close()
