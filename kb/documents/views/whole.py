"""A collection or an upload as a whole: how far its documents are, and what may be done to all of them."""

from dataclasses import dataclass
from typing import Any
from uuid import UUID

from django.db.models import Q, QuerySet
from django.http import Http404, HttpRequest
from django.urls import reverse

from kb.core.models import Collection
from kb.documents.models import Document, Upload
from kb.documents.views.access import WORK, idle_workers, listing, may_edit
from kb.documents.views.counting import offered, tally

MOST_WATCHED = 100
LABELS = {
    "pause": "Pause",
    "resume": "Resume",
    "cancel": "Cancel what is unfinished",
    "retry": "Try failed ones again",
}
LABELS_OF_ONE = {"cancel": "Cancel", "retry": "Try again"}
# Pausing and resuming take one place: whoever pressed the one finds the other under their finger.
PLACES = {"pause": "hold", "resume": "hold"}


@dataclass(frozen=True)
class Act:
    """A button: what it does, where it posts, and the place that it takes among the others."""

    verb: str
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
    held = isinstance(target, Collection) and target.paused
    verbs = offered(count, held) if editable else []
    return {
        "collection": collection,
        "whole": whole,
        "count": count,
        "held": held,
        "may_edit": editable,
        "acts": [Act(verb, LABELS[verb], whole.url(verb), PLACES.get(verb, verb)) for verb in verbs],
        "idle": idle_workers() if count.moving else [],
    }


def fragments(request: HttpRequest, target: Collection | Upload) -> dict[str, Any]:
    """What replaces parts of a page: the whole, its buttons if they changed, the documents asked for (`id`)."""
    context = context_of(request, target)
    asked = context["whole"].documents.filter(pk__in=watched(request))
    documents = list(listing(request.user).filter(pk__in=asked.values("pk")))
    shown = ",".join(act.verb for act in context["acts"])
    return context | {
        "documents": documents,
        "busy": busy(documents),
        "changed_acts": request.GET.get("acts") != shown,
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


def acts_on(document: Document) -> list[Act]:
    """The buttons of one document; an archive's also reach what came out of it."""
    count = tally(Document.objects.filter(Q(pk=document.pk) | Q(archive=document.pk)))
    labels = LABELS | (LABELS_OF_ONE if count.total == 1 else {})
    return [
        Act(verb, labels[verb], reverse(f"document-{verb}", args=[document.pk]), PLACES.get(verb, verb))
        for verb in offered(count)
    ]
