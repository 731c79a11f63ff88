"""Writes what was read of several documents, in one transaction: what that costs is shared by all of them."""

import hashlib
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from typing import Any, cast
from uuid import UUID

from django.db import connection, transaction
from django.utils import timezone
from psycopg.types.json import Jsonb

from kb.core.models import Collection
from kb.core.problems import Problem
from kb.documents import chunks, queueing, stages
from kb.documents.chunks import Cut, Piece
from kb.documents.models import Chunking, Document, DocumentRevision
from kb.documents.signals import chunkings_wanted
from kb.documents.stages import Entry

# What reading gives a revision, and another revision of the same file can take over.
READ = (
    "text",
    "title",
    "media_type",
    "pages",
    "headings",
    "author",
    "language",
    "written_at",
    "parser",
)
# A statement for all of them: one for each has the database read and plan it each time.
REVISIONS = """
UPDATE documents_documentrevision revision SET text = given.text, title = given.title, media_type = given.media_type,
    pages = given.pages, headings = given.headings, author = given.author, language = given.language,
    written_at = given.written_at, parser = given.parser, parsed_at = given.parsed_at
FROM unnest(%(id)s::bigint[], %(text)s::text[], %(title)s::text[], %(media_type)s::text[], %(pages)s::jsonb[],
    %(headings)s::jsonb[], %(author)s::text[], %(language)s::text[], %(written_at)s::timestamptz[],
    %(parser)s::text[], %(parsed_at)s::timestamptz[])
    AS given (id, text, title, media_type, pages, headings, author, language, written_at, parser, parsed_at)
WHERE revision.id = given.id
"""
DOCUMENTS = """
UPDATE documents_document document SET title = given.title, filename = given.filename, current_id = given.revision,
    incoming_id = NULL, state = 'embedding', claimed_until = NULL, attempts = 0, updated_at = %(now)s
FROM unnest(%(id)s::uuid[], %(title)s::text[], %(filename)s::text[], %(revision)s::bigint[])
    AS given (id, title, filename, revision)
WHERE document.id = given.id
"""


@dataclass(frozen=True)
class Parsed:
    """A claimed document whose revision has its text, and the pieces of it; `reused` if the text was there before."""

    document: Document
    revision: DocumentRevision
    title: str
    cuts: Mapping[Chunking, Sequence[Piece]]
    reused: bool
    began_at: datetime
    read_at: datetime
    cut_at: datetime

    @property
    def count(self) -> int:
        return sum(map(len, self.cuts.values()))


@transaction.atomic
def write(done: Sequence[Parsed]) -> list[Parsed]:
    """All of it, or nothing. What is no longer this process's is left out.

    Returns those whose collection wants them in another chunking by now, which are left out as well.
    """
    if not done:
        return []
    locked = queueing.all_mine([each.document for each in done])
    mine = [each for each in done if each.document.pk in locked]
    collections = {each.document.collection_id: each.document.collection for each in mine}
    chunkings = {pk: set(wanted_chunkings(collection)) for pk, collection in collections.items()}
    stale = [each for each in mine if not chunkings[each.document.collection_id] <= each.cuts.keys()]
    left_out = {each.document.pk for each in stale}
    mine = [
        only(each, chunkings[each.document.collection_id])
        for each in mine
        if each.document.pk not in left_out
    ]
    with connection.cursor() as cursor:
        cursor.execute(REVISIONS, of_revisions([each.revision for each in mine]))
        cursor.execute(DOCUMENTS, of_documents(mine))
    kept = write_chunks(mine)
    stages.write([entry for each in mine for entry in entries(each, kept[each.document.pk])])
    return stale


def only(each: Parsed, chunkings: set[Chunking]) -> Parsed:
    """Without what nobody wants any more."""
    return replace(each, cuts={one: pieces for one, pieces in each.cuts.items() if one in chunkings})


def wanted_chunkings(collection: Collection) -> list[Chunking]:
    """Those that the collection's documents are to be cut by, at this moment."""
    wanted: dict[int, Chunking] = {}
    for _, chunkings in chunkings_wanted.send(Document, collection=collection):
        wanted |= {chunking.pk: chunking for chunking in cast("list[Chunking]", chunkings)}
    if not wanted:
        raise Problem("no_index", "There is no index to put this into: run `manage.py prepare`, then retry.")
    return list(wanted.values())


def of_revisions(read: Sequence[DocumentRevision]) -> dict[str, list[Any]]:
    columns = {name: [getattr(each, name) for each in read] for name in ("id", *READ, "parsed_at")}
    return columns | {name: list(map(Jsonb, columns[name])) for name in ("pages", "headings")}


def of_documents(done: Sequence[Parsed]) -> dict[str, Any]:
    return {
        "id": [each.document.pk for each in done],
        "title": [each.title[:500] for each in done],
        "filename": [each.revision.filename for each in done],
        "revision": [each.revision.pk for each in done],
        "now": timezone.now(),
    }


def write_chunks(done: Sequence[Parsed]) -> Counter[UUID]:
    """Those of each collection and chunking together; returns how many chunks each document had already."""
    cuts: defaultdict[tuple[int, Chunking], list[Cut]] = defaultdict(list)
    for each in done:
        each.document.current = each.revision
        for chunking, pieces in each.cuts.items():
            cuts[each.document.collection_id, chunking].append(Cut(each.document, each.revision, pieces))
    kept: Counter[UUID] = Counter()
    for (collection_id, chunking), together in cuts.items():
        kept.update(chunks.write(collection_id, chunking, together))
    return kept


def entries(each: Parsed, kept: int) -> Iterator[Entry]:
    """The stages that are done."""
    text_hash = hashlib.sha256(each.revision.text.encode()).hexdigest()
    entry = partial(Entry, each.document.pk, attempt=each.document.attempts)
    cut = partial(entry, done=each.count, total=each.count, reused=kept, content_hash=text_hash)
    yield entry(
        "parse",
        1,
        1,
        int(each.reused),
        each.revision.sha256,
        started_at=each.began_at,
        finished_at=each.read_at,
    )
    yield cut("chunk", started_at=each.read_at, finished_at=each.cut_at)
    yield cut("index", started_at=each.cut_at, finished_at=timezone.now())
