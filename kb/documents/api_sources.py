"""Sources on the web that a collection is fed from: add, look at, change, check now, remove."""

from datetime import datetime, timedelta
from typing import Any, Literal
from uuid import UUID

from ninja import Query, Router, Schema, Status
from pydantic import Field

from kb.core.api import visible_collection
from kb.core.authentication import WRITE, Request, account
from kb.core.models import Collection
from kb.core.pagination import Slice, paginate
from kb.core.problems import not_found
from kb.core.schemas import Cursor, Input, Limit
from kb.documents import source_actions
from kb.documents.actions import must_edit
from kb.documents.models import Source, WebPage
from kb.documents.web.addresses import MOST_CHARACTERS

router = Router(tags=["Sources on the web"])

SOURCES = "/collections/{slug}/sources"
SOURCE = SOURCES + "/{uuid:source_id}"
MOST_HOURS = int(Source.MOST_EVERY / timedelta(hours=1))

Kind = Literal["page", "sitemap", "feed"]
WhenVanished = Literal["keep", "delete"]


class SourceIn(Input):
    url: str = Field(max_length=MOST_CHARACTERS, description="A public address, http or https.")
    kind: Kind | None = Field(None, description="What the address looks like, where it is left out.")
    every_hours: int = Field(24, ge=1, le=MOST_HOURS, description="How often to look for changes.")
    when_vanished: WhenVanished = Field(
        "keep", description="What becomes of the document of a page that is gone."
    )
    other_hosts: bool | None = Field(
        None, description="Whether to take pages of other hosts; by default feeds do and sitemaps do not."
    )


class SourcePatch(Input):
    """Only what is sent is changed."""

    every_hours: int | None = Field(None, ge=1, le=MOST_HOURS)
    when_vanished: WhenVanished | None = None
    other_hosts: bool | None = None
    paused: bool | None = None


class SourceOut(Schema):
    id: UUID
    url: str
    kind: Kind
    every_hours: float
    when_vanished: WhenVanished
    other_hosts: bool
    paused: bool
    state: Literal["waiting", "read", "failed"]
    error: str = Field(description="Why it could not be read the last time; empty if it could.")
    pages: int = Field(description="How many pages are known.")
    failed: int = Field(description="Pages that could not be fetched the last time.")
    vanished: int = Field(description="Pages that the server has no longer.")
    next_at: datetime | None = Field(description="When it is looked at next.")
    last_checked_at: datetime | None
    upload: UUID | None = Field(description="The upload that its documents belong to.")
    created_at: datetime

    @staticmethod
    def resolve_every_hours(source: Source) -> float:
        return source.every / timedelta(hours=1)

    @staticmethod
    def resolve_pages(source: Any) -> int:
        return int(source.page_count)

    @staticmethod
    def resolve_upload(source: Source) -> UUID | None:
        return source.upload_id


class SourcesOut(Schema):
    items: list[SourceOut]
    next_cursor: str | None


class WebPageOut(Schema):
    url: str
    document: UUID | None
    same_as: str | None = Field(
        description="The page with the very same content, whose document stands for both."
    )
    error: str
    next_at: datetime | None
    checked_at: datetime | None
    changed_at: datetime | None = Field(description="When other content was found there last.")
    vanished_at: datetime | None

    @staticmethod
    def resolve_document(page: WebPage) -> UUID | None:
        return page.document_id

    @staticmethod
    def resolve_same_as(page: WebPage) -> str | None:
        return page.same_as.url if page.same_as else None


class WebPagesOut(Schema):
    items: list[WebPageOut]
    next_cursor: str | None


class PageListing(Schema):
    """Which pages to list, and where to go on."""

    state: Literal["failed", "vanished"] | None = None
    cursor: Cursor = None
    limit: Limit = 50


def editable_collection(request: Request, slug: str) -> Collection:
    """Where a collection is fed from is for those who may feed it. Raises Problem for others."""
    collection = visible_collection(request.auth, slug)
    must_edit(account(request), collection)
    return collection


def shown(collection: Collection, source_id: UUID) -> Source:
    found = collection.sources.with_counts().filter(pk=source_id).first()
    if found is None:
        raise not_found("source")
    return found


@router.get(SOURCES, auth=WRITE, response=SourcesOut, operation_id="list_sources")
def list_sources(request: Request, slug: str, cursor: Cursor = None, limit: Limit = 50) -> Slice[Source]:
    """What the collection is fed from, newest first."""
    collection = editable_collection(request, slug)
    return paginate(collection.sources.with_counts(), ["-created_at", "id"], cursor, limit)


@router.post(SOURCES, auth=WRITE, response={202: SourceOut}, operation_id="add_source")
def add_source(request: Request, slug: str, body: SourceIn) -> Status[Source]:
    """Feeds the collection from a page, a sitemap or a feed, now and then again and again.

    Only public addresses are fetched, as their robots.txt allows, one request a host at a time.
    """
    collection = visible_collection(request.auth, slug)
    source = source_actions.add_source(
        account(request),
        collection,
        body.url,
        kind=body.kind or "",
        every=timedelta(hours=body.every_hours),
        when_vanished=body.when_vanished,
        other_hosts=body.other_hosts,
    )
    return Status(202, shown(collection, source.pk))


@router.get(SOURCE, auth=WRITE, response=SourceOut, operation_id="get_source")
def get_source(request: Request, slug: str, source_id: UUID) -> Source:
    """One source: how it is doing, and when it is looked at next."""
    return shown(editable_collection(request, slug), source_id)


@router.get(SOURCE + "/pages", auth=WRITE, response=WebPagesOut, operation_id="list_web_pages")
def list_web_pages(request: Request, slug: str, source_id: UUID, which: Query[PageListing]) -> Slice[WebPage]:
    """The pages of a source, in the order in which they were found."""
    source = shown(editable_collection(request, slug), source_id)
    pages = source.pages.select_related("same_as")
    if which.state == "failed":
        pages = pages.filter(vanished_at=None).exclude(error="")
    elif which.state == "vanished":
        pages = pages.filter(vanished_at__isnull=False)
    return paginate(pages, ["id"], which.cursor, which.limit)


@router.patch(SOURCE, auth=WRITE, response=SourceOut, operation_id="change_source")
def change_source(request: Request, slug: str, source_id: UUID, body: SourcePatch) -> Source:
    """Changes how often it is looked at, what becomes of vanished pages, or pauses and resumes it."""
    actor, collection = account(request), editable_collection(request, slug)
    source = shown(collection, source_id)
    source_actions.change_source(
        actor,
        source,
        every=timedelta(hours=body.every_hours) if body.every_hours is not None else None,
        when_vanished=body.when_vanished,
        other_hosts=body.other_hosts,
    )
    if body.paused is not None:
        source_actions.set_paused(actor, source, paused=body.paused)
    return shown(collection, source_id)


@router.post(SOURCE + "/check", auth=WRITE, response={202: SourceOut}, operation_id="check_source")
def check_source(request: Request, slug: str, source_id: UUID) -> Status[Source]:
    """Looks at it now, and at those of its pages that failed the last time."""
    collection = editable_collection(request, slug)
    source_actions.check_now(account(request), shown(collection, source_id))
    return Status(202, shown(collection, source_id))


@router.delete(SOURCE, auth=WRITE, response={204: None}, operation_id="remove_source")
def remove_source(request: Request, slug: str, source_id: UUID, documents: bool = False) -> Status[None]:
    """Feeds the collection from there no longer; with `documents` what came from there goes, too."""
    source = shown(editable_collection(request, slug), source_id)
    source_actions.remove_source(account(request), source, documents=documents)
    return Status(204, None)
