"""The library, a collection's documents, and the fragments that keep their states fresh."""

from django.db.models import Q, QuerySet
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from kb.core.models import Collection
from kb.core.pagination import Slice, paginate
from kb.core.problems import Problem
from kb.documents.forms import FilterForm
from kb.documents.models import Document
from kb.documents.views.access import WORK, idle_workers, listing, visible_collection
from kb.documents.views.counting import Tally, tallies
from kb.documents.views.whole import NEWEST_FIRST, busy, context_of, progress

A_PAGE = 50


@require_safe
def library(request: HttpRequest) -> HttpResponse:
    """The collections this reader may see, with how many documents are in which state."""
    collections = Collection.objects.visible_to(request.user).select_related("owner").order_by("name", "pk")
    counts = tallies(Document.objects.visible_to(request.user), "collection")
    shelves = [(collection, counts.get(collection.pk, Tally())) for collection in collections]
    context = {
        "section": "library",
        "shelves": shelves,
        "working": any(count.moving for count in counts.values()),
        "failed": sum(count.failed for count in counts.values()),
        "idle": idle_workers() if any(count.moving for count in counts.values()) else [],
    }
    return render(request, "documents/library.html", context)


@require_safe
def collection(request: HttpRequest, slug: str) -> HttpResponse:
    """One collection's documents, newest first."""
    shown = visible_collection(request, slug)
    form = FilterForm(request.GET)
    page = a_page(request, filtered(listing(request.user).filter(collection=shown), form))
    narrowed = any(form.cleaned_data.values())
    context = context_of(request, shown) | {
        "section": "library",
        "form": form,
        "filtered": narrowed,
        "page": page,
        "newest": None if narrowed else first_of(request, page),
        "busy": busy(page.items),
        "may_own": Collection.objects.owned_by(request.user).filter(pk=shown.pk).exists(),
    }
    return render(request, "documents/collection.html", context)


def filtered(documents: QuerySet[Document], form: FilterForm) -> QuerySet[Document]:
    if not form.is_valid():
        raise Http404("There is no such state.")
    state, q, cause = (form.cleaned_data[name] for name in ("state", "q", "cause"))
    if state == "work":
        documents = documents.filter(state__in=WORK)
    elif state == "paused":
        documents = documents.filter(state__in=WORK, paused=True)
    elif state:
        documents = documents.filter(state=state)
    documents = documents.filter(error_code=cause) if cause else documents
    return documents.filter(Q(title__icontains=q) | Q(filename__icontains=q)) if q else documents


def a_page(request: HttpRequest, documents: QuerySet[Document]) -> Slice[Document]:
    """The documents behind the cursor in the address, newest first."""
    try:
        return paginate(documents, list(NEWEST_FIRST), request.GET.get("cursor"), A_PAGE)
    except Problem as problem:
        raise Http404(problem.message) from problem


def first_of(request: HttpRequest, page: Slice[Document]) -> str | None:
    """The document that the list begins with, as `newest`; None on later pages, which do not follow it."""
    if request.GET.get("cursor"):
        return None
    return str(page.items[0].pk) if page.items else ""


@require_safe
def collection_progress(request: HttpRequest, slug: str) -> HttpResponse:
    """Fragments that replace the states of the documents asked for (`id`, repeated) and the figures."""
    return progress(request, visible_collection(request, slug))
