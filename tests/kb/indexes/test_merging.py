"""Segments are merged in tiers, and whatever is added, deleted and merged meanwhile, the ranking is BM25's."""

import math
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from random import Random

import numpy as np
import psycopg
import pytest
from django.db import connection, connections, transaction
from hypothesis import given
from hypothesis import strategies as st
from rank_bm25 import BM25Okapi

from kb.core import pools
from kb.core.actions import delete_collection
from kb.core.models import Collection, User
from kb.documents.models import Chunking
from kb.indexes import block_cache, lexical, merging, tasks
from kb.indexes.lexical import PostgresLexical
from kb.indexes.merging import FEWEST, MOST_CHUNKS, Held, chosen
from kb.indexes.models import PostingBlock, Segment, Tombstone
from retrieval import bm25
from retrieval.protocols import Ranked, Scope

COUNTS = st.lists(st.tuples(st.integers(1, MOST_CHUNKS), st.floats(0, 1)), max_size=40)


class Oracle(BM25Okapi):  # type: ignore[misc]  # rank_bm25 carries no types
    """rank_bm25 with the idf of ours, which is never negative."""

    def _calc_idf(self, nd: dict[str, int]) -> None:
        for term, df in nd.items():
            self.idf[term] = math.log(1 + (self.corpus_size - df + 0.5) / (df + 0.5))


# Which segments -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("counts", "at_rest", "merged"),
    [
        ([], False, []),
        ([100] * (FEWEST - 1), False, []),
        ([100] * FEWEST, False, [100] * FEWEST),
        ([100] * (FEWEST - 1) + [100_000], False, []),
        ([1] * 3 + [3000] * FEWEST, False, [3000] * FEWEST),
        ([10, 20, 100, 3000], True, [10, 20, 100]),
        ([10, 3000], True, []),
        ([24_000, 24_000, 24_000], False, [24_000, 24_000]),
        ([30_000, 30_000], True, []),
        ([50_000, 50_000], True, []),
    ],
)
def test_segments_of_about_one_size_are_merged(counts: list[int], at_rest: bool, merged: list[int]) -> None:
    held = [Held(number, count) for number, count in enumerate(counts)]
    assert [segment.count for segment in chosen(held, at_rest)] == merged


@pytest.mark.parametrize(
    ("deleted", "at_rest", "merged"),
    [(0, True, 0), (9, True, 0), (10, True, 1), (99, False, 0), (100, False, 1)],
)
def test_a_segment_of_which_too_much_is_deleted_is_rewritten(
    deleted: int, at_rest: bool, merged: int
) -> None:
    assert len(chosen([Held(1, 1000, deleted)], at_rest)) == merged


@given(counts=COUNTS, at_rest=st.booleans())
def test_merging_ends_with_few_segments_none_too_large(
    counts: list[tuple[int, float]], at_rest: bool
) -> None:
    segments = [Held(i, count, int(count * share)) for i, (count, share) in enumerate(counts)]
    for number in range(1000, 1200):
        group = chosen(segments, at_rest)
        if not group:
            break
        alive = sum(segment.alive for segment in group)
        assert alive <= MOST_CHUNKS
        segments = [segment for segment in segments if segment not in group]
        segments += [Held(number, alive)] if alive else []
    else:
        pytest.fail("merging has no end")
    small = [segment for segment in segments if segment.alive <= MOST_CHUNKS // 2]
    assert len(small) <= (math.log(MOST_CHUNKS, 1 + merging.RATIO) + 2) * (1 if at_rest else FEWEST)


def test_a_posting_is_rewritten_a_few_times_at_most() -> None:
    """300,000 chunks that come by hundreds: what is written in all, for each chunk."""
    segments: list[Held] = []
    written = 0
    for number in range(3000):
        segments.append(Held(number, 100))
        while group := chosen(segments, at_rest=False):
            segments = [segment for segment in segments if segment not in group]
            segments.append(Held(10_000 + number, sum(segment.alive for segment in group)))
            written += segments[-1].count
    assert written / 300_000 < 8
    assert len(segments) < 30


# In the database ------------------------------------------------------------------------------------


@dataclass
class Postings:
    """Chunks in two collections, in Postgres and as the lists that they came from."""

    chunking: int
    collections: tuple[int, ...]
    living: dict[int, tuple[int, list[str]]] = field(default_factory=dict)
    last: int = 0
    changing: Callable[[], None] = lambda: None

    def add(self, collection: int, texts: Sequence[list[str]]) -> None:
        numbered = dict(enumerate(texts, self.last + 1))
        self.last += len(texts)
        self.living |= {chunk: (collection, words) for chunk, words in numbered.items()}
        self.changing()
        with transaction.atomic():
            lexical.append(self.chunking, collection, numbered.items())

    def delete(self, chunks: Sequence[int]) -> None:
        """As the trigger does it for chunk rows; tests of ingestion cover the trigger."""
        rows = [
            Tombstone(chunk_id=c, chunking_id=self.chunking, collection_id=of, length=len(words))
            for c, (of, words) in ((c, self.living.pop(c)) for c in chunks)
        ]
        self.changing()
        Tombstone.objects.bulk_create(rows)

    def search(self, query: list[str], *collections: int) -> Ranked:
        found = PostgresLexical(self.chunking).postings(list(dict.fromkeys(query)), Scope(collections))
        return bm25.rank(found, query, 1000)

    def check(self, query: list[str]) -> None:
        for scope in (self.collections, self.collections[:1], self.collections[1:]):
            texts = {chunk: words for chunk, (of, words) in self.living.items() if of in scope}
            assert_same(self.search(query, *scope), expected(texts, query))


def expected(texts: dict[int, list[str]], query: list[str]) -> dict[int, float]:
    if not any(texts.values()):
        return {}
    scores = Oracle(list(texts.values()), k1=bm25.K1, b=bm25.B).get_scores(query)
    return {chunk: score for chunk, score in zip(texts, scores.tolist(), strict=True) if score > 0}


def assert_same(found: Ranked, wanted: dict[int, float]) -> None:
    assert found.ids.tolist() == sorted(wanted, key=lambda c: (-round(wanted[c], 9), c))
    np.testing.assert_allclose(found.scores, [wanted[c] for c in found.ids.tolist()], rtol=1e-9)


@pytest.fixture
def postings(alice: User) -> Iterator[Postings]:
    made = [Collection.objects.create(name=slug, slug=slug, owner=alice) for slug in ("one", "two")]
    chunking = Chunking.objects.create(settings={}, tokenizer_hash="t", analyser_hash="a")
    block_cache.clear()
    yield Postings(chunking.pk, tuple(collection.pk for collection in made))
    block_cache.clear()


def words(chance: Random, most: int = 9) -> list[str]:
    """Now and then none at all: such a chunk counts, too."""
    return chance.choices("abcdefgh", k=chance.randrange(most))


database = pytest.mark.django_db(transaction=True)


@database
@pytest.mark.parametrize("seed", range(6))
def test_ranking_is_bm25_in_whatever_order_chunks_are_added_deleted_and_merged(
    seed: int, postings: Postings
) -> None:
    chance = Random(seed)
    for _ in range(40):
        move = chance.random()
        if move < 0.5:
            texts = [words(chance) for _ in range(chance.randrange(1, 6))]
            postings.add(chance.choice(postings.collections), texts)
        elif move < 0.7:
            postings.delete(chance.sample(sorted(postings.living), len(postings.living) // 5))
        elif move < 0.9:
            merging.merge(
                postings.chunking, chance.choice(postings.collections), at_rest=chance.random() < 0.6
            )
        else:
            block_cache.clear()
        postings.check(words(chance, 5))
    merging.merge_all()
    merging.forget_strays()
    assert Segment.objects.count() == 2
    assert not merging.waiting(at_rest=True)
    assert not Tombstone.objects.exists()
    postings.check(["a", "b", "b"])


@database
def test_readers_see_some_state_while_segments_are_added_deleted_and_merged(postings: Postings) -> None:
    """Each answer is that of a moment: of one committed state between those before and after the reading."""
    chance, collection = Random(3), postings.collections[0]
    states: list[dict[int, float]] = [{}]  # those that are committed, and the one that is about to be
    committed = 0
    postings.changing = lambda: states.append(
        expected({c: text for c, (_, text) in postings.living.items()}, ["a", "b"])
    )
    over, wrong, seen = threading.Event(), [], set[int]()

    def read() -> None:
        while not over.is_set():
            first = committed
            found = postings.search(["a", "b"], collection)
            right = [n for n, state in enumerate(states[first:], first) if same(found, state)]
            seen.update(right[:1])
            wrong.extend([] if right else [(first, found)])

    with ThreadPoolExecutor(3) as readers:
        reading = [readers.submit(read) for _ in range(3)]
        try:
            for step in range(36):
                if step % 3 == 2:
                    postings.delete(chance.sample(sorted(postings.living), 5))
                else:
                    postings.add(collection, [words(chance) for _ in range(5)])
                committed = len(states) - 1
                merging.merge(postings.chunking, collection, at_rest=step % 4 == 0)
        finally:
            over.set()
        for each in reading:
            each.result()
    assert not wrong
    assert len(seen) > 5


def same(found: Ranked, wanted: dict[int, float]) -> bool:
    return set(found.ids.tolist()) == wanted.keys() and np.allclose(
        found.scores, [wanted[c] for c in found.ids.tolist()], rtol=1e-9
    )


@database
def test_a_merge_removes_only_the_tombstones_that_it_applied(
    postings: Postings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A chunk is deleted while the merge is at work: it stays deleted, and is cleaned up by the next one."""
    collection = postings.collections[0]
    for text in (["a"], ["a", "b"], ["b"]):
        postings.add(collection, [text])
    postings.delete([1])
    write = lexical.write

    def deleting(*given: object, **named: object) -> Segment:
        monkeypatch.undo()
        elsewhere(lambda: postings.delete([2]))
        return write(*given, **named)  # type: ignore[arg-type]

    monkeypatch.setattr(lexical, "write", deleting)
    assert merging.merge(postings.chunking, collection, at_rest=True)
    assert list(Tombstone.objects.values_list("chunk_id", flat=True)) == [2]
    postings.check(["a", "b"])
    assert merging.merge(postings.chunking, collection, at_rest=True)
    assert not Tombstone.objects.exists()
    assert Segment.objects.get().count == 1
    postings.check(["a", "b"])


def elsewhere(work: object) -> None:
    """Runs `work` in another thread, with a connection of its own, to its end."""
    caught: list[BaseException] = []

    def run() -> None:
        try:
            work()  # type: ignore[operator]
        except BaseException as error:  # noqa: BLE001  # told to the test
            caught.append(error)
        finally:
            connections.close_all()

    thread = threading.Thread(target=run)
    thread.start()
    thread.join(10)
    assert not thread.is_alive(), "it waits for something"
    assert not caught, caught


@database
def test_neither_writers_nor_searches_nor_deletions_wait_for_a_merge(postings: Postings) -> None:
    """All of it happens while a merge that has done its work has not been committed."""
    one, two = postings.collections
    for _ in range(3):
        postings.add(one, [["a"], ["b"]])
    with transaction.atomic():
        assert merging.merge(postings.chunking, one, at_rest=True)
        elsewhere(lambda: postings.add(one, [["a", "c"]]))
        elsewhere(lambda: postings.add(two, [["a"]]))
        elsewhere(lambda: postings.delete([1, 4]))
        elsewhere(lambda: postings.check(["a", "c"]))
        elsewhere(lambda: not_at_it(postings.chunking, one))
        with connection.cursor() as cursor:
            cursor.execute("SELECT count(*) FROM pg_locks WHERE NOT granted")
            assert cursor.fetchone() == (0,)
            cursor.execute("SELECT mode FROM pg_locks WHERE pid = pg_backend_pid() AND locktype = 'relation'")
            assert {mode for (mode,) in cursor} <= {"AccessShareLock", "RowShareLock", "RowExclusiveLock"}
    postings.check(["a", "b", "c"])


def not_at_it(chunking: int, collection: int) -> None:
    assert not merging.merge(chunking, collection, at_rest=True)


@database
def test_a_merge_that_is_killed_leaves_all_as_it_was(postings: Postings) -> None:
    collection = postings.collections[0]
    for _ in range(4):
        postings.add(collection, [["a"], ["b", "a"]])
    postings.delete([3])
    before = sorted(Segment.objects.values_list("pk", flat=True))
    caught: list[psycopg.Error | Exception] = []

    def killed() -> None:
        try:
            with transaction.atomic():
                merging.merge(postings.chunking, collection, at_rest=True)
                with connection.cursor() as cursor:
                    cursor.execute("SELECT pg_terminate_backend(pg_backend_pid())")
        except Exception as error:  # noqa: BLE001  # told to the test
            caught.append(error)
        finally:
            connections.close_all()

    thread = threading.Thread(target=killed)
    thread.start()
    thread.join()
    assert len(caught) == 1
    assert sorted(Segment.objects.values_list("pk", flat=True)) == before
    postings.check(["a", "b"])
    assert merging.merge(postings.chunking, collection, at_rest=True)
    assert Segment.objects.count() == 1
    postings.check(["a", "b"])


@database
def test_merging_twice_changes_nothing_more(postings: Postings) -> None:
    for _ in range(3):
        postings.add(postings.collections[0], [["a"], ["b"]])
    merging.merge_all()
    before = list(PostingBlock.objects.values_list("segment", "term", "postings"))
    merging.merge_all()
    assert list(PostingBlock.objects.values_list("segment", "term", "postings")) == before
    assert not merging.waiting(at_rest=True)


@database
def test_a_segment_of_deleted_chunks_goes(postings: Postings) -> None:
    postings.add(postings.collections[0], [["a"], []])
    postings.delete([1, 2])
    merging.merge_all()
    assert not any(model.objects.exists() for model in (Segment, PostingBlock, Tombstone))


@database
def test_tombstones_of_what_was_never_posted_are_forgotten(postings: Postings) -> None:
    collection = postings.collections[0]
    postings.add(collection, [["a"]])
    Tombstone.objects.create(chunk_id=99, chunking_id=postings.chunking, collection_id=collection, length=7)
    merging.merge_all()
    postings.check(["a"])


@database
def test_the_tombstones_of_a_deleted_collection_are_forgotten(postings: Postings) -> None:
    postings.add(postings.collections[0], [["a"]])
    postings.add(postings.collections[1], [["a"]])
    postings.delete([1, 2])
    Collection.objects.get(pk=postings.collections[0]).delete()
    merging.forget_strays()
    assert list(Tombstone.objects.values_list("chunk_id", flat=True)) == [2]


@database
def test_a_collection_that_is_deleted_during_a_merge_leaves_nothing(
    alice: User, postings: Postings, monkeypatch: pytest.MonkeyPatch
) -> None:
    collection = Collection.objects.get(pk=postings.collections[0])
    for _ in range(2):
        postings.add(collection.pk, [["a"]])
    merged = merging.merged

    def deleting(*given: object) -> object:
        elsewhere(lambda: delete_collection(alice, collection))
        return merged(*given)  # type: ignore[arg-type]

    monkeypatch.setattr(merging, "merged", deleting)
    assert not merging.merge(postings.chunking, collection.pk, at_rest=True)
    assert not Segment.objects.exists()
    assert not PostingBlock.objects.exists()


@database
def test_terms_of_another_analyser_are_not_mixed_in(postings: Postings) -> None:
    for _ in range(3):
        postings.add(postings.collections[0], [["a"]])
    Segment.objects.filter(pk=Segment.objects.earliest("pk").pk).update(analyser="another")
    merging.merge_all()
    assert sorted(Segment.objects.values_list("count", "analyser")) == [
        (1, "another"), (2, lexical.analyser_hash()),
    ]  # fmt: skip


@database
def test_the_task_merges_what_waits_and_may_run_twice(postings: Postings) -> None:
    for _ in range(FEWEST):
        postings.add(postings.collections[0], [["a"]])
    tasks.merge_segments_task()
    tasks.merge_segments_task()
    assert Segment.objects.get().count == FEWEST
    postings.check(["a"])


@database
def test_work_that_takes_longer_is_handed_on(postings: Postings) -> None:
    for _ in range(FEWEST):
        postings.add(postings.collections[0], [["a"]])
    assert merging.merge_for(0)
    assert not merging.merge_for(60)
    pools.close()
