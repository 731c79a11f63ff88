"""From ranked chunks to passages for people: boosted, reranked, collapsed, joined, widened, grouped.

Each step is a setting of the retrieval profile. Rows are read as the reader may see them now.
"""

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import lru_cache, reduce
from itertools import accumulate, pairwise, takewhile
from typing import NamedTuple
from uuid import UUID

import numpy as np
from django.db.models import Q, Value
from django.utils import timezone

from kb.core import pools
from kb.core.models import Reader
from kb.core.visibility import visible
from kb.documents.models import Chunk
from kb.search import deadlines
from kb.search.models import RetrievalProfile
from retrieval.adjacency import Piece, Run, joined, widened
from retrieval.analysis import analyse
from retrieval.chunking import render
from retrieval.collapsing import firsts
from retrieval.diversity import maximal_marginal_relevance, word_similarity
from retrieval.evidence import Duplicate, Passage
from retrieval.ranking import Hit
from retrieval.reranking import CrossEncoderReranker, NotReranked, Reranker

NEIGHBOURS = 8  # chunks on either side that may belong to the section of a hit
TRIAL_MILLISECONDS = 60_000.0  # for a model that is loaded to be tried
DIVERSE = 50  # hits among which variety is looked for


class Row(NamedTuple):
    """What a search has a use for of a chunk, and the title of its document; reading the rest took as long again."""

    id: int
    document_id: UUID
    revision_id: int
    chunking_id: int
    collection_id: int
    ordinal: int
    start: int
    end: int
    text: str
    heading_path: list[str]
    page: int | None
    tokens: int
    title: str


COLUMNS = Row._fields[:-1]
ROWS = f"""
SELECT {", ".join(f'chunk."{name}"' for name in COLUMNS)}, document.title
    FROM documents_chunk AS chunk JOIN documents_document AS document ON document.id = chunk.document_id
    WHERE chunk.id = ANY(%s) AND chunk.collection_id IN ({{visible}})
"""  # noqa: S608 (no text of anybody's)
# One row for each span, in one statement; substr counts characters from 1.
SPANS = """
SELECT wanted.place, substr(revision.text, wanted.start + 1, wanted.stop - wanted.start)
    FROM unnest(%s::int[], %s::bigint[], %s::int[], %s::int[]) AS wanted(place, revision, start, stop)
    JOIN documents_documentrevision AS revision ON revision.id = wanted.revision
"""

Boosts = tuple[tuple[str, float], ...]
Rows = Mapping[int, Row]


@dataclass(frozen=True)
class Arranged:
    """Passages, best first, and the chunk rows they were made of; `notes` say what was left out, and why.

    `boosts` and `reranked` are by chunk. `milliseconds` has the stages rerank (where asked) and fetch.
    """

    passages: tuple[Passage, ...]
    rows: dict[int, Row]
    notes: tuple[str, ...]
    boosts: dict[int, Boosts]
    reranked: dict[int, float]
    milliseconds: dict[str, float]


@dataclass
class Shelf:
    """The rows of chunks, read once, as far as the reader may see them."""

    reader: Reader
    rows: dict[int, Row] = field(default_factory=dict)
    asked: set[int] = field(default_factory=set)

    def seen(self, hits: Sequence[Hit]) -> list[Hit]:
        """The hits whose rows are there: permission is checked once more, and what has gone is left out."""
        if missing := [hit.chunk_id for hit in hits if hit.chunk_id not in self.asked]:
            self.asked.update(missing)
            self.rows |= {row.id: row for row in self.read(missing)}
        return [hit for hit in hits if hit.chunk_id in self.rows]

    def read(self, ids: Sequence[int]) -> Iterator[Row]:
        inside = visible(self.reader)
        with pools.asking("rows") as connected:
            statement = ROWS.format(visible=inside.sql).encode()
            found = connected.execute(
                statement, [np.array(ids, np.int32), *inside.given], binary=True
            ).fetchall()
        return map(Row._make, found)

    def around(self, hits: Sequence[Hit]) -> list[Row]:
        """The chunks near each hit, in the same text; their own is read with the text of the passage."""
        near = Q()
        for row in (self.rows[hit.chunk_id] for hit in hits):
            span = (max(0, row.ordinal - NEIGHBOURS), row.ordinal + NEIGHBOURS)
            near |= Q(
                document=row.document_id,
                chunking=row.chunking_id,
                revision=row.revision_id,
                ordinal__range=span,
            )
        if not hits:
            return []
        found = Chunk.objects.visible_to(self.reader).order_by().filter(near).annotate(unread=Value(""))
        names = ("unread" if name == "text" else name for name in COLUMNS)
        return [Row._make(row) for row in found.values_list(*names, "document__title")]


def arranged(
    reader: Reader,
    question: str,
    ranked: Sequence[Hit],
    profile: RetrievalProfile,
    limit: int,
    *,
    join: bool = True,
) -> Arranged:
    """The `limit` best passages; fewer if there are fewer. Without `join`, hits stay apart in any case.

    That is for answers: on the judged questions about the demo corpus the quoting answerer took the more
    words of joined passages for support that was not there.
    """
    began = time.perf_counter()
    shelf = Shelf(reader)
    hits, boosts = boosted(question, ranked, profile)
    hits, scores, notes, took = reranked(shelf, question, hits, profile)
    passages: tuple[Passage, ...] = ()
    join = join and profile.merge_adjacent
    window = first_window(profile, limit)
    while True:
        passages = laid_out(shelf, shelf.seen(hits[:window]), profile, limit, join)
        if len(passages) >= limit or window >= len(hits):
            break
        window *= 2  # what was collapsed or joined leaves room for more
    fetched = (time.perf_counter() - began) * 1000 - took.get("rerank", 0.0)
    rows = {one.chunk_id: shelf.rows[one.chunk_id] for one in passages}
    return Arranged(passages, rows, notes, boosts, scores, took | {"fetch": fetched})


def first_window(profile: RetrievalProfile, limit: int) -> int:
    """How many hits are looked at in the beginning."""
    fewer = profile.collapse_duplicates or profile.merge_adjacent or profile.widen_to_section
    return max(2 * limit if fewer else limit, DIVERSE if profile.diversity < 1 else 0)


def boosted(
    question: str, ranked: Sequence[Hit], profile: RetrievalProfile
) -> tuple[list[Hit], dict[int, Boosts]]:
    """Scores multiplied for titles that hold the question's words, and for documents of late."""
    if not (profile.title_boost or profile.recency_boost):
        return list(ranked), {}
    terms, now = frozenset(analyse(question)), timezone.now()
    about = Chunk.objects.filter(pk__in=[hit.chunk_id for hit in ranked]).values_list(
        "pk", "document__title", "revision__written_at", "revision__created_at"
    )
    boosts = {
        pk: boosts_of(profile, terms, title, age_in_days(written or created, now))
        for pk, title, written, created in about
    }
    hits = [
        hit._replace(score=reduce(lambda score, one: score * one[1], boosts.get(hit.chunk_id, ()), hit.score))
        for hit in ranked
    ]
    return sorted(hits, key=lambda hit: (-hit.score, hit.chunk_id)), boosts


def boosts_of(profile: RetrievalProfile, terms: frozenset[str], title: str, days: float) -> Boosts:
    """Name and factor of each that is on: at least 1."""
    share = len(terms.intersection(analyse(title))) / len(terms) if terms else 0.0
    fresh = 0.5 ** (days / max(profile.recency_days, 1))
    factors = (("title", profile.title_boost, share), ("recency", profile.recency_boost, fresh))
    return tuple((name, 1 + boost * part) for name, boost, part in factors if boost)


def age_in_days(moment: datetime, now: datetime) -> float:
    return max(0.0, (now - moment).total_seconds() / 86_400)


@lru_cache(maxsize=2)
def reranker(model: str) -> Reranker:
    """The process's own; its weights are loaded when it is first asked."""
    return CrossEncoderReranker(model)


def try_reranker(model: str) -> None:
    """Loads it and judges a passage. Raises NotReranked where it cannot do that."""
    reranker(model).scores(
        "What is tried?", ["Whether it gives one score for a passage."], TRIAL_MILLISECONDS
    )


def reranked(
    shelf: Shelf, question: str, hits: list[Hit], profile: RetrievalProfile
) -> tuple[list[Hit], dict[int, float], tuple[str, ...], dict[str, float]]:
    """The best hits by the reranker's scores, then the others; those scores, notes, and what it took."""
    if not profile.reranker or not hits:
        return hits, {}, (), {}
    best = shelf.seen(hits[: profile.rerank_candidates])
    rows = [shelf.rows[hit.chunk_id] for hit in best]
    texts = [render(row.title, row.heading_path, row.text) for row in rows]
    began, spare = time.perf_counter(), 1000 * deadlines.spare()
    try:
        budget = min(profile.rerank_milliseconds, spare)
        scores = reranker(profile.reranker).scores(question, texts, budget)
    except NotReranked as reason:
        return hits, {}, (f"The passages stand as they were found: {reason}",), stage("rerank", began)
    by_chunk = {hit.chunk_id: float(score) for hit, score in zip(best, scores, strict=True)}
    order = sorted(best, key=lambda hit: -by_chunk[hit.chunk_id])
    return [*order, *hits[profile.rerank_candidates :]], by_chunk, (), stage("rerank", began)


def stage(name: str, began: float) -> dict[str, float]:
    return {name: (time.perf_counter() - began) * 1000}


def laid_out(
    shelf: Shelf, hits: Sequence[Hit], profile: RetrievalProfile, limit: int, join: bool
) -> tuple[Passage, ...]:
    """Passages from hits whose rows are at hand."""
    shown, duplicates = collapsed(shelf.rows, hits) if profile.collapse_duplicates else (list(hits), {})
    if profile.diversity < 1:
        shown = diverse(shelf.rows, shown, profile.diversity)
    found, around = runs(shelf, shown, profile.widen_to_section, limit, join)
    rows = shelf.rows | around
    texts = texts_of(rows, found)
    by_chunk = {hit.chunk_id: hit for hit in hits}
    made = [
        passage(by_chunk[run.best], run, rows, texts[place], duplicates)
        for place, run in enumerate(found)
        if place in texts
    ]
    return tuple(grouped(made) if profile.group_by_document else made)


def collapsed(rows: Rows, hits: Sequence[Hit]) -> tuple[list[Hit], dict[int, list[Duplicate]]]:
    """The hits without those that repeat a better one, and by chunk what was taken out for it."""
    first = firsts([rows[hit.chunk_id].text for hit in hits])
    duplicates: dict[int, list[Duplicate]] = {}
    for place, hit in enumerate(hits):
        if first[place] != place:
            row = rows[hit.chunk_id]
            same = Duplicate(row.id, str(row.document_id), row.title)
            duplicates.setdefault(hits[first[place]].chunk_id, []).append(same)
    return [hit for place, hit in enumerate(hits) if first[place] == place], duplicates


def diverse(rows: Rows, hits: Sequence[Hit], trade_off: float) -> list[Hit]:
    """The first hits in an order in which each adds something to those before; the others follow."""
    head = hits[:DIVERSE]
    # Where a reranker has put them into another order, the scores no longer say how good they are.
    descending = all(one.score >= other.score for one, other in pairwise(head))
    worth = [hit.score if descending else 1 - place / len(head) for place, hit in enumerate(head)]
    similarity = word_similarity([rows[hit.chunk_id].text for hit in head])
    order = maximal_marginal_relevance(worth, similarity, trade_off)
    return [*(head[place] for place in order), *hits[DIVERSE:]]


def runs(
    shelf: Shelf, hits: Sequence[Hit], widen: bool, limit: int, join: bool
) -> tuple[list[Run], dict[int, Row]]:
    """What each of the first `limit` passages covers, and the rows of chunks that no hit brought."""
    pieces = [piece(shelf.rows[hit.chunk_id]) for hit in hits]
    if widen:
        around = {row.id: row for row in shelf.around(hits[:limit]) if row.id not in shelf.rows}
        others = [piece(row) for row in around.values()]
        return widened(pieces, others, join=join)[:limit], around
    if join:
        return joined(pieces)[:limit], {}
    return [Run(one.chunk, (one,)) for one in pieces[:limit]], {}


def piece(row: Row) -> Piece:
    text = (row.revision_id, row.chunking_id)
    return Piece(row.id, text, row.ordinal, row.tokens, tuple(row.heading_path))


def texts_of(rows: Rows, found: Sequence[Run]) -> dict[int, str]:
    """By place: the stored text from the first chunk's start to the last one's end, what is between them included.

    Without those whose revision has gone meanwhile.
    """
    texts = {place: rows[run.best].text for place, run in enumerate(found) if len(run.pieces) == 1}
    wanted = [(place, *span(rows, run)) for place, run in enumerate(found) if len(run.pieces) > 1]
    if wanted:
        with pools.asking("rows") as connected:
            columns = [list(column) for column in zip(*wanted, strict=True)]
            texts |= dict(connected.execute(SPANS, columns).fetchall())
    return texts


def span(rows: Rows, run: Run) -> tuple[int, int, int]:
    """Revision, start and end."""
    first, last = rows[run.pieces[0].chunk], rows[run.pieces[-1].chunk]
    return first.revision_id, first.start, last.end


def passage(
    hit: Hit, run: Run, rows: Rows, text: str, duplicates: Mapping[int, Sequence[Duplicate]]
) -> Passage:
    first, best = rows[run.pieces[0].chunk], rows[hit.chunk_id]
    same = [one for each in run.pieces for one in duplicates.get(each.chunk, ())]
    return Passage(
        chunk_id=hit.chunk_id,
        document_id=str(best.document_id),
        title=best.title,
        heading_path=common([each.section for each in run.pieces]),
        text=text,
        start=first.start,
        page=first.page,
        score=hit.score,
        dense_score=hit.dense_score,
        lexical_score=hit.lexical_score,
        chunk_ids=tuple(each.chunk for each in run.pieces),
        tokens=run.tokens,
        # A copy of a joined passage is one, however many chunks it has.
        duplicates=tuple({one.document_id: one for one in same}.values() if len(run.pieces) > 1 else same),
    )


def common(paths: Sequence[tuple[str, ...]]) -> tuple[str, ...]:
    """The headings that all of them are under."""
    return tuple(
        headings[0] for headings in takewhile(lambda level: len(set(level)) == 1, zip(*paths, strict=False))
    )


def grouped(passages: Iterable[Passage]) -> list[Passage]:
    """A document's passages together, where its best one stands."""
    by_document: dict[str, list[Passage]] = {}
    for one in passages:
        by_document.setdefault(one.document_id, []).append(one)
    return [one for group in by_document.values() for one in group]


def within(passages: Sequence[Passage], tokens: int) -> tuple[Passage, ...]:
    """The first ones that have at most so many tokens together; the very first in any case."""
    ends = accumulate(one.tokens for one in passages)
    return tuple(one for one, end in zip(passages, ends, strict=True) if end <= tokens) or tuple(passages[:1])
