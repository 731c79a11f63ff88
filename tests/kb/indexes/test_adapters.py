"""Postgres keeps the same contracts as memory, and plans the search as we mean it."""

from collections.abc import Iterable, Sequence
from dataclasses import replace

import numpy as np
import pytest
from django.db import connection

from kb.core.models import Collection, User
from kb.documents.models import Chunking
from kb.indexes import embedding_table, lexical
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
