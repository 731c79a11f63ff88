"""Documents: put in, list, read, replace, take up again, delete."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Annotated, Any, TypeAlias
from uuid import UUID

from django.core.files.uploadedfile import UploadedFile
from django.db import transaction
from django.db.models import Prefetch, Q, QuerySet
from django.http import HttpRequest
from django.http.multipartparser import MultiPartParser
from ninja import Query, Router, Status
from pydantic import Field

from kb.core.api import visible_collection
from kb.core.authentication import READ, WRITE, Request, account
from kb.core.models import Collection, Reader, User
from kb.core.pagination import Slice, paginate
from kb.core.problems import Problem, not_found
from kb.documents import actions, models
from kb.documents.models import Document, DocumentRevision
from kb.documents.move_actions import move_document
from kb.documents.schemas import (
    DocumentOut,
    DocumentPatch,
    DocumentsOut,
    Listing,
    Tags,
    TextOut,
    UploadOut,
    UploadsOut,
)
from retrieval.querying import tag_of

router = Router(tags=["Documents"])

Upload: TypeAlias = "UploadedFile[Any]"

NEWEST_FIRST = ["-created_at", "id"]


@dataclass(frozen=True)
class Uploaded:
    """What became of one file."""

    filename: str
    created: bool = False
    document: Document | None = None
    problem: Problem | None = None


IN_COLLECTION = "/collections/{slug}/documents"
DOCUMENT = "/documents/{uuid:document_id}"
HEAVY = ("text", "pages", "headings")
Number = Annotated[int | None, Field(ge=1, le=2**31 - 1)]


def form_of_files(name: str, schema: dict[str, Any], description: str) -> dict[str, Any]:
    """The OpenAPI description of a form with files; ninja's own reading of forms knows POST alone."""
    properties = {"type": "object", "properties": {name: schema}, "required": [name]}
    content = {"multipart/form-data": {"schema": properties}}
    return {"requestBody": {"required": True, "description": description, "content": content}}


FILE = {"type": "string", "format": "binary"}
ONE_FILE = form_of_files("file", FILE, "A form with one file.")
FILES = form_of_files("files", {"type": "array", "items": FILE}, "A form with one file or several.")


def uploaded_files(request: HttpRequest) -> list[Upload]:
    """The files of the form, whatever their parts are called. Raises Problem if there are none."""
    if request.content_type != "multipart/form-data":
        raise Problem("not_a_form", "Send the file as multipart/form-data.", 415)
    fields: Iterable[str] = request.POST
    parts = request.FILES
    if request.method != "POST":  # Django reads the forms of POST alone
        fields, parts = MultiPartParser(
            request.META, request, request.upload_handlers, request.encoding
        ).parse()
    if named := ", ".join(sorted(fields)):
        raise Problem(
            "unknown_field",
            f"The form has fields that are no files: {named}. `upload` and `tag` stand in the address, as ?tag=a.",
            422,
        )
    files = [file for _, group in parts.lists() for file in group]
    if not files:
        raise Problem("no_file", "The form holds no file.", 422)
    return files


def listing(reader: Reader) -> QuerySet[Document]:
    """The reader's documents with all that `DocumentOut` shows, without their texts."""
    return (
        Document.objects.visible_to(reader)
        .select_related("collection", "current", "incoming", "web_page")
        .prefetch_related(Prefetch("same_as", Document.objects.visible_to(reader).only("pk")))
        .defer(*(f"{revision}__{field}" for revision in ("current", "incoming") for field in HEAVY))
    )


def visible_document(reader: Reader, document_id: UUID) -> Document:
    """The document, if this reader may know of it. Raises Problem otherwise."""
    found = listing(reader).filter(pk=document_id).first()
    if found is None:
        raise not_found("document")
    return found


def listed(documents: QuerySet[Document], which: Listing) -> Slice[Document]:
    if which.state:
        documents = documents.filter(state=which.state)
    if which.q:
        documents = documents.filter(Q(title__icontains=which.q) | Q(filename__icontains=which.q))
    if which.tag:
        documents = documents.filter(tags__contains=[tag_of(which.tag)])
    return paginate(documents, NEWEST_FIRST, which.cursor, which.limit)


@router.get("/documents", auth=READ, response=DocumentsOut, operation_id="list_documents")
def list_documents(request: Request, which: Query[Listing]) -> Slice[Document]:
    """The documents of all collections that you may see, newest first."""
    return listed(listing(request.auth), which)


@router.get(IN_COLLECTION, auth=READ, response=DocumentsOut, operation_id="list_collection_documents")
def list_collection_documents(request: Request, slug: str, which: Query[Listing]) -> Slice[Document]:
    """One collection's documents, newest first."""
    collection = visible_collection(request.auth, slug)
    return listed(listing(request.auth).filter(collection=collection), which)


@router.post(
    IN_COLLECTION, auth=WRITE, response={202: UploadsOut}, operation_id="add_documents", openapi_extra=FILES
)
def add_documents(
    request: Request, slug: str, tag: Query[Tags], upload: UUID | None = None
) -> Status[dict[str, Any]]:
    """Puts files in. They are queued when this answers; fetch a document again to see it become `ready`.

    A single file that is not taken is answered by its problem. Of several files each has its own result,
    and only if none was taken is the whole answered by a problem. They go into the `upload` that is
    named; several files without one make a new one. What is new gets each `tag`. While too much of the
    collection waits, nothing is taken (429): try again after as many seconds as `Retry-After` says.
    """
    collection = visible_collection(request.auth, slug)
    actions.must_have_room(account(request), collection)
    files = uploaded_files(request)
    into = within_upload(request, collection, upload, len(files))
    if len(files) == 1:
        return Status(202, {"upload": upload, "items": [added(request, collection, files[0], into, tag.tag)]})
    items = [added_or_refused(request, collection, file, into, tag.tag) for file in files]
    if not any(item.document for item in items):
        results = [UploadOut.from_orm(item).model_dump(mode="json") for item in items]
        raise Problem("none_taken", "None of the files could be taken.", 422, items=results)
    return Status(202, {"upload": into.pk if into else None, "items": items})


def within_upload(
    request: Request, collection: Collection, upload_id: UUID | None, files: int
) -> models.Upload | None:
    """The upload that is named, or a new one for several files. Raises Problem if it is not the collection's."""
    if upload_id is not None:
        found = collection.uploads.filter(pk=upload_id).first()
        if found is None:
            raise not_found("upload")
        return found
    if files == 1:
        return None
    return actions.open_upload(account(request), collection, models.Upload.Origin.API)


def added(
    request: Request, collection: Collection, file: Upload, into: models.Upload | None, tags: list[str]
) -> Uploaded:
    result = actions.add_document(account(request), collection, file, upload=into, tags=tags)
    return Uploaded(file.name or "", result.created, visible_document(request.auth, result.document.pk))


def added_or_refused(
    request: Request, collection: Collection, file: Upload, into: models.Upload | None, tags: list[str]
) -> Uploaded:
    try:
        return added(request, collection, file, into, tags)
    except Problem as problem:
        return Uploaded(file.name or "", problem=problem)


@router.get(DOCUMENT + "/text", auth=READ, response=TextOut, operation_id="get_document_text")
def get_document_text(request: Request, document_id: UUID, revision: Number = None) -> DocumentRevision:
    """The extracted text of the revision that is searched, or of another one."""
    document = visible_document(request.auth, document_id)
    if revision is None and document.current is None:
        raise Problem("not_parsed", "This document has no text yet: wait until it is parsed.", 409)
    which = Q(number=revision) if revision else Q(pk=document.current_id)
    found = document.revisions.filter(which).first()
    if found is None:
        raise not_found("revision")
    if found.parsed_at is None:
        raise Problem("not_parsed", "This revision has no text yet: wait until it is parsed.", 409)
    return found


@router.put(
    DOCUMENT,
    auth=WRITE,
    response={202: DocumentOut},
    operation_id="replace_document",
    openapi_extra=ONE_FILE,
)
def replace_document(request: Request, document_id: UUID) -> Status[Document]:
    """Puts a new file in a document's place. The old text is searched until the new one is parsed."""
    document = visible_document(request.auth, document_id)
    files = uploaded_files(request)
    if len(files) > 1:
        raise Problem("several_files", "Send one file to replace a document.", 422)
    actions.replace_document(account(request), document, files[0])
    return Status(202, visible_document(request.auth, document_id))


@router.patch(DOCUMENT, auth=WRITE, response=DocumentOut, operation_id="change_document")
def change_document(request: Request, document_id: UUID, body: DocumentPatch) -> Document:
    """Changes a document's tags, or moves it to another collection, where it is cut and embedded anew."""
    document = visible_document(request.auth, document_id)
    with transaction.atomic():  # both, or neither
        if body.collection is not None:  # first, since it locks the content ahead of the row, as others do
            target = visible_collection(request.auth, body.collection)
            document = move_document(account(request), document, target)
        if body.tags is not None:
            actions.tag_document(account(request), document, body.tags)
    return visible_document(request.auth, document_id)


def taken_up(
    request: Request, document_id: UUID, action: Callable[[User, Document], object]
) -> Status[Document]:
    action(account(request), visible_document(request.auth, document_id))
    return Status(202, visible_document(request.auth, document_id))


@router.post(DOCUMENT + "/retry", auth=WRITE, response={202: DocumentOut}, operation_id="retry_document")
def retry_document(request: Request, document_id: UUID) -> Status[Document]:
    """Takes a failed or cancelled document up again, with those that an archive held."""
    return taken_up(request, document_id, actions.retry_failed)


@router.post(DOCUMENT + "/reparse", auth=WRITE, response={202: DocumentOut}, operation_id="reparse_document")
def reparse_document(request: Request, document_id: UUID) -> Status[Document]:
    """Reads the stored file once more, as a new revision."""
    return taken_up(request, document_id, actions.reparse_document)


@router.delete(DOCUMENT, auth=WRITE, response={204: None}, operation_id="delete_document")
def delete_document(request: Request, document_id: UUID) -> Status[None]:
    """Deletes a document with all its revisions: gone from the next search."""
    actions.delete_document(account(request), visible_document(request.auth, document_id))
    return Status(204, None)
