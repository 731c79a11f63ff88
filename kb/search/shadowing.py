"""Runs a share of the queries on a version in shadow as well, after the reader has the answer, and compares."""

import logging
import os
import threading
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Future
from functools import partial

from django.db import IntegrityError, connection

from kb.documents.models import Chunk
from kb.indexes.models import IndexVersion
from kb.search import deadlines
from kb.search.models import Query, ShadowComparison
from kb.search.serving import Served
from retrieval import rollout
from retrieval.agreement import DEPTH, agreement
from retrieval.ranking import Hits
from retrieval.threads import DaemonThreads

logger = logging.getLogger(__name__)

MOST_WAITING = 32  # what comes while so many wait is not compared: readers come first

NICENESS = 10

Ask = Callable[[IndexVersion], Hits]

_threads = DaemonThreads(1, "shadow")
_waiting: set["Future[None]"] = set()
_counting = threading.Lock()


def follow(query: Query, served: Served, found: Hits, ask: Ask) -> None:
    """Hands the query to the versions that are in shadow of what served it, as far as they have a share in it.

    Returns at once; nothing that goes wrong there reaches the reader. What the live side found with one arm
    alone says nothing of either.
    """
    if found.missing:
        return
    for version in served.beside:
        if rollout.serves(str(version.pk), str(query.pk), 100 * version.shadow_share):
            hand_over(partial(compared, query, served.version, version, found, ask))


def hand_over(work: Callable[[], None]) -> None:
    with _counting:
        if len(_waiting) >= MOST_WAITING:
            logger.info("A query is not compared: %s others wait for it already", len(_waiting))
            return
        future = _threads.submit(partial(aside, work))
        _waiting.add(future)
    future.add_done_callback(done)


def aside(work: Callable[[], None]) -> None:
    """In a thread that readers come before; on Linux each has a priority of its own."""
    thread = threading.get_native_id()
    os.setpriority(os.PRIO_PROCESS, thread, max(NICENESS, os.getpriority(os.PRIO_PROCESS, thread)))
    work()


def done(future: "Future[None]") -> None:
    with _counting:
        _waiting.discard(future)


def waiting() -> frozenset["Future[None]"]:
    """The comparisons of this process that are not finished."""
    with _counting:
        return frozenset(_waiting)


def compared(query: Query, against: IndexVersion, version: IndexVersion, found: Hits, ask: Ask) -> None:
    """In a thread of its own, under a search's deadline."""
    try:
        with deadlines.search():
            store(query, against, version, found, ask(version))
    except IntegrityError:  # the query or the version is gone, and the comparison with it
        logger.info("A comparison of %s came too late", version)
    except Exception:
        logger.exception("A query could not be compared on %s", version)
    finally:
        connection.close()


def store(
    query: Query, against: IndexVersion, version: IndexVersion, found: Hits, other: Hits
) -> ShadowComparison:
    live, candidate = scores(found), scores(other)
    by_document = against.chunking_id != version.chunking_id
    documents = documents_of({*live, *candidate}) if by_document else {}
    agreed = agreement(per(documents, live), per(documents, candidate))
    return ShadowComparison.objects.create(
        query=query,
        against=against,
        version=version,
        live=[*live.items()],
        candidate=[*candidate.items()],
        by_document=by_document,
        overlap=agreed.overlap,
        rbo=agreed.rbo,
        score_shift=agreed.score_shift,
        live_ms=round(took(found.milliseconds), 2),
        candidate_ms=round(took(other.milliseconds), 2),
        error=", ".join(other.missing),
    )


def scores(hits: Hits) -> dict[int, float]:
    """The best chunks with their fused scores, in their order."""
    best = hits.fused.top(DEPTH)
    return dict(zip(best.ids.tolist(), (round(score, 6) for score in best.scores.tolist()), strict=True))


def documents_of(chunks: Iterable[int]) -> dict[int, object]:
    return dict(Chunk.objects.filter(pk__in=list(chunks)).values_list("pk", "document_id"))


def per(documents: Mapping[int, object], ranked: Mapping[int, float]) -> dict[object, float]:
    """A ranking of documents by their best chunks; what has no document here stands for itself."""
    best: dict[object, float] = {}
    for chunk, score in ranked.items():
        best.setdefault(documents.get(chunk, chunk), score)
    return best


def took(milliseconds: Mapping[str, float]) -> float:
    """From the question to the ranking: both arms run at the same time."""
    by_meaning = sum(milliseconds.get(stage, 0.0) for stage in ("cache", "embed", "dense"))
    both = max(by_meaning, milliseconds.get("lexical", 0.0))
    return both + milliseconds.get("normalise", 0.0) + milliseconds.get("fuse", 0.0)


def forget() -> None:
    """Drops the comparisons of versions that are over: nobody decides by them any more."""
    over = (IndexVersion.State.CANCELLED, IndexVersion.State.DROPPED)
    ShadowComparison.objects.filter(version__state__in=over).delete()
