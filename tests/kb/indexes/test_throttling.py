"""What is live never waits for a build, and a build leaves time for searches."""

import pytest
from django.db import connection

from kb.core.models import Collection
from kb.indexes import throttling
from kb.indexes.models import CollectionMove, Index, IndexedCollection, IndexVersion
from kb.indexes.throttling import LONGEST_REST, Throttle, live_work_waits, searched_lately, throttle
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


def test_while_nobody_searches_it_need_not_rest() -> None:
    time = Time()
    searched = [True]
    asked = Throttle(bool, 0.5, busy=bool, searched=lambda: searched[0], rest=time.rest, clock=time.clock)
    for searched[0] in (True, True, False, True):
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

    def test_a_collection_that_moves_in_rests_like_a_build(
        self, version: IndexVersion, collection: Collection, other: Collection
    ) -> None:
        """It is searched where it was until then."""
        index = Index.objects.create(name="Home", slug="home")
        IndexedCollection.objects.create(collection=collection, index=index)
        CollectionMove.objects.create(collection=collection, index=version.index)
        chunked(version, collection, ["on its way"])
        assert throttle(version, bool).share == 0.6
        chunked(version, other, ["waits to be found"])
        assert throttle(version, bool).share == 1.0

    def test_what_is_live_does_not(self, version: IndexVersion, collection: Collection) -> None:
        chunked(version, collection, ["for what serves"])
        assert not throttle(version, bool)()


@pytest.mark.django_db(transaction=True)
def test_a_search_is_noticed(version: IndexVersion, monkeypatch: pytest.MonkeyPatch) -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_stat_reset()")
        assert not searched_lately()
        cursor.execute(f"SELECT count(*) FROM {version.table}")
        cursor.execute("SELECT pg_stat_force_next_flush()")
    assert searched_lately()
    monkeypatch.setattr(throttling, "NOTES_SCANS", 10**9)
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_stat_reset()")
    assert searched_lately(), "an older database cannot say, and people come first"
