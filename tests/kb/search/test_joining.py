"""A search over collections of two indexes: each in its own space, one ranking, and nothing beyond what may be seen."""

import pytest

from kb.core.models import Collection, User
from kb.indexes import embedding_table
from kb.indexes.models import EmbeddingModel, Index, IndexedCollection, IndexVersion
from kb.search import joining
from kb.search.engine import search
from kb.search.joining import SAMPLE, Searched, noise, percent
from kb.search.query_vectors import QuestionEmbedder
from retrieval.embedders.hashing import HashingEmbedder
from retrieval.ranking import unranked
from tests.conftest import ingest

pytestmark = pytest.mark.django_db(transaction=True)

KITCHEN = ("Bread is baked from flour.", "Soup is cooked with leeks.", "Rice needs twice its water.")
SKY = ("Comets have tails of dust.", "The moon pulls the tides.", "Meteors are bread crumbs of comets.")


@pytest.fixture
def other(alice: User, index: Index) -> Collection:
    """A collection in an index of its own, of another model."""
    made = Index.objects.create(name="Sky", slug="sky")
    model = EmbeddingModel.objects.create(
        provider="hashing", name="hashing-64", dimensions=64, max_tokens=256
    )
    live = index.live_version
    assert live is not None
    version = IndexVersion.objects.create(
        index=made, number=1, model=model, chunking=live.chunking, dimensions=64, state="live"
    )
    embedding_table.create(version)
    Index.objects.filter(pk=made.pk).update(live_version=version)
    collection = Collection.objects.create(name="Sky", slug="sky", owner=alice)
    IndexedCollection.objects.create(collection=collection, index=made)
    return collection


@pytest.fixture
def both(alice: User, collection: Collection, other: Collection) -> None:
    for where, texts in ((collection, KITCHEN), (other, SKY)):
        for number, text in enumerate(texts):
            ingest(alice, where, f"{where.slug}{number}.txt", text)


@pytest.mark.usefixtures("both")
def test_both_indexes_answer_one_question(alice: User) -> None:
    results = search(alice, "flour baked to bread", explain=True)
    titles = [passage.title for passage in results.passages]
    assert titles[0] == "papers0"
    assert len(titles) == 6
    assert sorted(results.query.versions) == list(
        IndexVersion.objects.filter(state="live").order_by("pk").values_list("pk", flat=True)
    )
    assert results.version == "Default v1, Sky v1"
    assert search(alice, "moon and tides").passages[0].title == "sky1"
    scores = [passage.score for passage in results.passages]
    assert scores == sorted(scores, reverse=True)
    assert all(-1 <= (passage.dense_score or 0) <= 1 for passage in results.passages), (
        "cosines, as everywhere"
    )
    assert all(passage.explanation for passage in results.passages)


@pytest.mark.usefixtures("both")
def test_one_collection_is_searched_as_if_there_were_no_other(alice: User) -> None:
    alone = search(alice, "bread", collections=["papers"])
    IndexedCollection.objects.all().delete()
    Collection.objects.filter(slug="sky").delete()
    again = search(alice, "bread", collections=["papers"])
    assert [(p.chunk_id, p.score) for p in alone.passages] == [(p.chunk_id, p.score) for p in again.passages]


@pytest.mark.usefixtures("both")
def test_invariant_4_an_index_of_strangers_changes_nothing(alice: User, bob: User, other: Collection) -> None:
    before = [(p.chunk_id, p.score) for p in search(bob, "bread of comets").passages]
    assert before
    other.delete()
    assert [(p.chunk_id, p.score) for p in search(bob, "bread of comets").passages] == before


@pytest.mark.usefixtures("both")
def test_the_same_question_gives_the_same_ranking(alice: User) -> None:
    first, second = (search(alice, "bread and comets").passages for _ in range(2))
    assert [(p.chunk_id, p.score) for p in first] == [(p.chunk_id, p.score) for p in second]


@pytest.mark.usefixtures("both")
def test_noise_is_of_the_collections_searched(
    index: Index, collection: Collection, other: Collection, monkeypatch: pytest.MonkeyPatch
) -> None:
    version = index.live_version
    assert version is not None
    vector = HashingEmbedder().embed(["bread"], "query")[0]
    searched = Searched(version, (collection.pk,), unranked([]), (), vector)
    found = noise(searched)
    assert found is not None
    assert len(found) == len(KITCHEN)
    assert noise(Searched(version, (other.pk,), unranked([]), (), vector)) is None
    assert noise(Searched(version, (collection.pk,), unranked([]), ())) is None, "a question without a vector"
    monkeypatch.setattr(joining, "NOISE", "SELECT 1 / 0 FROM {table} WHERE {type} {percent} {most}")
    assert noise(searched) is None, "what fails leaves the candidates to compare by"


def test_percent_keeps_the_sample_and_changes_in_steps() -> None:
    assert percent(10) == percent(SAMPLE) == percent(2 * SAMPLE - 1) == 100
    for rows in (5_000, 100_000, 3_000_000):
        assert SAMPLE <= rows * percent(rows) / 100 <= 2 * SAMPLE
    assert percent(100_000) == percent(100_500)


def test_the_latest_vector_is_kept(index: Index) -> None:
    version = index.live_version
    assert version is not None
    asked = QuestionEmbedder(version, HashingEmbedder())
    assert asked.latest is None
    for _ in range(2):  # made, then from the cache
        [vector] = asked.embed(["bread"], "query")
        assert asked.latest is not None
        assert asked.latest.tolist() == vector.tolist()
