"""What the API takes and gives about documents."""

from collections import Counter
from datetime import datetime
from typing import Literal, TypedDict
from uuid import UUID

from ninja import Schema
from pydantic import Field

from kb.core.problems import Problem
from kb.core.schemas import Cursor, Input, Limit
from kb.documents.models import Document, DocumentRevision, Upload

State = Literal["queued", "parsing", "embedding", "ready", "failed", "cancelled"]


SAME_AS = Document._meta.get_field("same_as")


class Counted(TypedDict):
    """An upload, with how many of its documents are in which state, and how many are paused."""

    upload: Upload
    states: Counter[str]
    paused: int


class ErrorOut(Schema):
    """Why a document failed: a code for programs, a sentence for people."""

    code: str
    message: str


class DocumentOut(Schema):
    id: UUID
    collection: str = Field(description="The collection's slug.")
    title: str
    tags: list[str] = Field(description="In lower case, one word each; `tag:` in a question asks for them.")
    filename: str
    state: State = Field(description="`ready` means: searchable. A replacement leaves the old text so.")
    paused: bool = Field(description="Whether its work waits until it is resumed.")
    error: ErrorOut | None
    upload: UUID | None = Field(alias="upload_id", description="What it was put in with.")
    archive: UUID | None = Field(alias="archive_id", description="The archive that it came out of.")
    same_as: UUID | None = Field(
        description="A document elsewhere with the very same file, if you may see it."
    )
    url: str | None = Field(description="Where on the web it is fetched from.")
    vanished_at: datetime | None = Field(description="When the web server first said that it is gone.")
    author: str
    language: str = Field(description="ISO 639-1, such as `en`; empty where it is unknown.")
    written_at: datetime | None = Field(description="As the file says.")
    revision: int | None = Field(description="The revision that is searched; null until the first is parsed.")
    size: int | None = Field(description="The newest file's bytes.")
    created_at: datetime
    updated_at: datetime

    @staticmethod
    def resolve_collection(document: Document) -> str:
        return document.collection.slug

    @staticmethod
    def resolve_error(document: Document) -> ErrorOut | None:
        return ErrorOut(code=document.error_code, message=document.error) if document.error else None

    @staticmethod
    def resolve_same_as(document: Document) -> UUID | None:
        # Only as a query for this reader has found it: the column itself tells of what others put in.
        found = SAME_AS.get_cached_value(document, default=None)
        return found.pk if found else None

    @staticmethod
    def resolve_url(document: Document) -> str | None:
        return document.web_page.url if hasattr(document, "web_page") else None

    @staticmethod
    def resolve_vanished_at(document: Document) -> datetime | None:
        return document.web_page.vanished_at if hasattr(document, "web_page") else None

    @staticmethod
    def resolve_author(document: Document) -> str:
        return document.current.author if document.current else ""

    @staticmethod
    def resolve_language(document: Document) -> str:
        return document.current.language if document.current else ""

    @staticmethod
    def resolve_written_at(document: Document) -> datetime | None:
        return document.current.written_at if document.current else None

    @staticmethod
    def resolve_revision(document: Document) -> int | None:
        return document.current.number if document.current else None

    @staticmethod
    def resolve_size(document: Document) -> int | None:
        newest = document.incoming or document.current
        return newest.size if newest else None


class DocumentPatch(Input):
    """Only what is sent is changed."""

    tags: list[str] | None = Field(None, max_length=200, description="All tags that it is to have.")
    collection: str | None = Field(
        None, max_length=200, description="Slug of the collection that it is to be moved to."
    )


class Listing(Schema):
    """Which documents to list, and where to go on."""

    state: State | None = None
    q: str = Field("", max_length=200, description="Part of the title or the file name.")
    tag: str = Field("", max_length=200, description="Only documents with this tag.")
    cursor: Cursor = None
    limit: Limit = 50


class Tags(Schema):
    """Tags for what is put in."""

    tag: list[str] = Field([], max_length=200, description="A tag; several may be given.")


class DocumentsOut(Schema):
    items: list[DocumentOut]
    next_cursor: str | None


class RefusalOut(Schema):
    """Why one of several files was not taken."""

    status: int
    code: str
    detail: str

    @staticmethod
    def resolve_detail(problem: Problem) -> str:
        return problem.message


class UploadOut(Schema):
    """One file of an upload: either `document` or `problem`."""

    filename: str
    created: bool = Field(description="False as well where the collection held the very same file already.")
    document: DocumentOut | None
    problem: RefusalOut | None


class UploadsOut(Schema):
    upload: UUID | None = Field(None, description="What the files were put in with, where there are several.")
    items: list[UploadOut]


class OpenedIn(Schema):
    """A new upload."""

    name: str = Field("", max_length=255, description="In words for people.")


class OpenedOut(Schema):
    """Documents that were put in together, and how far they are."""

    id: UUID
    collection: str = Field(description="The collection's slug.")
    name: str
    origin: Literal["page", "api", "command", "admin", "archive", "web"]
    created_at: datetime
    documents: int
    finished: int = Field(description="Those that are ready, failed or cancelled.")
    paused: int
    states: dict[State, int] = Field(description="How many documents are in each state that occurs.")

    @staticmethod
    def resolve_id(counted: Counted) -> UUID:
        return counted["upload"].pk

    @staticmethod
    def resolve_collection(counted: Counted) -> str:
        return counted["upload"].collection.slug

    @staticmethod
    def resolve_name(counted: Counted) -> str:
        return counted["upload"].name

    @staticmethod
    def resolve_origin(counted: Counted) -> str:
        return counted["upload"].origin

    @staticmethod
    def resolve_created_at(counted: Counted) -> datetime:
        return counted["upload"].created_at

    @staticmethod
    def resolve_documents(counted: Counted) -> int:
        return sum(counted["states"].values())

    @staticmethod
    def resolve_finished(counted: Counted) -> int:
        return sum(count for state, count in counted["states"].items() if state not in Document.WORK)


class OpenedListing(Schema):
    """Which uploads to list, and where to go on."""

    collection: str = Field("", max_length=80, description="The collection's slug.")
    cursor: Cursor = None
    limit: Limit = 50


class OpenedPageOut(Schema):
    items: list[OpenedOut]
    next_cursor: str | None


class SteeredOut(Schema):
    """How many documents were paused, resumed, cancelled, taken up or read again."""

    documents: int


class StageOut(Schema):
    """One stage of a document's way. What it cost is not told: it may have been done for somebody else before."""

    stage: Literal["fetch", "parse", "chunk", "index", "embed"]
    state: Literal["running", "done", "failed", "cancelled"]
    attempt: int
    done: int
    total: int = Field(description="Bytes fetched, pages parsed, chunks cut, indexed or embedded.")
    error: str
    heartbeat_at: datetime = Field(description="The last sign of life of the worker.")


class StagesOut(Schema):
    items: list[StageOut]


class FailureScope(Schema):
    """Whose failures to list: by default those of all documents that you may see."""

    collection: str = Field("", max_length=80, description="The collection's slug.")
    upload: UUID | None = None


class Retried(Schema):
    """Which of the documents to take up again."""

    cause: str = Field("", max_length=30, description="Only those that failed with this code; else all.")


class FailedOut(Schema):
    """One of the documents that failed."""

    id: UUID
    title: str
    filename: str
    message: str = Field(alias="error")


class FailureGroupOut(Schema):
    """Documents that failed for the same cause, and what can be done."""

    code: str
    title: str
    remedy: str
    count: int
    sample: list[FailedOut] = Field(description="The newest few.")


class FailuresOut(Schema):
    items: list[FailureGroupOut]


class PageOut(Schema):
    """`text[start:end]` is the page; offsets count Unicode code points."""

    number: int
    start: int
    end: int


class HeadingOut(Schema):
    """`text[start:end]` is the heading's line; offsets count Unicode code points."""

    level: int
    title: str
    start: int
    end: int


class TextOut(Schema):
    """The text that was extracted from one revision's file; it never changes."""

    document: UUID
    revision: int
    filename: str
    sha256: str = Field(description="Of the original file.")
    media_type: str
    parsed_at: datetime | None
    text: str
    pages: list[PageOut]
    headings: list[HeadingOut]

    @staticmethod
    def resolve_document(revision: DocumentRevision) -> UUID:
        return revision.document_id

    @staticmethod
    def resolve_revision(revision: DocumentRevision) -> int:
        return revision.number

    @staticmethod
    def resolve_pages(revision: DocumentRevision) -> list[dict[str, object]]:
        return [dict(zip(PageOut.model_fields, page, strict=True)) for page in revision.pages]

    @staticmethod
    def resolve_headings(revision: DocumentRevision) -> list[dict[str, object]]:
        return [dict(zip(HeadingOut.model_fields, heading, strict=True)) for heading in revision.headings]
