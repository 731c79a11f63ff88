"""Puts documents in, replaces, retries and deletes them."""

from dataclasses import dataclass
from pathlib import PurePath

from django.conf import settings
from django.core.files import File
from django.db import transaction
from django.db.models import Max, Q

from kb.core.auditing import record
from kb.core.holding import held
from kb.core.models import Collection, User
from kb.core.problems import Problem, not_found
from kb.core.waking import wake_on_commit
from kb.documents import originals
from kb.documents.models import Document, DocumentRevision
from kb.documents.tasks import parse_document_task
from retrieval.loading import SUFFIXES


@dataclass(frozen=True)
class Added:
    """`created` is False when the collection held the very same file already, and nothing was to be done."""

    document: Document
    created: bool


def add_document(
    actor: User, collection: Collection, file: File[bytes], filename: str | None = None
) -> Added:
    """Stores the file and queues it. Raises Problem for a file that cannot be taken."""
    must_edit(actor, collection)
    name = checked_name(file, filename)
    content_hash = originals.sha256(file)
    originals.store(file, content_hash)
    with transaction.atomic(), originals.locked(content_hash):
        if not held(Collection, [collection.pk]):
            raise not_found("collection")
        same = Document.objects.filter(newest_is(content_hash), collection=collection, filename=name)
        if found := same.exclude(state=Document.State.FAILED).first():
            return Added(found, created=False)
        document = Document.objects.create(
            collection=collection, title=PurePath(name).stem, filename=name, created_by=actor
        )
        queue(document, new_revision(actor, document, file, name, content_hash))
        record(actor, "add", document, collection=collection.slug, filename=name)
    return Added(document, created=True)


def replace_document(
    actor: User, document: Document, file: File[bytes], filename: str | None = None
) -> Document:
    """Queues a new revision; the present one goes on serving until the new one is parsed."""
    must_edit(actor, document.collection)
    name = checked_name(file, filename)
    content_hash = originals.sha256(file)
    originals.store(file, content_hash)
    with transaction.atomic(), originals.locked(content_hash):
        locked = locked_document(document)
        queue(locked, new_revision(actor, locked, file, name, content_hash))
        record(actor, "replace", locked, filename=name)
    return locked


def add_or_replace_document(
    actor: User, collection: Collection, file: File[bytes], filename: str | None = None
) -> Added:
    """As `add_document`, but a file whose name the collection knows replaces that document.

    Raises Problem where several documents have the name.
    """
    must_edit(actor, collection)
    name = checked_name(file, filename)
    named = list(collection.documents.select_related("collection").filter(filename=name)[:2])
    if len(named) > 1:
        raise Problem(
            "ambiguous", f"Several documents are called {name}: replace the one you mean on its page.", 409
        )
    if not named:
        return add_document(actor, collection, file, name)
    [document] = named
    same = Document.objects.filter(newest_is(originals.sha256(file)), pk=document.pk)
    if same.exclude(state=Document.State.FAILED).exists():
        return Added(document, created=False)
    return Added(replace_document(actor, document, file, name), created=True)


@transaction.atomic
def retry_document(actor: User, document: Document) -> Document:
    """Takes a failed document up again."""
    must_edit(actor, document.collection)
    locked = locked_document(document)
    if locked.state != Document.State.FAILED:
        raise Problem(
            "not_failed", "Only a failed document can be retried; this one is at work or ready.", 409
        )
    return again(actor, locked, "retry", locked.incoming or locked.current)


@transaction.atomic
def reparse_document(actor: User, document: Document) -> Document:
    """Reads the stored file once more, as a new revision: a stored text never changes."""
    must_edit(actor, document.collection)
    locked = locked_document(document)
    # A file that is still to be parsed is the newer one: it must not be lost to the one before.
    source = locked.incoming or locked.current
    if source is None:
        raise not_found("document")
    copy = DocumentRevision.objects.create(
        document=locked,
        number=next_number(locked),
        sha256=source.sha256,
        file=source.file.name,
        filename=source.filename,
        size=source.size,
        created_by=actor,
    )
    return again(actor, locked, "re-parse", copy)


@transaction.atomic
def delete_document(actor: User, document: Document) -> None:
    """Deletes a document with all revisions, chunks, vectors and postings: gone from the next search."""
    must_edit(actor, document.collection)
    locked = locked_document(document)
    hashes = set(locked.revisions.values_list("sha256", flat=True))
    record(actor, "delete", locked, filename=locked.filename)
    locked.delete()
    transaction.on_commit(lambda: [originals.remove_unused(content_hash) for content_hash in hashes])


def newest_is(content_hash: str) -> Q:
    """Documents whose newest file has this content: the one still to be parsed, or else the present one."""
    return Q(incoming__sha256=content_hash) | Q(incoming=None, current__sha256=content_hash)


def must_edit(actor: User, collection: Collection) -> None:
    """Who may see the collection learns that they may not change it; others learn nothing."""
    if Collection.objects.editable_by(actor).filter(pk=collection.pk).exists():
        return
    if Collection.objects.visible_to(actor).filter(pk=collection.pk).exists():
        raise Problem("read_only", "You may read this collection but not change it: ask its owner.", 403)
    raise not_found("collection")


def checked_name(file: File[bytes], filename: str | None) -> str:
    """The file's name without its path. Raises Problem for a file that is not worth storing."""
    name = PurePath((filename or file.name or "").replace("\\", "/")).name
    name = "".join(letter for letter in name if letter.isprintable()).strip()[-255:]
    suffix = PurePath(name).suffix.lower()
    if suffix not in SUFFIXES:
        kind = f"Files of the type {suffix}" if suffix else "Files without a type"
        raise Problem(
            "unsupported", f"{kind} cannot be read. Readable are: {', '.join(sorted(SUFFIXES))}.", 415
        )
    if not file.size:
        raise Problem("empty", f"{name} is empty.")
    if file.size > settings.MAX_UPLOAD_BYTES:
        most = settings.MAX_UPLOAD_BYTES // 1024**2
        raise Problem("too_large", f"{name} is larger than {most} MB, which is the most that is taken.", 413)
    return name


def new_revision(
    actor: User, document: Document, file: File[bytes], name: str, content_hash: str
) -> DocumentRevision:
    return DocumentRevision.objects.create(
        document=document,
        number=next_number(document),
        sha256=content_hash,
        # Stored again in case the last document with this content was deleted a moment ago.
        file=originals.store(file, content_hash),
        filename=name,
        size=file.size,
        created_by=actor,
    )


def next_number(document: Document) -> int:
    last = document.revisions.aggregate(last=Max("number"))["last"]
    return int(last or 0) + 1


def locked_document(document: Document) -> Document:
    """The row as it is now, in a collection that stays. Raises Problem if either is gone."""
    held(Collection, [document.collection_id])
    found = Document.objects.select_for_update().filter(pk=document.pk).first()
    if found is None:
        raise not_found("document")
    return found


def again(actor: User, document: Document, verb: str, revision: DocumentRevision | None) -> Document:
    if revision is None:
        raise not_found("document")
    queue(document, revision)
    record(actor, verb, document)
    return document


def queue(document: Document, revision: DocumentRevision) -> None:
    """Makes the revision the one to be worked on and wakes a worker."""
    document.state, document.incoming = Document.State.QUEUED, revision
    document.error = document.error_code = ""
    document.attempts, document.claimed_until = 0, None
    document.save()
    wake_on_commit(parse_document_task, str(document.pk))
