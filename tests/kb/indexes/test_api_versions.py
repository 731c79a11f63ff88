"""Administrators steer versions through the API; others learn nothing of them."""

from typing import Any

import pytest

from kb.core.models import Collection, User
from kb.indexes import model_actions
from kb.indexes.models import EmbeddingModel, Index, IndexVersion
from retrieval.embedders import ModelCard
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


def test_a_model_is_registered_and_tried(
    as_user: Any, admin: User, problem: Any, version: IndexVersion, monkeypatch: pytest.MonkeyPatch
) -> None:
    def send(path: str, **body: object) -> Any:
        return as_user(admin).post(f"/api/v1{path}", body, content_type="application/json")

    problem(send("/models", name="/nowhere"), 422, "model_unavailable")
    card = ModelCard("m", "1", "ab" * 32, 64, 128, "mean", "q: ", "", "torch", "float32", "MIT")
    monkeypatch.setattr(model_actions, "card_of", lambda _: card)
    answer = send("/models", name="m", matryoshka=[32], price_per_million_tokens=0.5)
    assert answer.status_code == 201
    body = answer.json()
    assert (body["name"], body["dimensions"], body["matryoshka"]) == ("m", 64, [32])
    assert (body["price_per_million_tokens"], body["query_prompt"]) == (0.5, "q: ")
    problem(send("/models", name="m", matryoshka=[640]), 422, "invalid")
    tried = send("/models/try", name=version.model.name).json()
    assert (tried["ok"], tried["dimensions"], tried["problems"]) == (True, 384, [])
    assert send("/models/try", name="m").json()["ok"] is False
    problem(send("/models/try", name="none"), 404, "not_found")


def test_an_index_is_made_and_a_collection_sent_there(
    as_user: Any, admin: User, problem: Any, version: IndexVersion, collection: Collection
) -> None:
    def send(path: str, **body: object) -> Any:
        return as_user(admin).post(f"/api/v1{path}", body, content_type="application/json")

    answer = send("/indexes", slug="archive", name="Archive")
    assert (answer.status_code, answer.json()["live_version"], answer.json()["versions"]) == (201, None, [])
    problem(send("/indexes", slug="archive"), 409, "exists")
    problem(send("/indexes", slug="An Archive"), 422, "invalid")
    problem(send(f"/collections/{collection.slug}/move", index="archive"), 409, "no_live_version")
    problem(send("/collections/none/move", index="default"), 404, "not_found")
    assert send(f"/collections/{collection.slug}/move", index="default").json()["there"] is True
    made = beside(version, "retired")
    IndexVersion.objects.filter(pk=made.pk).update(index=Index.objects.get(slug="archive"))
    Index.objects.filter(slug="archive").update(live_version=made)
    begun = send(f"/collections/{collection.slug}/move", index="archive")
    assert (begun.status_code, begun.json()["there"]) == (202, False)
    (move,) = as_user(admin).get("/api/v1/moves").json()
    assert (move["collection"], move["index"], move["there"]) == (collection.slug, "archive", False)
    assert as_user(admin).get("/api/v1/indexes").json()["items"][1]["slug"] == "archive"


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/models", {"name": "m"}),
        ("/models/try", {"name": "hashing"}),
        ("/indexes", {"slug": "archive"}),
        ("/collections/papers/move", {"index": "default"}),
    ],
)
def test_only_administrators_begin_something(
    as_user: Any, key: Any, alice: User, admin: User, problem: Any, path: str, body: dict[str, str]
) -> None:
    """Also of a collection of one's own: the index would serve it to everybody by another model."""

    def send(user: User | None, headers: Any = None) -> Any:
        return as_user(user).post(f"/api/v1{path}", body, content_type="application/json", headers=headers)

    problem(send(alice), 403, "forbidden")
    problem(send(None), 401)
    problem(send(None, key(admin, "read", "write")), 403, "missing_scope")
    assert (EmbeddingModel.objects.count(), Index.objects.count()) == (1, 1)


def test_moves_are_for_administrators(as_user: Any, alice: User, problem: Any) -> None:
    problem(as_user(alice).get("/api/v1/moves"), 403, "forbidden")


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
