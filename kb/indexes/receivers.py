"""Brings changed chunks into the indexes, inside the transaction that changes them."""

from typing import Any

from kb.core.models import Collection
from kb.core.waking import wake_on_commit
from kb.documents.models import Chunking, Document
from kb.documents.signals import NewChunk, chunkings_wanted, chunks_changed
from kb.indexes import lexical
from kb.indexes.models import EmbeddingJob, IndexVersion
from kb.indexes.placing import index_of
from kb.indexes.tasks import embed_chunks_task


def connect() -> None:
    chunkings_wanted.connect(answer_chunkings_wanted)
    chunks_changed.connect(take_changed_chunks)


def answer_chunkings_wanted(sender: object, *, collection: Collection, **_: Any) -> list[Chunking]:
    versions = IndexVersion.objects.maintained().filter(index=index_of(collection))
    return list(Chunking.objects.filter(pk__in=versions.values("chunking")))


def take_changed_chunks(
    sender: object, *, document: Document, chunking: Chunking, added: list[NewChunk], **_: Any
) -> None:
    """Writes postings and embedding jobs for new chunks; a trigger has removed those of old ones."""
    lexical.append(chunking.pk, document.collection_id, ((new.chunk.pk, new.terms) for new in added))
    versions = IndexVersion.objects.maintained().filter(
        index=index_of(document.collection), chunking=chunking
    )
    for version in versions:
        EmbeddingJob.objects.bulk_create(
            [
                EmbeddingJob(
                    version=version,
                    chunk=new.chunk,
                    collection_id=document.collection_id,
                    tokens=new.chunk.tokens,
                    paused=document.paused,
                )
                for new in added
            ],
            ignore_conflicts=True,
            batch_size=1000,
        )
        # Chunks that were given up before are tried again when their document is.
        EmbeddingJob.objects.filter(version=version, chunk__document=document).update(
            attempts=0, lease_until=None
        )
        wake_on_commit(embed_chunks_task, version.pk)
