"""A slow database, a slow model: an honest answer within the deadline, or an honest refusal."""

import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import psycopg
import pytest
from django.db import connection
from psycopg_pool import ConnectionPool

from kb.core import pools
from kb.core.models import Collection, User
from kb.core.problems import Problem
from kb.indexes import providers
from kb.indexes.models import Index
from kb.search import deadlines, engine, query_vectors
from kb.search.engine import DEGRADED, Results, search
from kb.search.models import Query
from retrieval.embedders import Kind, Vectors
from retrieval.embedders.hashing import HashingEmbedder
from tests.conftest import ingest

pytestmark = pytest.mark.django_db(transaction=True)

SLACK = 1.0  # seconds that a busy machine may take beyond a deadline


@pytest.fixture
def papers(alice: User, collection: Collection, index: Index) -> Collection:
    ingest(alice, collection, "bread.txt", "Bread is baked from flour, water and salt.")
    ingest(alice, collection, "hnsw.txt", "HNSW is a graph index. It is searched greedily.")
    assert search(alice, "flour").passages
    return collection


@pytest.fixture
def hurried(settings: object, papers: Collection) -> None:
    """A second for a search."""
    settings.SEARCH_DEADLINE_MS = 1_000  # type: ignore[attr-defined]


@contextmanager
def locked(*tables: str) -> Iterator[None]:
    """Whoever reads one of the tables waits until the block ends."""
    with psycopg.connect(**pools.parameters()) as other:
        for table in tables:
            other.execute(f'LOCK TABLE "{table}" IN ACCESS EXCLUSIVE MODE')
        yield
        other.rollback()


def vectors(index: Index) -> str:
    index.refresh_from_db()
    assert index.live_version is not None
    return index.live_version.table


@contextmanager
def within(seconds: float) -> Iterator[None]:
    began = time.monotonic()
    yield
    assert time.monotonic() - began < seconds + SLACK


def test_the_parts_fit_into_the_whole(settings: object) -> None:
    for whole, embed in ((10_000, 2_000), (500, 2_000), (60_000, 30_000)):
        settings.SEARCH_DEADLINE_MS, settings.EMBED_DEADLINE_MS = whole, embed  # type: ignore[attr-defined]
        limits = deadlines.limits()
        assert limits.embed <= limits.load
        assert limits.load + limits.rest < limits.whole


def test_vectors_that_cannot_be_read_leave_the_words_to_answer(
    alice: User, hurried: None, index: Index
) -> None:
    with locked(vectors(index)), within(1):
        results = search(alice, "How is bread baked?")
    assert results.degraded == DEGRADED["dense"]
    assert [passage.title for passage in results.passages] == ["bread"]
    assert Query.objects.get(pk=results.query.pk).degraded == DEGRADED["dense"]
    assert not search(alice, "How is bread baked?").degraded


def test_postings_that_cannot_be_read_leave_the_meaning_to_answer(alice: User, hurried: None) -> None:
    with locked("indexes_postingblock"), within(1):
        results = search(alice, "How is bread baked?")
    assert results.degraded == DEGRADED["lexical"]
    assert results.passages[0].title == "bread"


@pytest.mark.parametrize(
    "tables", [("indexes_postingblock", "vectors"), ("documents_chunk",), ("core_collection",)]
)
def test_a_slow_database_is_told_within_the_deadline(
    alice: User, hurried: None, index: Index, tables: Sequence[str]
) -> None:
    names = [vectors(index) if table == "vectors" else table for table in tables]
    with locked(*names), within(1), pytest.raises(Problem) as refused:
        search(alice, "How is bread baked?")
    assert (refused.value.code, refused.value.status) == ("unavailable", 503)
    assert search(alice, "How is bread baked?").passages


def test_a_search_that_failed_is_a_query_as_well(
    alice: User, papers: Collection, index: Index, monkeypatch: pytest.MonkeyPatch
) -> None:
    def late(*_: object) -> None:
        raise psycopg.errors.QueryCanceled("canceling statement due to statement timeout")

    monkeypatch.setattr(engine, "laid_out", late)
    with pytest.raises(Problem, match="not available"):
        search(alice, "How is bread baked?")
    query = Query.objects.get(failed=True)
    assert (query.text, query.user, query.results) == ("How is bread baked?", alice, 0)
    assert query.stages["total"] >= query.stages["normalise"] > 0
    assert query.profile is not None
    index.refresh_from_db()
    assert query.versions == [index.live_version_id], "a canary is judged by it"


def test_a_failure_that_cannot_be_recorded_is_told_all_the_same(alice: User, hurried: None) -> None:
    with locked("search_query"), within(1), pytest.raises(Problem, match="not available"):
        search(alice, "How is bread baked?")
    assert not Query.objects.filter(failed=True).exists()


def test_a_search_without_correcting_the_spelling_says_so(
    alice: User, papers: Collection, monkeypatch: pytest.MonkeyPatch
) -> None:
    def late(*_: object) -> None:
        raise pools.OutOfTime("There was no time left to ask the database.")

    assert search(alice, "How is braed baked?").notes == ()
    monkeypatch.setattr(engine, "corrected", late)
    results = search(alice, "How is braed baked?")
    assert results.notes == (engine.UNCHECKED,)
    assert results.passages
    assert search(alice, "How is bread baked?").notes == (), "each of its words was found"


def test_no_connection_to_be_had_is_told_within_the_deadline(
    alice: User, hurried: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    with ConnectionPool(kwargs=pools.parameters(), min_size=1, max_size=1, open=True) as pool:
        monkeypatch.setattr(pools, "pool", lambda options="": pool)
        with pool.connection(), within(1), pytest.raises(Problem) as refused:
            search(alice, "How is bread baked?")
    assert refused.value.status == 503


def test_other_work_on_the_connection_has_no_deadline(alice: User, papers: Collection) -> None:
    search(alice, "flour")
    with connection.cursor() as cursor:
        cursor.execute("SHOW statement_timeout")
        assert cursor.fetchone() == ("0",)
    assert pools.left() == pools.STATEMENT_SECONDS


def test_the_database_is_told_again_what_is_left(papers: Collection, settings: object) -> None:
    def told() -> int:
        with connection.cursor() as cursor:
            cursor.execute("SELECT setting::int FROM pg_settings WHERE name = 'statement_timeout'")
            return int(cursor.fetchone()[0])

    with deadlines.search():
        first = told()
        assert 9_000 < first <= 10_000
        with pools.within(1):
            assert 0 < told() <= 1_000
        assert told() > 8_000


class Hanging(HashingEmbedder):
    """Answers once it is let go."""

    def __init__(self) -> None:
        super().__init__()
        self.gate, self.began = threading.Event(), 0

    def embed(self, texts: Sequence[str], kind: Kind) -> Vectors:
        self.began += 1
        self.gate.wait(30)
        return super().embed(texts, kind)


@pytest.fixture
def hanging(papers: Collection, monkeypatch: pytest.MonkeyPatch, settings: object) -> Iterator[Hanging]:
    """The model hangs; a question waits a fifth of a second for it."""
    settings.EMBED_DEADLINE_MS = 200  # type: ignore[attr-defined]
    made = Hanging()
    query_vectors.guard_of(made).answered = True  # it is not being loaded
    monkeypatch.setattr(providers, "embedder", lambda model: made)
    yield made
    made.gate.set()


def asked(person: User, number: int) -> Results:
    """As a request does it, in a thread with a connection of its own."""
    try:
        return search(person, f"How is bread number {number} baked?")
    finally:
        connection.close()


def test_many_questions_to_a_hanging_model_are_all_answered_by_their_words(
    alice: User, hanging: Hanging
) -> None:
    with within(8), ThreadPoolExecutor(20) as people:
        results = list(people.map(lambda number: asked(alice, number), range(50)))
    assert {result.degraded for result in results} == {DEGRADED["embed"]}
    assert all(result.passages[0].title == "bread" for result in results)
    assert hanging.began <= 4
    arms = [thread for thread in threading.enumerate() if thread.name.startswith("search-arm")]
    assert len(arms) <= engine._arms._max_workers
    # Nobody waits any more while the model rests.
    with within(0):
        assert search(alice, "bread").degraded == DEGRADED["embed"]


def test_a_known_question_needs_no_model(
    alice: User, papers: Collection, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = search(alice, "How is bread baked, in short?")
    deadline = time.monotonic() + 10
    while "embed" in (again := search(alice, "How is bread  baked, in short?")).query.stages:
        assert time.monotonic() < deadline
    assert {"embed", "cache"} <= first.query.stages.keys()
    assert "cache" in again.query.stages
    hung = Hanging()
    monkeypatch.setattr(providers, "embedder", lambda model: hung)
    known = search(alice, "How is bread baked, in short?")
    assert (known.degraded, hung.began) == ("", 0)
    assert [p.score for p in known.passages] == [p.score for p in first.passages]
