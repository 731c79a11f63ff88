"""Writes the audit log, in the transaction of what it tells of."""

from django.db import models

from kb.core.models import AuditEntry, Reader, User


def record(actor: Reader | None, verb: str, subject: models.Model | str, **detail: object) -> None:
    """Notes that `actor` (None: the system) did `verb` to `subject`."""
    AuditEntry.objects.create(
        actor=actor if isinstance(actor, User) else None,
        verb=verb,
        subject=label(subject)[:200],
        detail=detail,
    )


def label(subject: models.Model | str) -> str:
    if isinstance(subject, str):
        return subject
    return f"{subject._meta.model_name} {subject.pk} ({subject})"
