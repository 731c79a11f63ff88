"""Which index a collection is in, and which one it is on its way into."""

from collections import defaultdict
from collections.abc import Iterable, Sequence

from django.db.models import Q
from django.db.models.functions import Coalesce

from kb.indexes.models import CollectionMove, Index, IndexedCollection, IndexVersion

# The condition, in SQL, that what has this collection_id belongs to an index: it is there, or on its way there.
# Given are `index`, and `default`: the same if it is the default index, else NULL.
BELONGS = """(
    coalesce(
        (SELECT placed.index_id FROM indexes_indexedcollection placed WHERE placed.collection_id = {0}.collection_id),
        %(default)s
    ) = %(index)s
    OR EXISTS (
        SELECT FROM indexes_collectionmove moving
        WHERE moving.collection_id = {0}.collection_id AND moving.index_id = %(index)s
    )
)"""


def belongs(table: str) -> str:
    """The condition for rows of `table`, which has a column collection_id."""
    return BELONGS.format(table)


def given(index: Index) -> dict[str, int | None]:
    """The parameters of the condition."""
    return {"index": index.pk, "default": index.pk if index.is_default else None}


def maintained_for(collection_id: int) -> list[IndexVersion]:
    """The versions that the collection's changes reach, in one query: of its index or the default one, and of the
    one that it is on its way into.

    Each comes with its model, chunking and index. None before an index was made.
    """
    return versions_for(collection_id, IndexVersion.MAINTAINED)


def holding_for(collection_id: int) -> list[IndexVersion]:
    """As `maintained_for`, with those that hold vectors of it although changes do not reach them now."""
    stopped = (IndexVersion.State.PAUSED, IndexVersion.State.FAILED)
    return versions_for(collection_id, (*IndexVersion.MAINTAINED, *stopped))


def versions_for(collection_id: int, states: Sequence[str]) -> list[IndexVersion]:
    placed = IndexedCollection.objects.filter(collection=collection_id).values("index")
    default = Index.objects.filter(is_default=True).values("pk")
    versions = IndexVersion.objects.filter(state__in=states)
    versions = versions.select_related("model", "chunking", "index", "derived_from")
    moving = CollectionMove.objects.filter(collection=collection_id).values("index")
    here = Q(index=Coalesce(placed[:1], default[:1])) | Q(index__in=moving)
    return list(versions.filter(here).order_by("pk"))


def index_of(collection_id: int) -> int | None:
    """The index that the collection is searched in; None before one was made."""
    placed = (
        IndexedCollection.objects.filter(collection=collection_id).values_list("index", flat=True).first()
    )
    if placed is not None:
        return placed
    return Index.objects.filter(is_default=True).values_list("pk", flat=True).first()


def live_of(collection_id: int) -> int | None:
    """The version that the collection is searched by, unless a canary serves the reader."""
    home = index_of(collection_id)
    if home is None:
        return None
    return Index.objects.filter(pk=home).values_list("live_version", flat=True).first()


def by_index(collection_ids: Iterable[int]) -> dict[Index, list[int]]:
    """The collections grouped by the index they are in, each with its live version at hand."""
    ids = list(collection_ids)
    placed = dict(IndexedCollection.objects.filter(collection__in=ids).values_list("collection", "index"))
    found = Index.objects.select_related("live_version__model", "live_version__index").all()
    indexes = {index.pk: index for index in found}
    default = next((index.pk for index in indexes.values() if index.is_default), None)
    groups: dict[Index, list[int]] = defaultdict(list)
    for collection_id in ids:
        index_id = placed.get(collection_id, default)
        if index_id is not None:
            groups[indexes[index_id]].append(collection_id)
    return dict(groups)
