"""What the API takes and gives about documents."""

from datetime import datetime
from typing import Literal
from uuid import UUID

from ninja import Schema
from pydantic import Field

from kb.core.problems import Problem
from kb.core.schemas import Cursor, Limit
from kb.documents.models import Document, DocumentRevision

State = Literal["queued", "parsing", "embedding", "ready", "failed"]


class ErrorOut(Schema):
    """Why a document failed: a code for programs, a sentence for people."""

    code: str
    message: str


class DocumentOut(Schema):
    id: UUID
    collection: str = Field(description="The collection's slug.")
    title: str
    filename: str
    state: State = Field(description="`ready` means: searchable. A replacement leaves the old text so.")
    error: ErrorOut | None
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
    def resolve_revision(document: Document) -> int | None:
        return document.current.number if document.current else None

    @staticmethod
    def resolve_size(document: Document) -> int | None:
        newest = document.incoming or document.current
        return newest.size if newest else None


class Listing(Schema):
    """Which documents to list, and where to go on."""

    state: State | None = None
    q: str = Field("", max_length=200, description="Part of the title or the file name.")
    cursor: Cursor = None
    limit: Limit = 50


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
    items: list[UploadOut]


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
