"""Which index a collection is in."""

from collections import defaultdict
from collections.abc import Iterable

from django.db.models.functions import Coalesce

from kb.indexes.models import Index, IndexedCollection, IndexVersion


def maintained_for(collection_id: int) -> list[IndexVersion]:
    """The versions that the collection's changes reach, of its index or the default one, in one query.

    Each comes with its model, chunking and index. None before an index was made.
    """
    placed = IndexedCollection.objects.filter(collection=collection_id).values("index")
    default = Index.objects.filter(is_default=True).values("pk")
    versions = IndexVersion.objects.maintained().select_related("model", "chunking", "index")
    return list(versions.filter(index=Coalesce(placed[:1], default[:1])).order_by("pk"))


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
