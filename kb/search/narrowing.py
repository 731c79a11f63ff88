"""A parsed question, and the collections that its reader may see, give the scope to search in.

Filters are asked of the documents. A phrase is looked up by postings, then read in the texts that may hold it, so
that it is exact; where too many may, some are read and a note says so. A word that must not occur is excluded in
every inflection, as it would be found.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, time
from functools import reduce
from typing import Any, TypeAlias

import numpy as np
from django.utils import timezone
from numpy.typing import NDArray

from kb.core import pools
from kb.indexes.lexical import Outdated, PostgresLexical
from retrieval import bm25
from retrieval.analysis import analyse, fold, needed, opening, spelled, spelled_in, stands_in
from retrieval.protocols import Postings, Scope, TermPostings
from retrieval.querying import TYPES, Filter, Parsed

Ids: TypeAlias = NDArray[np.int64]
"""Chunk ids, ascending, each once."""

MOST_READ = 5_000
"""Texts that are read for the phrases of a question, and for each phrase that is excluded."""

A_BATCH = 1_000
NOTHING: Ids = np.empty(0, np.int64)

ALL_READ = "Not all passages could be looked through for {}: of {:,} that may hold it, {:,} were read."
NOT_EXCLUDED = "{} could not be excluded: it consists of words that stand nearly everywhere."

LANGUAGES = """
SELECT DISTINCT language FROM documents_collectionlanguage WHERE collection_id = ANY(%s) ORDER BY language
"""
DATED = "coalesce(revision.written_at, document.created_at)"
# As people type a title: case and diacritics do not count.
PLAIN = r"regexp_replace(normalize(lower({}), NFKD), '[\u0300-\u036f]', '', 'g')"
CHUNKS = """
FROM documents_chunk chunk JOIN documents_document document ON document.id = chunk.document_id
LEFT JOIN documents_documentrevision revision ON revision.id = document.current_id
WHERE chunk.chunking_id = %(chunking)s AND chunk.collection_id = ANY(%(collections)s)
"""
# Packed, so that not each id becomes an object.
PACKED = "SELECT string_agg(int4send(chunk.id), ''::bytea) "
READ = """
SELECT chunk.id, document.title, chunk.heading_path, chunk.text
FROM documents_chunk chunk JOIN documents_document document ON document.id = chunk.document_id
WHERE chunk.id = ANY(%(ids)s)
"""
LISTED = f"""
SELECT id FROM (
    SELECT DISTINCT ON (chunk.document_id) chunk.id, chunk.document_id, {DATED} AS dated
    FROM documents_chunk chunk JOIN documents_document document ON document.id = chunk.document_id
    LEFT JOIN documents_documentrevision revision ON revision.id = document.current_id
    WHERE chunk.id = ANY(%(ids)s) ORDER BY chunk.document_id, chunk.ordinal
) first ORDER BY dated DESC, document_id LIMIT %(limit)s
"""  # noqa: S608 (no text of anybody's)


@dataclass(frozen=True, eq=False)
class Narrowed:
    """Where to search, and what had to be left undone, in sentences for people."""

    scope: Scope
    notes: tuple[str, ...] = ()


def narrow(parsed: Parsed, collections: Sequence[int], chunking_id: int, spoken: Sequence[str]) -> Narrowed:
    """The scope of a question among the chunks of one chunking; `collections` are those the reader may see, and
    `spoken` their languages."""
    everything = Scope(tuple(collections))
    if not parsed.restricted:
        return Narrowed(everything)
    narrowing = _Narrowing(everything, chunking_id, spoken)
    chunks = narrowing.chunks(parsed)
    return Narrowed(Scope(everything.collections, chunks), tuple(narrowing.notes))


def languages(collections: Iterable[int]) -> tuple[str, ...]:
    """The languages in which a question over these collections is to be analysed."""
    with pools.asking("filters") as connected:
        rows = connected.execute(LANGUAGES, [np.array(list(collections), np.int64)]).fetchall()
    return tuple(language for (language,) in rows)


def listed(scope: Scope, limit: int) -> list[int]:
    """For a question that is nothing but restrictions: the first chunk in scope of each document.

    The newest documents come first, by the date that their file gives, else that of their arrival.
    """
    if scope.chunks is None or not len(scope.chunks):
        return []
    with pools.asking("filters") as connected:
        rows = connected.execute(LISTED, {"ids": scope.chunks.astype(np.int32), "limit": limit}).fetchall()
    return [chunk_id for (chunk_id,) in rows]


@dataclass
class _Narrowing:
    """One question at work."""

    everything: Scope
    chunking_id: int
    languages: Sequence[str]
    notes: list[str] = field(default_factory=list)
    _alive: dict[str, Ids] = field(default_factory=dict)

    def chunks(self, parsed: Parsed) -> Ids:
        postings = self.postings([*parsed.phrases, *parsed.without, *parsed.without_phrases])
        chunks: Ids | None = None
        for text in parsed.phrases:
            candidates = self.may_hold(text, postings)
            if candidates is not None:
                chunks = candidates if chunks is None else _both(chunks, candidates)
        if parsed.filtered:
            chunks = self.of_documents(parsed, chunks)
        elif chunks is None:
            chunks = self.all_there_are()
        chunks = self.holding(parsed.phrases, chunks, postings)
        for text in parsed.without:
            chunks = self.excluding(text, chunks, postings, literally=not _is_word(text, self.languages))
        for text in parsed.without_phrases:
            chunks = self.excluding(text, chunks, postings, literally=True)
        return chunks

    def postings(self, texts: Sequence[str]) -> Postings:
        """Of all terms that the texts need, in whatever language."""
        terms = {
            term for text in texts for language in self.languages or [""] for term in needed(text, language)
        }
        if not terms:
            return Postings(0, 0, (), np.empty(0, np.int32))
        return PostgresLexical(self.chunking_id).postings(sorted(terms), self.everything)

    def may_hold(self, text: str, postings: Postings) -> Ids | None:
        """All chunks that hold the text, and some that hold its terms otherwise; None: it may be any."""
        alive = self._alive or {entry.term: _alive(entry, postings.deleted) for entry in postings.terms}
        self._alive = alive
        found = NOTHING
        for language in self.languages or [""]:
            terms = needed(text, language)
            if not terms:
                return None
            held = [alive.get(term, NOTHING) for term in terms]
            found = _either(found, reduce(_both, sorted(held, key=len)))
        return found

    def all_there_are(self) -> Ids:
        """Every chunk of the scope, off the list that its postings keep."""
        lexical = PostgresLexical(self.chunking_id)
        with pools.asking("words") as connected:
            while True:
                state = lexical.state(connected, self.everything)
                try:
                    found = list(lexical.found(connected, [bm25.EVERY], self.everything, state.segments))
                except Outdated:
                    continue
                there = [_alive(each, state.deleted) for each in found]
                return there[0] if there else NOTHING

    def of_documents(self, parsed: Parsed, among: Ids | None) -> Ids:
        """The chunks of documents that pass the filters."""
        conditions, values = [], self.parameters()
        for number, (condition, value) in enumerate(_conditions(parsed)):
            conditions.append(f" AND {condition.format(f'%(value{number})s')}")
            values[f"value{number}"] = value
        if among is not None:
            conditions.append(" AND chunk.id = ANY(%(among)s)")
            values["among"] = among.astype(np.int32)
        with pools.asking("filters") as connected:
            statement = (PACKED + CHUNKS + "".join(conditions)).encode()
            row = connected.execute(statement, values, binary=True).fetchone()
        packed = row[0] if row and row[0] else b""
        return np.sort(np.frombuffer(packed, ">i4").astype(np.int64))

    def parameters(self) -> dict[str, Any]:
        return {"chunking": self.chunking_id, "collections": np.array(self.everything.collections, np.int64)}

    def holding(self, phrases: Sequence[str], among: Ids, postings: Postings) -> Ids:
        """Those whose title, headings or text hold every phrase."""
        if not phrases:
            return among
        chosen = self.worth_reading(phrases, among, postings)
        if len(chosen) < len(among):
            named = " and ".join(f"“{text}”" for text in phrases)
            self.notes.append(ALL_READ.format(named, len(among), len(chosen)))
        return _reading(chosen, phrases)

    def excluding(self, text: str, chunks: Ids, postings: Postings, *, literally: bool) -> Ids:
        """The chunks without those that hold the text; or, not `literally`, the word in any inflection."""
        candidates = self.may_hold(text, postings)
        if candidates is None and len(chunks) > MOST_READ:
            self.notes.append(NOT_EXCLUDED.format(f"“{text}”"))
            return chunks
        if candidates is None:
            candidates, literally = chunks, True
        else:
            candidates = _both(chunks, candidates)
        if literally:
            candidates = self.holding([text], candidates, postings)
        return chunks[~_is_among(chunks, candidates)]

    def worth_reading(self, phrases: Sequence[str], among: Ids, postings: Postings) -> Ids:
        """All of them, or the best by the terms of the phrases; else the newest."""
        if len(among) <= MOST_READ:
            return among
        terms = {
            term for text in phrases for language in self.languages or [""] for term in needed(text, language)
        }
        best = bm25.rank(postings, sorted(terms), MOST_READ, among).ids
        return np.sort(best) if len(best) else among[-MOST_READ:]


# All of these go by the ids' order: numpy's own set functions sort and make unique what is both already.
def _is_among(ids: Ids, others: NDArray[Any]) -> NDArray[np.bool_]:
    if not len(others):
        return np.zeros(len(ids), np.bool_)
    found: NDArray[np.bool_] = others[np.minimum(np.searchsorted(others, ids), len(others) - 1)] == ids
    return found


def _both(first: Ids, second: Ids) -> Ids:
    return first[_is_among(first, second)]


def _either(first: Ids, second: Ids) -> Ids:
    if not len(first) or not len(second):
        return first if len(first) else second
    return np.sort(np.concatenate([first, second[~_is_among(second, first)]]))


def _alive(entry: TermPostings, deleted: NDArray[np.int32]) -> Ids:
    ids = np.sort(entry.ids).astype(np.int64)
    return ids[~_is_among(ids, deleted)]


def _is_word(text: str, spoken: Sequence[str]) -> bool:
    """Whether the text is a single word, rather than a name of several parts or signs without spaces."""
    terms = [(analyse(text, language), needed(text, language)) for language in spoken or [""]]
    return all(found == must and len(must) <= 1 for found, must in terms)


def _reading(ids: Ids, phrases: Sequence[str]) -> Ids:
    """Those that hold every phrase."""
    wanted = [(words, opening(words)) for words in map(spelled, phrases)]
    found: list[int] = []
    for start in range(0, len(ids), A_BATCH):
        batch = ids[start : start + A_BATCH].astype(np.int32)
        with pools.asking("filters") as connected:
            rows = connected.execute(READ, {"ids": batch}).fetchall()
        found += [
            chunk_id for chunk_id, title, path, text in rows if _holds_all(wanted, [text, title, *path])
        ]
    return np.array(sorted(found), np.int64)


def _holds_all(phrases: Sequence[tuple[list[str], re.Pattern[str] | None]], texts: Sequence[str]) -> bool:
    folded = [fold(text) for text in texts]
    return all(any(_holds(*phrase, text) for text in folded) for phrase in phrases)


def _holds(words: Sequence[str], opening: re.Pattern[str] | None, folded: str) -> bool:
    """Few of the texts that hold the words of a phrase hold them one after the other: those alone are taken apart."""
    return (opening is None or opening.search(folded) is not None) and stands_in(words, spelled_in(folded))


def _conditions(parsed: Parsed) -> Iterable[tuple[str, Any]]:
    """What SQL is to ask of each document, with the place of the value as {}."""
    types: list[Filter] = []
    for each in parsed.filters:
        negation = "NOT " if each.without else ""
        if each.field == "tag":
            yield f"{negation}document.tags @> ARRAY[{{}}]::varchar[]", each.value
        elif each.field == "title":
            title = PLAIN.format("document.title")
            yield f"{negation}strpos({title}, {PLAIN}) > 0", each.value
        elif each.without:
            yield "NOT lower(document.filename) LIKE ANY({})", _endings([each])
        else:
            types.append(each)
    if types:
        yield "lower(document.filename) LIKE ANY({})", _endings(types)
    if parsed.after:
        yield f"{DATED} >= {{}}", _midnight(parsed.after)
    if parsed.before:
        yield f"{DATED} < {{}}", _midnight(parsed.before)


def _endings(filters: Iterable[Filter]) -> list[str]:
    return [f"%{suffix}" for each in filters for suffix in TYPES[each.value]]


def _midnight(day: date) -> datetime:
    return timezone.make_aware(datetime.combine(day, time.min))
