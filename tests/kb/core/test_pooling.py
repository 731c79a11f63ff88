"""A web server's requests share a few connections instead of making one each."""

import threading
from collections.abc import Iterator

import pytest
from django.conf import LazySettings
from django.db import connection, connections

from kb.core.pooling import keep_connections

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def options() -> Iterator[dict[str, object]]:
    """The default database's options, as they were again afterwards."""
    connection.ensure_connection()  # this thread's own is none of those that are kept
    found = connections.settings["default"]["OPTIONS"]
    yield found
    if "pool" in found:
        connection.close_pool()
        del found["pool"]


def ask() -> int:
    """In a thread of its own, as a request: which process of the database answered."""
    found: list[int] = []

    def request() -> None:
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_backend_pid()")
            found.extend(cursor.fetchone())
        connection.close()

    thread = threading.Thread(target=request)
    thread.start()
    thread.join()
    return found[0]


def test_requests_take_connections_that_are_kept(options: dict[str, object], settings: LazySettings) -> None:
    assert len({ask() for _ in range(6)}) == 6
    settings.DATABASE_POOL = 1
    keep_connections()
    assert len({ask() for _ in range(6)}) == 1


def test_a_connection_that_the_database_ended_is_replaced(
    options: dict[str, object], settings: LazySettings
) -> None:
    settings.DATABASE_POOL = 1
    keep_connections()
    first = ask()
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_terminate_backend(%s, 5000)", [first])
    assert ask() != first


def test_none_are_kept_where_none_are_wanted(options: dict[str, object], settings: LazySettings) -> None:
    settings.DATABASE_POOL = 0
    keep_connections()
    assert "pool" not in options
