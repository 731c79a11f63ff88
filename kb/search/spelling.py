"""A word that stands nowhere falls back to the nearest one that the reader may see.

Only terms of collections that the reader sees are taken, of these only such as stand in a chunk that is still there,
and what is shown is a word of such a chunk: nothing is told that a search would not tell.
"""

import re
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from psycopg import Connection

from kb.core import pools
from kb.indexes.lexical import PostgresLexical
from retrieval.analysis import Variants, analyse, fold, is_unspaced, variants
from retrieval.protocols import Postings, Scope
from retrieval.querying import Parsed, with_words
from retrieval.spelling import allowance, edits, nearest, openings, within
from retrieval.variants import name

MOST_CORRECTED = 5
"""Words of one question: one with more is in a language that the documents are not."""

MOST_WEIGHED = 24
"""Terms that are equally near, of which the one in most chunks is taken."""

MOST_PER_OPENING = 2_000

_WORD = re.compile(r"[^\W\d_]+")
# Letters alone, or parts of letters joined by hyphens and apostrophes, each of which is a word of its own.
_ALONE = re.compile(r"\W*([^\W\d_]+(?:[-‐’'][^\W\d_]+)*)\W*")

SEGMENTS = """
ARRAY(
    SELECT id FROM indexes_segment
    WHERE chunking_id = ANY(%(chunkings)s) AND collection_id = ANY(%(collections)s) AND live
)
"""
# With a limit in it each term is one look at the index, whatever the planner thinks of hundreds of them.
KNOWN = f"""
SELECT asked.term FROM unnest(%(terms)s::text[]) AS asked(term), LATERAL (
    SELECT FROM indexes_postingblock block
    WHERE block.term = asked.term AND block.segment_id = ANY({SEGMENTS}) LIMIT 1
) AS there
"""  # noqa: S608 (no text of anybody's)
# The same, and a row without a term where something is deleted, whose postings may still be there.
KNOWN_OR_DELETED = f"""
{KNOWN}
UNION ALL SELECT NULL WHERE EXISTS (
    SELECT FROM indexes_tombstone
    WHERE chunking_id = ANY(%(chunkings)s) AND collection_id = ANY(%(collections)s)
)
"""  # noqa: S608 (no text of anybody's)
# Each term of an opening is one look at the index as well, however many blocks it has (a loose index scan), whosesoever
# they are. They come in the order of the alphabet: a limit always leaves the same.
NEAR = """
WITH RECURSIVE walked(opening, term, place) AS (
    SELECT opening, opening, 0 FROM unnest(%(openings)s::text[]) AS asked(opening)
    UNION ALL
    SELECT opening, following.term, place + 1 FROM walked, LATERAL (
        SELECT block.term FROM indexes_postingblock block
        WHERE block.term > walked.term AND block.term < opening || U&'\\FFFF' ORDER BY block.term LIMIT 1
    ) AS following WHERE place < %(limit)s
)
SELECT DISTINCT term FROM walked WHERE place > 0 AND length(term) BETWEEN %(least)s AND %(most)s
"""
TEXT = """
SELECT document.title, chunk.heading_path, chunk.text, revision.language
FROM documents_chunk chunk JOIN documents_document document ON document.id = chunk.document_id
JOIN documents_documentrevision revision ON revision.id = chunk.revision_id
WHERE chunk.id = %(chunk)s AND chunk.collection_id = ANY(%(collections)s)
"""


@dataclass(frozen=True)
class Correction:
    """A word as it was typed, and the one that is searched instead."""

    typed: str
    meant: str


@dataclass(frozen=True)
class Corrections:
    """The question as it is to be searched; the same where nothing was `changed`. `note`: what could not be done."""

    parsed: Parsed
    changed: tuple[Correction, ...] = ()
    note: str = ""


def doubtful(parsed: Parsed, spoken: Sequence[str], held: Container[str]) -> bool:
    """Whether `corrected` may change something, where the words in `held`, each by the name of its postings, were found
    in a chunk that is there."""
    return any(name(found) not in held for found in _terms(parsed, spoken).values())


def corrected(
    parsed: Parsed, collections: Sequence[int], chunking_ids: Sequence[int], spoken: Sequence[str]
) -> Corrections:
    """The question with each word that no visible chunk holds replaced by the nearest that one does.

    `chunking_ids` are those that the collections are searched by, `spoken` are their languages. What hyphens and
    apostrophes join are several words. Words of phrases, numbers, names with other signs or digits in them, and
    scripts without spaces are left as they are.
    """
    if not collections or not chunking_ids:
        return Corrections(parsed)
    terms = _terms(parsed, spoken)
    vocabulary = _Vocabulary(tuple(collections), tuple(chunking_ids))
    unknown = vocabulary.unknown(terms)
    if not 0 < len(unknown) <= MOST_CORRECTED:
        return Corrections(parsed)
    changed = tuple(Correction(word, meant) for word, meant in vocabulary.meant(unknown).items())
    if not changed:
        return Corrections(parsed)
    return Corrections(with_words(parsed, _replaced(parsed.words, changed)), changed)


def _terms(parsed: Parsed, spoken: Sequence[str]) -> dict[str, Variants]:
    """By the words of the question that may be misspelt, what finds each of them."""
    return {word: found[0] for word in _candidates(parsed) if len(found := variants(word, spoken)) == 1}


def _candidates(parsed: Parsed) -> list[str]:
    """The words of the question that may be misspelt, as they were typed."""
    exact = {fold(word) for text in parsed.phrases for word in _WORD.findall(text)}
    tokens = (_ALONE.fullmatch(token) for token in parsed.words.split())
    words = dict.fromkeys(word for match in tokens if match for word in _WORD.findall(match[1]))
    return [word for word in words if allowance(word) and fold(word) not in exact and not is_unspaced(word)]


def _replaced(words: str, changed: Iterable[Correction]) -> str:
    for each in changed:
        words = re.sub(rf"\b{re.escape(each.typed)}\b", each.meant, words)  # letters alone: no reference
    return words


@dataclass(frozen=True)
class _Standing:
    """A term, how many chunks hold it, and the oldest of them."""

    term: str
    count: int
    chunk_id: int


@dataclass(frozen=True)
class _Vocabulary:
    """The terms of some collections, as a reader of them may know them."""

    collections: tuple[int, ...]
    chunking_ids: tuple[int, ...]

    @property
    def place(self) -> dict[str, object]:
        return {
            "chunkings": list(self.chunking_ids),
            "collections": np.array(self.collections, np.int64),
        }

    def unknown(self, words: Mapping[str, Variants]) -> dict[str, Variants]:
        """Those of the words none of whose terms stands in a chunk that is there."""
        terms = {term for found in words.values() for term in found}
        if not terms:
            return {}
        with pools.asking("aside") as connected:
            rows = connected.execute(KNOWN_OR_DELETED, {**self.place, "terms": sorted(terms)}).fetchall()
        known = {term for (term,) in rows if term is not None}
        if len(known) < len(rows):
            known = self.alive(known)
        return {word: found for word, found in words.items() if not known & set(found)}

    def meant(self, unknown: Mapping[str, Variants]) -> dict[str, str]:
        """For each word the one of a visible chunk whose term is nearest, if any is near."""
        with pools.asking("aside") as connected:
            near = {word: self.near(connected, terms)[:MOST_WEIGHED] for word, terms in unknown.items()}
        standing = self.standing({term for terms in near.values() for term in terms})
        found = {}
        with pools.asking("aside") as connected:
            for word, terms in near.items():
                best = min((standing[term] for term in terms if term in standing), key=_by_use, default=None)
                if best and (meant := self.written(connected, best, word)):
                    found[word] = meant
        return found

    def known(self, connected: Connection, terms: Iterable[str]) -> set[str]:
        rows = connected.execute(KNOWN, {**self.place, "terms": sorted(terms)}).fetchall()
        return {term for (term,) in rows}

    def near(self, connected: Connection, terms: Variants) -> list[str]:
        """The nearest to the first of `terms` that has any: of those one edit away, and most of those two."""
        for term in terms:
            if allowance(term) > 1:
                given = {"openings": sorted(openings(term)), "limit": MOST_PER_OPENING}
                lengths = {"least": len(term) - allowance(term), "most": len(term) + allowance(term)}
                rows = connected.execute(NEAR, {**given, **lengths}).fetchall()
                beside = self.known(connected, within(term, (found for (found,) in rows)))
            else:
                beside = self.known(connected, edits(term)) if allowance(term) else set()
            # Itself is there only where the chunks that held it are gone.
            if found := nearest(term, beside - set(terms)):
                return found
        return []

    def alive(self, terms: set[str]) -> set[str]:
        """Those of the terms that some chunk holds which is there."""
        return {term for postings in self.postings(terms) for term in postings.alive()}

    def standing(self, terms: set[str]) -> dict[str, _Standing]:
        """Those of the terms that some chunk holds which is there."""
        found: dict[str, _Standing] = {}
        for postings in self.postings(terms):
            for entry in postings.terms:
                alive = entry.ids[~np.isin(entry.ids, postings.deleted)]
                if len(alive) and entry.term not in found:
                    found[entry.term] = _Standing(entry.term, len(alive), int(alive.min()))
        return found

    def postings(self, terms: set[str]) -> Iterator[Postings]:
        """Of each chunking; what the search by words is about to read as well, and finds in the cache then."""
        for chunking_id in self.chunking_ids if terms else ():
            yield PostgresLexical(chunking_id).postings(sorted(terms), Scope(self.collections))

    def written(self, connected: Connection, standing: _Standing, typed: str) -> str:
        """The first word of the chunk that has the term; in lower case where that is how was typed."""
        row = connected.execute(TEXT, {**self.place, "chunk": standing.chunk_id}).fetchone()
        if row is None:
            return ""
        title, path, text, language = row
        words = (word for each in (title, *path, text) for word in _WORD.findall(each))
        found: str = next((word for word in words if analyse(word, language) == [standing.term]), "")
        return found.lower() if typed.islower() else found


def _by_use(standing: _Standing) -> tuple[int, str]:
    return -standing.count, standing.term
