"""Chunks, their lineage and the indexes through the API."""

import hashlib

import pytest
from django.db import connection

from kb.indexes.lineage import Making, vector_state
from kb.indexes.models import EmbeddingJob, EmbeddingModel, IndexVersion
from tests.conftest import ingest
from tests.kb.indexes.versions import beside


@pytest.fixture
def chunk(alice, collection, index):
    return ingest(alice, collection, "bees.md", "# Bees\n\nThe waggle dance tells.\n").chunks.get()


def test_a_chunk(as_user, bob, chunk):
    body = as_user(bob).get(f"/api/v1/chunks/{chunk.pk}").json()
    assert (body["id"], body["document"], body["collection"]) == (chunk.pk, str(chunk.document_id), "papers")
    assert chunk.revision.text[body["start"] : body["end"]] == body["text"]


@pytest.mark.parametrize("path", ["", "/lineage"])
def test_strangers_know_of_no_chunk(as_user, charlie, chunk, problem, path):
    for user in (charlie, None):
        problem(as_user(user).get(f"/api/v1/chunks/{chunk.pk}{path}"), 404, "not_found")
        problem(as_user(user).get(f"/api/v1/chunks/{10**30}{path}"), 404, "not_found")


@pytest.mark.parametrize(("state", "shown"), [("paused", True), ("failed", True), ("cancelled", False)])
def test_the_lineage_shows_all_that_hold_vectors(as_user, bob, chunk, index, state, shown):
    made = beside(index.live_version, state)
    vectors = as_user(bob).get(f"/api/v1/chunks/{chunk.pk}/lineage").json()["vectors"]
    assert (made.number in [vector["version"] for vector in vectors]) == shown


def test_the_lineage_of_a_vector(as_user, bob, chunk, index):
    body = as_user(bob).get(f"/api/v1/chunks/{chunk.pk}/lineage").json()
    source, (vector,) = body["source"], body["vectors"]
    assert source["text_sha256"] == hashlib.sha256(chunk.text.encode()).hexdigest()
    assert source["revision_sha256"] == chunk.revision.sha256
    live = index.live_version
    assert (vector["index"], vector["version"], vector["state"]) == ("default", live.number, "embedded")
    assert (vector["dimensions"], vector["storage"]) == (live.dimensions, "halfvec")
    assert vector["model"]["name"] == live.model.name
    assert vector["making"]["number_format"]
    assert vector["making"]["worker"]


def test_a_changed_prompt_outdates_the_vector(as_user, bob, chunk):
    EmbeddingModel.objects.update(document_prompt="passage: ")
    (vector,) = as_user(bob).get(f"/api/v1/chunks/{chunk.pk}/lineage").json()["vectors"]
    assert vector["state"] == "outdated"


def test_a_vector_that_waits_tells_why(as_user, bob, chunk, index):
    with connection.cursor() as cursor:
        cursor.execute(f"DELETE FROM {index.live_version.table}")
    path = f"/api/v1/chunks/{chunk.pk}/lineage"
    assert as_user(bob).get(path).json()["vectors"][0]["state"] == "missing"
    EmbeddingJob.objects.create(
        version=index.live_version,
        chunk=chunk,
        collection_id=chunk.collection_id,
        attempts=2,
        error="out of memory",
    )
    (vector,) = as_user(bob).get(path).json()["vectors"]
    assert (vector["state"], vector["attempts"], vector["error"]) == ("waiting", 2, "out of memory")
    assert vector["making"] is None


def test_versions_that_are_dropped_are_no_part_of_the_card(as_user, bob, chunk):
    IndexVersion.objects.update(state=IndexVersion.State.DROPPED)
    assert as_user(bob).get(f"/api/v1/chunks/{chunk.pk}/lineage").json()["vectors"] == []


@pytest.mark.parametrize(
    ("made", "queued", "state"),
    [("h", False, "embedded"), ("h", True, "embedded"), ("x", True, "outdated"), (None, True, "waiting"),
     (None, False, "missing")],
)  # fmt: skip
def test_vector_state(made, queued, state):
    making = Making(None, "", "", "", made) if made else None
    assert vector_state(making, queued, "h") == state


def test_indexes(as_user, charlie, index):
    (shown,) = as_user(charlie).get("/api/v1/indexes").json()["items"]
    assert (shown["slug"], shown["is_default"], shown["live_version"]["number"]) == ("default", True, 1)
    assert [version["state"] for version in shown["versions"]] == ["live"]


def test_indexes_need_an_account(as_user, index, problem):
    problem(as_user().get("/api/v1/indexes"), 401)


def test_the_card_goes_across_versions(as_user, bob, chunk, index):
    live = index.live_version
    beside(live, "validating", derived_from=live)
    first, second = as_user(bob).get(f"/api/v1/chunks/{chunk.pk}/lineage").json()["vectors"]
    assert (first["version"], first["version_state"], first["derived_from"]) == (1, "live", None)
    assert (second["version"], second["version_state"], second["derived_from"]) == (2, "validating", 1)
    assert (first["state"], second["state"]) == ("embedded", "missing")
