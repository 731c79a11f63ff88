"""The syntax of questions and the languages of texts, from the question to the passages: the same everywhere."""

import json
from collections.abc import Callable
from io import StringIO

import pytest
from django.core.management import call_command
from django.test import Client

from kb.core.models import Collection, User
from kb.documents.actions import tag_document
from kb.indexes.models import Index
from kb.search.engine import search
from tests.conftest import ingest

pytestmark = pytest.mark.django_db(transaction=True)

TEXTS = {
    "town.md": "The houses of the old town were built by its citizens long ago, and the river flooded them often.",
    "stadt.txt": "Die Häuser der alten Stadt wurden von den Bürgern gebaut, und der Fluss ist oft übergelaufen.",
    "ville.txt": "Les maisons de la vieille ville ont été construites par les habitants, et la rivière les inonde.",
}
FOUND = {
    "type:md": {"town.md"},
    "town -citizen": {"stadt.txt", "ville.txt"},
    'tag:old "alten Stadt"': {"stadt.txt"},
    "tag:old type:txt -Fluß -maison": set(),
    'river "RIVER flooded"': {"town.md"},
    "title:ville": {"ville.txt"},
    "-houses -Häuser": {"ville.txt"},
    "before:1990": set(),
}


@pytest.fixture
def town(alice: User, collection: Collection, index: Index) -> Collection:
    for name, text in TEXTS.items():
        tag_document(alice, ingest(alice, collection, name, text), ["old"])
    return collection


def test_restrictions_hold_in_page_api_and_command(
    as_user: Callable[[User], Client], alice: User, town: Collection
) -> None:
    names = {str(document.pk): document.filename for document in town.documents.all()}
    client = as_user(alice)
    for question, found in FOUND.items():
        passages = search(alice, question).passages
        assert {names[passage.document_id] for passage in passages} == found, question
        body = client.get("/api/v1/search", {"q": question}).json()
        assert [each["chunk_id"] for each in body["passages"]] == [each.chunk_id for each in passages], (
            question
        )
        out = StringIO()
        call_command("search", "--as", "alice", "--json", "--", question, stdout=out)
        said = json.loads(out.getvalue())
        assert [each["chunk_id"] for each in said["passages"]] == [each.chunk_id for each in passages], (
            question
        )
        page = client.get("/search/", {"q": question}).content.decode()
        for name, pk in ((name, pk) for pk, name in names.items()):
            assert (f"document={pk}&" in page) == (name in found), question


def test_inflected_words_are_found_in_each_language(alice: User, town: Collection) -> None:
    def by_words(question: str) -> list[str]:
        scored = [passage for passage in search(alice, question).passages if passage.lexical_score]
        return [str(passage.title) for passage in scored]

    assert by_words("Haus der Stadt") == ["stadt"]
    assert by_words("a house in town") == ["town"]
    assert by_words("maison ville") == ["ville"]
    assert by_words("Burger") == by_words("BÜRGER") == ["stadt"]


def test_words_are_marked_by_the_rules_of_their_language(
    as_user: Callable[[User], Client], alice: User, town: Collection
) -> None:
    page = as_user(alice).get("/search/", {"q": "Haus"}).content.decode()
    assert "<mark>Häuser</mark>" in page
