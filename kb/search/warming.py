"""Loads the embedding model of the live index, and counts its vectors, before the first question has to wait for it."""

import logging
import threading

from django.db import connection

from kb.indexes import providers
from kb.indexes.models import Index
from kb.indexes.population import population

logger = logging.getLogger(__name__)

# The first page comes first: importing torch keeps a processor and the interpreter's lock for seconds.
AFTER_SECONDS = 3.0


def warm_soon() -> None:
    """Warms up in a thread of its own, a moment from now; the process may end at any time."""
    timer = threading.Timer(AFTER_SECONDS, in_thread)
    timer.daemon = True
    timer.start()


def in_thread() -> None:
    try:
        warm()
    finally:
        connection.close()


def warm() -> None:
    """Embeds a word with the live model of each index. A failure is logged: the first question says it too."""
    try:
        for index in Index.objects.filter(live_version__isnull=False).select_related("live_version__model"):
            if index.live_version is not None:
                providers.embedder(index.live_version.model).embed(["warm"], "query")
                population(index.live_version)
    except Exception:
        logger.exception("The embedding model could not be loaded ahead of the first question")
