"""Loads models before a question has to wait for them: what serves now, then what may serve next."""

import logging
import threading
import time
from collections.abc import Iterable

from django.conf import settings
from django.db import Error, connection

from kb.indexes import providers
from kb.indexes.models import IndexVersion
from kb.indexes.population import population
from kb.search.answers import language_model

logger = logging.getLogger(__name__)

State = IndexVersion.State
# The first page comes first: importing torch keeps a processor and the interpreter's lock for seconds.
AFTER_SECONDS = 3.0
LOOK_SECONDS = 10.0
LONGEST_REST_SECONDS = 80.0  # while a model cannot be loaded
# What is validated can be promoted, what is retired gone back to, and both hold from the next query on.
NEXT = (State.LIVE, State.CANARY, State.SHADOW, State.VALIDATING, State.RETIRED)


def warm_soon() -> None:
    """Warms up in a thread of its own, a moment from now and whenever a version comes; the process may end any time."""
    timer = threading.Timer(AFTER_SECONDS, in_thread)
    timer.daemon = True
    timer.start()


def in_thread() -> None:
    if settings.LLM_BASE_URL:
        language_model()
    warmed: set[int] = set()
    rest = LOOK_SECONDS
    while True:
        rest = LOOK_SECONDS if look(warmed) else min(2 * rest, LONGEST_REST_SECONDS)
        time.sleep(rest)


def look(warmed: set[int]) -> bool:
    """Warms the versions that are not in `warmed` yet, and puts there those that could be. Whether all could."""
    try:
        found = IndexVersion.objects.filter(state__in=NEXT).exclude(pk__in=warmed)
        ordered = sorted(found.select_related("model"), key=lambda version: NEXT.index(State(version.state)))
    except Error as error:
        logger.warning("Which models will be needed could not be looked up: %s", error)
        return False
    finally:
        connection.close()
    loaded = {version.pk for version in ordered if load([version])}
    warmed |= loaded
    connection.close()
    return len(loaded) == len(ordered)


def warm() -> None:
    """Embeds a word with the live model of each index. A failure is logged: the first question says it too."""
    load(IndexVersion.objects.filter(state=State.LIVE).select_related("model"))


def load(versions: Iterable[IndexVersion]) -> bool:
    try:
        for version in versions:
            providers.embedder_for(version).embed(["warm"], "query")
            population(version)
    except Exception:
        logger.exception("The embedding model could not be loaded ahead of the first question")
        return False
    return True
