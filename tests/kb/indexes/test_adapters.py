"""Postgres keeps the same contracts as memory, and plans the search as we mean it."""

from collections.abc import Iterable, Sequence
from dataclasses import replace

import numpy as np
import pytest
from django.db import connection

from kb.core.models import Collection, User
from kb.documents.models import Chunking
from kb.indexes import embedding_table, lexical, pools
from kb.indexes.dense import PostgresDense
from kb.indexes.embedding_table import Origin
from kb.indexes.lexical import PostgresLexical
from kb.indexes.models import Index, IndexVersion, Tombstone
from retrieval.analysis import analyse
from retrieval.protocols import Dense, Lexical
from tests.contracts import DenseContract, LexicalContract, TextRow, VectorRow, within

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def collections(db: None, index: Index) -> None:
    owner = User.objects.create_user("owner")
    Collection.objects.bulk_create(
        [Collection(pk=number, name=str(number), slug=f"c{number}", owner=owner) for number in (1, 2, 3)]
    )


class TestPostgresDense(DenseContract):
    @pytest.fixture(autouse=True)
    def default(self, index: Index) -> None:
        self.live = index.live_version

    def load(self, rows: Sequence[VectorRow]) -> PostgresDense:
        number = IndexVersion.objects.count() + 1
        version = IndexVersion.objects.create(
            index=self.live.index,
            number=number,
            model=self.live.model,
            chunking=self.live.chunking,
            dimensions=self.dimensions,
            state=IndexVersion.State.RETIRED,
        )
        embedding_table.create(version)
        if rows:
            keys = [(row.chunk, row.collection, b"hash") for row in rows]
            vectors = np.array([row.vector for row in rows], np.float32)
            embedding_table.write(version, keys, vectors, Origin("test", "none", "float32"))
        return PostgresDense(version)

    def delete(self, dense: Dense, chunks: Iterable[int]) -> None:
        assert isinstance(dense, PostgresDense)
        with connection.cursor() as cursor:
            cursor.execute(f"DELETE FROM {dense.version.table} WHERE chunk_id = ANY(%s)", [list(chunks)])

    def test_writing_again_replaces(self) -> None:
        dense = self.load(self.fan(3))
        vectors = -self.axis.reshape(1, -1)
        embedding_table.write(dense.version, [(1, 1, b"new")], vectors, Origin("test", "none", "float32"))
        assert dense.nearest(self.axis, within(1), 3).ids.tolist() == [2, 3, 1]


class TestPostgresLexical(LexicalContract):
    def load(self, rows: Sequence[TextRow]) -> PostgresLexical:
        chunking = Chunking.objects.create(
            settings={"number": Chunking.objects.count()}, tokenizer_hash="t", analyser_hash="a"
        )
        # Several segments to a collection, as several documents make them.
        for row in rows:
            lexical.append(chunking.pk, row.collection, [(row.chunk, analyse(row.text))])
        self.lengths = {row.chunk: (row.collection, len(analyse(row.text))) for row in rows}
        return PostgresLexical(chunking.pk)

    def delete(self, lexical: Lexical, chunks: Iterable[int]) -> None:
        """As the trigger does it for chunk rows; tests of ingestion cover the trigger."""
        assert isinstance(lexical, PostgresLexical)
        for chunk in chunks:
            if chunk in self.lengths:
                collection, length = self.lengths[chunk]
                Tombstone.objects.create(
                    chunk_id=chunk, chunking_id=lexical.chunking_id, collection_id=collection, length=length
                )


@pytest.fixture
def thousands(index: Index) -> PostgresDense:
    """20,000 clustered vectors: collection 1 has most, 2 a tenth, 3 a thousandth."""
    chance = np.random.default_rng(7)
    version = IndexVersion.objects.create(
        index=index,
        number=9,
        model=index.live_version.model,
        chunking=index.live_version.chunking,
        dimensions=64,
        state=IndexVersion.State.RETIRED,
    )
    centres = chance.normal(size=(200, 64))
    vectors = centres[chance.integers(0, 200, 20_000)] + 0.6 * chance.normal(size=(20_000, 64))
    vectors = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)
    shares = np.where(np.arange(20_000) % 1000 == 0, 3, np.where(np.arange(20_000) % 10 == 1, 2, 1))
    embedding_table.create(version)
    for first in range(0, 20_000, 5000):
        keys = [(i + 1, int(shares[i]), b"h") for i in range(first, first + 5000)]
        embedding_table.write(version, keys, vectors[first : first + 5000], Origin("test", "none", "float32"))
    with connection.cursor() as cursor:
        cursor.execute(f"ANALYZE {version.table}")
    self = PostgresDense(version)
    object.__setattr__(self, "vectors", vectors)
    object.__setattr__(self, "shares", shares)
    return self


def test_filtered_search_is_complete_and_precise(thousands: PostgresDense) -> None:
    vectors, shares = thousands.vectors, thousands.shares
    chance = np.random.default_rng(8)
    for scope, least in ((within(1, 2, 3), 0.97), (within(2), 0.95), (within(3), 0.95)):
        mine = np.flatnonzero(np.isin(shares, scope.collections))
        recalls = []
        for near in vectors[chance.integers(0, 20_000, 30)] + 0.05:
            query = (near / np.linalg.norm(near)).astype(np.float32)
            wanted = set((mine[np.argsort(-(vectors[mine] @ query))[:10]] + 1).tolist())
            found = thousands.nearest(query, scope, 10)
            assert len(found) == min(10, len(mine))
            recalls.append(len(wanted & set(found.ids.tolist())) / len(wanted))
        assert np.mean(recalls) >= least, scope


def test_an_unfiltered_search_uses_the_hnsw_index(thousands: PostgresDense) -> None:
    literal = "[" + ",".join(["0.1"] * 64) + "]"
    with pools.transaction() as connected:
        connected.execute("SET LOCAL hnsw.iterative_scan = relaxed_order")
        statement = thousands.statement(within(1, 2, 3)).as_string(connected)
        plan = connected.execute(
            "EXPLAIN " + statement, {"vector": literal, "collections": [1, 2, 3], "k": 10}
        ).fetchall()
    assert f"{thousands.version.table}_hnsw" in "\n".join(row[0] for row in plan)


def test_postgres_and_memory_rank_alike() -> None:
    """Random documents, random deletions: the same scores to the last digit that matters."""
    chance = np.random.default_rng(3)
    words = [f"word{number}" for number in range(60)]
    rows = [
        TextRow(
            chunk, int(chance.integers(1, 4)), " ".join(chance.choice(words, int(chance.integers(3, 40))))
        )
        for chunk in range(1, 120)
    ]
    contract = TestPostgresLexical()
    postgres = contract.load(rows)
    gone = [row.chunk for row in rows if row.chunk % 5 == 0]
    contract.delete(postgres, gone)
    left = contract.load([replace(row) for row in rows if row.chunk not in gone])
    for scope in (within(1), within(2, 3), within(1, 2, 3)):
        first = contract.search(postgres, "word1 word2 word3 word3", scope, 50)
        second = contract.search(left, "word1 word2 word3 word3", scope, 50)
        assert first.ids.tolist() == second.ids.tolist()
        np.testing.assert_allclose(first.scores, second.scores, rtol=1e-9)
