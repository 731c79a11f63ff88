"""A collection or an upload as a whole: how far its documents are, and what may be done to all of them."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from django.db.models import Q, QuerySet
from django.http import Http404, HttpRequest
from django.urls import reverse

from kb.core.models import Collection
from kb.documents.models import Document, Upload
from kb.documents.views.access import WORK, idle_workers, listing, may_edit
from kb.documents.views.counting import Tally, offered, tally

MOST_WATCHED = 100


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


def fragments(request: HttpRequest, target: Collection | Upload) -> dict[str, Any]:
    """What replaces parts of a page: the whole, its buttons if they changed, the documents asked for (`id`)."""
    context = context_of(request, target)
    asked = context["whole"].documents.filter(pk__in=watched(request))
    documents = list(listing(request.user).filter(pk__in=asked.values("pk")))
    return context | {
        "documents": documents,
        "busy": busy(documents),
        "changed_acts": request.GET.get("acts") != context["shown_acts"],
        "oob": True,
    }


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
