"""What is live never waits for a build, and a build leaves time for searches."""

import pytest

from kb.core.models import Collection
from kb.indexes.models import IndexVersion
from kb.indexes.throttling import LONGEST_REST, Throttle, live_work_waits, throttle
from tests.kb.indexes.rows import chunked
from tests.kb.indexes.versions import beside


class Time:
    """A clock that only work and rest move."""

    def __init__(self) -> None:
        self.now, self.rests = 0.0, list[float]()

    def rest(self, seconds: float) -> None:
        self.rests.append(seconds)
        self.now += seconds

    def clock(self) -> float:
        return self.now

    def work(self, seconds: float) -> None:
        self.now += seconds


@pytest.mark.parametrize(
    ("share", "worked", "rest"),
    [(0.5, 2.0, [2.0]), (0.25, 1.0, [3.0]), (0.8, 4.0, [1.0]), (1.0, 4.0, []), (0.01, 60.0, [LONGEST_REST])],
)
def test_after_work_it_rests_in_proportion(share: float, worked: float, rest: list[float]) -> None:
    time = Time()
    asked = Throttle(bool, share, busy=bool, rest=time.rest, clock=time.clock)
    assert not asked()
    assert time.rests == [], "nothing was done yet"
    time.work(worked)
    assert not asked()
    assert time.rests == pytest.approx(rest)


def test_a_rest_is_not_taken_for_work() -> None:
    time = Time()
    asked = Throttle(bool, 0.5, busy=bool, rest=time.rest, clock=time.clock)
    for _ in range(3):
        asked()
        time.work(1)
    assert time.rests == pytest.approx([1, 1])


def test_it_gives_way_to_live_work() -> None:
    time = Time()
    asked = Throttle(bool, 0.5, busy=lambda: True, rest=time.rest, clock=time.clock)
    assert asked()
    assert (asked.gave_way, time.rests) == (True, [])


def test_a_worker_that_is_to_stop_stops() -> None:
    asked = Throttle(lambda: True, busy=lambda: True)
    assert asked()
    assert not asked.gave_way


@pytest.mark.django_db
class TestVersions:
    def test_live_work_is_seen_in_any_index(self, version: IndexVersion, collection: Collection) -> None:
        made = beside(version, "building")
        chunked(made, collection, ["for the build alone"])
        assert not live_work_waits()
        chunked(version, collection, ["for what serves"])
        assert live_work_waits()

    @pytest.mark.parametrize(("state", "share"), [("building", 0.6), ("canary", 1.0), ("retired", 1.0)])
    def test_what_is_not_live_gives_way(
        self, version: IndexVersion, collection: Collection, state: str, share: float
    ) -> None:
        chunked(version, collection, ["for what serves"])
        asked = throttle(beside(version, state), bool)
        assert asked.share == share
        assert asked()

    def test_what_is_live_does_not(self, version: IndexVersion, collection: Collection) -> None:
        chunked(version, collection, ["for what serves"])
        assert not throttle(version, bool)()
