"""The library, a collection's documents, and the fragments that keep their states fresh."""

from uuid import UUID

from django.db.models import Count, Q, QuerySet
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, render
from django.views.decorators.http import require_safe

from kb.core.models import Collection
from kb.core.pagination import paginate
from kb.core.problems import Problem
from kb.documents.forms import FilterForm
from kb.documents.models import Document
from kb.documents.views.access import WORK, idle_workers, listing, may_edit

A_PAGE = 50
MOST_WATCHED = 100


@require_safe
def library(request: HttpRequest) -> HttpResponse:
    """The collections this reader may see, with how many documents are in which state."""
    counts = {state: Count("documents", filter=Q(documents__state=state)) for state in Document.State.values}
    collections = Collection.objects.visible_to(request.user).select_related("owner").annotate(**counts)
    collections = collections.order_by("name", "pk")  # a query that groups has no order of its own
    shelves = [
        (collection, tally({state: getattr(collection, state) for state in counts}))
        for collection in collections
    ]
    waiting = any(count["work"] for _, count in shelves)
    context = {"section": "library", "shelves": shelves, "idle": idle_workers() if waiting else []}
    return render(request, "documents/library.html", context)


def tally(states: dict[str, int]) -> dict[str, int]:
    work = sum(states.get(state, 0) for state in WORK)
    return {
        "total": sum(states.values()),
        "ready": states.get(Document.State.READY, 0),
        "failed": states.get(Document.State.FAILED, 0),
        "work": work,
    }


def counted(collection: Collection) -> dict[str, int]:
    states = (
        Document.objects.filter(collection=collection).order_by().values_list("state").annotate(Count("pk"))
    )
    return tally(dict(states))


@require_safe
def collection(request: HttpRequest, slug: str) -> HttpResponse:
    """One collection's documents, newest first."""
    shown = get_object_or_404(Collection.objects.visible_to(request.user), slug=slug)
    form = FilterForm(request.GET)
    documents = filtered(listing(request.user).filter(collection=shown), form)
    try:
        page = paginate(documents, ["-created_at", "id"], request.GET.get("cursor"), A_PAGE)
    except Problem as problem:
        raise Http404(problem.message) from problem
    count = counted(shown)
    context = {
        "section": "library",
        "collection": shown,
        "form": form,
        "filtered": any(form.cleaned_data.values()),
        "page": page,
        "count": count,
        "busy": [document for document in page.items if document.state in WORK],
        "may_edit": may_edit(request.user, shown),
        "may_own": Collection.objects.owned_by(request.user).filter(pk=shown.pk).exists(),
        "idle": idle_workers() if count["work"] else [],
    }
    return render(request, "documents/collection.html", context)


def filtered(documents: QuerySet[Document], form: FilterForm) -> QuerySet[Document]:
    if not form.is_valid():
        raise Http404("There is no such state.")
    state, q = form.cleaned_data["state"], form.cleaned_data["q"]
    if state:
        documents = documents.filter(state__in=WORK) if state == "work" else documents.filter(state=state)
    return documents.filter(Q(title__icontains=q) | Q(filename__icontains=q)) if q else documents


@require_safe
def collection_progress(request: HttpRequest, slug: str) -> HttpResponse:
    """Fragments that replace the states of the documents asked for (`id`, repeated) and the counts."""
    shown = get_object_or_404(Collection.objects.visible_to(request.user), slug=slug)
    documents = list(listing(request.user).filter(collection=shown, pk__in=watched(request)))
    context = {
        "collection": shown,
        "documents": documents,
        "busy": [document for document in documents if document.state in WORK],
        "count": counted(shown),
        "may_edit": may_edit(request.user, shown),
        "oob": True,
    }
    return render(request, "documents/_progress.html", context)


def watched(request: HttpRequest) -> list[UUID]:
    try:
        return [UUID(text) for text in request.GET.getlist("id")[:MOST_WATCHED]]
    except ValueError as error:
        raise Http404("These are no documents.") from error


@require_safe
def document_progress(request: HttpRequest, pk: UUID) -> HttpResponse:
    """The state of one document; tells the page to load anew when the work is over."""
    document = get_object_or_404(listing(request.user), pk=pk)
    context = {"document": document, "may_edit": may_edit(request.user, document.collection)}
    response = render(request, "documents/_document_state.html", context)
    if document.state not in WORK:
        response["HX-Refresh"] = "true"
    return response
