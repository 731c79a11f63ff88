"""Writes a revision's chunks for one chunking, keeping those whose words did not change."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

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


@dataclass(frozen=True)
class Piece:
    """One span of the new text, with what tells whether it stood there before."""

    span: ChunkSpan
    text: str
    rendered: str
    identity: Identity


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


def write(document: Document, revision: DocumentRevision, chunking: Chunking, pieces: Sequence[Piece]) -> int:
    """Inside the caller's transaction: makes the document's chunks of this chunking be `pieces`.

    Returns how many of them it had already. Those of a revision in another language have other terms, so
    they are not kept.
    """
    note_language(document.collection_id, revision.language)
    languages = dict(document.revisions.values_list("pk", "language"))
    before = {
        (bytes(old.text_hash), old.occurrence, bytes(old.rendered_hash)): old
        for old in Chunk.objects.filter(document=document, chunking=chunking).defer("text")
        if rules_of(languages[old.revision_id]) is rules_of(revision.language)
    }
    wanted = {piece.identity for piece in pieces}
    kept_ids = [old.pk for key, old in before.items() if key in wanted]
    Chunk.objects.filter(document=document, chunking=chunking).exclude(pk__in=kept_ids).delete()
    kept, added = [], []
    for ordinal, piece in enumerate(pieces):
        old = before.get(piece.identity)
        if old is None:
            added.append(new_chunk(document, revision, chunking, ordinal, piece))
        else:
            place(old, revision, ordinal, piece.span)
            kept.append(old)
    Chunk.objects.bulk_update(
        kept, ["revision", "ordinal", "start", "end", "page", "heading_path"], batch_size=500
    )
    Chunk.objects.bulk_create([new.chunk for new in added], batch_size=500)
    chunks_changed.send(Chunking, document=document, chunking=chunking, added=added)
    return len(kept)


def note_language(collection_id: int, language: str) -> None:
    """Has questions be analysed in this language, too."""
    known = CollectionLanguage.objects.filter(collection=collection_id, language=language)
    if not known.exists():
        noted = CollectionLanguage(collection_id=collection_id, language=language)
        CollectionLanguage.objects.bulk_create([noted], ignore_conflicts=True)


def place(chunk_row: Chunk, revision: DocumentRevision, ordinal: int, span: ChunkSpan) -> None:
    chunk_row.revision, chunk_row.ordinal = revision, ordinal
    chunk_row.start, chunk_row.end, chunk_row.page = span.start, span.end, span.page
    chunk_row.heading_path = list(span.heading_path)


def new_chunk(
    document: Document, revision: DocumentRevision, chunking: Chunking, ordinal: int, piece: Piece
) -> NewChunk:
    terms = analyse(piece.rendered, revision.language)
    row = Chunk(
        document=document,
        chunking=chunking,
        collection_id=document.collection_id,
        text=piece.text,
        text_hash=piece.identity[0],
        occurrence=piece.identity[1],
        rendered_hash=piece.identity[2],
        tokens=piece.span.tokens,
        length=len(terms),
    )
    place(row, revision, ordinal, piece.span)
    return NewChunk(row, piece.rendered, terms)
