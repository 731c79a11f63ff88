"""Administrators steer versions through the API; others learn nothing of them."""

from typing import Any

import pytest

from kb.core.models import Collection, User
from kb.indexes.models import EmbeddingModel, Index, IndexVersion
from tests.kb.indexes.counting import Counting, embed_all
from tests.kb.indexes.rows import chunked
from tests.kb.indexes.versions import another_space, beside, cuttable, report, state_of

pytestmark = pytest.mark.django_db
ROOT = "/api/v1/indexes/default"


@pytest.fixture(autouse=True)
def stocked(version: IndexVersion, collection: Collection) -> None:
    chunked(version, collection, ["apple", "pear"])
    embed_all(version, Counting(version))


@pytest.fixture
def post(as_user: Any, admin: User) -> Any:
    def sent(path: str, user: User | None = admin, **body: object) -> Any:
        return as_user(user).post(f"{ROOT}{path}", body, content_type="application/json")

    return sent


def test_a_version_is_begun(post: Any, version: IndexVersion, admin: User) -> None:
    cuttable(version.model, 256)
    answer = post("/versions", dimensions=256, reason="smaller")
    assert answer.status_code == 201
    body = answer.json()
    assert (body["number"], body["state"], body["dimensions"], body["derived_from"]) == (
        2,
        "building",
        256,
        1,
    )
    assert (body["phase"]["done"], body["phase"]["total"], body["left"]["chunks"]) == (0, 2, 2)
    assert body["left"]["derived"] is True
    assert body["moves"] == ["validating", "paused", "cancelled", "failed"]
    (transition,) = body["transitions"]
    assert (transition["actor"], transition["after"], transition["reason"]) == ("root", "building", "smaller")


def test_it_says_what_it_would_take(post: Any) -> None:
    another_space()
    body = post("/estimate", model="hashing").json()
    assert (body["chunks"], body["tokens"], body["derived"]) == (2, 2, False)
    assert IndexVersion.objects.count() == 1


def test_the_life_of_a_version(post: Any, version: IndexVersion) -> None:
    post("/versions", hnsw_m=8)
    assert post("/versions/2/pause", reason="noon").json()["state"] == "paused"
    assert post("/versions/2/resume").json()["state"] == "building"
    assert post("/versions/2/cancel").json()["moves"] == ["dropped"]
    made = beside(version, "validating")
    report(made, reasons=["all is well"])
    body = post("/versions/3/promote", reason="better").json()
    assert (body["state"], body["report"]["verdict"], body["report"]["reasons"]) == (
        "live", "pass", ["all is well"],
    )  # fmt: skip
    assert post("/rollback").json()["number"] == 1
    assert post("/versions/3/retire").json()["state"] == "dropped"


def test_what_is_not_possible_is_a_problem(post: Any, problem: Any, version: IndexVersion) -> None:
    problem(post("/versions/1/cancel"), 409, "transition_refused")
    problem(post("/rollback"), 409, "nothing_to_go_back_to")
    problem(post("/versions/9/cancel"), 404, "not_found")
    problem(post("/versions", model="none"), 404, "not_found")
    problem(post("/versions", dimensions=9999), 422, "invalid")
    problem(post("/versions/1/explode"), 422)
    assert state_of(version) == "live"


@pytest.mark.parametrize("path", ["/versions", "/estimate", "/rollback", "/versions/1/cancel"])
def test_only_administrators_may(
    post: Any, problem: Any, alice: User, path: str, version: IndexVersion
) -> None:
    problem(post(path, user=alice), 403, "forbidden")
    problem(post(path, user=None), 401)
    assert IndexVersion.objects.count() == 1
    assert state_of(version) == "live"


def test_a_key_needs_the_scope(as_user: Any, key: Any, admin: User, problem: Any) -> None:
    path = f"{ROOT}/versions/1"
    problem(as_user().get(path, headers=key(admin, "read", "write")), 403, "missing_scope")
    assert as_user().get(path, headers=key(admin, "manage")).json()["state"] == "live"


def test_the_counts_of_all_collections_are_for_administrators(
    as_user: Any, alice: User, admin: User, problem: Any
) -> None:
    problem(as_user(alice).get(f"{ROOT}/versions/1"), 403, "forbidden")
    body = as_user(admin).get(f"{ROOT}/versions/1").json()
    assert body["phase"]["total"] == 2


def test_models_are_listed(as_user: Any, admin: User, alice: User, problem: Any, index: Index) -> None:
    cuttable(EmbeddingModel.objects.get(), 128)
    (model,) = as_user(admin).get("/api/v1/models").json()["items"]
    assert (model["name"], model["dimensions"], model["matryoshka"]) == ("hashing", 384, [128])
    problem(as_user(alice).get("/api/v1/models"), 403, "forbidden")
