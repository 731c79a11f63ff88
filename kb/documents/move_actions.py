"""Moves a document from one collection to another."""

from django.db import transaction
from django.db.models import F
from django.db.models.functions import Coalesce

from kb.core.auditing import record
from kb.core.holding import held
from kb.core.models import Collection, User
from kb.core.problems import Problem, not_found
from kb.documents import adding, originals, stages
from kb.documents.actions import in_order, locked_document, must_edit, queued_anew, within
from kb.documents.models import Chunk, Document, WebPage
from kb.documents.signals import documents_moved
from kb.documents.tasks import wake_parsing_on_commit


@transaction.atomic
def move_document(actor: User, document: Document, target: Collection) -> Document:
    """Moves the document, and with an archive all that it held, into `target`, whose readers see it from the commit on.

    Its revisions, address and footnotes stay. It is found no more where it was, and is cut and embedded anew as the
    target has it, without being read again. Raises Problem for a collection or document that the actor may not
    change, a page that a source keeps, an entry of an archive, and a file that the target holds already.
    """
    must_edit(actor, document.collection)
    must_edit(actor, target)
    newest = document.incoming or document.current
    if newest is None:
        raise not_found("document")
    originals.lock([newest.sha256])
    if len(held(Collection, [document.collection_id, target.pk])) < len({document.collection_id, target.pk}):
        raise not_found("collection")
    locked = locked_document(document)
    before = locked.collection
    if before.pk == target.pk:
        return locked
    must_edit(actor, before)  # it may have been moved since it was looked at
    must_stand_alone(locked, target)
    moved = list(in_order(within(locked)).order_by("pk").values_list("pk", flat=True))
    Chunk.objects.filter(document__in=moved).delete()
    stages.cancel_many(Document.objects.filter(pk__in=moved))
    Document.objects.filter(pk__in=moved).update(
        collection=target, upload=None, incoming=Coalesce(F("incoming"), F("current")), **queued_anew(target)
    )
    documents_moved.send(Document, document_ids=moved, collection=target)
    record(actor, "move", locked, **{"from": before.slug, "to": target.slug, "documents": len(moved)})
    wake_parsing_on_commit()
    locked.refresh_from_db()
    return locked


def must_stand_alone(document: Document, target: Collection) -> None:
    """Raises Problem for what belongs to something that stays, or is there already."""
    if document.archive_id is not None:
        raise Problem(
            "in_archive", "This document came out of an archive and stays with it: move the archive.", 409
        )
    if WebPage.objects.filter(document=document).exists():
        raise Problem(
            "from_source",
            "A source of its collection keeps this document up to date: add the source to the other collection "
            "instead.",
            409,
        )
    newest = document.incoming or document.current
    if newest is None:
        raise not_found("document")
    if adding.holding(newest.sha256).filter(collection=target).exists():
        raise Problem("known", "The other collection holds this very file already.", 409)
