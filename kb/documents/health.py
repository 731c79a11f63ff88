"""Readiness of the web's side: somebody fetches, where there is something to fetch."""

from kb.core.health import Check, worker, workers_alive
from kb.documents import sources


def fetching() -> Check:
    """A site that is fed from nowhere, or all of whose sources are paused, needs no worker for it."""
    return worker("fetch", workers_alive("fetch") or not sources.working_sources().exists())
