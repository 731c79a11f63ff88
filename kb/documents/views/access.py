"""Which documents a page may show or change, and what they all say about work that waits."""

from uuid import UUID

from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import HttpRequest
from django.shortcuts import get_object_or_404
from django.utils.http import url_has_allowed_host_and_scheme

from kb.core.health import workers_alive
from kb.core.models import Collection, Reader
from kb.documents.models import Document, Upload

WORK = Document.WORK
BIG = [f"{which}__{field}" for which in ("current", "incoming") for field in ("text", "pages", "headings")]
DOING = {"fetch": "fetches from the web", "parse": "reads files", "embed": "indexes"}
READ_ONLY = "You may read this collection but not change it: ask its owner."


def listing(user: Reader) -> QuerySet[Document]:
    """The documents this reader may see, without their texts."""
    found = Document.objects.visible_to(user).select_related("collection", "current", "incoming", "web_page")
    return found.defer(*BIG)


def visible_collection(request: HttpRequest, slug: str) -> Collection:
    return get_object_or_404(Collection.objects.visible_to(request.user), slug=slug)


def visible_upload(request: HttpRequest, pk: UUID) -> Upload:
    return get_object_or_404(Upload.objects.visible_to(request.user).select_related("collection"), pk=pk)


def editable_document(request: HttpRequest, pk: UUID) -> Document:
    """404 for whoever may not know of it, 403 for whoever may read but not change it."""
    document = get_object_or_404(listing(request.user), pk=pk)
    must_edit(request.user, document.collection)
    return document


def editable_upload(request: HttpRequest, pk: UUID) -> Upload:
    upload = visible_upload(request, pk)
    must_edit(request.user, upload.collection)
    return upload


def editable_collection(request: HttpRequest, slug: str) -> Collection:
    collection = visible_collection(request, slug)
    must_edit(request.user, collection)
    return collection


def must_edit(user: Reader, collection: Collection) -> None:
    if not may_edit(user, collection):
        raise PermissionDenied(READ_ONLY)


def may_edit(user: Reader, collection: Collection) -> bool:
    return Collection.objects.editable_by(user).filter(pk=collection.pk).exists()


def idle_workers(*queues: str) -> list[str]:
    """What nobody does at present, for a page where something waits; without `queues`, for documents."""
    return [DOING[queue] for queue in queues or ("parse", "embed") if not workers_alive(queue)]


def way_back(request: HttpRequest) -> str:
    """The page that the form came from, if it is one of ours."""
    target = request.POST.get("next", "")
    return target if url_has_allowed_host_and_scheme(target, allowed_hosts={request.get_host()}) else ""
