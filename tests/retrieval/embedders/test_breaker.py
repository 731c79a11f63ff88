"""A circuit opens after failures in a row, lets one probe through, and nobody waits longer than was said."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from retrieval.embedders.breaker import Breaker, Guard, Policy, TooSlow, Unasked

POLICY = Policy(failures=3, pause=10)


class Clock:
    """A clock that is set by hand."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


# Each step: at which second what happens; "ask" is followed by whether it is allowed.
@pytest.mark.parametrize(
    "steps",
    [
        pytest.param([(0, "ask", True), (0, "failed"), (0, "ask", True), (0, "failed"), (0, "ask", True)], id="two"),
        pytest.param([(0, "failed")] * 3 + [(0, "ask", False), (9.9, "ask", False), (10, "ask", True)], id="opens"),
        pytest.param([(0, "failed"), (0, "failed"), (1, "succeeded"), (1, "failed"), (1, "ask", True)], id="in a row"),
        pytest.param([(0, "failed")] * 3 + [(10, "ask", True), (10, "ask", False), (19, "ask", False)], id="one probe"),
        pytest.param(
            [(0, "failed")] * 3 + [(10, "ask", True), (11, "succeeded"), (11, "ask", True), (11, "ask", True)],
            id="a probe that succeeds closes it",
        ),
        pytest.param(
            [(0, "failed")] * 3 + [(10, "ask", True), (12, "failed"), (21.9, "ask", False), (22, "ask", True)],
            id="a probe that fails opens it again",
        ),
        pytest.param(
            [(0, "failed")] * 3 + [(10, "ask", True), (20, "ask", True), (20, "ask", False)],
            id="a probe that never ends is followed by another",
        ),
        pytest.param([(0, "failed")] * 3 + [(5, "failed"), (14, "ask", False), (15, "ask", True)], id="late failure"),
    ],
)  # fmt: skip
def test_the_circuit(steps: list[tuple[object, ...]]) -> None:
    clock = Clock()
    breaker = Breaker(POLICY, clock)
    for at, what, *expected in steps:
        clock.now = float(at)  # type: ignore[arg-type]
        if what == "ask":
            assert [breaker.allows()] == expected, (at, what)
        else:
            getattr(breaker, str(what))()


def test_one_failure_may_be_enough() -> None:
    breaker = Breaker(Policy(failures=1, pause=5), Clock())
    breaker.failed()
    assert not breaker.allows()


def test_what_came_is_returned_and_handed_on() -> None:
    guard, kept = Guard("test", POLICY), []
    assert not guard.answered
    assert guard.ask(lambda: 7, 10, kept.append) == 7
    guard.ask(lambda: 8, 10, kept.append)  # by the same thread, after it has handed the first on
    assert guard.answered
    assert kept[0] == 7


def test_an_error_is_raised_and_counted() -> None:
    guard = Guard("test", POLICY, threads=1)
    for _ in range(3):
        with pytest.raises(ZeroDivisionError):
            guard.ask(lambda: 1 / 0, 10, print)
    with pytest.raises(Unasked):
        guard.ask(lambda: 7, 10, print)
    assert not guard.answered


def test_what_comes_too_late_is_still_handed_on() -> None:
    guard, gate, kept, came = Guard("test", POLICY), threading.Event(), [], threading.Event()

    def keep(result: object) -> None:
        kept.append(result)
        came.set()

    with pytest.raises(TooSlow):
        guard.ask(lambda: gate.wait(10), 0.01, keep)
    gate.set()
    assert came.wait(10)
    assert kept == [True]


def test_an_error_that_looks_like_a_timeout_is_raised_as_it_is() -> None:
    def refuse() -> None:
        raise TimeoutError("the endpoint's own")

    with pytest.raises(TimeoutError, match="the endpoint's own"):
        Guard("test", POLICY).ask(refuse, 10, print)


def test_fifty_that_hang_take_four_threads_and_no_longer_than_their_deadline() -> None:
    guard, gate, began = Guard("hanging", POLICY, threads=4), threading.Event(), []

    def hang() -> None:
        began.append(1)
        gate.wait(30)

    def asked(_: int) -> type[Exception]:
        with pytest.raises((TooSlow, Unasked)) as refused:
            guard.ask(hang, 0.3, print)
        return refused.type

    try:
        since = time.monotonic()
        with ThreadPoolExecutor(50) as people:
            outcomes = list(people.map(asked, range(50)))
        assert time.monotonic() - since < 2.5
        assert outcomes.count(TooSlow) >= 3
        assert len(began) == 4
        assert sum(thread.name.startswith("hanging-") for thread in threading.enumerate()) == 4
        with pytest.raises(Unasked):
            guard.ask(hang, 0.3, print)
    finally:
        gate.set()
