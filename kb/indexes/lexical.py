"""Packed postings in Postgres: written a segment at a time, read behind retrieval's `Lexical` protocol."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from django.db import connection
from numpy.typing import NDArray
from psycopg import Connection

from kb.core import pools
from kb.indexes import block_cache
from kb.indexes.models import Segment
from retrieval import bm25
from retrieval.analysis import analyser_hash
from retrieval.protocols import Postings, Scope, TermPostings

# One statement sees one state of the database: which segments there are, what they hold, what is deleted of it.
# Ids come as bytes, of which numpy makes arrays without a step of Python for each.
STATE = """
SELECT string_agg(int8send(id), ''::bytea ORDER BY id), sum(count)::bigint, sum(total_length)::bigint
    FROM indexes_segment WHERE chunking_id = %(chunking)s AND collection_id = ANY(%(collections)s) AND live
UNION ALL
SELECT string_agg(int4send(chunk_id), ''::bytea), -count(*), -sum(length)::bigint
    FROM indexes_tombstone WHERE chunking_id = %(chunking)s AND collection_id = ANY(%(collections)s)
"""
# Few long blocks are sent one by one; many short ones are joined first. Each comes with its segment and its length.
BLOCKS = """
SELECT term, postings, int8send(segment_id), int8send(octet_length(postings)) FROM indexes_postingblock
    WHERE term = ANY(%(terms)s::text[]) AND segment_id = ANY(%(segments)s)
UNION ALL
SELECT NULL, int8send(count(*)), NULL, NULL FROM indexes_segment WHERE id = ANY(%(segments)s)
"""
JOINED_BLOCKS = """
SELECT term, joined.* FROM unnest(%(terms)s::text[]) wanted (term), LATERAL (
    SELECT string_agg(postings, ''::bytea), string_agg(int8send(segment_id), ''::bytea),
        string_agg(int8send(octet_length(postings)), ''::bytea) FROM indexes_postingblock
    WHERE indexes_postingblock.term = wanted.term AND segment_id = ANY(%(segments)s)
) joined
UNION ALL
SELECT NULL, int8send(count(*)), NULL, NULL FROM indexes_segment WHERE id = ANY(%(segments)s)
"""
MOST_SENT_ONE_BY_ONE = 64  # segments


@dataclass(frozen=True)
class State:
    """What a scope held at one moment: `segments` are the ids as int64, big-endian, ascending."""

    segments: bytes
    count: int
    total_length: int
    deleted: NDArray[np.int32]


class Outdated(Exception):
    """A merge has put another segment in the place of one that was to be read."""


@dataclass(frozen=True)
class PostgresLexical:
    """The postings of one chunking."""

    chunking_id: int

    def postings(self, terms: Sequence[str], scope: Scope) -> Postings:
        """Segments never change, so what is read of them later still belongs to the state that was read first;
        where one of them has gone meanwhile, that begins anew."""
        wanted = [term for term in dict.fromkeys(terms) if term != bm25.EVERY]
        with pools.asking("words") as connected:
            while True:
                state = self.state(connected, scope)
                try:
                    found = tuple(self.found(connected, wanted, scope, state.segments))
                except Outdated:
                    continue
                return Postings(state.count, state.total_length, found, state.deleted)

    def state(self, connected: Connection, scope: Scope) -> State:
        given = {"chunking": self.chunking_id, "collections": np.array(scope.collections, np.int64)}
        held, gone = connected.execute(STATE, given, binary=True).fetchall()
        deleted = np.sort(np.frombuffer(gone[0] or b"", ">i4").astype(np.int32))
        return State(
            held[0] or b"", (held[1] or 0) + (gone[1] or 0), (held[2] or 0) + (gone[2] or 0), deleted
        )

    def found(
        self, connected: Connection, terms: Sequence[str], scope: Scope, segments: bytes
    ) -> Iterable[TermPostings]:
        """The postings of each of `terms` in `segments`: what is known of them, and what is read now."""
        if not segments:
            return []
        place = block_cache.place(pools.database(), self.chunking_id, scope.collections)
        known = block_cache.known(place, terms, segments)
        missing = {term: known[term].missing(segments) if term in known else segments for term in terms}
        for part in {part for part in missing.values() if part}:
            these = [term for term, wanted in missing.items() if wanted == part]
            for term, blocks in read(connected, these, np.frombuffer(part, ">i8")).items():
                found = bm25.unpack(term, [block.postings for block in blocks])
                known[term] = block_cache.joined(known.get(term), segments, found, sources(blocks))
        block_cache.keep(place, {term: known[term] for term, part in missing.items() if part})
        return [known[term].postings for term in terms]


class Blocks(NamedTuple):
    """Packed postings of one or several segments; those and their lengths in bytes as int64, big-endian."""

    postings: bytes
    segments: bytes
    lengths: bytes


def sources(blocks: Sequence[Blocks]) -> block_cache.Sources:
    ids, lengths = b"".join(block.segments for block in blocks), b"".join(block.lengths for block in blocks)
    counts = np.frombuffer(lengths, ">i8").astype(np.int64) // bm25.BYTES_PER_POSTING
    return block_cache.Sources(np.frombuffer(ids, ">i8").astype(np.int64), counts)


def read(connected: Connection, terms: Sequence[str], segments: NDArray[np.int64]) -> dict[str, list[Blocks]]:
    """The blocks of each of the (distinct) `terms` in `segments`. Raises Outdated where a segment is gone."""
    statement = BLOCKS if len(segments) <= MOST_SENT_ONE_BY_ONE else JOINED_BLOCKS
    given = {"terms": list(terms), "segments": segments.astype(np.int64)}
    found: dict[str, list[Blocks]] = {term: [] for term in terms}
    there = 0
    for term, block, *of in connected.execute(statement, given, binary=True).fetchall():
        if term is None:
            there = int.from_bytes(block, "big")
        elif block is not None:
            found[term].append(Blocks(block, *of))
    if there != len(segments):
        raise Outdated
    return found


def append(chunking_id: int, collection_id: int, chunks: Iterable[tuple[int, Sequence[str]]]) -> None:
    """Inside the caller's transaction: one new segment with the terms of `chunks` (id, analysed terms)."""
    blocks = bm25.invert(chunks)
    if blocks:
        write(chunking_id, collection_id, blocks, analyser_hash())


def write(
    chunking_id: int,
    collection_id: int,
    blocks: Sequence[tuple[str, bytes]],
    analyser: str,
    *,
    live: bool = True,
) -> Segment:
    """Inside the caller's transaction: a segment of `blocks`, each with its term; that of `EVERY` is among them."""
    every = bm25.unpack(bm25.EVERY, [block for term, block in blocks if term == bm25.EVERY])
    segment = Segment.objects.create(
        chunking_id=chunking_id,
        collection_id=collection_id,
        count=len(every.ids),
        total_length=int(every.lengths.sum()),
        analyser=analyser,
        live=live,
    )
    statement = "COPY indexes_postingblock (segment_id, term, postings) FROM STDIN (FORMAT BINARY)"
    with connection.cursor() as cursor, cursor.copy(statement) as copy:
        copy.set_types(["int8", "text", "bytea"])
        for term, block in blocks:
            copy.write_row((segment.pk, term, block))
    return segment


def bytes_per_chunk(chunking_id: int) -> float:
    """What the blocks of the chunking take for each chunk that they hold, without the table's own overhead."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT sum(length(postings))::float FROM indexes_postingblock "
            "WHERE segment_id IN (SELECT id FROM indexes_segment WHERE chunking_id = %s AND live)",
            [chunking_id],
        )
        (size,) = cursor.fetchone()
        cursor.execute(
            "SELECT sum(count) FROM indexes_segment WHERE chunking_id = %s AND live", [chunking_id]
        )
        (count,) = cursor.fetchone()
    return float(size or 0) / int(count or 1)
