"""Reading beside Django: deadlines that hold, settings that end with their transaction, connections that went."""

import os
import socket
import time

import numpy as np
import psycopg
import pytest
from psycopg.errors import QueryCanceled
from psycopg_pool import PoolTimeout

from kb.core import pools

pytestmark = pytest.mark.django_db(transaction=True)


def value(statement: str, *given: object, **settings: object) -> object:
    with pools.asking("vectors", **settings) as connected:
        row = connected.execute(statement, given).fetchone()
    assert row is not None
    return row[0]


def test_settings_hold_for_what_asked_for_them() -> None:
    assert value("SHOW enable_sort", enable_sort="off") == "off"
    assert value("SHOW enable_sort") == "on"
    assert value("SHOW statement_timeout") == "10s"


def test_settings_that_hold_already_are_not_sent_again(monkeypatch: pytest.MonkeyPatch) -> None:
    sent: list[str] = []
    execute = psycopg.Connection.execute

    def noting(connected: psycopg.Connection, statement: str, *given: object, **how: object) -> object:
        sent.append(statement)
        return execute(connected, statement, *given, **how)  # type: ignore[arg-type]

    for _ in range(pools.MOST_CONNECTIONS):  # each connection in its turn
        value("SELECT 1", enable_sort="off")
    monkeypatch.setattr(psycopg.Connection, "execute", noting)
    assert value("SELECT 2", enable_sort="off") == 2
    assert sent == ["SELECT 2"]


def test_after_an_error_settings_are_told_anew() -> None:
    with (
        pytest.raises(QueryCanceled),
        pools.within(0.1),
        pools.asking("vectors", enable_sort="off") as connected,
    ):
        connected.execute("SELECT pg_sleep(30)")
    assert value("SHOW enable_sort") == "on"
    assert value("SHOW statement_timeout") == "10s"


def test_a_deadline_that_came_nearer_is_told() -> None:
    assert value("SHOW statement_timeout") == "10s"
    with pools.within(2):
        assert value("SHOW statement_timeout") != "10s"
    assert value("SHOW statement_timeout") == "10s"


def test_plans_are_made_for_the_parameters_and_by_one_process() -> None:
    names = ("plan_cache_mode", "jit", "max_parallel_workers_per_gather")
    assert [value(f"SHOW {name}") for name in names] == ["force_custom_plan", "off", "0"]
    with pools.asking("words") as connected:
        assert connected.execute("SHOW plan_cache_mode").fetchone() == ("force_generic_plan",)


def test_the_database_cancels_what_lasts_longer_than_what_is_left() -> None:
    began = time.monotonic()
    with pools.within(0.2), pytest.raises(QueryCanceled), pools.asking("vectors") as connected:
        connected.execute("SELECT pg_sleep(30)").fetchall()
    assert time.monotonic() - began < 2
    assert value("SELECT 1") == 1  # the connection is as good as before


def test_an_inner_deadline_is_no_later_than_the_outer_one() -> None:
    with pools.within(1), pools.within(100):
        assert pools.left() <= 1
        with pools.within(0.5):
            assert pools.left() <= 0.5
    assert pools.left() == pools.STATEMENT_SECONDS


def test_nothing_is_asked_when_no_time_is_left() -> None:
    with pools.within(0), pytest.raises(pools.OutOfTime), pools.asking("vectors"):
        pytest.fail("there was no time")


def test_threads_work_under_the_deadline_of_whoever_hands_in() -> None:
    with pools.Threads(1) as threads:
        with pools.within(1):
            assert threads.submit(pools.left).result() <= 1
        assert threads.submit(pools.left).result() == pools.STATEMENT_SECONDS


def test_who_gets_no_connection_is_told_within_the_deadline() -> None:
    pool, held = pools.pool("vectors"), []
    try:
        held += [pool.getconn() for _ in range(pools.MOST_CONNECTIONS)]
        began = time.monotonic()
        with pools.within(0.2), pytest.raises(PoolTimeout), pools.asking("vectors"):
            pytest.fail("there was no connection")
        assert time.monotonic() - began < 2
    finally:
        for connected in held:
            pool.putconn(connected)


def test_a_connection_that_the_server_ended_is_replaced() -> None:
    pools.close()  # a pool that has no other one
    gone = value("SELECT pg_backend_pid()")
    with psycopg.connect(**pools.parameters(), autocommit=True) as other:
        other.execute("SELECT pg_terminate_backend(%s, 5000)", [gone])
    # Every connection of the pool gets its turn.
    assert gone not in [value("SELECT pg_backend_pid()") for _ in range(pools.MOST_CONNECTIONS)]


def test_after_a_restart_of_the_server_nobody_waits_for_one_connection_after_the_other(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(pools, "_renewed", {"at": float("-inf")})
    pool = pools.pool("vectors")
    held = [pool.getconn() for _ in range(pools.MOST_CONNECTIONS)]
    gone = [each.info.backend_pid for each in held]
    for each in held:
        pool.putconn(each)
    with psycopg.connect(**pools.parameters(), autocommit=True) as other:
        other.execute("SELECT pg_terminate_backend(pid, 5000) FROM unnest(%s) AS pid", [gone])
    began = time.monotonic()
    assert value("SELECT pg_backend_pid()") not in gone
    assert time.monotonic() - began < 1


def test_a_connection_that_ended_without_a_word_is_replaced() -> None:
    """As when the server's machine or process is killed: libpq knows nothing of it yet."""
    pools.close()  # a pool that has no other one
    with pools.asking("vectors") as connected:
        gone = connected.info.backend_pid
        with socket.socket(fileno=os.dup(connected.fileno())) as line:
            line.shutdown(socket.SHUT_RDWR)
    assert value("SELECT pg_backend_pid()") != gone


def test_a_connection_that_rested_is_asked_whether_it_lives(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[object] = []
    monkeypatch.setattr(pools.ConnectionPool, "check_connection", asked.append)
    value("SELECT 1")
    asked.clear()
    value("SELECT 1")
    assert asked == []
    monkeypatch.setattr(pools, "RESTED_SECONDS", -1)
    value("SELECT 1")
    assert len(asked) == 1


@pytest.mark.parametrize(("number", "name"), [("<i4", "integer[]"), ("<i8", "bigint[]"), ("<f4", "real[]")])
@pytest.mark.parametrize("numbers", [[], [1], [3, -2, 2**20]])
def test_arrays_arrive_as_they_are(number: str, name: str, numbers: list[int]) -> None:
    given = np.array(numbers, number)
    assert value("SELECT pg_typeof(%s)::text", given) == name
    assert value("SELECT %s", given) == numbers


def test_the_positions_of_an_array_count_from_one() -> None:
    assert value("SELECT (%s)[1]", np.array([7, 8], np.int32)) == 7


def test_numbers_of_another_kind_are_refused() -> None:
    with pytest.raises(KeyError):
        value("SELECT %s", np.array([1.0], np.float64))
