"""Writes the audit log, in the transaction of what it tells of."""

from collections.abc import Iterable, Mapping

from django.db import models

from kb.core.models import AuditEntry, Reader, User


def record(actor: Reader | None, verb: str, subject: models.Model | str, **detail: object) -> None:
    """Notes that `actor` (None: the system) did `verb` to `subject`."""
    record_all(actor, verb, [(subject, detail)])


def record_all(
    actor: Reader | None, verb: str, subjects: Iterable[tuple[models.Model | str, Mapping[str, object]]]
) -> None:
    """As `record`, for several subjects, each with its detail."""
    person = actor if isinstance(actor, User) else None
    AuditEntry.objects.bulk_create(
        [
            AuditEntry(actor=person, verb=verb, subject=label(subject)[:200], detail=detail)
            for subject, detail in subjects
        ]
    )


def label(subject: models.Model | str) -> str:
    if isinstance(subject, str):
        return subject
    return f"{subject._meta.model_name} {subject.pk} ({subject})"
