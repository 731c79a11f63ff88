"""Administrators measure and roll out through the API; others learn nothing."""

from typing import Any

import pytest

from kb.core.models import Collection, User
from kb.indexes.models import Index, IndexVersion, ValidationReport
from kb.quality.validating import validate
from tests.conftest import ingest
from tests.kb.candidates import State, candidate

pytestmark = pytest.mark.django_db(transaction=True)

ROOT = "/api/v1/indexes/default/versions/2"


@pytest.fixture
def version(alice: User, collection: Collection, index: Index) -> IndexVersion:
    ingest(alice, collection, "bread.txt", "Bread is baked from flour, water and salt.")
    return candidate(index)


@pytest.fixture
def site(admin: User, as_user: Any) -> Any:
    def sent(method: str, path: str, user: User | None = admin, **body: object) -> Any:
        return getattr(as_user(user), method)(f"{ROOT}{path}", body, content_type="application/json")

    return sent


def test_from_report_to_canary(site: Any, version: IndexVersion, problem: Any) -> None:
    problem(site("get", "/report"), 404)
    problem(site("post", "/canary", percent=1), 409, "transition_refused")
    assert site("post", "/report").status_code == 202
    validate(None, version)
    report = site("get", "/report").json()
    assert (report["verdict"], report["lets_on"], report["against"]) == ("pass", True, 1)
    assert report["figures"]["vectors"]["count"] == 1
    assert site("post", "/shadow", share=0.5, reason="see").json()["state"] == "shadow"
    assert site("get", "/shadow").json()["count"] == 0
    problem(site("get", "/canary"), 409, "not_a_canary")
    assert site("post", "/canary", percent=5).json()["canary_percent"] == 5
    canary = site("get", "/canary").json()
    assert (canary["action"], canary["queries"], canary["live_queries"]) == ("wait", 0, 0)
    assert {rail["name"] for rail in canary["guardrails"]} == {
        "degraded", "empty", "unanswered", "unopened", "unhelpful", "p95_ms",
    }  # fmt: skip


def test_a_failed_report_is_overridden(site: Any, admin: User, version: IndexVersion, problem: Any) -> None:
    problem(site("post", "/override", reason="because"), 409, "not_validated")
    ValidationReport.objects.create(version=version, verdict="fail", reasons=["it is bad"])
    problem(site("post", "/override", reason=""), 422)
    assert site("post", "/override", reason="because").json()["lets_on"] is True
    assert ValidationReport.objects.get().overridden_by == admin


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        ("/shadow", {"share": 0}, 422),
        ("/shadow", {"share": 1.5}, 422),
        ("/shadow", {}, 422),
        ("/canary", {"percent": 30}, 400),
        ("/canary", {"percent": "much"}, 422),
    ],
)
def test_bad_input_is_refused(
    site: Any, version: IndexVersion, problem: Any, path: str, body: dict[str, object], status: int
) -> None:
    problem(site("post", path, **body), status)
    version.refresh_from_db()
    assert version.state == State.VALIDATING


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("get", "/report"), ("post", "/report"), ("post", "/override"), ("get", "/shadow"), ("post", "/shadow"),
        ("get", "/canary"), ("post", "/canary"),
    ],
)  # fmt: skip
def test_it_is_for_administrators(
    site: Any, version: IndexVersion, alice: User, problem: Any, method: str, path: str
) -> None:
    body = {"share": 0.5, "percent": 1, "reason": "why"} if method == "post" else {}
    problem(site(method, path, alice, **body), 403, "forbidden")
    problem(site(method, path, None, **body), 401)


def test_what_is_not_measured_now_is_refused(site: Any, version: IndexVersion, problem: Any) -> None:
    IndexVersion.objects.filter(pk=version.pk).update(state=State.CANCELLED)
    problem(site("post", "/report"), 409, "not_measurable")
