"""Versions beside the live one, in whatever state a test begins with."""

from django.utils import timezone

from kb.indexes import embedding_table
from kb.indexes.models import IndexVersion, ValidationReport


def beside(live: IndexVersion, state: str = "building", **changes: object) -> IndexVersion:
    """Another version of the index, with a table: like the live one but for `changes`."""
    given = {
        "model": live.model, "chunking": live.chunking, "dimensions": live.dimensions, "storage": live.storage,
        "built_at": None if state in {"building", "paused"} else timezone.now(),
    } | changes  # fmt: skip
    number = IndexVersion.objects.filter(index=live.index_id).count() + 1
    made = IndexVersion.objects.create(index=live.index, number=number, state=state, **given)
    embedding_table.create(made)
    return made


def report(version: IndexVersion, verdict: str = "pass", **changes: object) -> ValidationReport:
    return ValidationReport.objects.create(version=version, verdict=verdict, **changes)


def state_of(version: IndexVersion) -> str:
    return IndexVersion.objects.get(pk=version.pk).state
