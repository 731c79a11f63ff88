"""Queries beside the reader's way: compared, bounded, and never in it."""

import logging
import os
import threading
from concurrent.futures import wait
from threading import Event

import pytest
from django.db import connection

from kb.core.models import Collection, User
from kb.documents.actions import delete_document
from kb.documents.models import Chunk, Chunking
from kb.indexes import providers
from kb.indexes.models import Index, IndexVersion
from kb.search import shadowing
from kb.search.engine import Results, search
from kb.search.models import Query, ShadowComparison
from kb.search.shadowing import MOST_WAITING, NICENESS, per, took
from kb.search.tasks import steer_canaries_task
from retrieval.embedders import EmbeddingError
from retrieval.ranking import unranked
from tests.conftest import ingest
from tests.kb.candidates import State, candidate

pytestmark = pytest.mark.django_db(transaction=True)

TOPICS = ("bread and flour", "graphs and greedy walks", "tides and the moon", "violins and bows")


@pytest.fixture
def papers(alice: User, collection: Collection, index: Index) -> Collection:
    for topic in TOPICS:
        ingest(alice, collection, f"{topic.split()[0]}.txt", f"This tells of {topic}.")
    return collection


def asked(reader: User, text: str) -> Results:
    """A search whose comparisons are done."""
    results = search(reader, text)
    wait(shadowing.waiting(), 20)
    return results


def test_a_query_is_compared_beside(alice: User, index: Index, papers: Collection) -> None:
    version = candidate(index, State.SHADOW, shadow_share=1.0)
    results = asked(alice, "bread and flour")
    assert results.query.version == index.live_version, "the reader is served by the live version"
    found = ShadowComparison.objects.get()
    assert (found.query, found.version, found.against) == (results.query, version, index.live_version)
    assert len(found.live) == len(found.candidate) == len(TOPICS)
    assert found.overlap == 1, "with so few chunks both find all"
    assert 0 < found.rbo <= 1
    assert found.score_shift is not None
    assert (found.error, found.by_document) == ("", False)
    assert min(found.live_ms, found.candidate_ms) > 0


def test_what_cannot_be_compared_is_not(
    alice: User, index: Index, papers: Collection, monkeypatch: pytest.MonkeyPatch
) -> None:
    candidate(index, State.SHADOW, shadow_share=1.0)
    asked(alice, "type:txt")
    asked(alice, "tag:none")
    assert not ShadowComparison.objects.exists(), "no words, no ranking"

    class Broken:
        def embed(self, *_: object) -> None:
            raise EmbeddingError("no weights")

    monkeypatch.setattr(providers, "embedder", lambda _: Broken())
    assert asked(alice, "bread and flour").degraded
    assert not ShadowComparison.objects.exists(), "the live side lost an arm"


def test_a_share_of_the_queries_is_compared(alice: User, index: Index, papers: Collection) -> None:
    version = candidate(index, State.SHADOW)
    assert not asked(alice, "bread").query.comparisons.exists()
    IndexVersion.objects.filter(pk=version.pk).update(shadow_share=0.5)
    for number in range(24):
        asked(alice, f"bread {number}")
    assert 2 <= ShadowComparison.objects.count() <= 22


def test_a_candidate_that_fails_is_no_matter_of_the_reader(
    alice: User, index: Index, papers: Collection, caplog: pytest.LogCaptureFixture
) -> None:
    version = candidate(index, State.SHADOW, shadow_share=1.0)
    with connection.cursor() as cursor:
        cursor.execute(f'DROP TABLE "{version.table}"')
    with caplog.at_level(logging.CRITICAL):
        results = asked(alice, "bread and flour")
    assert results.passages[0].title == "bread"
    assert not results.degraded
    found = ShadowComparison.objects.get()
    assert found.error == "dense"
    assert len(found.candidate) == 1, "the words alone"


def test_a_query_that_is_gone_is_not_compared(
    alice: User, index: Index, papers: Collection, caplog: pytest.LogCaptureFixture
) -> None:
    version, query = candidate(index), search(alice, "bread").query
    Query.objects.all().delete()
    assert index.live_version is not None
    with caplog.at_level(logging.INFO, "kb.search.shadowing"):
        shadowing.compared(query, index.live_version, version, unranked([1]), lambda _: unranked([2]))
    assert not ShadowComparison.objects.exists()
    assert "came too late" in caplog.text


def test_what_waits_is_bounded() -> None:
    held, begun = Event(), []
    shadowing.hand_over(lambda: bool(held.wait(20)) and None)
    for number in range(MOST_WAITING + 5):
        shadowing.hand_over(lambda number=number: begun.append(number))
    assert len(shadowing.waiting()) == MOST_WAITING
    waiting = shadowing.waiting()
    held.set()
    wait(waiting, 20)
    assert begun == list(range(MOST_WAITING - 1))


def test_readers_come_before_comparisons() -> None:
    mine, found = os.getpriority(os.PRIO_PROCESS, 0), []
    shadowing.hand_over(lambda: found.append(os.getpriority(os.PRIO_PROCESS, threading.get_native_id())))
    wait(shadowing.waiting(), 20)
    assert found == [max(mine, NICENESS)]
    assert os.getpriority(os.PRIO_PROCESS, threading.get_native_id()) == mine


def test_a_deleted_document_leaves_no_words_behind(alice: User, index: Index, papers: Collection) -> None:
    candidate(index, State.SHADOW, shadow_share=1.0)
    asked(alice, "bread and flour")
    delete_document(alice, papers.documents.get(title="bread"))
    found = ShadowComparison.objects.get()
    assert all(isinstance(chunk, int) for chunk, _ in [*found.live, *found.candidate])


def test_documents_are_compared_where_texts_are_cut_differently() -> None:
    documents = {1: "a", 2: "a", 3: "b", 4: "c"}
    assert per(documents, {1: 0.9, 2: 0.8, 3: 0.7}) == {"a": 0.9, "b": 0.7}
    assert per({}, {1: 0.9}) == {1: 0.9}


def test_versions_that_cut_differently_are_compared_by_documents(
    alice: User, index: Index, papers: Collection
) -> None:
    live, query = index.live_version, search(alice, "bread").query
    assert live is not None
    other = Chunking.objects.create(settings={"most": 50}, tokenizer_hash="t", analyser_hash="a")
    version = candidate(index, State.SHADOW, chunking=other)
    old = Chunk.objects.order_by("pk")
    for chunk in list(old):
        chunk.pk, chunk.chunking = None, other
        chunk.save(force_insert=True)
    mine = list(old.filter(chunking=live.chunking).values_list("pk", flat=True))
    theirs = list(old.filter(chunking=other).values_list("pk", flat=True))
    found = shadowing.store(query, live, version, unranked(mine), unranked(theirs))
    assert set(mine).isdisjoint(theirs)
    assert (found.by_document, found.overlap, found.rbo) == (True, 1.0, pytest.approx(1.0))


def test_the_time_is_that_of_the_slower_arm() -> None:
    stages = {"normalise": 1.0, "cache": 1.0, "embed": 10.0, "dense": 3.0, "lexical": 8.0, "fuse": 0.5}
    assert took(stages) == 15.5
    assert took({"lexical": 8.0}) == 8.0
    assert took({}) == 0


def test_the_model_of_a_candidate_that_is_away_is_named(
    alice: User, index: Index, papers: Collection, monkeypatch: pytest.MonkeyPatch
) -> None:
    version, real = candidate(index, State.SHADOW, shadow_share=1.0), providers.embedder

    class Away:
        def embed(self, texts: object, kind: object) -> object:
            raise RuntimeError("the candidate's model is away")

    monkeypatch.setattr(providers, "embedder", lambda m: Away() if m == version.model else real(m))
    asked(alice, "bread and flour")
    assert ShadowComparison.objects.get().error == "embed"


def test_comparisons_of_a_version_that_is_over_are_forgotten(
    alice: User, index: Index, papers: Collection
) -> None:
    version = candidate(index, State.SHADOW, shadow_share=1.0)
    asked(alice, "bread")
    steer_canaries_task()
    assert ShadowComparison.objects.count() == 1
    IndexVersion.objects.filter(pk=version.pk).update(state=State.DROPPED)
    for _ in range(2):
        steer_canaries_task()
        assert not ShadowComparison.objects.exists()
    assert Query.objects.count() == 1
