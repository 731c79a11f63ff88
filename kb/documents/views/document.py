"""The page of one document: its text, a highlighted passage, what is known of it; and its original."""

from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID

from asgiref.sync import sync_to_async
from django.core.files.storage import default_storage
from django.http import Http404, HttpRequest, HttpResponse, StreamingHttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import get_object_or_404, render
from django.utils.http import content_disposition_header
from django.views.decorators.http import require_safe

from kb.core.models import Reader
from kb.documents import reading
from kb.documents.forms import PlaceForm, TagsForm
from kb.documents.models import Document, DocumentRevision, DocumentStage
from kb.documents.views.access import WORK, idle_workers, listing, may_edit
from kb.documents.views.whole import MOST_WATCHED, acts_on, busy, labels, watched
from retrieval.spans import Heading, Page

MOST_ENTRIES = 200
DOWNLOAD_STEP = 256 * 1024
NOTHING_RUNS = "default-src 'none'; sandbox"


@require_safe
def document(request: HttpRequest, pk: UUID) -> HttpResponse:
    """The text of the current revision, or of the one asked for, around the place asked for."""
    shown = get_object_or_404(listing(request.user), pk=pk)
    place = PlaceForm(request.GET)
    if not place.is_valid():
        raise Http404("There is no such place.")
    revision = chosen_revision(shown, place.cleaned_data["revision"])
    context = work_context(request, shown) | {
        "section": "library",
        "revision": revision,
        "revisions": shown.revisions.defer("text", "pages", "headings").order_by("-number"),
        **relatives(request.user, shown),
        **entries_context(request.user, shown),
    }
    if revision is not None and revision.parsed_at is not None:
        context |= text_context(revision, place.cleaned_data)
    return render(request, "documents/document.html", context)


def work_context(request: HttpRequest, shown: Document) -> dict[str, Any]:
    """How far the document is, stage by stage, and what may be done to it."""
    editable = may_edit(request.user, shown.collection)
    acts = acts_on(shown) if editable else []
    order = DocumentStage.Stage.values
    return {
        "document": shown,
        "in_work": shown.state in WORK,
        "stages": sorted(shown.stages.all(), key=lambda each: order.index(each.stage)),
        "may_edit": editable,
        "tags_form": TagsForm({"tags": ", ".join(shown.tags)}) if editable else None,
        "acts": acts,
        "shown_acts": labels(acts),
        "idle": idle_workers() if shown.state in WORK and not shown.paused else [],
    }


@require_safe
def document_progress(request: HttpRequest, pk: UUID) -> HttpResponse:
    """Fragments that replace the state of one document, and of the entries asked for (`id`), if it is an archive.

    The page loads anew when its text has come, and when all work is over.
    """
    shown = get_object_or_404(listing(request.user), pk=pk)
    context = work_context(request, shown) | entries_context(request.user, shown)
    context |= {
        "changed_acts": request.GET.get("acts") != context["shown_acts"],
        "changed_entries": request.GET.get("entries", "0") != str(context["entry_count"]),
        "watched": listing(request.user).filter(archive=shown, pk__in=watched(request)),
        "oob": True,
    }
    response = render(request, "documents/_document_progress.html", context)
    if not context["in_work"] and ("reading" in request.GET or not context["unpacked_work"]):
        response["HX-Refresh"] = "true"
    return response


def relatives(user: Reader, shown: Document) -> dict[str, Any]:
    """Documents that this one hangs together with, as far as the reader may see them."""
    visible = listing(user)
    return {
        "archive": visible.filter(pk=shown.archive_id).first() if shown.archive_id else None,
        "twin": visible.filter(pk=shown.same_as_id).first() if shown.same_as_id else None,
    }


def entries_context(user: Reader, shown: Document) -> dict[str, Any]:
    """What came out of an archive; `unpacked_work` is whether any of it is at work, listed or not."""
    entries = listing(user).filter(archive=shown)
    listed = list(entries.order_by("filename", "id")[:MOST_ENTRIES])
    return {
        "entries": listed,
        "entry_count": entries.count(),
        "busy": busy(listed)[:MOST_WATCHED],
        "unpacked_work": entries.filter(state__in=WORK).exists(),
    }


def chosen_revision(shown: Document, number: int | None) -> DocumentRevision | None:
    """The revision with its text; without a number the one that answers, None before there is one."""
    if number is not None:
        return get_object_or_404(shown.revisions, number=number)
    return shown.revisions.filter(pk__in=[shown.current_id]).first()


def text_context(revision: DocumentRevision, place: dict[str, int | None]) -> dict[str, Any]:
    """What the template needs to set one part of the text."""
    text = reading.Text(
        revision.text,
        [Page(*page) for page in revision.pages],
        [Heading(*heading) for heading in revision.headings],
    )
    spans = reading.parts(text.text)
    highlight = passage(text.text, place["start"], place["end"])
    index = part_index(text, spans, highlight, place)
    blocks = reading.blocks(text, spans[index], highlight)
    return {
        "blocks": without_title(blocks, revision.title),
        "highlight": highlight,
        "outline": reading.outline(text.headings, spans),
        "part": index + 1,
        "part_count": len(spans),
    }


def passage(text: str, start: int | None, end: int | None) -> reading.Span | None:
    if start is None or end is None:
        return None
    if end > len(text):
        raise Http404("There is no such passage.")
    return start, end


def part_index(
    text: reading.Text,
    spans: list[reading.Span],
    highlight: reading.Span | None,
    place: dict[str, int | None],
) -> int:
    """The part asked for, else the one of the passage, else the one of the page, else the first."""
    if place["part"] is not None:
        if place["part"] > len(spans):
            raise Http404("The text has fewer parts.")
        return place["part"] - 1
    if highlight is not None:
        return reading.part_at(spans, highlight[0])
    if place["page"] is not None:
        starts = [page.start for page in text.pages if page.number == place["page"]]
        if not starts:
            raise Http404("There is no such page.")
        return reading.part_at(spans, starts[0])
    return 0


def without_title(blocks: list[reading.Block], title: str) -> list[reading.Block]:
    """The blocks without a first heading that only repeats the page's own, unless it is highlighted."""
    for index, block in enumerate(blocks):
        if block.kind == "page":
            continue
        repeats = block.kind == "heading" and "".join(s.text for s in block.segments).strip() == title
        if repeats and not any(segment.marked for segment in block.segments):
            return blocks[:index] + blocks[index + 1 :]
        break
    return blocks


@require_safe
async def document_original(request: HttpRequest, pk: UUID) -> HttpResponseBase:
    """The file as it was uploaded: never shown by the browser, only saved."""
    user = await request.auser()
    shown = await listing(user).filter(pk=pk).afirst()
    revision = await original(shown, request.GET.get("revision", "")) if shown else None
    if revision is None:
        raise Http404("There is no such file.")
    response = StreamingHttpResponse(
        content(revision.file.name or ""), content_type="application/octet-stream"
    )
    response["Content-Length"] = str(revision.size)
    response["Content-Disposition"] = content_disposition_header(True, revision.filename) or "attachment"
    response["Content-Security-Policy"] = NOTHING_RUNS
    response["X-Content-Type-Options"] = "nosniff"
    return response


async def original(shown: Document, number: str) -> DocumentRevision | None:
    revisions = shown.revisions.defer("text", "pages", "headings")
    if number:
        given = PlaceForm({"revision": number})
        return (
            await revisions.filter(number=given.cleaned_data["revision"]).afirst()
            if given.is_valid()
            else None
        )
    return await revisions.filter(pk__in=[shown.current_id or shown.incoming_id]).afirst()


async def content(name: str) -> AsyncIterator[bytes]:
    """The stored file in steps, read in a thread."""
    file = await sync_to_async(default_storage.open)(name)
    try:
        while step := await sync_to_async(file.read)(DOWNLOAD_STEP):
            yield step
    finally:
        file.close()
