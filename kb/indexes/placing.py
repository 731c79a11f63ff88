"""Which index a collection is in."""

from collections import defaultdict
from collections.abc import Iterable

from kb.core.models import Collection
from kb.indexes.models import Index, IndexedCollection


def index_of(collection: Collection) -> Index | None:
    """The collection's index, or the default one; None before one was made."""
    placed = IndexedCollection.objects.select_related("index").filter(collection=collection).first()
    return placed.index if placed else Index.objects.filter(is_default=True).first()


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
