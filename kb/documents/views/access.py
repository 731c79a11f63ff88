"""Which documents a page may show or change, and what they all say about work that waits."""

from uuid import UUID

from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import HttpRequest
from django.shortcuts import get_object_or_404

from kb.core.health import workers_alive
from kb.core.models import Collection, Reader
from kb.documents.models import Document

WORK = Document.WORK
BIG = [f"{which}__{field}" for which in ("current", "incoming") for field in ("text", "pages", "headings")]


def listing(user: Reader) -> QuerySet[Document]:
    """The documents this reader may see, without their texts."""
    return Document.objects.visible_to(user).select_related("collection", "current", "incoming").defer(*BIG)


def editable_document(request: HttpRequest, pk: UUID) -> Document:
    """404 for whoever may not know of it, 403 for whoever may read but not change it."""
    document = get_object_or_404(listing(request.user), pk=pk)
    if not may_edit(request.user, document.collection):
        raise PermissionDenied("You may read this collection but not change it: ask its owner.")
    return document


def may_edit(user: Reader, collection: Collection) -> bool:
    return Collection.objects.editable_by(user).filter(pk=collection.pk).exists()


def idle_workers() -> list[str]:
    """What nobody does at present, for a page where something waits."""
    return [
        doing for queue, doing in (("parse", "reads files"), ("embed", "indexes")) if not workers_alive(queue)
    ]
