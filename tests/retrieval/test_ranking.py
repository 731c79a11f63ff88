"""A search: both arms at once, fused, timed, and degraded where it must be."""

import logging
import threading
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from retrieval.embedders import Kind, Vectors
from retrieval.embedders.hashing import HashingEmbedder
from retrieval.fusion import convex
from retrieval.memory import MemoryLexical
from retrieval.protocols import Postings, Ranked, Scope
from retrieval.ranking import Retriever
from tests.contracts import within


def test_hits_are_fused_from_both_arms(retriever: Retriever) -> None:
    hits = retriever.search("an index of vectors", within(1), 2)
    assert [hit.chunk_id for hit in hits] == [1, 3]
    assert hits.fused.scores.tolist() == convex(hits.dense, hits.lexical, 0.8).scores[:2].tolist()
    assert (len(hits), len(hits.dense), hits.degraded) == (2, 3, False)


def test_each_hit_says_what_each_arm_gave_it(retriever: Retriever) -> None:
    by_id = {hit.chunk_id: hit for hit in retriever.search("index vectors", within(1), 10)}
    assert by_id[1].dense_score is not None
    assert by_id[1].lexical_score is not None
    assert by_id[2].lexical_score is None


def test_only_the_scope_is_found(retriever: Retriever) -> None:
    assert {hit.chunk_id for hit in retriever.search("secret index", within(1), 10)} == {1, 2, 3}
    assert [hit.chunk_id for hit in retriever.search("secret index", within(2), 10)] == [4]
    assert list(retriever.search("secret index", within(), 10)) == []


def test_more_hits_than_candidates_may_be_asked_for(retriever: Retriever) -> None:
    assert len(replace(retriever, candidates=1).search("index of bread", within(1), 3)) == 3


def test_every_stage_is_timed(retriever: Retriever) -> None:
    times = retriever.search("index", within(1), 2).milliseconds
    assert times.keys() == {"embed", "dense", "lexical", "fuse"}
    assert all(0 <= value < 10_000 for value in times.values())


def test_a_question_of_stop_words_is_answered_by_the_dense_arm(retriever: Retriever) -> None:
    hits = retriever.search("what is it?", within(1), 2)
    assert len(hits) == 2
    assert len(hits.lexical) == 0
    assert "lexical" not in hits.milliseconds


class BrokenEmbedder:
    def embed(self, texts: Sequence[str], kind: Kind) -> Vectors:
        raise ConnectionError("no such host")


def test_words_answer_alone_if_embedding_fails(
    retriever: Retriever, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.ERROR):
        hits = replace(retriever, embedder=BrokenEmbedder()).search("index of vectors", within(1), 2)
    assert (hits.degraded, hits.missing) == (True, ("embed",))
    assert [(hit.chunk_id, hit.dense_score) for hit in hits] == [(1, None), (3, None)]
    assert hits.milliseconds.keys() == {"lexical", "fuse"}
    assert "no such host" in caplog.text


class BrokenStore:
    def nearest(self, vector: NDArray[np.float32], scope: Scope, k: int) -> Ranked:
        raise ConnectionError("the database is gone")

    def postings(self, terms: Sequence[str], scope: Scope) -> Postings:
        raise ConnectionError("the database is gone")


@pytest.mark.parametrize("arm", ["dense", "lexical"])
def test_a_broken_store_leaves_the_other_arm_to_answer(
    retriever: Retriever, arm: str, caplog: pytest.LogCaptureFixture
) -> None:
    whole = retriever.search("index of vectors", within(1), 2)
    other = replace(retriever, **{arm: BrokenStore()})  # type: ignore[arg-type]
    hits = other.search("index of vectors", within(1), 2)
    assert hits.missing == (arm,)
    assert [len(hits.dense) > 0, len(hits.lexical) > 0] == [arm != "dense", arm != "lexical"]
    kept = "lexical" if arm == "dense" else "dense"
    np.testing.assert_array_equal(getattr(hits, kept).ids, getattr(whole, kept).ids)
    assert "the database is gone" in caplog.text


def test_both_stores_broken_is_an_error(retriever: Retriever) -> None:
    broken = BrokenStore()
    with pytest.raises(ConnectionError, match="database is gone"):
        replace(retriever, dense=broken, lexical=broken).search("index", within(1), 2)
    with pytest.raises(ConnectionError, match="database is gone"):
        replace(retriever, embedder=BrokenEmbedder(), lexical=broken).search("index", within(1), 2)


def test_a_broken_dense_store_is_an_error_for_a_question_without_words(retriever: Retriever) -> None:
    with pytest.raises(ConnectionError, match="database is gone"):
        replace(retriever, dense=BrokenStore()).search("what is it?", within(1), 2)


def test_an_arm_that_takes_too_long_is_given_up(retriever: Retriever) -> None:
    gate = threading.Event()

    class Hanging(MemoryLexical):
        def postings(self, terms: Sequence[str], scope: Scope) -> Postings:
            gate.wait(30)
            return super().postings(terms, scope)

    try:
        hits = replace(retriever, lexical=Hanging(), patience=lambda: 0.05).search("index", within(1), 2)
    finally:
        gate.set()
    assert hits.missing == ("lexical",)
    assert len(hits.dense)


def test_the_arms_run_at_the_same_time(retriever: Retriever) -> None:
    meeting = threading.Barrier(2, timeout=10)  # breaks, and fails the search, unless both arms come

    class MeetingEmbedder(HashingEmbedder):
        def embed(self, texts: Sequence[str], kind: Kind) -> Vectors:
            meeting.wait()
            return super().embed(texts, kind)

    class MeetingLexical(MemoryLexical):
        def postings(self, terms: Sequence[str], scope: Scope) -> Postings:
            meeting.wait()
            return super().postings(terms, scope)

    hits = replace(retriever, embedder=MeetingEmbedder(), lexical=MeetingLexical()).search(
        "index", within(1), 2
    )
    assert not hits.degraded


def test_the_question_is_embedded_as_a_query(retriever: Retriever) -> None:
    kinds: list[Kind] = []

    class Listening(HashingEmbedder):
        def embed(self, texts: Sequence[str], kind: Kind) -> Vectors:
            kinds.append(kind)
            return super().embed(texts, kind)

    replace(retriever, embedder=Listening()).search("index", within(1), 2)
    assert kinds == ["query"]


def test_a_question_that_restricts_itself_finds_no_other_chunks(retriever: Retriever) -> None:
    whole = retriever.search("index vectors", within(1), 10)
    some = retriever.search("index vectors", Scope((1,), np.array([2, 3], np.int64)), 10)
    assert {hit.chunk_id for hit in some} == {2, 3}
    lexical = dict(zip(whole.lexical.ids.tolist(), whole.lexical.scores.tolist(), strict=True))
    assert some.lexical.scores.tolist() == [lexical[chunk] for chunk in some.lexical.ids.tolist()]
