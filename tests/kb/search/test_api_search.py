"""Search through the API: the same for everybody, of what each may see."""

import pytest

from kb.core.models import Collection
from kb.search.models import Query
from tests.conftest import ingest

# The arms search by connections of their own, which see only what is committed.
pytestmark = pytest.mark.django_db(transaction=True)

SEARCH = "/api/v1/search"
JSON = "application/json"


@pytest.fixture
def document(alice, collection, index):
    return ingest(alice, collection, "bees.md", "# Bees\n\nThe waggle dance tells the direction.\n")


def found(client, **body):
    response = client.post(SEARCH, {"query": "waggle dance", **body}, content_type=JSON)
    assert response.status_code == 200, response.content
    return response.json()


def test_a_passage_with_its_place_and_scores(as_user, bob, document):
    body = found(as_user(bob))
    (passage,) = body["passages"]
    assert passage["document_id"] == str(document.pk)
    assert document.current.text[passage["start"] :].startswith(passage["text"])
    assert passage["score"] > 0
    assert passage["lexical_score"] > 0
    assert (body["degraded"], body["empty_because"]) == ("", "")
    assert Query.objects.get(pk=body["query_id"]).user == bob


def test_by_address(as_user, bob, document):
    body = as_user(bob).get(SEARCH, {"q": "waggle dance", "collection": ["papers"], "limit": 1}).json()
    assert body["passages"] == found(as_user(bob))["passages"]


def test_who_finds_it(as_user, alice, bob, charlie, admin, document):
    counts = {user: len(found(as_user(user))["passages"]) for user in (alice, bob, charlie, admin, None)}
    assert counts == {alice: 1, bob: 1, charlie: 0, admin: 1, None: 0}


def test_nobody_finds_what_is_public_and_needs_no_csrf_token(client, document):
    Collection.objects.update(visibility="public")
    client.handler.enforce_csrf_checks = True
    assert len(found(client)["passages"]) == 1


def test_a_key_finds_what_its_owner_may_see(client, bob, charlie, document, key):
    for user, count in ((bob, 1), (charlie, 0)):
        response = client.post(SEARCH, {"query": "waggle"}, content_type=JSON, headers=key(user, "read"))
        assert len(response.json()["passages"]) == count


def test_a_withdrawn_permission_counts_at_once(as_user, bob, collection, document):
    assert found(as_user(bob))["passages"]
    collection.memberships.all().delete()
    assert not found(as_user(bob))["passages"]


def test_a_collection_that_may_not_be_known_looks_like_none(as_user, charlie, document, problem):
    bodies = [
        problem(as_user(charlie).post(SEARCH, {"query": "x", "collections": [slug]}, content_type=JSON), 404)
        for slug in ("papers", "unknown", "a\0b")
    ]
    assert bodies[0]["detail"] == bodies[1]["detail"]


def test_why_there_is_nothing(as_user, charlie, alice, collection, index):
    assert found(as_user(charlie))["empty_because"] == "no_collections"
    assert found(as_user(alice))["empty_because"] == "no_documents"


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({"query": ""}, "question_empty"),
        ({"query": " \n "}, "question_empty"),
        ({"query": "x" * 100_000}, "question_too_long"),
        ({}, "invalid"),
        ({"query": 7}, "invalid"),
        ({"query": "x", "limit": 0}, "invalid"),
        ({"query": "x", "limit": 101}, "invalid"),
        ({"query": "x", "top": 3}, "invalid"),
        ({"query": "x", "collections": "papers"}, "invalid"),
        ({"query": "x", "collections": []}, "invalid"),
    ],
)
def test_bad_input(as_user, bob, index, problem, body, code):
    response = as_user(bob).post(SEARCH, body, content_type=JSON)
    assert problem(response, response.status_code, code)["status"] in {400, 422}


def test_control_characters_and_half_letters_are_no_error(as_user, bob, document, problem):
    assert found(as_user(bob), query="waggle\0 dance")["passages"]
    response = as_user(bob).post(SEARCH, b'{"query": "\\ud800"}', content_type=JSON)
    problem(response, response.status_code)
    assert response.status_code in {400, 422}
