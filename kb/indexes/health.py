"""Readiness of the whole site: the core's checks and an index that serves."""

from kb.core.health import Check, checks
from kb.indexes.models import Index


def readiness() -> list[Check]:
    found = checks()
    return [*found, live_index()] if found[0].ok else found


def live_index() -> Check:
    if Index.objects.filter(is_default=True, live_version__isnull=False).exists():
        return Check("index", True)
    return Check("index", False, "No index version is live: run `manage.py prepare`.")
