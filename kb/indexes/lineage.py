"""Where a chunk's vectors came from: the document and text, the model, and the making of each vector."""

from dataclasses import dataclass
from datetime import datetime
from typing import Literal
from uuid import UUID

from django.db import connection
from psycopg import sql

from kb.documents.models import Chunk
from kb.indexes.embedding_queue import content_hash
from kb.indexes.models import EmbeddingJob, EmbeddingModel, IndexVersion
from kb.indexes.placing import index_of

State = Literal["embedded", "outdated", "waiting", "missing"]


@dataclass(frozen=True)
class Source:
    """The span of text: `revision.text[start:end]` is the chunk."""

    document_id: UUID
    document_title: str
    revision: int
    revision_sha256: str
    start: int
    end: int
    page: int | None
    heading_path: tuple[str, ...]
    text_sha256: str
    rendered_sha256: str
    tokens: int
    chunking: str


@dataclass(frozen=True)
class Model:
    """Enough to make the vector again; `training_set_sha256` is empty for a published model."""

    provider: str
    name: str
    revision: str
    weights_sha256: str
    document_prompt: str
    pooling: str
    training_set_sha256: str


@dataclass(frozen=True)
class Making:
    """When and by what one vector was made; `content_sha256` is the hash of what the model read."""

    created_at: datetime
    worker: str
    backend: str
    number_format: str
    content_sha256: str


@dataclass(frozen=True)
class Vector:
    """The chunk in one index version; `outdated` means: made of other words or another prompt."""

    index: str
    version: int
    version_state: str
    dimensions: int
    storage: str
    state: State
    model: Model
    making: Making | None
    attempts: int
    error: str


@dataclass(frozen=True)
class Lineage:
    """The card of one chunk: its source, and its vector in every maintained version of its index."""

    chunk_id: int
    source: Source
    vectors: tuple[Vector, ...]


def lineage(chunk: Chunk) -> Lineage:
    """Reads the card; the caller has checked who may see the chunk."""
    versions = (
        IndexVersion.objects.maintained()
        .filter(index=index_of(chunk.collection), chunking=chunk.chunking_id)
        .select_related("index", "model")
    )
    return Lineage(chunk.pk, source(chunk), tuple(vector(chunk, version) for version in versions))


def source(chunk: Chunk) -> Source:
    return Source(
        document_id=chunk.document_id,
        document_title=chunk.document.title,
        revision=chunk.revision.number,
        revision_sha256=chunk.revision.sha256,
        start=chunk.start,
        end=chunk.end,
        page=chunk.page,
        heading_path=tuple(chunk.heading_path),
        text_sha256=bytes(chunk.text_hash).hex(),
        rendered_sha256=bytes(chunk.rendered_hash).hex(),
        tokens=chunk.tokens,
        chunking=str(chunk.chunking),
    )


def vector(chunk: Chunk, version: IndexVersion) -> Vector:
    made = making(chunk, version)
    job = EmbeddingJob.objects.filter(version=version, chunk=chunk).first()
    wanted = content_hash(version.model, bytes(chunk.rendered_hash)).hex()
    return Vector(
        index=version.index.slug,
        version=version.number,
        version_state=version.state,
        dimensions=version.dimensions,
        storage=version.storage,
        state=vector_state(made, job is not None, wanted),
        model=model_card(version.model),
        making=made,
        attempts=job.attempts if job else 0,
        error=job.error if job else "",
    )


def vector_state(made: Making | None, queued: bool, wanted: str) -> State:
    """What to say of a vector, given its making, whether a job is queued, and the hash it should have."""
    if made is not None:
        return "embedded" if made.content_sha256 == wanted else "outdated"
    return "waiting" if queued else "missing"


def making(chunk: Chunk, version: IndexVersion) -> Making | None:
    columns = "created_at, worker, backend, number_format, encode(content_hash, 'hex')"
    statement = sql.SQL("SELECT {} FROM {} WHERE chunk_id = %s").format(
        sql.SQL(columns), sql.Identifier(version.table)
    )
    with connection.cursor() as cursor:
        cursor.execute(statement, [chunk.pk])
        row = cursor.fetchone()
    return Making(*row) if row else None


def model_card(model: EmbeddingModel) -> Model:
    return Model(
        provider=model.provider,
        name=model.name,
        revision=model.revision,
        weights_sha256=model.weights_sha256,
        document_prompt=model.document_prompt,
        pooling=model.pooling,
        training_set_sha256=str(model.training.get("training_set_sha256", "")),
    )
