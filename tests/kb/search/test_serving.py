"""Who is served by what: the live version, the canary for its share of the readers, nobody by one in shadow."""

import pytest
from django.contrib.auth.models import AnonymousUser

from kb.core.models import Collection, User
from kb.core.visibility import subselect
from kb.indexes.models import Index, IndexVersion
from kb.search.engine import search
from kb.search.models import Query
from kb.search.serving import served
from tests.conftest import ingest
from tests.kb.candidates import State, candidate

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def papers(alice: User, collection: Collection, index: Index) -> Collection:
    ingest(alice, collection, "hnsw.txt", "HNSW is a graph index. It is searched greedily.")
    ingest(alice, collection, "bread.txt", "Bread is baked from flour, water and salt.")
    return collection


def turn(version: IndexVersion, percent: int, state: str = State.CANARY) -> None:
    IndexVersion.objects.filter(pk=version.pk).update(canary_percent=percent, state=state)


def of(index: Index, reader: User | AnonymousUser) -> IndexVersion | None:
    """What serves the reader in a collection of the default index."""
    assert index.is_default
    [found] = served(subselect(Collection.objects.all()), reader)
    return found.version


def test_a_canary_has_its_share_of_the_readers(index: Index, papers: Collection) -> None:
    version = candidate(index, State.CANARY)
    people = [User(pk=number) for number in range(1, 1001)]
    turn(version, 25)
    before = {person.pk for person in people if of(index, person) == version}
    assert 200 <= len(before) <= 300
    turn(version, 50)
    after = {person.pk for person in people if of(index, person) == version}
    assert before < after


@pytest.mark.parametrize(
    "state", [State.BUILDING, State.VALIDATING, State.SHADOW, State.PAUSED, State.FAILED]
)
def test_only_a_canary_serves(index: Index, alice: User, papers: Collection, state: str) -> None:
    version = candidate(index, state, canary_percent=100)
    assert of(index, alice) == index.live_version
    turn(version, 100)
    assert of(index, alice) == version
    turn(version, 0)
    assert of(index, alice) == index.live_version


def test_who_is_not_signed_in_stays_with_the_live_version(index: Index, papers: Collection) -> None:
    candidate(index, State.CANARY, canary_percent=100)
    assert of(index, AnonymousUser()) == index.live_version


def test_each_query_names_what_served_it(alice: User, index: Index, papers: Collection) -> None:
    version = candidate(index, State.CANARY, canary_percent=100)
    results = search(alice, "How is bread baked?")
    assert results.passages[0].title == "bread"
    query = Query.objects.get(pk=results.query.pk)
    assert (query.version, query.versions) == (version, [version.pk])
    assert query.degraded == "", "the question was embedded in the candidate's own space"
    turn(version, 0)
    again = search(alice, "How is bread baked?").query
    assert (again.version, again.versions) == (index.live_version, [index.live_version_id])


def test_a_promotion_holds_from_the_next_query_on(alice: User, index: Index, papers: Collection) -> None:
    version = candidate(index)
    assert search(alice, "bread").query.version == index.live_version
    Index.objects.update(live_version=version)
    assert search(alice, "bread").query.version == version
    Index.objects.update(live_version=index.live_version)
    assert search(alice, "bread").query.version == index.live_version


def test_an_index_without_a_live_version_serves_nobody(
    index: Index, alice: User, collection: Collection
) -> None:
    assert served(subselect(Collection.objects.all()), alice)
    Index.objects.update(live_version=None)
    assert served(subselect(Collection.objects.all()), alice) == []


def test_a_canary_reader_is_not_compared_with_a_version_in_shadow(
    index: Index, alice: User, papers: Collection
) -> None:
    shadow = candidate(index, State.SHADOW, shadow_share=1.0)
    [by_live] = served(subselect(Collection.objects.all()), alice)
    assert by_live.beside == (shadow,)
    canary = candidate(index, State.CANARY, canary_percent=100, number=3, dimensions=32)
    [by_canary] = served(subselect(Collection.objects.all()), alice)
    assert (by_canary.version, by_canary.beside) == (canary, ())
