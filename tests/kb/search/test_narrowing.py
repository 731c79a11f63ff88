"""Restrictions of a question: exact, within what the reader may see, bounded."""

from datetime import UTC, datetime

import numpy as np
import pytest

from kb.core.models import Collection, User
from kb.documents.models import Chunk, Document
from kb.indexes.models import Index
from kb.search import narrowing
from kb.search.narrowing import Narrowed, languages, listed, narrow
from retrieval.querying import parse
from tests.conftest import ingest

pytestmark = pytest.mark.django_db(transaction=True)

TEXTS = {
    "green.txt": "Green apples are running out. To be or not to be, that is the question.",
    "red.md": "# Red\n\nRed apples run. The state-of-the-art cider press, model ERR-4012, is new.",
    "code.py": "def total(prices):\n    '''Written in C, not in C++: café prices.'''\n    return sum(prices)\n",
    "tokyo.html": "<html><head><title>Über Tōkyō</title></head><body>東京都の天気 and pears in C++.</body></html>",
}


@pytest.fixture
def library(alice: User, collection: Collection, index: Index) -> dict[str, Document]:
    return {name: ingest(alice, collection, name, text) for name, text in TEXTS.items()}


def narrowed(question: str, *collections: Collection) -> Narrowed:
    scope = [each.pk for each in collections]
    return narrow(parse(question), scope, Chunk.objects.all()[0].chunking_id, languages(scope))


def names(question: str, *collections: Collection) -> set[str]:
    found = narrowed(question, *collections)
    assert found.scope.chunks is not None
    assert found.scope.chunks.dtype == np.int64
    assert found.scope.chunks.tolist() == sorted(set(found.scope.chunks.tolist()))
    chunks = Chunk.objects.filter(pk__in=found.scope.chunks.tolist())
    return {name.split(".")[0] for name in chunks.values_list("document__filename", flat=True)}


def test_a_question_without_restrictions_is_left_alone(
    collection: Collection, library: dict[str, Document]
) -> None:
    found = narrowed("apples: what - for?", collection)
    assert (found.scope.chunks, found.scope.collections, found.notes) == (None, (collection.pk,), ())


PHRASES = {
    '"red apples"': {"red"},
    '"RED  Apples run"': {"red"},
    '"apples run"': {"red"},
    '"apple"': set(),
    '"apples" "cider"': {"red"},
    '"apples" "pears"': set(),
    '"to be or not to be"': {"green"},
    '"or not" "apples"': {"green"},
    '"ERR 4012"': {"red"},
    '"state of the art"': {"red"},
    '"C++"': {"code", "tokyo"},
    '"in C"': {"code"},
    '"cafe prices"': {"code"},
    '"京都の"': {"tokyo"},
    '"京"': {"tokyo"},
    '"uber tokyo"': {"tokyo"},
    '"nothing of the kind"': set(),
}


def test_phrases(collection: Collection, library: dict[str, Document]) -> None:
    assert {question: names(question, collection) for question in PHRASES} == PHRASES
    assert not any(narrowed(question, collection).notes for question in PHRASES)


EXCLUSIONS = {
    "-running": {"code", "tokyo"},
    '-"running"': {"red", "code", "tokyo"},
    "apples -green": {"red", "code", "tokyo"},
    "-ERR-4012": {"green", "code", "tokyo"},
    "-C++": {"green", "red"},
    "-京都": {"green", "red", "code"},
    "-question -cider -unheardof": {"code", "tokyo"},
    '"apples" -"not to be"': {"red"},
    "-the": {"code", "tokyo"},
    "-apples -pears -prices": set(),
}


def test_exclusions(collection: Collection, library: dict[str, Document]) -> None:
    assert {question: names(question, collection) for question in EXCLUSIONS} == EXCLUSIONS
    assert not any(narrowed(question, collection).notes for question in EXCLUSIONS)


FILTERS = {
    "type:md": {"red"},
    "type:txt type:py": {"green", "code"},
    "-type:code -type:web": {"green", "red"},
    "title:RED": {"red"},
    'title:"uber tok"': {"tokyo"},
    "-title:red": {"green", "code", "tokyo"},
    "title:100%": set(),
    "tag:fruit": {"green", "red"},
    "tag:fruit tag:new": {"red"},
    "tag:Fruit -tag:new": {"green"},
    "after:2020": {"red", "code", "tokyo"},
    "before:2020": {"green"},
    "after:2019-05 before:2019-06": {"green"},
    "after:2019-05-04 before:2019-05-05": {"green"},
    "after:2019-05-05 before:2020": set(),
    "type:txt after:2021": set(),
    'apples "apples" tag:new': {"red"},
}


def test_filters(collection: Collection, library: dict[str, Document]) -> None:
    Document.objects.filter(filename="green.txt").update(tags=["fruit"])
    Document.objects.filter(filename="red.md").update(tags=["fruit", "new"])
    library["green.txt"].revisions.update(written_at=datetime(2019, 5, 4, 12, tzinfo=UTC))
    assert {question: names(question, collection) for question in FILTERS} == FILTERS


def test_nothing_comes_from_elsewhere(
    alice: User, collection: Collection, charlie: User, library: dict[str, Document]
) -> None:
    other = Collection.objects.create(name="Other", slug="other", owner=charlie)
    ingest(charlie, other, "secret.txt", "Red apples and to be or not to be.")
    for question in ('"red apples"', '"to be"', "-unheardof", "type:txt", "after:2000"):
        assert "secret" not in names(question, collection)
        assert names(question, other) == {"secret"}
        assert names(question) == set()


def test_deleted_documents_are_gone_at_once(
    alice: User, collection: Collection, library: dict[str, Document]
) -> None:
    library["red.md"].delete()
    assert names('"red apples"', collection) == set()
    assert names("-unheardof", collection) == {"green", "code", "tokyo"}


def test_too_many_candidates_are_read_in_part_and_that_is_said(
    collection: Collection, library: dict[str, Document], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(narrowing, "MOST_READ", 1)
    found = narrowed('"apples"', collection)
    assert found.scope.chunks is not None
    assert len(found.scope.chunks) == 1
    assert found.notes == (
        "Not all passages could be looked through for “apples”: of 2 that may hold it, 1 were read.",
    )
    assert narrowed('"to be"', collection).notes
    assert names("-the", collection) == {"green", "red", "code", "tokyo"}
    assert narrowed("-the", collection).notes == (
        "“the” could not be excluded: it consists of words that stand nearly everywhere.",
    )


def test_restrictions_alone_list_the_newest_documents_first(
    collection: Collection, library: dict[str, Document]
) -> None:
    library["tokyo.html"].revisions.update(written_at=datetime(2018, 1, 1, tzinfo=UTC))
    scope = narrowed("-unheardof", collection).scope
    found = listed(scope, 10)
    chunks = [Chunk.objects.get(pk=each) for each in found]
    assert [chunk.document.filename for chunk in chunks] == ["code.py", "red.md", "green.txt", "tokyo.html"]
    assert all(chunk.ordinal == 0 for chunk in chunks)
    assert listed(scope, 2) == found[:2]
    assert listed(narrowed("tag:none", collection).scope, 10) == []
    assert listed(narrowed("apples", collection).scope, 10) == []
