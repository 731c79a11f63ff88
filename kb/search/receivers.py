"""Erases quotes and claims from stored answers when their document goes."""

from typing import Any

from django.db.models.signals import pre_delete

from kb.documents.models import Document
from kb.search.redaction import erase


def connect() -> None:
    pre_delete.connect(erase_from_answers, sender=Document)


def erase_from_answers(sender: object, instance: Document, **_: Any) -> None:
    erase(instance)
