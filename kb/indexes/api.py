"""Chunks with their lineage, the indexes, and a document with its progress."""

from uuid import UUID

from django.db.models import Prefetch
from ninja import Router

from kb.core.api import visible_collection
from kb.core.authentication import ANY, READ, Request
from kb.core.models import Reader
from kb.core.problems import not_found
from kb.documents.actions import within
from kb.documents.api import DOCUMENT, visible_document
from kb.documents.api import router as documents_router
from kb.documents.api_work import COLLECTION, UPLOAD, visible_upload
from kb.documents.models import Chunk, Document
from kb.indexes.lineage import Lineage, lineage
from kb.indexes.models import Index, IndexVersion
from kb.indexes.progress import Overall, overall
from kb.indexes.schemas import (
    ChunkOut,
    DocumentProgressOut,
    IndexesOut,
    LineageOut,
    OverallOut,
)

router = Router(tags=["Chunks and indexes"])


# On the documents' router, whose other methods share the address; here, since progress is the index's.
@documents_router.get(DOCUMENT, auth=READ, response=DocumentProgressOut, operation_id="get_document")
def get_document(request: Request, document_id: UUID) -> Document:
    """One document, and how far it is."""
    return visible_document(request.auth, document_id)


@documents_router.get(
    DOCUMENT + "/progress", auth=READ, response=OverallOut, operation_id="get_document_progress"
)
def get_document_progress(request: Request, document_id: UUID) -> Overall:
    """How far a document is, with those that an archive held: stage by stage, rates and the time left."""
    return overall(within(visible_document(request.auth, document_id)))


@documents_router.get(
    UPLOAD + "/progress", auth=READ, response=OverallOut, operation_id="get_upload_progress"
)
def get_upload_progress(request: Request, upload_id: UUID) -> Overall:
    """How far the documents of an upload are, together."""
    return overall(within(visible_upload(request.auth, upload_id)))


@documents_router.get(
    COLLECTION + "/progress", auth=READ, response=OverallOut, operation_id="get_collection_progress"
)
def get_collection_progress(request: Request, slug: str) -> Overall:
    """How far the documents of a collection are, together."""
    return overall(within(visible_collection(request.auth, slug)))


def visible_chunk(reader: Reader, chunk_id: int) -> Chunk:
    """The chunk, if this reader may know of it. Raises Problem otherwise."""
    found = (
        Chunk.objects.visible_to(reader)
        .select_related("document", "collection", "revision", "chunking")
        .defer("revision__text", "revision__pages", "revision__headings")
        # Ids beyond the column's range cannot be asked for.
        .filter(pk=min(chunk_id, 2**31 - 1))
        .first()
    )
    if found is None:
        raise not_found("chunk")
    return found


@router.get("/chunks/{int:chunk_id}", auth=READ, response=ChunkOut, operation_id="get_chunk")
def get_chunk(request: Request, chunk_id: int) -> Chunk:
    """One chunk: a passage as it is searched."""
    return visible_chunk(request.auth, chunk_id)


@router.get("/chunks/{int:chunk_id}/lineage", auth=READ, response=LineageOut, operation_id="get_lineage")
def get_lineage(request: Request, chunk_id: int) -> Lineage:
    """How the chunk's vectors came about: source, model, and the making of each."""
    return lineage(visible_chunk(request.auth, chunk_id))


@router.get("/indexes", auth=ANY, response=IndexesOut, operation_id="list_indexes")
def list_indexes(request: Request) -> dict[str, list[Index]]:  # noqa: ARG001 (ninja passes it by this name)
    """The indexes and their versions; needs an account."""
    versions = Prefetch("versions", IndexVersion.objects.select_related("model").order_by("-number"))
    indexes = Index.objects.select_related("live_version__model").prefetch_related(versions)
    return {"items": list(indexes.order_by("pk"))}
