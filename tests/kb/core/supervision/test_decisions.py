"""The rules of supervision, as tables."""

import pytest

from kb.core.supervision.decisions import Restart, Worker, demo_wanted, hopeless, restart, silent


@pytest.mark.parametrize(
    ("lived", "deaths_before", "expected"),
    [
        (0.1, 0, Restart(1, 1.0)),
        (0.1, 1, Restart(2, 2.0)),
        (0.1, 4, Restart(5, 16.0)),
        (0.1, 5, Restart(6, 30.0)),
        (0.1, 5000, Restart(5001, 30.0)),
        (59.9, 3, Restart(4, 8.0)),
        (60.0, 3, Restart(1, 1.0)),
        (86_400.0, 9, Restart(1, 1.0)),
    ],
)
def test_restart(lived: float, deaths_before: int, expected: Restart) -> None:
    assert restart(lived, deaths_before) == expected


@pytest.mark.parametrize(
    ("required", "was_ready", "deaths", "expected"),
    [(True, False, 3, True), (True, False, 2, False), (True, True, 99, False), (False, False, 99, False)],
)
def test_hopeless(required: bool, was_ready: bool, deaths: int, expected: bool) -> None:
    assert hopeless(required, was_ready, deaths) is expected


def worker(**known: float | bool | None) -> Worker:
    usual = {"started": 1000.0, "seen": None, "limit": 150.0, "asked_since": 0.0}
    return Worker(**{**usual, **known})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("case", "now", "expected"),
    [
        (worker(seen=1100.0), 1110.0, False),
        (worker(seen=1100.0), 1250.0, False),
        (worker(seen=1100.0), 1251.0, True),
        # Never seen: it may still be loading its model.
        (worker(), 1299.0, False),
        (worker(), 1301.0, True),
        (worker(limit=600.0), 1301.0, False),
        # What was seen came from the process before this one.
        (worker(seen=999.0), 1200.0, False),
        (worker(seen=999.0), 1301.0, True),
        # Nobody asked before (the database was gone, the machine slept, the clock was restarted).
        (worker(seen=1100.0, asked_since=2000.0), 2100.0, False),
        (worker(seen=1100.0, asked_since=2000.0), 2151.0, True),
        (worker(asked_since=2000.0), 2299.0, False),
        # Who passes on the question is silent itself.
        (worker(seen=1100.0, asker_gives_signs=True), 5000.0, False),
        (worker(seen=1100.0, asker_gives_signs=True, asker_seen=4900.0), 5000.0, False),
        (worker(seen=1100.0, asker_gives_signs=True, asker_seen=4990.0), 5000.0, True),
    ],
)
def test_silent(case: Worker, now: float, expected: bool) -> None:
    assert silent(case, now) is expected


@pytest.mark.parametrize(
    ("marker", "asked_for", "empty", "expected"),
    [
        ("", True, True, True),
        ("", True, False, False),
        ("", False, True, False),
        ("loading", True, False, True),
        ("loading", False, False, False),
        ("loaded", True, True, False),
    ],
)
def test_demo_wanted(marker: str, asked_for: bool, empty: bool, expected: bool) -> None:
    assert demo_wanted(marker, asked_for, empty) is expected
