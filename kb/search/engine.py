"""One question in, ranked passages out: the same for browser, API and command line."""

import logging
import time
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import psycopg
from django.db import Error
from psycopg_pool import PoolTimeout

from kb.core.models import Collection, Reader, User
from kb.core.problems import Problem, not_found
from kb.documents.models import Chunk, Document
from kb.indexes import providers
from kb.indexes.dense import PostgresDense
from kb.indexes.lexical import PostgresLexical
from kb.indexes.models import IndexVersion
from kb.indexes.placing import by_index
from kb.search.models import Query, RetrievalProfile
from retrieval.evidence import Passage
from retrieval.protocols import Scope
from retrieval.ranking import Hit, Hits, Retriever

logger = logging.getLogger(__name__)

LONGEST_QUESTION = 2000
MOST_RESULTS = 100
DEGRADED = "The question could not be embedded, so its words alone were searched."

_arms = ThreadPoolExecutor(max_workers=16, thread_name_prefix="search-arm")


@dataclass(frozen=True)
class Results:
    """What a search brought back, best first; `sources` has each passage's chunk row as it was read.

    `empty_because` is "no_collections" or "no_documents" where nothing could be found at all.
    """

    query: Query
    passages: tuple[Passage, ...]
    degraded: str = ""
    version: str = ""
    empty_because: str = ""
    sources: dict[int, Chunk] = field(default_factory=dict)


def search(
    user: Reader, text: str, collections: Sequence[str] | None = None, limit: int = 10, kind: str = "search"
) -> Results:
    """The best passages that `user` may see, in `collections` (slugs) or in all.

    Raises Problem for a question that is empty or too long, an unknown collection, or a database
    that does not answer.
    """
    question = checked(text)
    try:
        return found(user, question, collections, min(max(limit, 1), MOST_RESULTS), kind)
    except (Error, psycopg.Error, PoolTimeout) as error:
        logger.exception("A search failed")
        raise Problem(
            "unavailable", "The search is not available just now: try again in a minute.", 503
        ) from error


def checked(text: str) -> str:
    """The question without surrounding white space and control characters."""
    question = "".join(
        " " if letter in "\t\r\n" else letter for letter in text if letter.isprintable() or letter in "\t\r\n"
    )
    question = " ".join(question.split())
    if not question:
        raise Problem("question_empty", "There is no question: type one, or some words to look for.")
    if len(question) > LONGEST_QUESTION:
        raise Problem(
            "question_too_long",
            f"The question has {len(question):,} characters; ask with at most {LONGEST_QUESTION:,}.",
        )
    return question


def found(user: Reader, question: str, slugs: Sequence[str] | None, limit: int, kind: str) -> Results:
    began = time.perf_counter()
    profile = default_profile()
    query = Query(kind=kind, user=user if isinstance(user, User) else None, text=question, profile=profile)
    collections = visible_collections(user, slugs)
    if not collections:
        return finished(Results(query, (), empty_because="no_collections"), {}, began)
    ranked: list[tuple[Hit, IndexVersion]] = []
    stages: dict[str, float] = {}
    for version, hits in by_version(question, collections, profile, limit):
        query.version = version
        query.degraded = DEGRADED if hits.degraded else query.degraded
        ranked += [(hit, version) for hit in hits]
        stages |= {stage: stages.get(stage, 0) + took for stage, took in hits.milliseconds.items()}
    ranked.sort(key=lambda pair: (-pair[0].score, pair[0].chunk_id))
    fetching = time.perf_counter()
    sources, passages = fetched(user, [hit for hit, _ in ranked[:limit]])
    stages["fetch"] = (time.perf_counter() - fetching) * 1000
    empty = "" if passages or Document.objects.filter(collection__in=collections).exists() else "no_documents"
    version_name = str(query.version) if query.version else ""
    return finished(Results(query, passages, query.degraded, version_name, empty, sources), stages, began)


def visible_collections(user: Reader, slugs: Sequence[str] | None) -> list[int]:
    """The ids of the collections to search. An unknown slug and one that may not be known look the same."""
    visible = Collection.objects.visible_to(user)
    if not slugs:
        return list(visible.order_by("pk").values_list("pk", flat=True))
    known = [slug for slug in slugs if "\0" not in slug]  # which PostgreSQL has no text for
    chosen = dict(visible.filter(slug__in=known).values_list("slug", "pk"))
    if missing := [slug for slug in slugs if slug not in chosen]:
        problem = not_found("collection")
        problem.extra = {"collection": missing[0]}
        raise problem
    return sorted(chosen.values())


def by_version(
    question: str, collections: Sequence[int], profile: RetrievalProfile, limit: int
) -> Iterable[tuple[IndexVersion, Hits]]:
    """Each index is searched in its own space, by the version that is live now."""
    for index, collection_ids in by_index(collections).items():
        version = index.live_version
        if version is not None:
            yield version, retriever(version, profile).search(question, Scope(tuple(collection_ids)), limit)


def retriever(version: IndexVersion, profile: RetrievalProfile) -> Retriever:
    return Retriever(
        PostgresDense(version),
        PostgresLexical(version.chunking_id),
        providers.embedder(version.model),
        weight=profile.dense_weight,
        candidates=profile.candidates,
        executor=_arms,
    )


def default_profile() -> RetrievalProfile:
    return RetrievalProfile.objects.get_or_create(is_default=True, defaults={"name": "Default"})[0]


def fetched(user: Reader, hits: Sequence[Hit]) -> tuple[dict[int, Chunk], tuple[Passage, ...]]:
    """The rows of the hits, permission checked once more; what has gone meanwhile is left out."""
    visible = Chunk.objects.visible_to(user).select_related("document", "revision").defer("revision__text")
    rows = {chunk.pk: chunk for chunk in visible.filter(pk__in=[hit.chunk_id for hit in hits])}
    return rows, tuple(passage(hit, rows[hit.chunk_id]) for hit in hits if hit.chunk_id in rows)


def passage(hit: Hit, chunk: Chunk) -> Passage:
    return Passage(
        chunk_id=chunk.pk,
        document_id=str(chunk.document_id),
        title=chunk.document.title,
        heading_path=tuple(chunk.heading_path),
        text=chunk.text,
        start=chunk.start,
        page=chunk.page,
        score=hit.score,
        dense_score=hit.dense_score,
        lexical_score=hit.lexical_score,
    )


def finished(results: Results, stages: dict[str, float], began: float) -> Results:
    """Records the query with the time that each stage took."""
    total = (time.perf_counter() - began) * 1000
    results.query.stages = {stage: round(took, 2) for stage, took in (stages | {"total": total}).items()}
    results.query.results = len(results.passages)
    results.query.save()
    return results
