"""Where a chunk's vectors came from: the document and text, the model, and the making of each vector."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal
from uuid import UUID

from django.db import connection
from psycopg import sql

from kb.documents.models import Chunk
from kb.indexes.embedding_queue import content_hash
from kb.indexes.models import Calibration, EmbeddingJob, EmbeddingModel, IndexVersion
from kb.indexes.placing import holding_for
from retrieval.embedders.calibration import LEAST_COSINE

EXACT = "float32"
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
class Format:
    """How many vectors of a version one backend made in one number format.

    `cosine` is how near such vectors are at least to those in float32; None where nobody measured it.
    """

    backend: str
    number_format: str
    vectors: int
    cosine: float | None


@dataclass(frozen=True)
class Vector:
    """The chunk in one index version; `outdated` means: made of other words or another prompt.

    `cosine` is how near vectors of this making are at least to those in float32, where that is known.
    `derived_from` is the number of the version of whose vectors those of this one were computed, if any.
    """

    index: str
    version_id: int
    version: int
    version_state: str
    dimensions: int
    storage: str
    state: State
    model: Model
    making: Making | None
    cosine: float | None
    attempts: int
    error: str
    derived_from: int | None = None


@dataclass(frozen=True)
class Lineage:
    """The card of one chunk: its source, and its vector in every version of its index that has, or may have, one."""

    chunk_id: int
    source: Source
    vectors: tuple[Vector, ...]


def lineage(chunk: Chunk) -> Lineage:
    """Reads the card; the caller has checked who may see the chunk."""
    versions = [each for each in holding_for(chunk.collection_id) if each.chunking_id == chunk.chunking_id]
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
        version_id=version.pk,
        version=version.number,
        version_state=version.state,
        dimensions=version.dimensions,
        storage=version.storage,
        state=vector_state(made, job is not None, wanted),
        model=model_card(version.model),
        making=made,
        cosine=cosine_of(made.backend, made.number_format, cosines(version.model)) if made else None,
        attempts=job.attempts if job else 0,
        error=job.error if job else "",
        derived_from=version.derived_from.number if version.derived_from else None,
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


def formats(version: IndexVersion) -> list[Format]:
    """What made the version's vectors, the most frequent first. Reads the whole table."""
    statement = sql.SQL(
        "SELECT backend, number_format, count(*) FROM {} GROUP BY 1, 2 ORDER BY 3 DESC, 1, 2"
    ).format(sql.Identifier(version.table))
    with connection.cursor() as cursor:
        cursor.execute(statement)
        rows = cursor.fetchall()
    near = cosines(version.model)
    return [
        Format(backend, number_format, count, cosine_of(backend, number_format, near))
        for backend, number_format, count in rows
    ]


def cosines(model: EmbeddingModel) -> dict[tuple[str, str], float]:
    """The least cosine to float32 that each backend and number format was measured to have, on any machine."""
    near: dict[tuple[str, str], float] = {}
    for measured in Calibration.objects.filter(model=model).values_list("measured", flat=True):
        for row in measured:
            if row["cosine"] is not None:
                key = row["backend"], row["number_format"]
                near[key] = min(row["cosine"], near.get(key, 1.0))
    return near


def cosine_of(backend: str, number_format: str, near: Mapping[tuple[str, str], float]) -> float | None:
    """As measured; float32 is what others are compared with, and needs no measuring."""
    return near.get((backend, number_format), 1.0 if number_format == EXACT else None)


def mixed(formats: Sequence[Format]) -> str:
    """Why a version's vectors should not stand beside each other; empty where they may.

    Vectors of one kind fit each other whatever they are. Of several kinds, each must be near float32:
    then they are near each other.
    """
    if len(formats) < 2:
        return ""
    doubtful = [one for one in formats if one.cosine is None or one.cosine < LEAST_COSINE]
    if not doubtful:
        return ""
    names = ", ".join(f"{one.backend} {one.number_format}" for one in doubtful)
    return f"Vectors are mixed that may not be comparable: how near {names} is to float32 is not known, or not enough."
