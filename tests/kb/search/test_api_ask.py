"""Questions and answers through the API: as JSON, as server-sent events, and stored."""

import json
from threading import Event
from uuid import uuid4

import pytest
from asgiref.sync import async_to_sync, sync_to_async
from django.db import connection
from django.test import AsyncClient

from kb.documents.actions import delete_document
from kb.search import answers
from kb.search.models import Answer, Query
from retrieval.answering import TextDelta
from tests.conftest import ingest

# The answer is made in a thread of its own, which sees only what is committed.
pytestmark = pytest.mark.django_db(transaction=True)

ASK = "/api/v1/ask"
JSON = "application/json"
BODY = {"question": "What does the waggle dance tell?"}
TEXT = "# Bees\n\nThe waggle dance tells the other bees the direction and the distance of the flowers.\n"


@pytest.fixture
def document(alice, collection, index):
    return ingest(alice, collection, "bees.md", TEXT)


def asked(client, **headers):
    return client.post(ASK, BODY, content_type=JSON, headers=headers)


def test_an_answer_with_footnotes(as_user, bob, document):
    body = asked(as_user(bob)).json()
    assert (body["state"], body["question"], body["version"]) == ("answered", BODY["question"], "Default v1")
    assert "[1]" in body["text"]
    citation = body["citations"][0]
    assert (citation["visible"], citation["document_id"]) == (True, str(document.pk))
    assert document.current.text[citation["start"] : citation["end"]] == citation["quote"]


def test_a_stranger_gets_no_word_of_it(as_user, charlie, document):
    body = asked(as_user(charlie)).json()
    assert (body["state"], body["citations"], body["closest"]) == ("declined", [], [])
    assert "direction" not in json.dumps(body)


def streamed(headers, body=BODY):
    """The response, and its text as a reader gets it who stays to the end."""

    async def read():
        client = AsyncClient(raise_request_exception=False)
        accept = {**headers, "Accept": "text/event-stream"}
        response = await client.post(ASK, body, content_type=JSON, headers=accept)
        if not response.streaming:
            return response, ""
        return response, b"".join([part async for part in response.streaming_content]).decode()

    return async_to_sync(read)()


def events(text):
    """The events of a stream: name and body."""
    for block in text.strip().split("\n\n"):
        if not block.startswith(":"):
            name, data = block.split("\n")
            yield name.removeprefix("event: "), json.loads(data.removeprefix("data: "))


def test_a_stream_of_events(bob, document, key):
    response, text = streamed(key(bob))
    assert response["Content-Type"] == "text/event-stream"
    assert response["X-Accel-Buffering"] == "no"
    (first, started), *middle, (last, answer) = list(events(text))
    assert (first, last) == ("started", "answer")
    assert started["passages"][0]["document_id"] == str(document.pk)
    assert {name for name, _ in middle} == {"text", "citation"}
    assert "".join(body["text"] for name, body in middle if name == "text").strip() == answer["text"].strip()
    assert answer["version"] == "Default v1"
    assert Answer.objects.get(pk=answer["id"]).state == "answered"


def test_no_connection_is_held_while_the_answer_streams(bob, document, key):
    headers = {**key(bob), "Accept": "text/event-stream"}

    async def begin():
        response = await AsyncClient().post(ASK, BODY, content_type=JSON, headers=headers)
        held = await sync_to_async(lambda: connection.connection is not None)()
        await response.streaming_content.aclose()
        return held

    assert not async_to_sync(begin)()


class Rambling:
    """Goes on until its reader leaves, but not for ever."""

    def __init__(self):
        self.left = Event()

    def answer(self, question, passages):
        try:
            for _ in range(2000):
                yield TextDelta("and so on ")
                self.left.wait(0.005)
        except GeneratorExit:
            self.left.set()
            raise


def test_a_reader_who_leaves_ends_the_work(bob, document, key, monkeypatch):
    headers = {**key(bob), "Accept": "text/event-stream"}
    rambling = Rambling()
    monkeypatch.setattr(answers, "answerer", lambda _results: rambling)

    async def leave():
        response = await AsyncClient().post(ASK, BODY, content_type=JSON, headers=headers)
        async for _ in response.streaming_content:
            break
        await response.streaming_content.aclose()

    async_to_sync(leave)()
    assert rambling.left.wait(5), "the work went on"
    assert Query.objects.get().kind == "ask"


def test_a_refused_question_is_no_stream(bob, document, key, problem):
    problem(streamed(key(bob), {"question": " "})[0], 400, "question_empty")


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({"question": ""}, "question_empty"),
        ({"question": "x" * 100_000}, "question_too_long"),
        ({}, "invalid"),
        ({"question": "x", "model": "y"}, "invalid"),
    ],
)
def test_bad_input(as_user, bob, index, problem, body, code):
    response = as_user(bob).post(ASK, body, content_type=JSON)
    assert problem(response, response.status_code, code)["status"] in {400, 422}


def test_an_error_while_answering_ends_the_stream_with_a_problem(bob, document, key, monkeypatch):
    def fail(*_args):
        raise ValueError("the secret inside")

    monkeypatch.setattr("kb.search.answers.answerer", fail)
    *_, (name, body) = events(streamed(key(bob))[1])
    assert (name, body["status"]) == ("problem", 500)
    assert "secret" not in json.dumps(body)


def test_a_stored_answer_is_its_askers(as_user, alice, bob, charlie, document, problem):
    path = f"/api/v1/answers/{asked(as_user(bob)).json()['id']}"
    assert as_user(bob).get(path).json()["state"] == "answered"
    for user in (alice, charlie, None):
        problem(as_user(user).get(path), 404, "not_found")
    problem(as_user(bob).get(f"/api/v1/answers/{uuid4()}"), 404, "not_found")


def test_a_key_that_may_ask_or_read_gets_the_answer(client, as_user, bob, document, key, problem):
    path = f"/api/v1/answers/{asked(as_user(bob)).json()['id']}"
    assert [client.get(path, headers=key(bob, scope)).status_code for scope in ("read", "ask")] == [200, 200]
    problem(client.get(path, headers=key(bob, "write")), 403, "missing_scope")


def test_a_deleted_document_takes_its_words_along(as_user, alice, bob, document):
    path = f"/api/v1/answers/{asked(as_user(bob)).json()['id']}"
    delete_document(alice, document)
    body = as_user(bob).get(path).json()
    assert [citation["visible"] for citation in body["citations"]] == [False] * len(body["citations"])
    assert "direction" not in json.dumps(body)


def test_a_withdrawn_permission_hides_the_words(as_user, bob, collection, document):
    path = f"/api/v1/answers/{asked(as_user(bob)).json()['id']}"
    collection.memberships.all().delete()
    assert "direction" not in as_user(bob).get(path).content.decode()
