"""Template tags that show how far documents are on their way into the index."""

from collections.abc import Iterable

from django import template

from kb.documents.models import Document
from kb.indexes.progress import Progress, progress

register = template.Library()


@register.filter
def in_list(document: Document) -> list[Document]:
    """The one document, for `with_progress`."""
    return [document]


@register.simple_tag
def with_progress(documents: Iterable[Document]) -> list[tuple[Document, Progress]]:
    """The documents, each with its progress; two queries for all of them."""
    listed = list(documents)
    found = progress(listed)
    return [(document, found[document.pk]) for document in listed]
