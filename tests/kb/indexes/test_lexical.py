"""Postings are read from Postgres once; what is remembered of them never shows what is deleted or not to be seen."""

from collections.abc import Iterator

import numpy as np
import pytest

from kb.core.models import Collection, User
from kb.documents.models import Chunking
from kb.indexes import block_cache, lexical, merging
from kb.indexes.lexical import PostgresLexical
from kb.indexes.models import PostingBlock, Segment, Tombstone
from retrieval import bm25
from retrieval.protocols import Postings, Scope

NOWHERE = block_cache.Sources(np.empty(0, np.int64), np.empty(0, np.int64))

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def forgetful() -> Iterator[None]:
    block_cache.clear()
    yield
    block_cache.clear()


@pytest.fixture
def collections(alice: User) -> list[int]:
    slugs = [f"c{number}" for number in range(lexical.MOST_SENT_ONE_BY_ONE + 2)]
    Collection.objects.bulk_create(Collection(name=slug, slug=slug, owner=alice) for slug in slugs)
    return list(Collection.objects.order_by("pk").values_list("pk", flat=True))


@pytest.fixture
def chunking(db: None) -> Chunking:
    return Chunking.objects.create(settings={}, tokenizer_hash="t", analyser_hash="a")


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[tuple[list[str], int]]:
    """What is read of blocks: terms, and the number of segments."""
    seen: list[tuple[list[str], int]] = []
    read = lexical.read

    def noted(connected: object, terms: list[str], segments: object) -> object:
        seen.append((sorted(terms), len(segments)))  # type: ignore[arg-type]
        return read(connected, terms, segments)  # type: ignore[arg-type]

    monkeypatch.setattr(lexical, "read", noted)
    return seen


def ids(postings: Postings) -> dict[str, list[int]]:
    """Of each term, the chunks that are alive."""
    return {
        term.term: sorted(set(term.ids.tolist()) - set(postings.deleted.tolist())) for term in postings.terms
    }


def test_what_was_read_once_is_not_read_again(
    chunking: Chunking, collections: list[int], reads: list[tuple[list[str], int]]
) -> None:
    postgres, scope = PostgresLexical(chunking.pk), Scope((collections[0],))
    lexical.append(chunking.pk, collections[0], [(1, ["a", "b"]), (2, ["b"])])
    first = postgres.postings(["a", "b"], scope)
    assert ids(postgres.postings(["b", "a", "c"], scope)) == {"b": [1, 2], "a": [1], "c": []}
    assert ids(first) == {"a": [1], "b": [1, 2]}
    assert reads == [(["a", "b"], 1), (["c"], 1)]


def test_what_is_remembered_cannot_be_changed(chunking: Chunking, collections: list[int]) -> None:
    lexical.append(chunking.pk, collections[0], [(1, ["a"])])
    (term,) = PostgresLexical(chunking.pk).postings(["a"], Scope((collections[0],))).terms
    for array in (term.ids, term.frequencies, term.lengths):
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 7


def test_of_what_was_added_only_that_is_read(
    chunking: Chunking, collections: list[int], reads: list[tuple[list[str], int]]
) -> None:
    postgres, scope = PostgresLexical(chunking.pk), Scope((collections[0],))
    lexical.append(chunking.pk, collections[0], [(1, ["a"])])
    lexical.append(chunking.pk, collections[0], [(2, ["a"])])
    postgres.postings(["a"], scope)
    lexical.append(chunking.pk, collections[0], [(3, ["a", "a", "b"])])
    found = postgres.postings(["a"], scope)
    assert reads == [(["a"], 2), (["a"], 1)]
    (term,) = found.terms
    assert sorted(zip(term.ids, term.frequencies, term.lengths, strict=True)) == [
        (1, 1, 1),
        (2, 1, 1),
        (3, 2, 3),
    ]
    assert (found.count, found.total_length) == (3, 5)


def test_after_a_merge_the_merged_is_read(
    chunking: Chunking, collections: list[int], reads: list[tuple[list[str], int]]
) -> None:
    postgres, scope = PostgresLexical(chunking.pk), Scope((collections[0],))
    for chunk in (1, 2, 3):
        lexical.append(chunking.pk, collections[0], [(chunk, ["a"])])
    before = postgres.postings(["a"], scope)
    merging.merge_all()
    assert ids(postgres.postings(["a"], scope)) == ids(before) == {"a": [1, 2, 3]}
    assert reads == [(["a"], 3), (["a"], 1)]


def test_a_merge_leaves_other_segments_known(
    chunking: Chunking, collections: list[int], reads: list[tuple[list[str], int]]
) -> None:
    everywhere = tuple(collections)
    postgres, scope = PostgresLexical(chunking.pk), Scope(everywhere)
    for number, collection in enumerate(everywhere):
        lexical.append(chunking.pk, collection, [(10 * number, ["a"]), (10 * number + 1, ["b", "b"])])
    for chunk in (11, 12):
        lexical.append(chunking.pk, everywhere[1], [(10 * chunk + 5, ["a", "c"])])
    before = postgres.postings(["a", "b", "c"], scope)
    Tombstone.objects.create(chunk_id=10, chunking_id=chunking.pk, collection_id=everywhere[1], length=1)
    merging.merge_all()
    after = postgres.postings(["a", "b", "c"], scope)
    assert len(after.deleted) == 0
    assert reads == [(["a", "b", "c"], len(everywhere) + 2), (["a", "b", "c"], 1)]
    expected = ids(before)
    expected["a"].remove(10)
    assert ids(after) == expected
    block_cache.clear()
    anew = postgres.postings(["a", "b", "c"], scope)
    for one, other in zip(after.terms, anew.terms, strict=True):
        rows = [sorted(zip(each.ids, each.frequencies, each.lengths, strict=True)) for each in (one, other)]
        assert rows[0] == rows[1]


def test_a_term_that_is_asked_for_twice_is_one(chunking: Chunking, collections: list[int]) -> None:
    lexical.append(chunking.pk, collections[0], [(1, ["a"]), (2, ["b"])])
    postgres, scope = PostgresLexical(chunking.pk), Scope((collections[0],))
    once, twice = postgres.postings(["a"], scope), postgres.postings(["a", "a"], scope)
    assert [entry.term for entry in twice.terms] == ["a"]
    found = bm25.rank(twice, ["a", "a"], 10)
    np.testing.assert_array_equal(found.scores, bm25.rank(once, ["a", "a"], 10).scores)


def test_a_deletion_is_seen_at_once(chunking: Chunking, collections: list[int]) -> None:
    postgres, scope = PostgresLexical(chunking.pk), Scope((collections[0],))
    lexical.append(chunking.pk, collections[0], [(1, ["a"]), (2, ["a"])])
    postgres.postings(["a"], scope)
    Tombstone.objects.create(chunk_id=1, chunking_id=chunking.pk, collection_id=collections[0], length=1)
    found = postgres.postings(["a"], scope)
    assert ids(found) == {"a": [2]}
    assert (found.count, found.total_length) == (1, 1)


def test_what_others_may_see_is_not_shown(chunking: Chunking, collections: list[int]) -> None:
    postgres = PostgresLexical(chunking.pk)
    for chunk, collection in enumerate(collections[:3]):
        lexical.append(chunking.pk, collection, [(chunk, ["a"])])
    for visible in (collections[:3], collections[:1], collections[1:3], []):
        found = postgres.postings(["a"], Scope(tuple(visible)))
        assert found.count == len(visible)
        assert sum(len(term.ids) for term in found.terms) == len(visible)


def test_chunkings_do_not_mix(chunking: Chunking, collections: list[int]) -> None:
    other = Chunking.objects.create(settings={"b": 1}, tokenizer_hash="t", analyser_hash="a")
    lexical.append(chunking.pk, collections[0], [(1, ["a"])])
    lexical.append(other.pk, collections[0], [(2, ["a"])])
    scope = Scope((collections[0],))
    assert ids(PostgresLexical(chunking.pk).postings(["a"], scope)) == {"a": [1]}
    assert ids(PostgresLexical(other.pk).postings(["a"], scope)) == {"a": [2]}


def test_many_segments_are_read_as_few_are(
    chunking: Chunking, collections: list[int], reads: list[tuple[list[str], int]]
) -> None:
    for chunk, collection in enumerate(collections):
        lexical.append(chunking.pk, collection, [(chunk, ["a", "b"] if chunk % 2 else ["a"])])
    found = PostgresLexical(chunking.pk).postings(["a", "b", "c"], Scope(tuple(collections)))
    everywhere = list(range(len(collections)))
    assert ids(found) == {"a": everywhere, "b": everywhere[1::2], "c": []}
    assert reads == [(["a", "b", "c"], len(collections))]


def test_a_merge_between_looking_and_reading_makes_it_begin_anew(
    chunking: Chunking, collections: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    for chunk in (1, 2):
        lexical.append(chunking.pk, collections[0], [(chunk, ["a"])])
    read = lexical.read

    def merged_meanwhile(*given: object) -> object:
        monkeypatch.undo()
        merging.merge_all()
        return read(*given)  # type: ignore[arg-type]

    monkeypatch.setattr(lexical, "read", merged_meanwhile)
    found = PostgresLexical(chunking.pk).postings(["a"], Scope((collections[0],)))
    assert ids(found) == {"a": [1, 2]}


def test_the_list_of_all_chunks_is_no_term(chunking: Chunking, collections: list[int]) -> None:
    lexical.append(chunking.pk, collections[0], [(1, []), (2, ["a"])])
    found = PostgresLexical(chunking.pk).postings(["", "a"], Scope((collections[0],)))
    assert ids(found) == {"a": [2]}
    assert found.count == 2


def test_the_cache_stays_within_its_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(block_cache, "MOST_BYTES", 10 * block_cache.OVERHEAD)
    for number in range(20):
        entry = block_cache.Entry(b"", bm25.unpack(str(number), []), NOWHERE)
        block_cache.keep(b"", {str(number): entry})
        block_cache.keep(b"", {str(number): entry})
        assert block_cache.size() <= block_cache.MOST_BYTES
    assert set(block_cache.known(b"", [str(number) for number in range(20)], b"")) == {
        str(number) for number in range(10, 20)
    }


def test_what_would_fill_the_cache_alone_is_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(block_cache, "MOST_BYTES", 10 * block_cache.OVERHEAD)
    block_cache.keep(b"", {"a": block_cache.Entry(b"", bm25.unpack("a", []), NOWHERE)})
    numbers = np.arange(1000)
    large = bm25.unpack("a", [bm25.pack(numbers, numbers, numbers)])
    block_cache.keep(b"", {"a": block_cache.Entry(b"", large, NOWHERE)})
    assert not block_cache.known(b"", ["a"], b"")
    assert block_cache.size() == 0


def test_the_size_of_the_index_is_told(chunking: Chunking, collections: list[int]) -> None:
    assert lexical.bytes_per_chunk(chunking.pk) == 0
    lexical.append(chunking.pk, collections[0], [(1, ["a", "a", "b"]), (2, ["b"])])
    # Three postings, and one for each chunk in the list of all.
    assert lexical.bytes_per_chunk(chunking.pk) == 5 * bm25.BYTES_PER_POSTING / 2


def test_nothing_is_appended_for_no_chunks(chunking: Chunking, collections: list[int]) -> None:
    lexical.append(chunking.pk, collections[0], [])
    assert not Segment.objects.exists()


def test_blocks_go_with_their_segment_by_whatever_way(chunking: Chunking, collections: list[int]) -> None:
    lexical.append(chunking.pk, collections[0], [(1, ["a"])])
    lexical.append(chunking.pk, collections[1], [(2, ["a"])])
    Segment.objects.filter(collection=collections[0]).delete()
    assert set(PostingBlock.objects.values_list("segment", flat=True)) == {Segment.objects.get().pk}
    Chunking.objects.filter(pk=chunking.pk).delete()
    assert not PostingBlock.objects.exists()
