"""Packed postings in Postgres: written a segment at a time, read behind retrieval's `Lexical` protocol."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from django.db import connection

from kb.indexes import pools
from kb.indexes.models import Segment
from retrieval import bm25
from retrieval.protocols import Postings, Scope

# One statement sees one state of the database: no deletion falls between blocks and tombstones.
READ = """
SELECT term, array_agg(postings ORDER BY segment_id), NULL::bigint, NULL::bigint, NULL::integer[]
    FROM indexes_postingblock
    WHERE chunking_id = %(chunking)s AND term = ANY(%(terms)s) AND collection_id = ANY(%(scope)s) GROUP BY term
UNION ALL
SELECT NULL, NULL, sum(count), sum(total_length), NULL
    FROM indexes_segment WHERE chunking_id = %(chunking)s AND collection_id = ANY(%(scope)s)
UNION ALL
SELECT NULL, NULL, -count(*), -sum(length), array_agg(chunk_id ORDER BY chunk_id)
    FROM indexes_tombstone WHERE chunking_id = %(chunking)s AND collection_id = ANY(%(scope)s)
"""


@dataclass(frozen=True)
class PostgresLexical:
    """The postings of one chunking."""

    chunking_id: int

    def postings(self, terms: Sequence[str], scope: Scope) -> Postings:
        with pools.transaction() as connected:
            parameters = {
                "chunking": self.chunking_id,
                "terms": list(terms),
                "scope": list(scope.collections),
            }
            rows = connected.execute(READ, parameters, binary=True).fetchall()
        return Postings(
            count=sum(int(row[2] or 0) for row in rows),
            total_length=sum(int(row[3] or 0) for row in rows),
            terms=tuple(bm25.unpack(row[0], row[1]) for row in rows if row[0] is not None),
            deleted=np.array(next((row[4] for row in rows if row[4]), []), np.int32),
        )


def append(chunking_id: int, collection_id: int, chunks: Iterable[tuple[int, Sequence[str]]]) -> None:
    """Inside the caller's transaction: one new segment with the terms of `chunks` (id, analysed terms)."""
    postings: dict[str, list[tuple[int, int, int]]] = defaultdict(list)
    count = total_length = 0
    for chunk_id, terms in chunks:
        count, total_length = count + 1, total_length + len(terms)
        for term, frequency in Counter(terms).items():
            postings[term].append((chunk_id, frequency, len(terms)))
    if not count:
        return
    segment = Segment.objects.create(
        chunking_id=chunking_id, collection_id=collection_id, count=count, total_length=total_length
    )
    statement = (
        "COPY indexes_postingblock (segment_id, chunking_id, collection_id, term, postings) FROM STDIN"
    )
    with connection.cursor() as cursor, cursor.copy(statement) as copy:
        for term, found in sorted(postings.items()):
            copy.write_row(
                (segment.pk, chunking_id, collection_id, term, bm25.pack(*zip(*found, strict=True)))
            )
