"""Documents with chunks and jobs by the thousand, without files."""

import hashlib
from collections.abc import Sequence

from django.db import connection

from kb.core.models import Collection
from kb.documents.models import Chunk, Document, DocumentRevision
from kb.indexes import embedding_queue, settling
from kb.indexes.models import EmbeddingJob, IndexVersion
from retrieval.chunking import render

CROWD = """
WITH document AS (
    INSERT INTO documents_document (id, collection_id, title, filename, state, error_code, error, attempts,
        paused, queued_at, created_at, updated_at)
    SELECT gen_random_uuid(), %(collection)s, 'doc', 'a.txt', 'embedding', '', '', 0, false, now(), now(), now()
    FROM generate_series(1, %(documents)s) RETURNING id
), revision AS (
    INSERT INTO documents_documentrevision (document_id, number, sha256, file, filename, size, media_type, title,
        author, language, text, pages, headings, parser, created_at)
    SELECT id, 1, repeat('0', 64), 'x', 'a.txt', 1, '', '', '', '', '', '[]', '[]', '', now() FROM document
    RETURNING id, document_id
), chunk AS (
    INSERT INTO documents_chunk (document_id, revision_id, chunking_id, collection_id, ordinal, start, "end", text,
        text_hash, occurrence, rendered_hash, heading_path, tokens, length, created_at)
    SELECT document_id, revision.id, %(chunking)s, %(collection)s, ordinal, 0, 1, 'w', sha256('w'), ordinal,
        sha256((revision.id::text || ' ' || ordinal)::bytea), '{{}}', 1, 1, now()
    FROM revision, generate_series(0, %(chunks)s - 1) ordinal
    RETURNING id, document_id, ordinal, rendered_hash
), stage AS (
    INSERT INTO documents_documentstage (document_id, stage, state, attempt, content_hash, done, total, reused,
        worker, error, started_at, heartbeat_at)
    SELECT id, stage, 'running', 1, '', 0, %(chunks)s, 0, '', '', now(), now()
    FROM document, unnest(ARRAY['parse', 'chunk', 'index', 'embed']) stage
), vector AS (
    INSERT INTO {table} (chunk_id, collection_id, vector, content_hash, worker, backend, number_format)
    SELECT id, %(collection)s, (array_agg(random() - 0.5))::real[]::vector::halfvec, rendered_hash, '', '', 'float32'
    FROM chunk, generate_series(1, %(dimensions)s) WHERE ordinal = 0 GROUP BY id, rendered_hash
)
INSERT INTO indexes_embeddingjob (version_id, chunk_id, collection_id, tokens, paused, attempts, error, created_at)
SELECT %(version)s, id, %(collection)s, 1, false, 0, '', now() FROM chunk WHERE ordinal > 0 ORDER BY id
"""


def chunked(
    version: IndexVersion,
    collection: Collection,
    texts: Sequence[str],
    *,
    title: str = "doc",
    paused: bool = False,
) -> Document:
    """A document that is embedding, with a chunk for each text and a job for each chunk."""
    document = Document.objects.create(
        collection=collection, title=title, filename="a.txt", state=Document.State.EMBEDDING, paused=paused
    )
    revision = DocumentRevision.objects.create(
        document=document, number=1, sha256="0" * 64, file="x", filename="a.txt", size=1, text="".join(texts)
    )
    document.current = revision
    document.save()
    Chunk.objects.bulk_create(
        [
            Chunk(
                document=document, revision=revision, chunking_id=version.chunking_id, collection=collection,
                ordinal=ordinal, start=0, end=len(text), text=text, tokens=len(text.split()),
                text_hash=hashlib.sha256(text.encode()).digest(), occurrence=ordinal,
                rendered_hash=hashlib.sha256(render(title, [], text).encode()).digest(),
            )
            for ordinal, text in enumerate(texts)
        ],
        batch_size=5000,
    )  # fmt: skip
    settling.begin([document], embedding_queue.enqueue(version, [document], version.chunking))
    return document


def crowd(version: IndexVersion, collection: Collection, documents: int, chunks: int) -> None:
    """So many documents with so many chunks each: the first is embedded, the others wait."""
    given = {
        "documents": documents, "chunks": chunks, "collection": collection.pk, "version": version.pk,
        "chunking": version.chunking_id, "dimensions": version.dimensions,
    }  # fmt: skip
    with connection.cursor() as cursor:
        cursor.execute(CROWD.format(table=version.table), given)


def waiting(document: Document) -> int:
    return EmbeddingJob.objects.filter(chunk__document=document).count()


def table(version: IndexVersion) -> dict[int, tuple[bytes, str]]:
    """Each chunk's content hash and vector."""
    with connection.cursor() as cursor:
        cursor.execute(f'SELECT chunk_id, content_hash, vector::text FROM "{version.table}"')
        return {chunk: (bytes(content), vector) for chunk, content, vector in cursor.fetchall()}
