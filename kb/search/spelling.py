"""A word that stands nowhere falls back to the nearest one that the reader may see.

Only terms of collections that the reader sees are looked through, only such as stand in a chunk that is still there
are taken, and what is shown is a word of such a chunk: nothing is told that a search would not tell.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from kb.indexes import pools
from kb.indexes.lexical import PostgresLexical
from kb.search.narrowing import languages
from retrieval.analysis import Variants, analyse, fold, is_unspaced, variants
from retrieval.protocols import Scope
from retrieval.querying import Parsed, with_words
from retrieval.spelling import allowance, edits, nearest, openings

MOST_CORRECTED = 5
"""Words of one question: one with more is in a language that the documents are not."""

MOST_WEIGHED = 8
"""Terms that are equally near, of which the one in most chunks is taken."""

MOST_PER_OPENING = 2_000

_WORD = re.compile(r"[^\W\d_]+")
_ALONE = re.compile(r"\W*([^\W\d_]+)\W*")

SEGMENTS = """
ARRAY(
    SELECT id FROM indexes_segment
    WHERE chunking_id = ANY(%(chunkings)s) AND collection_id = ANY(%(collections)s) AND live
)
"""
KNOWN = f"""
SELECT term FROM unnest(%(terms)s::text[]) AS asked(term) WHERE EXISTS (
    SELECT FROM indexes_postingblock block
    WHERE block.term = asked.term AND block.segment_id = ANY({SEGMENTS})
)
"""  # noqa: S608 (no text of anybody's)
# With a limit in it each opening is one range of the index, whatever the planner thinks of 200 of them.
NEAR = f"""
SELECT DISTINCT term FROM unnest(%(openings)s::text[]) AS asked(opening), LATERAL (
    SELECT block.term FROM indexes_postingblock block
    WHERE block.term >= opening AND block.term < opening || U&'\\FFFF'
        AND block.segment_id = ANY({SEGMENTS}) AND length(block.term) BETWEEN %(least)s AND %(most)s
    LIMIT %(limit)s
) AS near
"""  # noqa: S608
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
    """The question as it is to be searched; the same where nothing was `changed`."""

    parsed: Parsed
    changed: tuple[Correction, ...] = ()


def corrected(parsed: Parsed, collections: Sequence[int], chunking_ids: Sequence[int]) -> Corrections:
    """The question with each word that no visible chunk holds replaced by the nearest that one does.

    `chunking_ids` are those that the collections are searched by. Words of phrases, numbers, names with signs or
    digits in them, and scripts without spaces are left as they are.
    """
    if not collections or not chunking_ids:
        return Corrections(parsed)
    spoken = languages(collections)
    terms = {word: found[0] for word in _candidates(parsed) if len(found := variants(word, spoken)) == 1}
    vocabulary = _Vocabulary(tuple(collections), tuple(chunking_ids))
    known = vocabulary.known({term for found in terms.values() for term in found})
    unknown = [word for word, found in terms.items() if not known & set(found)]
    if not 0 < len(unknown) <= MOST_CORRECTED:
        return Corrections(parsed)
    meant = {word: vocabulary.meant(word, terms[word]) for word in unknown}
    changed = tuple(Correction(word, found) for word, found in meant.items() if found)
    return (
        Corrections(with_words(parsed, _replaced(parsed.words, changed)), changed)
        if changed
        else Corrections(parsed)
    )


def _candidates(parsed: Parsed) -> list[str]:
    """The words of the question that may be misspelt, as they were typed."""
    exact = {fold(word) for text in parsed.phrases for word in _WORD.findall(text)}
    tokens = (_ALONE.fullmatch(token) for token in parsed.words.split())
    words = dict.fromkeys(match[1] for match in tokens if match)
    return [word for word in words if allowance(word) and fold(word) not in exact and not is_unspaced(word)]


def _replaced(words: str, changed: Iterable[Correction]) -> str:
    for each in changed:
        words = re.sub(rf"\b{re.escape(each.typed)}\b", lambda _, meant=each.meant: meant, words)
    return words


@dataclass(frozen=True)
class _Vocabulary:
    """The terms of some collections, as a reader of them may know them."""

    collections: tuple[int, ...]
    chunking_ids: tuple[int, ...]

    def known(self, terms: Iterable[str]) -> set[str]:
        given = {
            "terms": sorted(terms),
            "chunkings": list(self.chunking_ids),
            "collections": list(self.collections),
        }
        if not given["terms"]:
            return set()
        with pools.transaction() as connected:
            return {term for (term,) in connected.execute(KNOWN, given).fetchall()}

    def meant(self, word: str, terms: Variants) -> str:
        """A word of a visible chunk whose term is nearest to one of `terms`; empty if none is near."""
        for term in terms:
            for chunking_id in self.chunking_ids:
                if found := self.standing(nearest(term, self.near(term, chunking_id)), chunking_id):
                    return self.written(*found, word)
        return ""

    def near(self, term: str, chunking_id: int) -> set[str]:
        """All terms that are one edit away, and most that are two."""
        beside = edits(term)
        if allowance(term) == 1:
            return self.known(beside)
        given = {
            "openings": sorted(openings(term)),
            "chunkings": [chunking_id],
            "collections": list(self.collections),
            "least": len(term) - 2,
            "most": len(term) + 2,
            "limit": MOST_PER_OPENING,
        }
        with pools.transaction() as connected:
            return {found for (found,) in connected.execute(NEAR, given).fetchall()}

    def standing(self, terms: Sequence[str], chunking_id: int) -> tuple[str, int] | None:
        """Of the terms the one that most chunks hold which are there, and the oldest of these chunks."""
        if not terms:
            return None
        postings = PostgresLexical(chunking_id).postings(terms[:MOST_WEIGHED], Scope(self.collections))
        alive = {entry.term: np.setdiff1d(entry.ids, postings.deleted) for entry in postings.terms}
        best = min(alive, key=lambda term: (-len(alive[term]), term), default="")
        return (best, int(alive[best].min())) if best and len(alive[best]) else None

    def written(self, term: str, chunk_id: int, typed: str) -> str:
        """The first word of the chunk that has this term; in lower case where that is how was typed."""
        given = {"chunk": chunk_id, "collections": list(self.collections)}
        with pools.transaction() as connected:
            row = connected.execute(TEXT, given).fetchone()
        if row is None:
            return ""
        title, path, text, language = row
        words = (word for each in (title, *path, text) for word in _WORD.findall(each))
        found = next((word for word in words if analyse(word, language) == [term]), "")
        return found.lower() if typed.islower() else found
