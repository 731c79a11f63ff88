"""The stores in memory keep the contracts."""

from collections.abc import Iterable, Sequence

from retrieval.analysis import analyse
from retrieval.memory import MemoryDense, MemoryLexical
from retrieval.protocols import Dense, Lexical
from tests.contracts import DenseContract, LexicalContract, TextRow, VectorRow, within


class TestMemoryDense(DenseContract):
    tolerance = 1e-6

    def load(self, rows: Sequence[VectorRow]) -> MemoryDense:
        dense = MemoryDense()
        for row in rows:
            dense.add(row.chunk, row.collection, row.vector)
        return dense

    def delete(self, dense: Dense, chunks: Iterable[int]) -> None:
        assert isinstance(dense, MemoryDense)
        dense.delete(chunks)

    def test_adding_again_replaces(self) -> None:
        dense = self.load(self.fan(3))
        dense.add(1, 2, -self.axis)
        assert dense.nearest(self.axis, within(1), 10).ids.tolist() == [2, 3]


class TestMemoryLexical(LexicalContract):
    def load(self, rows: Sequence[TextRow]) -> MemoryLexical:
        lexical = MemoryLexical()
        for row in rows:
            lexical.add(row.chunk, row.collection, analyse(row.text))
        return lexical

    def delete(self, lexical: Lexical, chunks: Iterable[int]) -> None:
        assert isinstance(lexical, MemoryLexical)
        lexical.delete(chunks)

    def test_adding_again_replaces(self) -> None:
        lexical = self.load([TextRow(1, 1, "old words")])
        lexical.add(1, 1, ["new"])
        assert self.search(lexical, "old", within(1)).ids.tolist() == []
        assert self.search(lexical, "new", within(1)).ids.tolist() == [1]
