"""Erases quotes and claims from stored answers when their document goes, and has footnotes follow one that is moved."""

from typing import Any
from uuid import UUID

from django.db.models.signals import pre_delete

from kb.core.models import Collection
from kb.documents.models import Document
from kb.documents.signals import documents_moved
from kb.search.models import Citation
from kb.search.redaction import erase


def connect() -> None:
    pre_delete.connect(erase_from_answers, sender=Document)
    documents_moved.connect(follow_moved)


def follow_moved(sender: object, *, document_ids: list[UUID], collection: Collection, **_: Any) -> None:
    """Who may see a quote goes by its document; this is for whoever counts by collection."""
    Citation.objects.filter(document__in=document_ids).update(collection=collection)


def erase_from_answers(sender: object, instance: Document, **_: Any) -> None:
    erase(instance)
