"""The pages of versions' lives: what they show in each state, exactly the legal buttons, and who may press them."""

import re
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from django.contrib.auth.models import Permission
from django.db import connection
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from kb.core.models import AuditEntry, Collection, Heartbeat, User
from kb.documents.models import Chunk
from kb.indexes import lifecycle, watching
from kb.indexes.models import EmbeddingJob, Index, IndexVersion, ValidationReport
from kb.quality.admin.pictures import chart, intervals, rails
from kb.quality.shadow_report import Moment
from kb.quality.validating import validate
from kb.search.models import Query, ShadowComparison
from retrieval.rollout import Guardrail
from tests.conftest import ingest
from tests.kb.candidates import State, candidate

pytestmark = pytest.mark.django_db(transaction=True)

LIFE = "/admin/indexes/indexversion/life/"


@pytest.fixture
def version(alice: User, collection: Collection, index: Index) -> IndexVersion:
    ingest(alice, collection, "bread.txt", "Bread is baked from flour, water and salt.")
    return candidate(index)


@pytest.fixture
def site(admin: User, as_user: Callable[[User], Client]) -> Client:
    return as_user(admin)


def step(site: Client, version: IndexVersion, name: str, **said: object) -> str:
    """Takes a step, and gives the page after it."""
    url = reverse("admin:indexes_indexversion_step", args=[version.pk, name])
    response = site.post(url, said, follow=True)
    assert response.status_code == 200
    version.refresh_from_db()
    return response.content.decode()


def buttons(site: Client, version: IndexVersion) -> set[str]:
    shelves = site.get(LIFE).context["shelves"]
    cards = {card.version: card for shelf in shelves for card in shelf.cards}
    return {step.name for step in cards[version].steps}


def compared(version: IndexVersion) -> ShadowComparison:
    chunk = Chunk.objects.get().pk
    return ShadowComparison.objects.create(
        query=Query.objects.create(kind="search", text="what of bread?"), version=version,
        against=version.index.live_version, live=[[chunk, 1.0]], candidate=[], overlap=0.0, rbo=0.0,
        live_ms=4.0, candidate_ms=9.0,
    )  # fmt: skip


def test_the_whole_life_by_buttons(site: Client, version: IndexVersion, index: Index) -> None:
    assert buttons(site, version) == {"validate", "cancel"}
    assert "Validate: Default v2." in step(site, version, "validate")
    validate(None, version)
    assert buttons(site, version) == {"validate", "cancel", "shadow", "canary", "promote"}
    step(site, version, "shadow", share="0.5", reason="to see")
    assert (version.state, version.shadow_share) == (State.SHADOW, 0.5)
    assert buttons(site, version) == {
        "validate", "cancel", "share", "canary", "promote", "validating",
    }  # fmt: skip
    step(site, version, "share", share="1", reason="")
    assert version.shadow_share == 1
    step(site, version, "canary", percent="5", reason="")
    assert (version.state, version.canary_percent) == (State.CANARY, 5)
    step(site, version, "percent", percent="50", reason="")
    assert version.canary_percent == 50
    assert "take_back" in buttons(site, version)
    page = step(site, version, "promote", reason="done")
    assert version.state == State.LIVE
    old = IndexVersion.objects.get(number=1)
    assert "Kept warm until" in page
    assert buttons(site, version) == set()
    assert buttons(site, old) == {"rollback", "drop"}
    step(site, old, "rollback")
    assert old.state == State.LIVE
    index.refresh_from_db()
    assert index.live_version == old


def test_buttons_are_those_that_are_legal(site: Client, version: IndexVersion) -> None:
    expected = {
        State.BUILDING: {"pause", "cancel"},
        State.FAILED: {"resume", "cancel"},
        State.RETIRED: {"rollback", "drop"},
    }
    for state, names in expected.items():
        IndexVersion.objects.filter(pk=version.pk).update(state=state)
        assert buttons(site, version) == names
    IndexVersion.objects.filter(pk=version.pk).update(state=State.PAUSED, held=State.BUILDING)
    assert buttons(site, version) == {"resume", "cancel"}


def test_a_button_of_a_page_that_is_old_is_refused_in_words(site: Client, version: IndexVersion) -> None:
    validate(None, version)
    lifecycle.move(version.pk, State.CANCELLED, None, "somebody else")
    page = step(site, version, "promote", reason="")
    assert "A version that is cancelled cannot become live" in page
    assert version.state == State.CANCELLED


def test_a_failed_report_is_overridden_with_a_reason(
    site: Client, admin: User, version: IndexVersion
) -> None:
    report = ValidationReport.objects.create(
        version=version, verdict="fail", reasons=["it is bad"],
        figures={"checks": [{"name": "recall", "passed": False, "reason": "The graph finds 90.0%"}]},
    )  # fmt: skip
    assert buttons(site, version) == {"validate", "override", "cancel"}
    assert "The graph finds 90.0%" in site.get(LIFE).content.decode()
    url = reverse("admin:indexes_indexversion_step", args=[version.pk, "override"])
    assert "The report failed" in site.get(url).content.decode()
    assert site.post(url, {"reason": ""}).status_code == 400
    page = step(site, version, "override", reason="we looked at it")
    assert "Overridden by root: we looked at it" in page
    report.refresh_from_db()
    assert report.overridden_by == admin
    assert "promote" in buttons(site, version)


@pytest.mark.parametrize("state", [State.SHADOW, State.CANARY])
def test_a_report_that_fails_later_is_overridden_where_the_version_is(
    site: Client, version: IndexVersion, state: str
) -> None:
    validate(None, version)
    lifecycle.move(version.pk, state, None, "go")
    assert "override" not in buttons(site, version)
    ValidationReport.objects.create(version=version, verdict="fail", figures={"checks": []})
    assert "override" in buttons(site, version)
    assert "promote" not in buttons(site, version)


def test_a_canary_is_taken_back_with_one_click(site: Client, version: IndexVersion) -> None:
    validate(None, version)
    lifecycle.move(version.pk, State.CANARY, None, "go", canary_percent=25)
    page = site.get(reverse("admin:indexes_indexversion_life_of", args=[version.pk])).content.decode()
    assert "Canary, since" in page
    assert "nothing yet" in page
    assert re.search(r'<li class="own-waiting">\S+ of 24 hours of this step are over', page), "not ticked"
    step(site, version, "take_back")
    assert version.state == State.FAILED


def test_the_page_of_a_version_shows_report_shadow_and_disagreements(
    site: Client, admin: User, version: IndexVersion
) -> None:
    validate(admin, version)
    lifecycle.move(version.pk, State.SHADOW, admin, "to see what it does", shadow_share=1.0)
    comparison = compared(version)
    page_url = reverse("admin:indexes_indexversion_life_of", args=[version.pk])
    page = site.get(page_url).content.decode()
    for words in ("Report of", "passed", "what of bread?", "only here", "to see what it does", "by root"):
        assert words in page
    judged = site.post(
        reverse("admin:indexes_indexversion_judge", args=[comparison.pk]), {"preference": "live"}
    )
    assert judged.url == page_url
    comparison.refresh_from_db()
    assert (comparison.preference, comparison.judged_by) == ("live", admin)
    assert "judged by root" in site.get(page_url).content.decode()


def test_who_may_only_look_sees_no_buttons_and_no_queries(
    site: Client, bob: User, version: IndexVersion, as_user: Callable[[User], Client]
) -> None:
    comparison = compared(version)
    bob.is_staff = True
    bob.save()
    bob.user_permissions.set(Permission.objects.filter(codename="view_indexversion"))
    looking = as_user(bob)
    assert buttons(looking, version) == set()
    of_version = reverse("admin:indexes_indexversion_life_of", args=[version.pk])
    assert "what of bread?" not in looking.get(of_version).content.decode()
    before = AuditEntry.objects.count()
    for url in (
        reverse("admin:indexes_indexversion_step", args=[version.pk, "cancel"]),
        reverse("admin:indexes_indexversion_judge", args=[comparison.pk]),
    ):
        assert looking.post(url, {"reason": "", "preference": "live"}).status_code == 403
    assert AuditEntry.objects.count() == before
    bob.user_permissions.clear()
    assert as_user(bob).get(LIFE).status_code == 403


def test_what_is_not_there_is_not_found(site: Client, version: IndexVersion) -> None:
    assert site.get(reverse("admin:indexes_indexversion_life_of", args=[10**6])).status_code == 404
    assert (
        site.post(reverse("admin:indexes_indexversion_step", args=[version.pk, "explode"])).status_code == 404
    )
    assert site.get(reverse("admin:indexes_indexversion_step", args=[version.pk, "pause"])).status_code == 405
    assert site.get(reverse("admin:indexes_indexversion_judge", args=[1])).status_code == 405


@pytest.mark.parametrize("window", ["", "hour", "day", "week", "quarter", "all", "odd"])
def test_the_page_opens_in_every_window(site: Client, index: Index, window: str) -> None:
    response = site.get(LIFE, {"window": window})
    assert response.status_code == 200
    assert "Default v1" in response.content.decode()


def test_the_page_is_linked_from_where_versions_are(site: Client, version: IndexVersion) -> None:
    assert f'href="{LIFE}"' in site.get("/admin/").content.decode()
    assert f'href="{LIFE}"' in site.get("/admin/indexes/indexversion/").content.decode()
    own = reverse("admin:indexes_indexversion_life_of", args=[version.pk])
    change = reverse("admin:indexes_indexversion_change", args=[version.pk])
    assert f'href="{own}"' in site.get(change).content.decode()


def test_question_sets_are_for_administrators(
    site: Client, bob: User, index: Index, as_user: Callable[[User], Client]
) -> None:
    bob.is_staff = True
    bob.save()
    bob.user_permissions.set(Permission.objects.all())
    for page in ("questionset", "question"):
        for url in (f"/admin/quality/{page}/", f"/admin/quality/{page}/add/"):
            assert site.get(url).status_code == 200
            assert as_user(bob).get(url).status_code == 403
    made = site.post(
        "/admin/quality/questionset/add/", {"index": index.pk, "name": "by hand", "description": ""}
    )
    assert made.status_code == 302
    assert index.question_sets.get().name == "by hand"


def test_pictures() -> None:
    compared = {
        name: {"mean": -0.01, "low": -0.05, "high": 0.03} for name in ("ndcg_difference", "recall_difference")
    }
    report = ValidationReport(figures={"compared": compared})
    [ndcg, _] = intervals(report)
    assert ndcg.x < ndcg.mean < 50
    assert ndcg.x < ndcg.margin, "the interval reaches into what is too much worse"
    assert ndcg.x >= 0
    assert ndcg.x + ndcg.width <= 100
    assert intervals(ValidationReport(figures={"compared": None})) == []
    [rail] = rails([Guardrail("p95_ms", 20.4, None, broken=False)])
    assert (rail.candidate, rail.live, rail.counted) == ("20 ms", "–", False)
    assert chart([], "overlap", "rbo") is None


def test_a_chart_has_a_point_for_each_moment() -> None:
    moments = [Moment(datetime(2026, 1, 1, hour, tzinfo=UTC), 3, 0.5, 0.25, 10.0, 20.0) for hour in (1, 2)]
    made = chart(moments, "overlap", "rbo")
    assert made is not None
    assert '"data": [0.25, 0.25]' in made["data"]
    assert "1 Jan 01:00" in made["data"]
    shifted = chart([*moments, replace(moments[0], score_shift=-0.12)], "score_shift")
    assert shifted is not None
    assert '"data": [null, null, -0.12]' in shifted["data"], "a gap where nothing was found in common"


def test_a_build_says_how_far_it_is_and_what_it_still_takes(site: Client, version: IndexVersion) -> None:
    IndexVersion.objects.filter(pk=version.pk).update(state=State.BUILDING)
    with connection.cursor() as cursor:
        cursor.execute(f'DELETE FROM "{version.table}"')
    page = site.get(LIFE).content.decode()
    assert "0 of 1 vectors" in page
    assert "The time left is not known yet" in page
    assert 'hx-trigger="every 5s"' in page, "the page follows a build"
    Heartbeat.objects.create(worker="embed@here", queue="embed", pid=1, rate=50.0, at=timezone.now())
    chunk, until = Chunk.objects.get(), timezone.now() + EmbeddingJob.LEASE
    EmbeddingJob.objects.create(
        version=version, chunk=chunk, collection_id=chunk.collection_id, lease_until=until
    )
    watching._seen.clear()
    assert "left, at 30 chunks a second" in site.get(LIFE).content.decode()
