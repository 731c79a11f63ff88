"""Documents with chunks and jobs by the thousand, without files."""

import hashlib
from collections.abc import Sequence

from django.db import connection

from kb.core.models import Collection
from kb.documents.models import Chunk, Document, DocumentRevision
from kb.indexes import embedding_queue, settling
from kb.indexes.models import EmbeddingJob, IndexVersion
from retrieval.chunking import render


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
    settling.begin(document, *embedding_queue.enqueue(version, document, version.chunking))
    return document


def waiting(document: Document) -> int:
    return EmbeddingJob.objects.filter(chunk__document=document).count()


def table(version: IndexVersion) -> dict[int, tuple[bytes, str]]:
    """Each chunk's content hash and vector."""
    with connection.cursor() as cursor:
        cursor.execute(f'SELECT chunk_id, content_hash, vector::text FROM "{version.table}"')
        return {chunk: (bytes(content), vector) for chunk, content, vector in cursor.fetchall()}
