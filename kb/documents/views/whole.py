"""A collection or an upload as a whole: how far its documents are, and what may be done to all of them."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from django.db.models import Q, QuerySet
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import reverse

from kb.core.models import Collection
from kb.documents.models import Document, Upload
from kb.documents.views.access import WORK, idle_workers, listing, may_edit
from kb.documents.views.counting import Tally, offered, tally

MOST_WATCHED = 100
NEWEST_FIRST = ("-created_at", "id")


@dataclass(frozen=True)
class Act:
    """A button: what it says, where it posts, and the place that it takes among the others.

    Pausing and resuming take one place: whoever pressed the one finds the other under their finger.
    """

    label: str
    url: str
    place: str


@dataclass(frozen=True)
class Whole:
    """What is watched as one: `kind` is how its addresses are called, `key` what stands in them."""

    kind: str
    key: str
    name: str
    documents: QuerySet[Document]

    def url(self, page: str) -> str:
        return reverse(f"{self.kind}-{page}", args=[self.key])

    @property
    def page(self) -> str:
        return reverse(self.kind, args=[self.key])

    @property
    def progress(self) -> str:
        return self.url("progress")

    @property
    def reparse(self) -> str:
        return self.url("reparse")

    @property
    def failures(self) -> str:
        return self.url("failures")


def whole_of(target: Collection | Upload) -> Whole:
    documents = Document.objects.all()
    if isinstance(target, Upload):
        return Whole("uploaded", str(target.pk), str(target), documents.filter(upload=target))
    return Whole("collection", target.slug, str(target), documents.filter(collection=target))


def context_of(request: HttpRequest, target: Collection | Upload) -> dict[str, Any]:
    """What the bar, the figures and the buttons of `documents/_whole.html` need."""
    whole = whole_of(target)
    count = tally(whole.documents)
    collection = target.collection if isinstance(target, Upload) else target
    editable = may_edit(request.user, collection)
    acts = buttons(count, whole.url, target.paused) if editable else []
    return {
        "collection": collection,
        "whole": whole,
        "count": count,
        "held": target.paused,
        "may_edit": editable,
        "acts": acts,
        "shown_acts": labels(acts),
        "idle": idle_workers() if count.moving else [],
    }


def progress(request: HttpRequest, target: Collection | Upload) -> HttpResponse:
    """What replaces parts of a page: the whole, its buttons if they changed, the documents asked for (`id`).

    A list that begins with another document than the `newest` one is fetched anew.
    """
    context = context_of(request, target)
    asked = context["whole"].documents.filter(pk__in=watched(request))
    documents = list(listing(request.user).filter(pk__in=asked.values("pk")))
    # It stays what it was until the list has come: else a list that did not come would not be asked for again.
    known = request.GET.get("newest")
    context |= {
        "documents": documents,
        "busy": busy(documents),
        "changed_acts": request.GET.get("acts") != context["shown_acts"],
        "newest": known,
        "oob": True,
    }
    response = render(request, "documents/_progress.html", context)
    if known is not None and known != newest(context["whole"].documents):
        # Where nothing was, bar and filter are not there yet either.
        response["HX-Trigger" if known else "HX-Refresh"] = "documents-came" if known else "true"
    return response


def newest(documents: QuerySet[Document]) -> str:
    """The id of the document that a list begins with; empty without any."""
    first = documents.order_by(*NEWEST_FIRST).values_list("pk", flat=True).first()
    return str(first or "")


def busy(documents: Any) -> list[Document]:
    """Those whose state may change any moment."""
    return [document for document in documents if document.state in WORK]


def watched(request: HttpRequest) -> list[UUID]:
    try:
        return [UUID(text) for text in request.GET.getlist("id")[:MOST_WATCHED]]
    except ValueError as error:
        raise Http404("These are no documents.") from error


def buttons(count: Tally, url: Callable[[str], str], held: bool = False) -> list[Act]:
    """What may be done to so many documents, as a person reads it; `url` is that of a verb."""
    verbs = offered(count, held)
    alone = count.total == 1
    both = {"pause", "resume"} <= set(verbs)
    words = {
        "pause": "Pause",
        "resume": "Resume the paused ones" if both else "Resume",
        "cancel": "Cancel" if alone else "Cancel the rest",
        "retry": "Try again" if alone else f"Try {ended(count)} ones again",
    }
    places = {"pause": "hold"} if both else {"pause": "hold", "resume": "hold"}
    return [Act(words[verb], url(verb), places.get(verb, verb)) for verb in verbs]


def ended(count: Tally) -> str:
    if count.failed and count.cancelled:
        return "failed and cancelled"
    return "failed" if count.failed else "cancelled"


def labels(acts: list[Act]) -> str:
    """What tells one set of buttons from another."""
    return "|".join(act.label for act in acts)


def acts_on(document: Document) -> list[Act]:
    """The buttons of one document; an archive's also reach what came out of it."""
    count = tally(Document.objects.filter(Q(pk=document.pk) | Q(archive=document.pk)))
    return buttons(count, lambda verb: reverse(f"document-{verb}", args=[document.pk]))
