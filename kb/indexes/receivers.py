"""Brings changed chunks into the indexes, inside the transaction that changes them."""

from functools import partial
from typing import Any

from django.db import transaction

from kb.core.models import Collection
from kb.documents.models import Chunking, Document
from kb.documents.signals import NewChunk, chunkings_wanted, chunks_changed
from kb.indexes import embedding_queue, lexical, settling
from kb.indexes.placing import index_of, maintained_for
from kb.indexes.tasks import wake_embedding_on_commit


def connect() -> None:
    chunkings_wanted.connect(answer_chunkings_wanted)
    chunks_changed.connect(take_changed_chunks)


def answer_chunkings_wanted(sender: object, *, collection: Collection, **_: Any) -> list[Chunking]:
    chunkings = {version.chunking_id: version.chunking for version in maintained_for(collection.pk)}
    return list(chunkings.values())


def take_changed_chunks(
    sender: object,
    *,
    collection_id: int,
    chunking: Chunking,
    documents: list[Document],
    added: list[NewChunk],
    **_: Any,
) -> None:
    """Writes postings of new chunks, and jobs for all that lack a vector; a trigger has removed those of old ones."""
    lexical.append(chunking.pk, collection_id, ((new.chunk.pk, new.terms) for new in added))
    complete, home = {document.pk for document in documents}, index_of(collection_id)
    for version in maintained_for(collection_id):
        if version.chunking_id != chunking.pk:
            continue
        queued = embedding_queue.enqueue(version, documents, chunking)
        waiting = {document for document, counts in queued.items() if counts.waiting}
        if version.index_id == home and version.pk == version.index.live_version_id:
            settling.begin(documents, queued)
            complete -= waiting
        if waiting:
            wake_embedding_on_commit(version.pk)
    if complete:  # of the others, whoever embeds the last chunk says so
        transaction.on_commit(partial(settling.settle, complete))
