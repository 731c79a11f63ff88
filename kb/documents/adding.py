"""A file becomes a document of a collection, unless the collection holds the very same file already."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import PurePath
from typing import Any
from uuid import UUID

from django.conf import settings
from django.core.files import File
from django.db import connection
from django.db.models import BooleanField, ExpressionWrapper, F, Max, Q
from django.utils import timezone

from kb.core.holding import held
from kb.core.models import Collection, User
from kb.core.problems import Problem, not_found
from kb.documents import originals
from kb.documents.models import Document, DocumentQuerySet, DocumentRevision, Upload
from retrieval.loading import SUFFIXES, unreadable
from retrieval.loading.archives import ARCHIVES
from retrieval.querying import tag_of

# As `set_queued` says; Django's own statement for many rows took most of the time of taking files in.
QUEUE = """
UPDATE documents_document SET state = 'queued', incoming_id = given.revision, error = '', error_code = '', attempts = 0,
    claimed_until = NULL, paused = %(paused)s, queued_at = given.queued, updated_at = now()
FROM unnest(%(documents)s::uuid[], %(revisions)s::bigint[], %(queued)s::timestamptz[]) AS given (id, revision, queued)
WHERE documents_document.id = given.id
"""

READABLE = SUFFIXES | ARCHIVES
NAME_LENGTH = 255
TAG_LENGTH = 50
MOST_TAGS = 50


_LETTER = re.compile(r"[^\W_]")


def suffix_of(name: str) -> str:
    return PurePath(name).suffix.lower()


def checked_name(file: File[bytes], filename: str | None) -> str:
    """The file's name without its path. Raises Problem for a file that is not worth storing."""
    name = PurePath((filename or file.name or "").replace("\\", "/")).name
    name = "".join(letter for letter in name if letter.isprintable()).strip()[-NAME_LENGTH:]
    check_type(name)
    check_size(name, file.size)
    return name


def check_type(name: str) -> None:
    """Raises Problem for a name of a type that nothing here reads."""
    suffix = suffix_of(name)
    if suffix not in READABLE:
        raise Problem("unsupported", unreadable(suffix), 415)


def check_size(name: str, size: int) -> None:
    """Raises Problem for a file that is empty, or too large."""
    if not size:
        raise Problem("empty", f"{name} is empty.")
    if size > settings.MAX_UPLOAD_BYTES:
        most = settings.MAX_UPLOAD_BYTES // 1024**2
        raise Problem("too_large", f"{name} is larger than {most} MB, which is the most that is taken.", 413)


def checked_tags(given: Iterable[str]) -> list[str]:
    """The tags as they are stored, each once, in order. Raises Problem for what is no tag."""
    tags = sorted({tag_of(tag) for tag in given} - {""})
    if len(tags) > MOST_TAGS:
        raise Problem("invalid", f"A document has at most {MOST_TAGS} tags.", field="tags")
    for tag in tags:
        if len(tag) > TAG_LENGTH or not tag.isprintable() or set(tag) & set('",') or not _LETTER.search(tag):
            raise Problem(
                "invalid",
                f"A tag is a word of at most {TAG_LENGTH} characters, without commas and quotes: {tag[:TAG_LENGTH]!r} "
                "is none.",
                field="tags",
            )
    return tags


def holding(*hashes: str) -> DocumentQuerySet:
    """Documents whose newest file has one of these contents, as `content_hash`.

    The newest is the one still to be parsed, or else the present one.
    """
    newest = Q(incoming=F("revisions__pk")) | Q(incoming=None, current=F("revisions__pk"))
    # By way of the revisions, whose hashes have an index: two joins and an OR would read every document.
    found = Document.objects.filter(newest, revisions__sha256__in=hashes)
    return found.annotate(content_hash=F("revisions__sha256"))


def hold_collection(collection_id: int, upload_id: UUID | None = None) -> bool:
    """Keeps the collection until the commit; returns whether its work, or the upload's, is paused.

    Raises Problem if the collection is gone.
    """
    if not held(Collection, [collection_id]):
        raise not_found("collection")
    paused = Collection.objects.values_list("paused", flat=True).get(pk=collection_id)
    if upload_id is None:
        return paused
    return paused or Upload.objects.filter(pk=upload_id, paused=True).exists()


def same_files(reader: User | None, collection: Collection, hashes: Iterable[str]) -> dict[str, Document]:
    """For each content a document with this very file that the reader may know of: rather of the collection."""
    found = holding(*hashes)
    found = found.filter(collection=collection) if reader is None else found.visible_to(reader)
    here = ExpressionWrapper(Q(collection=collection), BooleanField())
    order = (
        "content_hash",
        here.desc(),
        "created_at",
        "pk",
    )  # the first is an annotation, which no type knows
    first = found.order_by(*order).distinct(order[0])
    return {found_hash(document): document for document in first}


def found_hash(document: Document) -> str:
    """The content by which `holding` found the document."""
    return str(getattr(document, "content_hash"))  # noqa: B009  # an annotation, which no type knows


@dataclass(frozen=True)
class Given:
    """A file to be taken in."""

    name: str
    content_hash: str
    file: File[bytes]


def new_document(
    actor: User | None,
    collection: Collection,
    given: Given,
    *,
    upload: Upload | None = None,
    same_as: Document | None = None,
    tags: Sequence[str] = (),
) -> Document:
    """A document of the file, which is still to be written."""
    return Document(
        collection=collection,
        title=PurePath(given.name).stem,
        filename=given.name,
        tags=list(tags),
        created_by=actor,
        upload=upload,
        same_as=same_as,
    )


def queue_all(actor: User | None, files: Sequence[tuple[Document, Given]], *, paused: bool) -> None:
    """Writes what is new of the documents and a revision of each, queued behind what waits already.

    Inside a transaction that holds collection and contents.
    """
    Document.objects.bulk_create([document for document, _ in files if document._state.adding])
    numbers = next_numbers([document.pk for document, _ in files])
    revisions = DocumentRevision.objects.bulk_create(
        [
            new_revision(actor, document, given, number=numbers.get(document.pk, 1))
            for document, given in files
        ]
    )
    for (document, _), revision in zip(files, revisions, strict=True):
        set_queued(document, revision, paused=paused)
    with connection.cursor() as cursor:
        cursor.execute(QUEUE, queued_rows([document for document, _ in files], paused=paused))


def queued_rows(documents: Sequence[Document], *, paused: bool) -> dict[str, Any]:
    return {
        "documents": [document.pk for document in documents],
        "revisions": [document.incoming_id for document in documents],
        "queued": [document.queued_at for document in documents],
        "paused": paused,
    }


def new_revision(actor: User | None, document: Document, given: Given, *, number: int) -> DocumentRevision:
    """A revision of the document, which is still to be written."""
    return DocumentRevision(
        document=document,
        number=number,
        sha256=given.content_hash,
        # Stored again in case the last document with this content was deleted a moment ago.
        file=originals.store(given.file, given.content_hash),
        filename=given.name,
        size=given.file.size,
        created_by=actor,
    )


def next_number(document: Document) -> int:
    last = document.revisions.aggregate(last=Max("number"))["last"]
    return int(last or 0) + 1


def next_numbers(document_ids: list[UUID]) -> dict[UUID, int]:
    """As `next_number`, for those of the documents that have revisions."""
    last = DocumentRevision.objects.filter(document__in=document_ids).order_by().values_list("document")
    return {document_id: number + 1 for document_id, number in last.annotate(Max("number"))}


QUEUED_FIELDS = (
    "state",
    "incoming",
    "error",
    "error_code",
    "attempts",
    "claimed_until",
    "paused",
    "queued_at",
    "updated_at",
)


def queue(document: Document, revision: DocumentRevision, *, paused: bool) -> None:
    """Makes the revision the one to be worked on, behind what waits in the collection already."""
    set_queued(document, revision, paused=paused)
    document.save(update_fields=QUEUED_FIELDS)


def set_queued(document: Document, revision: DocumentRevision, *, paused: bool) -> None:
    """As `queue`, for who saves many documents at once."""
    document.state, document.incoming = Document.State.QUEUED, revision
    document.error = document.error_code = ""
    document.attempts, document.claimed_until = 0, None
    document.paused, document.queued_at = paused, timezone.now()
    document.updated_at = timezone.now()
