"""One question in, ranked passages out: the same for browser, API and command line."""

import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial

import psycopg
from django.db import Error
from django.db.models import QuerySet

from kb.core import pools
from kb.core.models import Collection, Reader, User
from kb.core.problems import Problem, not_found
from kb.core.visibility import Subselect, subselect, visible
from kb.documents.models import Document
from kb.indexes import providers
from kb.indexes.dense import PostgresDense
from kb.indexes.lexical import PostgresLexical
from kb.indexes.models import IndexVersion
from kb.search import deadlines, shadowing
from kb.search.arranging import Arranged, Row, arranged, within
from kb.search.joining import Searched, joined, with_cosines
from kb.search.models import Query, RetrievalProfile
from kb.search.narrowing import listed, narrow
from kb.search.profiles import chosen
from kb.search.query_vectors import QuestionEmbedder
from kb.search.recording import record
from kb.search.serving import Served, served
from kb.search.spelling import Correction, Corrections, corrected, doubtful
from retrieval.embedders import Embedder
from retrieval.evidence import Passage
from retrieval.explaining import explanations
from retrieval.querying import Parsed, parse
from retrieval.ranking import Hits, Retriever, unranked

logger = logging.getLogger(__name__)

LONGEST_QUESTION = 2000
MOST_RESULTS = 100
DEGRADED = {
    "embed": "The question could not be embedded, so its words alone were searched.",
    "dense": "The search by meaning failed or took too long, so the words alone were searched.",
    "lexical": "The search by words failed or took too long, so the meaning alone was searched.",
}
UNCHECKED = "The spelling could not be looked at in time, so the words were searched as they were typed."

_arms = pools.Threads(max_workers=16, thread_name_prefix="search-arm")


@dataclass(frozen=True)
class Results:
    """What a search brought back, best first; `sources` has the row of each passage's best chunk as it was read.

    `version` names what served it, one for each index. `empty_because` is "no_collections" or
    "no_documents" where nothing could be found at all. `notes` say what could not be done, and why. `words`
    are those of the question, without its filters and exclusions, as they were searched; `corrections` say
    which of them were typed otherwise.
    """

    query: Query
    passages: tuple[Passage, ...]
    degraded: str = ""
    version: str = ""
    empty_because: str = ""
    sources: dict[int, Row] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    words: str = ""
    corrections: tuple[Correction, ...] = ()


@dataclass(frozen=True)
class Wanted:
    """What is to be found, for whom and how; `query` is what becomes of it in the records."""

    user: Reader
    query: Query
    question: Parsed
    collections: Sequence[str] | None
    limit: int
    kind: str
    profile: RetrievalProfile
    explain: bool
    as_typed: bool


@dataclass
class Stages:
    """Milliseconds by stage, rounded where they are stored."""

    milliseconds: dict[str, float] = field(default_factory=dict)
    began: float = field(default_factory=time.perf_counter)

    def add(self, took: Mapping[str, float]) -> None:
        """What ran for each of several index versions counts together."""
        for stage, milliseconds in took.items():
            self.milliseconds[stage] = self.milliseconds.get(stage, 0.0) + milliseconds

    def since_began(self, stage: str) -> None:
        self.add({stage: (time.perf_counter() - self.began) * 1000})

    def ended(self) -> dict[str, float]:
        """All of them, and the whole."""
        self.since_began("total")
        return {stage: round(took, 2) for stage, took in self.milliseconds.items()}


def search(
    user: Reader,
    text: str,
    collections: Sequence[str] | None = None,
    limit: int = 10,
    kind: str = "search",
    *,
    profile: str = "",
    explain: bool = False,
    as_typed: bool = False,
) -> Results:
    """The best passages that `user` may see, in `collections` (slugs) or in all.

    `profile` names a retrieval profile other than the default. With `explain` each passage says why it
    stands where it stands. A word that no passage has gives way to the nearest one, unless `as_typed`.
    Raises Problem for a question that is empty or too long, an unknown collection, a profile that may not
    be chosen, or a database that does not answer.
    """
    stages = Stages()
    asked = parse(checked(text))
    limit = min(max(limit, 1), MOST_RESULTS)
    query = Query(kind=kind, user=user if isinstance(user, User) else None, text=asked.question)
    try:
        with deadlines.search():
            serving = served(within_reach(user, collections), user)
            how = chosen(user, profile, serving[0].profile if serving else "")
            wanted = Wanted(user, query, asked, collections, limit, kind, how, explain, as_typed)
            return found(wanted, serving, stages)
    except (Error, psycopg.Error, TimeoutError) as error:
        logger.exception("A search failed")
        note_failure(query, stages)
        raise Problem(
            "unavailable", "The search is not available just now: try again in a minute.", 503
        ) from error


def checked(text: str) -> str:
    """The question without surrounding white space and control characters."""
    # All kinds of spaces part words, also that of no width.
    spaced = text.replace("\u200b", " ").split()
    words = ("".join(letter for letter in word if letter.isprintable()) for word in spaced)
    question = " ".join(word for word in words if word)
    if not question:
        raise Problem("question_empty", "There is no question: type one, or some words to look for.")
    if len(question) > LONGEST_QUESTION:
        raise Problem(
            "question_too_long",
            f"The question has {len(question):,} characters; ask with at most {LONGEST_QUESTION:,}.",
        )
    return question


def found(wanted: Wanted, serving: Sequence[Served], stages: Stages) -> Results:
    query = wanted.query
    query.profile = wanted.profile
    query.versions = [each.version.pk for each in serving]
    query.version = serving[-1].version if serving else None
    stages.since_began("normalise")
    searched = in_each(wanted, serving, stages)
    spelled = spelling_of(wanted, serving, searched, stages)
    if spelled.changed:
        wanted = replace(wanted, question=spelled.parsed)
        searched = in_each(wanted, serving, stages)
    laid = laid_out(wanted, searched)
    stages.add(laid.milliseconds)
    results = Results(
        query,
        laid.passages,
        query.degraded,
        ", ".join(str(each.version) for each in searched),
        "" if laid.passages else empty_because(wanted),
        laid.rows,
        (*filter(None, [spelled.note]), *(note for each in searched for note in each.notes), *laid.notes),
        wanted.question.words,
        spelled.changed,
    )
    results = finished(results, stages)
    # Without words nothing is ranked that could be compared.
    for by, brought in zip(serving, searched, strict=True) if wanted.question.words else ():
        shadowing.follow(query, by, brought.hits, partial(hits_of, wanted, by))
    return results


def in_each(wanted: Wanted, serving: Sequence[Served], stages: Stages) -> list[Searched]:
    """What each index brings back, and what of it is missing."""
    searched = [by_version(wanted, each, each.version) for each in serving]
    wanted.query.degraded = ""
    for each in searched:
        wanted.query.degraded = (
            " ".join(DEGRADED[stage] for stage in each.hits.missing) or wanted.query.degraded
        )
        stages.add(each.hits.milliseconds)
    return searched


def empty_because(wanted: Wanted) -> str:
    collections = visible_collections(wanted.user, wanted.collections)
    if not collections.exists():
        return "no_collections"
    return "" if Document.objects.filter(collection__in=collections).exists() else "no_documents"


def spelling_of(
    wanted: Wanted, serving: Sequence[Served], searched: Sequence[Searched], stages: Stages
) -> Corrections:
    """The question as it is to be searched instead. One that is to be answered stays as it was asked: its answer is
    kept, and what was meant is a word of a document that may be gone or closed when it is shown.

    What was searched tells of most questions that all of their words are there, and the database is not asked.
    """
    if wanted.as_typed or wanted.kind == Query.Kind.ASK:
        return Corrections(wanted.question)
    began = time.perf_counter()
    try:
        languages = sorted({one for each in serving for one in each.languages})
        held = {term for each in searched if each.hits.postings for term in each.hits.postings.alive()}
        if not doubtful(wanted.question, languages, held):
            return Corrections(wanted.question)
        collections = sorted(one for each in serving for one in each.collections)
        with deadlines.extra():
            chunkings = [each.version.chunking_id for each in serving]
            return corrected(wanted.question, collections, chunkings, languages)
    except (Error, psycopg.Error):
        logger.exception("A search does without correcting the spelling")
        return Corrections(wanted.question, note=UNCHECKED)
    finally:
        stages.add({"normalise": (time.perf_counter() - began) * 1000})


def laid_out(wanted: Wanted, searched: Sequence[Searched]) -> Arranged:
    """The passages for people, of the hits of all index versions together."""
    hits = joined(searched)
    ranked = with_cosines(hits, searched)
    asked = wanted.kind == Query.Kind.ASK
    laid = arranged(wanted.user, wanted.question.words, ranked, wanted.profile, wanted.limit, join=not asked)
    passages = laid.passages
    if asked:
        passages = within(passages, wanted.profile.context_tokens)
    return replace(laid, passages=explained(passages, laid, hits) if wanted.explain else passages)


def within_reach(user: Reader, slugs: Sequence[str] | None) -> Subselect:
    """The collections to search, as `visible_collections`."""
    return subselect(visible_collections(user, slugs)) if slugs else visible(user)


def visible_collections(user: Reader, slugs: Sequence[str] | None) -> QuerySet[Collection]:
    """The collections to search. An unknown slug and one that may not be known look the same."""
    visible = Collection.objects.visible_to(user)
    if not slugs:
        return visible
    known = [slug for slug in slugs if "\0" not in slug]  # which PostgreSQL has no text for
    chosen = visible.filter(slug__in=known)
    found = set(chosen.values_list("slug", flat=True))
    if missing := [slug for slug in slugs if slug not in found]:
        problem = not_found("collection")
        problem.extra = {"collection": missing[0]}
        raise problem
    return chosen


def by_version(wanted: Wanted, served: Served, version: IndexVersion) -> Searched:
    """Each index is searched in its own space, by the version that serves, or by another one in its place."""
    began, vector = time.perf_counter(), None
    narrowed = narrow(wanted.question, served.collections, version.chunking_id, served.languages)
    normalise = {"normalise": (time.perf_counter() - began) * 1000}
    if wanted.question.words:
        question = QuestionEmbedder(version, providers.embedder_for(version))
        arms = retriever(version, wanted.profile, question, wanted.limit)
        with deadlines.arm():
            hits = arms.search(wanted.question.words, narrowed.scope, languages=served.languages)
        hits = replace(hits, milliseconds=question.told_apart(hits.milliseconds))
        vector = question.latest
    else:
        hits = unranked(listed(narrowed.scope, wanted.profile.candidates))
    hits = replace(hits, milliseconds={**normalise, **hits.milliseconds})
    return Searched(version, tuple(served.collections), hits, narrowed.notes, vector)


def hits_of(wanted: Wanted, served: Served, version: IndexVersion) -> Hits:
    return by_version(wanted, served, version).hits


def retriever(
    version: IndexVersion, profile: RetrievalProfile, embedder: Embedder, limit: int = 0
) -> Retriever:
    return Retriever(
        PostgresDense(version),
        PostgresLexical(version.chunking_id),
        embedder,
        weight=profile.dense_weight,
        candidates=max(profile.candidates, limit),
        executor=_arms,
        strategy=profile.fusion_strategy,
        patience=deadlines.patience,
    )


def explained(passages: Sequence[Passage], laid: Arranged, hits: Hits) -> tuple[Passage, ...]:
    """The passages with the reasons for their places, which are those of their best chunks."""
    reasons = explanations(hits, [passage.chunk_id for passage in passages])
    return tuple(
        replace(
            passage,
            explanation=replace(
                reasons[passage.chunk_id],
                boosts=laid.boosts.get(passage.chunk_id, ()),
                reranked=laid.reranked.get(passage.chunk_id),
            ),
        )
        for passage in passages
    )


def finished(results: Results, stages: Stages) -> Results:
    """Records the query with the time that each stage took."""
    results.query.stages = stages.ended()
    results.query.results = len(results.passages)
    record(results.query)
    return results


def note_failure(query: Query, stages: Stages) -> None:
    """Records a search that nobody got results of, if the database takes it soon: who asked waits for that."""
    query.failed, query.stages = True, stages.ended()
    try:
        with deadlines.extra(), deadlines.search():
            record(query)
    except (Error, psycopg.Error):
        logger.warning("A failed search could not be recorded", exc_info=True)
