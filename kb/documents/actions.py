"""Puts documents in, replaces, pauses, cancels, retries and deletes them."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias
from uuid import UUID

from django.conf import settings
from django.core.files import File
from django.db import transaction
from django.db.models import Exists, F, OuterRef, Q, QuerySet, Subquery, Value
from django.db.models.functions import Coalesce
from django.utils import timezone

from kb.core.auditing import record, record_all
from kb.core.holding import held
from kb.core.models import Collection, User
from kb.core.problems import Problem, not_found
from kb.documents import adding, originals, stages
from kb.documents.adding import Given
from kb.documents.models import Chunk, Document, DocumentRevision, Upload
from kb.documents.signals import replacement_cancelled, work_cancelled, work_paused
from kb.documents.tasks import wake_parsing_on_commit

Scope: TypeAlias = Document | Upload | Collection

RETRY_SECONDS = 30
ENDED_WITHOUT_SUCCESS = (Document.State.FAILED, Document.State.CANCELLED)


@dataclass(frozen=True)
class Added:
    """`created` is False when the collection held the very same file already, and nothing was to be done."""

    document: Document
    created: bool


def add_document(
    actor: User,
    collection: Collection,
    file: File[bytes],
    filename: str | None = None,
    upload: Upload | None = None,
    *,
    tags: Iterable[str] = (),
) -> Added:
    """Stores the file and queues it. Raises Problem for a file or tags that cannot be taken.

    A file that the collection holds already, whatever its name, is that document; if it had failed or was
    cancelled, it is taken up again.
    """
    [added] = add_documents(actor, collection, [(file, filename)], upload, tags=tags)
    if isinstance(added, Problem):
        raise added
    return added


def add_documents(
    actor: User,
    collection: Collection,
    files: Iterable[tuple[File[bytes], str | None]],
    upload: Upload | None = None,
    *,
    tags: Iterable[str] = (),
) -> list[Added | Problem]:
    """As `add_document`, for several files with their names in one transaction: what became of each.

    Raises Problem for what concerns all of them.
    """
    must_edit(actor, collection)
    if upload is not None and upload.collection_id != collection.pk:
        raise not_found("upload")
    tagged = adding.checked_tags(tags)
    arrived = [stored(file, filename) for file, filename in files]
    hashes = [given.content_hash for given in arrived if isinstance(given, Given)]
    with transaction.atomic():
        originals.lock(hashes)
        paused = adding.hold_collection(collection.pk, upload.pk if upload else None)
        same = adding.same_files(actor, collection, hashes)
        new: dict[str, tuple[Document, Given]] = {}

        def taken(given: Given) -> Added:
            known = same.get(given.content_hash)
            if given.content_hash in new:
                return Added(new[given.content_hash][0], created=False)
            if known is not None and known.collection_id == collection.pk:
                return Added(taken_up_again(actor, known, upload), created=False)
            document = adding.new_document(
                actor, collection, given, upload=upload, same_as=known, tags=tagged
            )
            new[given.content_hash] = document, given
            return Added(document, created=True)

        results = [given if isinstance(given, Problem) else taken(given) for given in arrived]
        if new:
            queue_new(actor, collection, list(new.values()), paused=paused)
    return results


def queue_new(
    actor: User, collection: Collection, new: Sequence[tuple[Document, Given]], *, paused: bool
) -> None:
    adding.queue_all(actor, new, paused=paused)
    told = [(document, {"collection": collection.slug, "filename": given.name}) for document, given in new]
    record_all(actor, "add", told)
    wake_parsing_on_commit()


def must_have_room(actor: User, collection: Collection) -> None:
    """For whoever puts in files one request after the other: the queue has an end. Raises Problem where it is reached.

    Looked at before the files, without a lock: it may be exceeded by what is under way.
    """
    must_edit(actor, collection)
    most = settings.MOST_WAITING
    if at_work(collection).order_by()[:most].count() >= most:
        raise Problem(
            "busy",
            f"{most:,} documents of this collection wait already, which is the most: try again when there are fewer.",
            429,
            retry_after=RETRY_SECONDS,
        )


def stored(file: File[bytes], filename: str | None) -> Given | Problem:
    """The file, stored under its content; or why it cannot be taken."""
    try:
        name = adding.checked_name(file, filename)
        content_hash = originals.sha256(file)
        originals.store(file, content_hash)
    except Problem as problem:
        return problem
    except OSError as error:
        return Problem("unreadable", f"{file.name} cannot be read: {error.strerror}.")
    return Given(name, content_hash, file)


def taken_up_again(actor: User, document: Document, upload: Upload | None) -> Document:
    """The document; if its work had ended without success, queued anew, with the upload that asks for it."""
    locked = Document.objects.select_for_update().filter(pk=document.pk).first()
    if locked is None or locked.state not in ENDED_WITHOUT_SUCCESS:
        return locked or document
    move_to(locked, upload)
    return again(actor, locked, "retry", locked.incoming or locked.current)


def move_to(document: Document, upload: Upload | None) -> None:
    """Has the document be watched with the upload by which it was put in last."""
    if upload is not None and document.upload_id != upload.pk:
        document.upload = upload
        document.save(update_fields=["upload"])


def open_upload(actor: User, collection: Collection, origin: str, name: str = "") -> Upload:
    """A new upload, to which documents can be added, and by which they are watched, paused and cancelled."""
    must_edit(actor, collection)
    if origin not in Upload.Origin.values:
        raise Problem("invalid", f"The origin is one of {', '.join(Upload.Origin.values)}.", field="origin")
    name = "".join(letter for letter in name if letter.isprintable()).strip()[: adding.NAME_LENGTH]
    with transaction.atomic():
        adding.hold_collection(collection.pk)
        upload = Upload.objects.create(collection=collection, origin=origin, name=name, created_by=actor)
        record(actor, "open", upload, collection=collection.slug)
    return upload


def replace_document(
    actor: User,
    document: Document,
    file: File[bytes],
    filename: str | None = None,
    upload: Upload | None = None,
) -> Document:
    """Queues a new revision; the present one goes on serving until the new one is parsed."""
    must_edit(actor, document.collection)
    given = stored(file, filename)
    if isinstance(given, Problem):
        raise given
    with transaction.atomic(), originals.locked(given.content_hash):
        locked = locked_document(document)
        move_to(locked, upload)
        paused = adding.hold_collection(locked.collection_id, locked.upload_id)
        adding.queue_all(actor, [(locked, given)], paused=paused)
        record(actor, "replace", locked, filename=given.name)
        wake_parsing_on_commit()
    return locked


def add_or_replace_document(
    actor: User,
    collection: Collection,
    file: File[bytes],
    filename: str | None = None,
    upload: Upload | None = None,
    *,
    tags: Iterable[str] = (),
) -> Added:
    """As `add_document`, but a file whose name the collection knows replaces that document, which keeps its tags.

    Raises Problem where several documents have the name.
    """
    must_edit(actor, collection)
    name = adding.checked_name(file, filename)
    named = list(collection.documents.select_related("collection").filter(filename=name)[:2])
    if len(named) > 1:
        raise Problem(
            "ambiguous", f"Several documents are called {name}: replace the one you mean on its page.", 409
        )
    if not named:
        return add_document(actor, collection, file, name, upload, tags=tags)
    [document] = named
    same = adding.holding(originals.sha256(file)).filter(pk=document.pk)
    if same.exclude(state__in=ENDED_WITHOUT_SUCCESS).exists():
        return Added(document, created=False)
    return Added(replace_document(actor, document, file, name, upload), created=True)


@transaction.atomic
def retry_document(actor: User, document: Document) -> Document:
    """Takes a failed or cancelled document up again."""
    must_edit(actor, document.collection)
    locked = locked_document(document)
    if locked.state not in ENDED_WITHOUT_SUCCESS:
        raise Problem(
            "not_failed",
            "Only a failed or cancelled document can be retried; this one is at work or ready.",
            409,
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
        number=adding.next_number(locked),
        sha256=source.sha256,
        file=source.file.name,
        filename=source.filename,
        size=source.size,
        created_by=actor,
    )
    return again(actor, locked, "re-parse", copy)


@transaction.atomic
def tag_document(actor: User, document: Document, tags: Iterable[str]) -> Document:
    """Gives the document these tags and no others. Raises Problem for what is no tag."""
    must_edit(actor, document.collection)
    tagged = adding.checked_tags(tags)
    locked = locked_document(document)
    if locked.tags != tagged:
        record(actor, "tag", locked, before=locked.tags, after=tagged)
        locked.tags = tagged
        locked.save(update_fields=["tags", "updated_at"])
    return locked


@transaction.atomic
def delete_document(actor: User, document: Document) -> None:
    """Deletes a document with all revisions, chunks, vectors and postings: gone from the next search."""
    must_edit(actor, document.collection)
    locked = locked_document(document)
    hashes = set(
        DocumentRevision.objects.filter(document__in=within(locked)).values_list("sha256", flat=True)
    )
    record(actor, "delete", locked, filename=locked.filename)
    locked.delete()
    originals.remove_unused_on_commit(hashes)


def must_edit(actor: User, collection: Collection) -> None:
    """Who may see the collection learns that they may not change it; others learn nothing."""
    if Collection.objects.editable_by(actor).filter(pk=collection.pk).exists():
        return
    if Collection.objects.visible_to(actor).filter(pk=collection.pk).exists():
        raise Problem("read_only", "You may read this collection but not change it: ask its owner.", 403)
    raise not_found("collection")


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
    paused = adding.hold_collection(document.collection_id, document.upload_id)
    adding.queue(document, revision, paused=paused)
    record(actor, verb, document)
    wake_parsing_on_commit()
    return document


def pause(actor: User, scope: Scope) -> int:
    """Lets the work wait until it is resumed; returns how many documents that concerns.

    What is being parsed at this moment is parsed to its end, and waits before it is embedded. What is put
    into a paused collection or upload later is paused, too.
    """
    with transaction.atomic():
        governed(actor, scope, alone=True)
        if isinstance(scope, Collection | Upload):
            type(scope)._default_manager.filter(pk=scope.pk).update(paused=True)
        count = in_order(at_work(scope)).update(paused=True, updated_at=timezone.now())
        if not count and isinstance(scope, Document):
            raise Problem("not_at_work", "This document is not at work: there is nothing to pause.", 409)
        tell_paused(scope, paused=True)
        record(actor, "pause", scope, documents=count)
    return count


def resume(actor: User, scope: Scope) -> int:
    """Lets paused work go on, in a collection that of all its uploads; returns how many documents that concerns."""
    with transaction.atomic():
        collection = governed(actor, scope, alone=True)
        if isinstance(scope, Collection):
            Collection.objects.filter(pk=collection.pk).update(paused=False)
            scope.uploads.filter(paused=True).update(paused=False)
        if isinstance(scope, Upload):
            Upload.objects.filter(pk=scope.pk).update(paused=False)
        count = in_order(within(scope).filter(paused=True)).update(paused=False, updated_at=timezone.now())
        if not count and isinstance(scope, Document):
            raise Problem("not_paused", "This document is not paused.", 409)
        tell_paused(scope, paused=False)
        record(actor, "resume", scope, documents=count)
        wake_parsing_on_commit()
    return count


def tell_paused(scope: Scope, *, paused: bool) -> None:
    documents = within(scope).filter(paused=True) if paused else within(scope)
    collection = scope if isinstance(scope, Collection) else None
    work_paused.send(Document, documents=documents, paused=paused, collection=collection)


def cancel(actor: User, scope: Scope) -> int:
    """Ends the work that is not done; returns how many documents that concerns. Their files are kept.

    A document whose replacement is still to be parsed keeps its present text and its footnotes. What a
    worker is at right now is thrown away when it is done.
    """
    with transaction.atomic():
        governed(actor, scope)
        count = in_order(at_work(scope)).update(claimed_until=None, paused=False, updated_at=timezone.now())
        if not count and isinstance(scope, Document):
            raise Problem("not_at_work", "This document is not at work: there is nothing to cancel.", 409)
        cancel_embedding(scope)
        cancel_replacements(scope)
        at_work(scope).filter(current=None).update(state=Document.State.CANCELLED)
        stages.cancel_many(within(scope))
        record(actor, "cancel", scope, documents=count)
    return count


def cancel_embedding(scope: Scope) -> None:
    """A text that is embedded for the first time is searched no more; of a newer one, what is finished stays."""
    documents = within(scope).filter(state=Document.State.EMBEDDING)
    work_cancelled.send(Document, documents=documents)
    earlier = DocumentRevision.objects.filter(
        parsed_at__isnull=False, number__lt=F("document__current__number")
    )
    first = documents.exclude(pk__in=earlier.filter(document__in=documents).values("document"))
    Chunk.objects.filter(document__in=first).delete()
    documents.update(state=Document.State.CANCELLED)


def cancel_replacements(scope: Scope) -> None:
    """The revision that was still to be parsed goes; the one before it serves on."""
    documents = at_work(scope).filter(current__isnull=False)
    incoming = dict(documents.filter(incoming__isnull=False).values_list("incoming", "incoming__sha256"))
    # What was cancelled before and taken up again has nothing that could serve on.
    bare = documents.exclude(Exists(Chunk.objects.filter(document=OuterRef("pk"))))
    bare.update(state=Document.State.CANCELLED, incoming=None)
    kept = list(documents.values_list("pk", flat=True))
    # Embedding, until whoever knows of vectors says that all are there.
    documents.update(state=Document.State.EMBEDDING, incoming=None)
    DocumentRevision.objects.filter(pk__in=incoming, parsed_at=None).delete()
    replacement_cancelled.send(Document, document_ids=kept)
    originals.remove_unused_on_commit(set(incoming.values()))


def retry_failed(actor: User, scope: Scope, cause: str = "") -> int:
    """Takes up again whatever failed or was cancelled; returns how many documents that is.

    With `cause` only those that failed with this error code.
    """
    with transaction.atomic():
        collection = governed(actor, scope)
        ended = within(scope).filter(state__in=ENDED_WITHOUT_SUCCESS)
        if cause:
            ended = ended.filter(state=Document.State.FAILED, error_code=cause)
        with_file = ended.filter(Q(incoming__isnull=False) | Q(current__isnull=False))
        count = in_order(with_file).update(
            incoming=Coalesce(F("incoming"), F("current")), **queued_anew(collection)
        )
        if not count and isinstance(scope, Document):
            raise Problem(
                "not_failed",
                "Only a failed or cancelled document can be retried; this one is at work or ready.",
                409,
            )
        record(actor, "retry", scope, documents=count)
        wake_parsing_on_commit()
    return count


REREAD_AT_ONCE = 1000  # documents, of which a revision each is held in memory


def reparse(actor: User, scope: Upload | Collection) -> int:
    """Reads the stored files of all that is ready once more; returns how many documents that is.

    Of what failed or was cancelled `retry_failed` reads the files anew; what is at work is read in any case.
    """
    with transaction.atomic():
        collection = governed(actor, scope)
        ready = within(scope).filter(state=Document.State.READY, current__isnull=False)
        ids = list(in_order(ready).order_by("pk").values_list("pk", flat=True))
        for first in range(0, len(ids), REREAD_AT_ONCE):
            reread(actor, collection, ids[first : first + REREAD_AT_ONCE])
        record(actor, "re-parse", scope, documents=len(ids))
        wake_parsing_on_commit()
    return len(ids)


def reread(actor: User, collection: Collection, document_ids: Sequence[UUID]) -> None:
    """Queues a copy of each one's present revision: a stored text never changes."""
    numbers = adding.next_numbers(list(document_ids))
    present = DocumentRevision.objects.filter(
        pk__in=Document.objects.filter(pk__in=document_ids).values("current")
    )
    fields = ("document_id", "sha256", "file", "filename", "size")
    DocumentRevision.objects.bulk_create(
        DocumentRevision(number=numbers[values["document_id"]], created_by=actor, **values)
        for values in present.values(*fields)
    )
    newest = DocumentRevision.objects.filter(document=OuterRef("pk")).order_by("-number").values("pk")[:1]
    Document.objects.filter(pk__in=document_ids).update(incoming=Subquery(newest), **queued_anew(collection))


def queued_anew(collection: Collection) -> dict[str, Any]:
    """The fields of documents that wait again, behind what waits already; paused where that is."""
    paused_upload = Upload.objects.filter(pk=OuterRef("upload"), paused=True)
    return {
        "state": Document.State.QUEUED,
        "error": "",
        "error_code": "",
        "attempts": 0,
        "claimed_until": None,
        "queued_at": timezone.now(),
        "updated_at": timezone.now(),
        "paused": Value(True) if adding.hold_collection(collection.pk) else Exists(paused_upload),
    }


def within(scope: Scope) -> QuerySet[Document]:
    """The documents that an action on `scope` is about; with an archive come those that it held."""
    if isinstance(scope, Collection):
        return Document.objects.filter(collection=scope)
    if isinstance(scope, Upload):
        return Document.objects.filter(upload=scope)
    return Document.objects.filter(Q(pk=scope.pk) | Q(archive=scope.pk))


def at_work(scope: Scope) -> QuerySet[Document]:
    return within(scope).filter(state__in=Document.WORK)


def in_order(documents: QuerySet[Document]) -> QuerySet[Document]:
    """The same documents, to be updated in one order by everybody: else two would wait for each other."""
    return Document.objects.filter(
        pk__in=documents.order_by("pk").select_for_update(no_key=True).values("pk")
    )


def governed(actor: User, scope: Scope, *, alone: bool = False) -> Collection:
    """The scope's collection, kept until the commit; Problem where the actor may not change it.

    With `alone` nobody puts documents in meanwhile.
    """
    collection = scope if isinstance(scope, Collection) else scope.collection
    must_edit(actor, collection)
    if alone:
        found = Collection.objects.select_for_update().filter(pk=collection.pk).first()
        if found is None:
            raise not_found("collection")
        return found
    adding.hold_collection(collection.pk)
    return collection
