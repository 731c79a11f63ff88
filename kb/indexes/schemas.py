"""What the API gives about chunks, their lineage, progress and the indexes."""

from datetime import datetime
from typing import Literal
from uuid import UUID

from ninja import Schema
from pydantic import Field

from kb.documents.models import Chunk, Document
from kb.documents.schemas import DocumentOut
from kb.indexes.models import Index, IndexVersion
from kb.indexes.progress import Progress, progress


class ProgressOut(Schema):
    """`done` of `total` chunks can be searched."""

    done: int
    total: int
    fraction: float = Field(description="From 0 to 1.")
    label: str = Field(description="The state, in words for people.")


class DocumentProgressOut(DocumentOut):
    progress: ProgressOut

    @staticmethod
    def resolve_progress(document: Document) -> Progress:
        return progress([document])[document.pk]


class OverallOut(Schema):
    """How far documents are, together."""

    documents: int
    finished: int = Field(description="Those that are ready.")
    failed: int
    paused: int
    states: dict[str, int] = Field(description="How many documents are in each state.")
    chunks_done: int
    chunks_total: int = Field(description="Of the documents that are read; others have no chunks yet.")
    fraction: float = Field(description="From 0 to 1; what is not read yet is estimated.")
    rate: float = Field(description="Chunks that all workers together embed a second, of late.")
    parse_rate: float = Field(description="Documents that all workers together read a second, of late.")
    seconds_left: float | None = Field(
        description="Null while it is not known, or all that is left is paused."
    )
    documents_ahead: int = Field(description="Other documents that are still to be read and come before.")
    ahead: int = Field(description="Chunks of other documents whose turn comes before.")


class ChunkOut(Schema):
    """A span of a document: `text` is the revision's text from `start` to `end`, in Unicode code points."""

    id: int
    document: UUID
    document_title: str
    collection: str
    revision: int
    ordinal: int
    start: int
    end: int
    page: int | None
    heading_path: list[str]
    tokens: int
    text: str

    @staticmethod
    def resolve_document(chunk: Chunk) -> UUID:
        return chunk.document_id

    @staticmethod
    def resolve_document_title(chunk: Chunk) -> str:
        return chunk.document.title

    @staticmethod
    def resolve_collection(chunk: Chunk) -> str:
        return chunk.collection.slug

    @staticmethod
    def resolve_revision(chunk: Chunk) -> int:
        return chunk.revision.number


class SourceOut(Schema):
    document_id: UUID
    document_title: str
    revision: int
    revision_sha256: str = Field(description="Of the original file.")
    start: int
    end: int
    page: int | None
    heading_path: list[str]
    text_sha256: str
    rendered_sha256: str = Field(description="Of what both indexes read: title, heading path and text.")
    tokens: int
    chunking: str


class LineageModelOut(Schema):
    provider: str
    name: str
    revision: str
    weights_sha256: str
    document_prompt: str
    pooling: str
    training_set_sha256: str = Field(description="For a fine-tuned model.")


class MakingOut(Schema):
    created_at: datetime
    worker: str
    backend: str
    number_format: str = Field(description="float32, bfloat16 or int8: what the model computed with.")
    content_sha256: str = Field(description="Of what the model read: its prompt and the rendered chunk.")


class VectorOut(Schema):
    index: str
    version: int
    version_state: str
    dimensions: int
    storage: str
    state: Literal["embedded", "outdated", "waiting", "missing"]
    model: LineageModelOut
    making: MakingOut | None
    attempts: int
    error: str
    derived_from: int | None = Field(
        description="The number of the version of whose vectors it was computed."
    )


class LineageOut(Schema):
    """The card of one chunk: its source, and its vector in every maintained version of its index."""

    chunk_id: int
    source: SourceOut
    vectors: list[VectorOut]


class VersionOut(Schema):
    number: int
    state: str
    model: str
    model_revision: str
    dimensions: int
    storage: str
    created_at: datetime

    @staticmethod
    def resolve_model(version: IndexVersion) -> str:
        return version.model.name

    @staticmethod
    def resolve_model_revision(version: IndexVersion) -> str:
        return version.model.revision


class IndexOut(Schema):
    """An index, and the one version of it that serves."""

    slug: str
    name: str
    is_default: bool
    live_version: VersionOut | None
    versions: list[VersionOut] = Field(description="Newest first.")

    @staticmethod
    def resolve_versions(index: Index) -> list[IndexVersion]:
        return list(index.versions.all())


class IndexesOut(Schema):
    items: list[IndexOut]
