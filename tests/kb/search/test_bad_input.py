"""Whatever is typed gets an answer or a clear message, never an error of the site."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kb.core.models import Collection, User
from kb.indexes.models import Index
from tests.conftest import ingest

pytestmark = pytest.mark.django_db(transaction=True)

SEARCH = "/api/v1/search"
SYNTAX = [
    '"', "-", "title:", "tag:", "type:pdf", "type:", "after:2024", "before:", "(", ")", "&", "|", "!", "<->",
    ":*", "*", "'", "%", "_", "\\", ";", "--", "/*", "$$", "{}", "[", "]", "~", "^", "\0", "\u202e", "\u200d", "\ufeff",
]  # fmt: skip
WORDS = [
    "bread",
    "the",
    "of",
    "ERR-4012",
    "C++",
    "שלום",
    "مرحبا",
    "磨坊",
    "ไทย",
    "🙂",
    "👩‍👩‍👧",
    "İ",
    "ß",
    "\u0301",
]
PIECES = st.sampled_from([*SYNTAX, *WORDS]) | st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
QUERIES = st.lists(PIECES, max_size=12).flatmap(
    lambda pieces: st.sampled_from(["", " "]).map(lambda between: between.join(pieces))
)


@pytest.fixture
def papers(alice: User, bob: User, collection: Collection, index: Index) -> Collection:
    ingest(alice, collection, "bread.txt", "Bread is baked from flour. The error ERR-4012 means a cold oven.")
    ingest(alice, collection, "mill.txt", "The mill (磨坊) stands by the river; C++ is spoken there.")
    return collection


@pytest.fixture
def ask(as_user, alice: User, papers: Collection):
    """What the API says; one client for all examples, since signing in is what takes the time."""
    client = as_user(alice)
    return lambda **body: client.post(SEARCH, body, "application/json")


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(query=QUERIES, explain=st.booleans())
def test_anything_is_answered_or_refused_in_words(ask, query: str, explain: bool) -> None:
    assert_answered(ask(query=query, explain=explain))


def assert_answered(response) -> None:
    assert response.status_code in {200, 400}, (response.status_code, response.content)
    body = response.json()
    if response.status_code == 400:
        assert body["code"] in {"question_empty", "question_too_long"}
        assert body["detail"].endswith(".")
    else:
        for passage in body["passages"]:
            assert 0 <= passage["score"] <= 1 + 1e-9
            assert passage["text"]


@pytest.mark.parametrize("query", [
    "the of and", "???", "… — !", "🙂🙂", "'; DROP TABLE documents_chunk; --", "a & !b | (c <-> d):*", "\"",
    "-", "--", "- - -", "\"\"", "-\"\"", "title:", "after:yesterday", "before:0000-13-99", "type:nonsense",
    "tag:\"", "\u202eabc\u202c", "שלום עולם", "\x00\x07bread\x1b[31m", "a" * 2000, "-bread", "-\"bread is\" type:txt",
    "NULL", "%%%", "\\", "$1 %s {0}",
])  # fmt: skip
def test_odd_questions_by_api_and_page(ask, as_user, alice: User, query: str) -> None:
    assert_answered(ask(query=query))
    assert_answered(as_user(alice).get(SEARCH, {"q": query}))
    assert as_user(alice).get("/search/", {"q": query}).status_code in {200, 400}


def test_ten_thousand_words_are_refused_in_words(ask, problem) -> None:
    response = ask(query="bread " * 10_000)
    assert "2,000" in problem(response, 400, "question_too_long")["detail"]


def test_only_stop_words_are_answered_by_meaning(ask) -> None:
    passages = ask(query="what is it of the", explain=True).json()["passages"]
    assert len(passages) == 2
    assert all(passage["lexical_score"] is None for passage in passages)
    assert all("not looked for by words" in passage["explanation"]["sentence"] for passage in passages)
