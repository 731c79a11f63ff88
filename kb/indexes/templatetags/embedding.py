"""Template tags that show how far documents are on their way into the index."""

from collections.abc import Iterable

from django import template
from django.db.models import QuerySet

from kb.documents.actions import within
from kb.documents.models import Document
from kb.indexes import progress as measured
from kb.indexes.progress import Overall, Progress

register = template.Library()


@register.filter
def in_list(document: Document) -> list[Document]:
    """The one document, for `with_progress`."""
    return [document]


@register.simple_tag
def with_progress(documents: Iterable[Document]) -> list[tuple[Document, Progress]]:
    """The documents, each with its progress; two queries for all of them."""
    listed = list(documents)
    found = measured.progress(listed)
    return [(document, found[document.pk]) for document in listed]


@register.simple_tag
def overall(documents: QuerySet[Document]) -> Overall:
    """How far documents are together, at which rate they advance, and when they will be through."""
    return measured.overall(documents)


@register.simple_tag
def overall_of(document: Document) -> Overall:
    """As `overall`, of one document with those that an archive held."""
    return measured.overall(within(document))
