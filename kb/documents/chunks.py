"""Cuts revisions into chunks, and writes those of one chunking, keeping those whose words did not change."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from uuid import UUID

from django.db import connection

from kb.documents.models import (
    Chunk,
    Chunking,
    CollectionLanguage,
    Document,
    DocumentRevision,
    text_hash,
)
from kb.documents.signals import NewChunk, chunks_changed
from retrieval.analysis import analyse
from retrieval.chunking import ChunkSettings, ChunkSpan, chunk, render
from retrieval.embedders.local import default_tokenizer
from retrieval.languages import rules_of
from retrieval.spans import Heading, LoadedText, Page

Identity = tuple[bytes, int, bytes]

# What COPY writes, with its types.
COLUMNS = {
    "id": "int4",
    "document_id": "uuid",
    "revision_id": "int8",
    "chunking_id": "int8",
    "collection_id": "int8",
    "ordinal": "int4",
    "start": "int4",
    "end": "int4",
    "text": "text",
    "text_hash": "bytea",
    "occurrence": "int4",
    "rendered_hash": "bytea",
    "heading_path": "text[]",
    "page": "int4",
    "tokens": "int4",
    "length": "int4",
    "created_at": "timestamptz",
}
QUOTED = ", ".join(f'"{column}"' for column in COLUMNS)
COPY = f"COPY documents_chunk ({QUOTED}) FROM STDIN (FORMAT BINARY)"
IDS = "SELECT nextval(pg_get_serial_sequence('documents_chunk', 'id')) FROM generate_series(1, %s)"


@dataclass(frozen=True)
class Piece:
    """One span of the new text, with what tells whether it stood there before."""

    span: ChunkSpan
    text: str
    rendered: str
    identity: Identity


@dataclass(frozen=True)
class Cut:
    """A document's revision in pieces."""

    document: Document
    revision: DocumentRevision
    pieces: Sequence[Piece]


def loaded(revision: DocumentRevision) -> LoadedText:
    """The stored revision as the loader gave it."""
    return LoadedText(
        text=revision.text,
        title=revision.title,
        media_type=revision.media_type,
        pages=tuple(Page(*page) for page in revision.pages),
        headings=tuple(Heading(*heading) for heading in revision.headings),
    )


def cut(revision: DocumentRevision, chunking: Chunking, title: str) -> list[Piece]:
    """The revision's pieces; no database work, so that it can run before the transaction."""
    document = replace(loaded(revision), title=title)
    settings = ChunkSettings(
        **{name: value for name, value in chunking.settings.items() if name != "chunker"}
    )
    seen: Counter[bytes] = Counter()
    pieces = []
    for span in chunk(document, default_tokenizer(), settings):
        text = document.text[span.start : span.end]
        rendered, words = render(title, span.heading_path, text), text_hash(text)
        pieces.append(Piece(span, text, rendered, (words, seen[words], text_hash(rendered))))
        seen[words] += 1
    return pieces


def write(collection_id: int, chunking: Chunking, cuts: Sequence[Cut]) -> dict[UUID, int]:
    """Inside the caller's transaction: makes the chunks of each document in this chunking be its pieces.

    Returns how many of them each document had already. Those of a revision in another language have other
    terms, so they are not kept.
    """
    note_languages(collection_id, {cut.revision.language for cut in cuts})
    before, known = stored(chunking, cuts)
    kept: list[Chunk] = []
    added: list[NewChunk] = []
    for cut in cuts:
        for ordinal, piece in enumerate(cut.pieces):
            old = known.get((cut.document.pk, piece.identity))
            if old is None:
                added.append(new_chunk(cut, chunking, ordinal, piece))
            else:
                place(old, cut.revision, ordinal, piece.span)
                kept.append(old)
    if gone := before - {old.pk for old in kept}:
        Chunk.objects.filter(pk__in=gone).delete()
    Chunk.objects.bulk_update(
        kept, ["revision", "ordinal", "start", "end", "page", "heading_path"], batch_size=500
    )
    copy([new.chunk for new in added])
    documents = [cut.document for cut in cuts]
    chunks_changed.send(
        Chunking, collection_id=collection_id, chunking=chunking, documents=documents, added=added
    )
    return Counter(old.document_id for old in kept)


def copy(new: Sequence[Chunk]) -> None:
    """Stores chunks that are not there yet, and gives them their ids."""
    if not new:
        return
    with connection.cursor() as cursor:
        cursor.execute(IDS, [len(new)])
        for row, (key,) in zip(new, cursor.fetchall(), strict=True):
            row.pk = key
        with cursor.copy(COPY) as stream:
            stream.set_types(COLUMNS.values())
            for row in new:
                stream.write_row([getattr(row, column) for column in COLUMNS])
    for row in new:
        row._state.adding, row._state.db = False, connection.alias


def stored(chunking: Chunking, cuts: Sequence[Cut]) -> tuple[set[int], dict[tuple[UUID, Identity], Chunk]]:
    """The ids of all chunks that the documents have, and those that may stay, by document and identity."""
    rules = {cut.document.pk: rules_of(cut.revision.language) for cut in cuts}
    found = list(Chunk.objects.filter(document__in=list(rules), chunking=chunking).defer("text"))
    revisions = DocumentRevision.objects.filter(pk__in={old.revision_id for old in found})
    languages = dict(revisions.values_list("pk", "language"))
    known = {
        (old.document_id, (bytes(old.text_hash), old.occurrence, bytes(old.rendered_hash))): old
        for old in found
        if rules_of(languages[old.revision_id]) is rules[old.document_id]
    }
    return {old.pk for old in found}, known


def note_languages(collection_id: int, languages: set[str]) -> None:
    """Has questions be analysed in these languages, too."""
    known = CollectionLanguage.objects.filter(collection=collection_id).values_list("language", flat=True)
    new = [
        CollectionLanguage(collection_id=collection_id, language=each)
        for each in sorted(languages - set(known))
    ]
    CollectionLanguage.objects.bulk_create(new, ignore_conflicts=True)


def place(chunk_row: Chunk, revision: DocumentRevision, ordinal: int, span: ChunkSpan) -> None:
    chunk_row.revision, chunk_row.ordinal = revision, ordinal
    chunk_row.start, chunk_row.end, chunk_row.page = span.start, span.end, span.page
    chunk_row.heading_path = list(span.heading_path)


def new_chunk(cut: Cut, chunking: Chunking, ordinal: int, piece: Piece) -> NewChunk:
    terms = analyse(piece.rendered, cut.revision.language)
    row = Chunk(
        document=cut.document,
        chunking=chunking,
        collection_id=cut.document.collection_id,
        text=piece.text,
        text_hash=piece.identity[0],
        occurrence=piece.identity[1],
        rendered_hash=piece.identity[2],
        tokens=piece.span.tokens,
        length=len(terms),
    )
    place(row, cut.revision, ordinal, piece.span)
    return NewChunk(row, piece.rendered, terms)
