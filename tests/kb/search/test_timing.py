"""Stage times: percentiles as numpy has them, verdicts, traces; and the page, for whoever may see all queries."""

from collections.abc import Mapping
from datetime import datetime, timedelta

import numpy as np
import pytest
from django.contrib.auth.models import Permission
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from kb.core.models import User
from kb.search import timing
from kb.search.admin.timing import course
from kb.search.models import Query
from kb.search.timing import WINDOWS, Span, Step, trace

HOUR, DAY, WEEK = WINDOWS
STAGES = {
    "normalise": 1.0,
    "cache": 0.2,
    "embed": 5.0,
    "dense": 3.0,
    "lexical": 6.0,
    "fuse": 0.5,
    "fetch": 2.0,
}


def asked(
    total: float,
    kind: str = "search",
    ago: timedelta = timedelta(minutes=1),
    stages: Mapping[str, object] = STAGES,
    **more: object,
) -> Query:
    query = Query.objects.create(kind=kind, text=f"took {total}", stages={**stages, "total": total}, **more)
    Query.objects.filter(pk=query.pk).update(created_at=timezone.now() - ago)
    return query


def now() -> datetime:
    return timezone.now()


@pytest.mark.django_db
def test_percentiles_are_interpolated_as_numpy_does() -> None:
    times = np.random.default_rng(1).exponential(30, 57)
    for each in times:
        asked(float(each), stages={"embed": float(each) / 2})
    stages = {found.stage: found for found in timing.timing(HOUR, now()).stages["search"]}
    for stage, values in (("total", times), ("embed", times / 2)):
        found = stages[stage]
        np.testing.assert_allclose([found.p50, found.p95, found.p99], np.percentile(values, [50, 95, 99]))
        assert found.count == 57


@pytest.mark.django_db
def test_kinds_and_windows_are_told_apart_and_stages_stand_in_their_order() -> None:
    asked(10)
    asked(100, kind="ask", ago=timedelta(hours=5))
    asked(1000, ago=timedelta(days=3))
    asked(9999, ago=timedelta(days=8))
    for window, searches, questions in ((HOUR, 1, 0), (DAY, 1, 1), (WEEK, 2, 1)):
        known = timing.timing(window, now())
        counts = [total.count if (total := known.total(kind)) else 0 for kind in ("search", "ask")]
        assert counts == [searches, questions]
    assert [found.stage for found in known.stages["search"]] == [*STAGES, "total"]


@pytest.mark.django_db
def test_odd_stages_break_nothing() -> None:
    asked(10, stages={"embed": "odd", "unheard": 1.0, "dense": None, "fuse": [1]})
    Query.objects.create(kind="search", text="unfinished", stages={})
    Query.objects.create(kind="search", text="odd", stages={"total": "odd"})
    known = timing.timing(HOUR, now())
    assert [found.stage for found in known.stages["search"]] == ["total", "unheard"]
    assert len(known.slowest) == 1


@pytest.mark.django_db
def test_the_course_has_every_step_and_each_query_in_one() -> None:
    for minutes in (1, 2, 33):
        asked(10 * minutes, ago=timedelta(minutes=minutes))
    known = timing.timing(HOUR, now())
    steps = known.steps["search"]["total"]
    assert len(steps) == 12
    assert [step.count for step in steps] == [0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 2]
    assert (steps[-1].p50, steps[5].p95, steps[0].p50) == (15, 330, None)


@pytest.mark.django_db
def test_each_stage_has_a_course_of_its_own() -> None:
    asked(10, stages={"embed": 4.0}, ago=timedelta(minutes=33))
    asked(20, stages={"dense": 3.0})
    steps = timing.timing(HOUR, now()).steps["search"]
    told = {stage: [step.p95 for step in found if step.count] for stage, found in steps.items()}
    assert told == {"embed": [4], "dense": [3], "total": [10, 20]}
    assert {len(found) for found in steps.values()} == {12}


@pytest.mark.django_db
def test_the_slowest_come_first_and_are_few() -> None:
    queries = [asked(float(number)) for number in range(timing.MOST_SLOW + 5)]
    found = timing.timing(HOUR, now()).slowest
    assert list(found) == [query.pk for query in queries[: -timing.MOST_SLOW - 1 : -1]]


@pytest.mark.django_db
def test_what_the_cache_saved() -> None:
    hit = {"cache": 0.2, "dense": 1}
    for _ in range(3):
        asked(5, stages=hit)
    for embedding in (4, 6, 50):
        asked(10, stages={"cache": 0.2, "embed": embedding})
    asked(5, stages={"embed": 6}, degraded="The question could not be embedded.")
    saved = timing.timing(HOUR, now()).saved
    assert (saved.looked, saved.found, saved.ratio, saved.embedding) == (6, 3, 0.5, 6)
    assert saved.seconds == pytest.approx(0.018)
    asked(2_000, stages={}, failed=True)
    saved = timing.timing(HOUR, now()).saved
    assert (saved.queries, saved.degraded, saved.failed) == (8, 1, 1)


@pytest.mark.django_db
def test_nothing_asked_gives_nothing() -> None:
    known = timing.timing(HOUR, now())
    assert (known.stages, known.steps, known.slowest, known.whole) == ({}, {}, [], True)
    assert (known.saved.ratio, known.saved.seconds) == (None, None)


@pytest.mark.django_db
def test_no_more_than_the_latest_queries_are_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(timing, "MOST_QUERIES", 2)
    for minutes, total in ((3, 1000), (2, 10), (1, 20)):
        asked(total, ago=timedelta(minutes=minutes))
    known = timing.timing(HOUR, now())
    assert (known.total("search").p99 <= 20, known.whole) == (True, False)


def test_a_trace_has_the_arms_beside_each_other() -> None:
    assert trace({**STAGES, "rerank": 4.0, "total": 20}) == [
        Span("normalise", 0, 1),
        Span("cache", 1, pytest.approx(0.2)),
        Span("embed", pytest.approx(1.2), 5),
        Span("dense", pytest.approx(6.2), 3),
        Span("lexical", 1, 6, beside=True),
        Span("fuse", pytest.approx(9.2), 0.5),
        Span("rerank", pytest.approx(9.7), 4),
        Span("fetch", pytest.approx(13.7), 2),
    ]
    assert [span.start for span in trace({"dense": 1.0, "lexical": 5.0, "fuse": 1.0})] == [0, 0, 5]
    assert trace({}) == []


def test_one_slow_step_does_not_flatten_the_others() -> None:
    steps = [Step(timezone.now(), 1, value, value) for value in (20.0, 5000.0)]
    shown = course([*steps, Step(timezone.now(), 0, None, None)], target=50)
    low, high, none = shown.pillars
    assert (high.p95, high.cut, low.cut) == (100, True, False)
    assert low.p95 > 5
    assert (none.p50, none.p95) == (0, 0)
    assert 0 < shown.line < 100


# The page --------------------------------------------------------------------------------------

PATH = "/admin/search/query/timing/"


@pytest.fixture
def client_of() -> object:
    def signed_in(user: User) -> Client:
        client = Client()
        client.force_login(user)
        return client

    return signed_in


def test_the_page_says_whether_the_targets_are_met(client_of, admin: User) -> None:
    asked(10)
    asked(500, kind="ask", user=admin)
    response = client_of(admin).get(reverse("admin:search_query_timing"))
    page = response.content.decode()
    assert response.status_code == 200
    assert [verdict.met for verdict in response.context["verdicts"]] == [True, False]
    for words in (
        "meets the target",
        "misses the target",
        "took 500",
        "lexical",
        "took 10",
        "not known",
        "dense in each step",
    ):
        assert words in page


@pytest.mark.parametrize("query", ["", "?window=day", "?window=week", "?window=odd", "?window="])
def test_the_page_opens_without_any_queries(client_of, admin: User, query: str) -> None:
    response = client_of(admin).get(PATH + query)
    assert response.status_code == 200
    assert [verdict.met for verdict in response.context["verdicts"]] == [None, None]


def test_the_page_is_for_whoever_may_see_all_queries(client_of, alice: User, admin: User) -> None:
    asked(10)
    assert client_of(alice).get(PATH).status_code == 302
    alice.is_staff = True
    alice.save()
    alice.user_permissions.set(Permission.objects.all())
    assert client_of(alice).get(PATH).status_code == 403
    sidebar = 'href="/admin/search/query/timing/"'
    assert sidebar not in client_of(alice).get("/admin/").content.decode()
    assert sidebar in client_of(admin).get("/admin/").content.decode()


@pytest.mark.parametrize(
    ("path", "entry"),
    [
        ("/admin/search/query/", "Queries"),
        ("/admin/search/query/timing/", "Search times"),
        ("/admin/indexes/indexversion/", "Versions"),
        ("/admin/indexes/indexversion/life/", "Life of versions"),
        ("/admin/", "Overview"),
    ],
)
def test_the_sidebar_marks_the_one_entry_that_a_page_belongs_to(client_of, admin, path, entry):
    context = client_of(admin).get(path).context
    marked = [
        item["title"] for group in context["sidebar_navigation"] for item in group["items"] if item["active"]
    ]
    assert marked == [entry]
