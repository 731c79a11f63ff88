"""A filter by collection that names only the collections which the person may know of."""
# ruff: noqa: ARG002 (Django calls these methods with all their arguments)

from typing import Any

from django.contrib.admin import SimpleListFilter
from django.db.models import QuerySet
from django.http import HttpRequest

from kb.core.admin.base import person
from kb.core.models import Collection


class CollectionFilter(SimpleListFilter):
    """For rows with a `collection`."""

    title = "collection"
    parameter_name = "collection"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        visible = Collection.objects.visible_to(person(request)).order_by("name")
        return [(collection.slug, collection.name) for collection in visible]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        slug = self.value()
        if not slug:
            return queryset
        return queryset.none() if "\0" in slug else queryset.filter(collection__slug=slug)
