"""What every store of vectors, store of postings and embedder must do, whatever it is made of.

A test module subclasses a contract and says how its implementation is loaded.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from retrieval import bm25
from retrieval.analysis import analyse
from retrieval.embedders import Embedder
from retrieval.protocols import Dense, Lexical, Postings, Ranked, Scope


def within(*collections: int) -> Scope:
    """All chunks of these collections."""
    return Scope(collections)


@dataclass(frozen=True)
class VectorRow:
    """One chunk of a collection; `vector` has unit length."""

    chunk: int
    collection: int
    vector: NDArray[np.float32]


@dataclass(frozen=True)
class TextRow:
    """One chunk of a collection, to be analysed."""

    chunk: int
    collection: int
    text: str


class DenseContract:
    """Subclasses give `load` and `delete`; vectors have `dimensions`, collections are 1, 2 and 3.

    `tolerance` is how far a cosine may be off, for number formats smaller than float32.
    """

    dimensions = 8
    tolerance = 2e-3

    def load(self, rows: Sequence[VectorRow]) -> Dense:
        raise NotImplementedError

    def delete(self, dense: Dense, chunks: Iterable[int]) -> None:
        raise NotImplementedError

    def fan(self, count: int, collection: int = 1, first: int = 1) -> list[VectorRow]:
        """Vectors turning away from the first axis step by step: chunk `first` is the nearest to it."""
        angles = np.linspace(0.1, 2.8, count)
        rows = np.zeros((count, self.dimensions), np.float32)
        rows[:, 0], rows[:, 1] = np.cos(angles), np.sin(angles)
        return [VectorRow(first + i, collection, row) for i, row in enumerate(rows)]

    @property
    def axis(self) -> NDArray[np.float32]:
        axis = np.zeros(self.dimensions, np.float32)
        axis[0] = 1
        return axis

    def test_the_nearest_come_first_with_their_cosines(self) -> None:
        rows = self.fan(20)
        found = self.load(rows[::-1]).nearest(self.axis, within(1), 5)
        assert found.ids.tolist() == [1, 2, 3, 4, 5]
        np.testing.assert_allclose(found.scores, [row.vector[0] for row in rows[:5]], atol=self.tolerance)

    def test_arrays_have_the_promised_types(self) -> None:
        found = self.load(self.fan(3)).nearest(self.axis, within(1), 3)
        assert [found.ids.dtype.name, found.scores.dtype.name] == ["int64", "float64"]

    def test_negative_cosines_are_found_too(self) -> None:
        found = self.load(self.fan(20)).nearest(-self.axis, within(1), 20)
        assert found.ids.tolist() == list(range(20, 0, -1))
        assert found.scores[0] > 0 > found.scores[-1]

    def test_k_larger_than_the_scope_gives_all_of_it(self) -> None:
        assert len(self.load(self.fan(7)).nearest(self.axis, within(1), 100)) == 7

    @pytest.mark.parametrize("scope", [within(), within(3), within(99)])
    def test_a_scope_without_chunks_gives_nothing(self, scope: Scope) -> None:
        assert len(self.load(self.fan(7)).nearest(self.axis, scope, 10)) == 0

    def test_a_scope_of_some_chunks_finds_no_others(self) -> None:
        dense = self.load([*self.fan(60), *self.fan(3, collection=2, first=101)])
        among = np.array([5, 50, 101], np.int64)
        assert dense.nearest(self.axis, Scope((1,), among), 10).ids.tolist() == [5, 50]
        assert len(dense.nearest(self.axis, Scope((1,), among[:0]), 10)) == 0

    def test_an_empty_store_gives_nothing(self) -> None:
        assert len(self.load([]).nearest(self.axis, within(1), 10)) == 0

    def test_only_the_scope_is_searched_and_it_is_searched_deep_enough(self) -> None:
        dense = self.load([*self.fan(60), *self.fan(10, collection=2, first=101)[5:]])
        assert dense.nearest(self.axis, within(2), 5).ids.tolist() == [106, 107, 108, 109, 110]

    def test_several_collections_are_one_ranking(self) -> None:
        dense = self.load([*self.fan(3, 1, 1), *self.fan(3, 2, 11), *self.fan(3, 3, 21)])
        assert set(dense.nearest(self.axis, within(1, 3), 4).ids.tolist()) == {1, 2, 21, 22}

    def test_deleted_chunks_are_gone_at_once(self) -> None:
        dense = self.load(self.fan(10))
        self.delete(dense, [1, 3, 999])
        assert dense.nearest(self.axis, within(1), 3).ids.tolist() == [2, 4, 5]

    def test_equal_vectors_stand_in_the_order_of_their_ids(self) -> None:
        dense = self.load([VectorRow(chunk, 1, self.axis) for chunk in (5, 9, 2, 7)])
        assert dense.nearest(self.axis, within(1), 10).ids.tolist() == [2, 5, 7, 9]

    def test_the_same_search_twice_gives_the_same(self) -> None:
        dense = self.load(self.fan(50))
        first, second = (dense.nearest(self.axis, within(1), 20) for _ in range(2))
        np.testing.assert_array_equal(first.ids, second.ids)
        np.testing.assert_array_equal(first.scores, second.scores)


ROWS = [
    TextRow(1, 1, "HNSW is a graph index"),
    TextRow(2, 1, "IVFFlat is an index of lists, an index that must be trained"),
    TextRow(3, 1, "A graph walks from neighbour to neighbour; graph after graph"),
    TextRow(4, 2, "The index of collection two: ERR-4012"),
    TextRow(5, 2, "index index index"),
    TextRow(6, 3, "Nothing to see"),
]


class LexicalContract:
    """Subclasses give `load`, which analyses the texts, and `delete`; collections are 1, 2 and 3."""

    def load(self, rows: Sequence[TextRow]) -> Lexical:
        raise NotImplementedError

    def delete(self, lexical: Lexical, chunks: Iterable[int]) -> None:
        raise NotImplementedError

    def search(self, lexical: Lexical, query: str, scope: Scope, k: int = 10) -> Ranked:
        terms = analyse(query)
        return bm25.rank(lexical.postings(list(dict.fromkeys(terms)), scope), terms, k)

    def assert_as_if_alone(self, lexical: Lexical, query: str, scope: Scope, rows: Sequence[TextRow]) -> None:
        """A search of `lexical` gives what it would give if `rows` were all there is."""
        expected = self.search(self.load(rows), query, scope)
        found = self.search(lexical, query, scope)
        assert found.ids.tolist() == expected.ids.tolist()
        np.testing.assert_allclose(found.scores, expected.scores, rtol=1e-12)

    def test_postings_hold_every_occurrence(self) -> None:
        found = self.load(ROWS).postings(["graph", "index"], within(1))
        assert found.count == 3
        assert found.total_length == sum(len(analyse(row.text)) for row in ROWS[:3])
        assert alive(found) == {
            "graph": {1: (1, 3), 3: (3, 6)},
            "index": {1: (1, 3), 2: (2, 6)},
        }

    def test_arrays_have_the_promised_types(self) -> None:
        found = self.load(ROWS).postings(["graph"], within(1))
        types = [a.dtype.name for t in found.terms for a in (t.ids, t.frequencies, t.lengths)]
        assert types == ["int32", "uint16", "int32"]
        assert found.deleted.dtype.name == "int32"

    def test_unknown_terms_are_no_error(self) -> None:
        assert alive(self.load(ROWS).postings(["graph", "zebra"], within(1))).keys() == {"graph"}

    def test_the_best_match_comes_first(self) -> None:
        assert self.search(self.load(ROWS), "graph", within(1)).ids.tolist() == [3, 1]

    def test_identifiers_are_found(self) -> None:
        assert self.search(self.load(ROWS), "err-4012", within(1, 2, 3)).ids.tolist() == [4]

    @pytest.mark.parametrize("scope", [within(), within(3), within(99)])
    def test_a_scope_without_the_term_gives_nothing(self, scope: Scope) -> None:
        assert len(self.search(self.load(ROWS), "index graph", scope)) == 0

    def test_an_empty_store_gives_nothing(self) -> None:
        lexical = self.load([])
        assert lexical.postings(["index"], within(1)).count == 0
        assert len(self.search(lexical, "index", within(1))) == 0

    def test_no_terms_give_the_statistics_alone(self) -> None:
        found = self.load(ROWS).postings([], within(2))
        assert (found.count, found.terms) == (2, ())

    @pytest.mark.parametrize("scope", [within(1), within(2), within(1, 3), within(1, 2, 3)])
    def test_scores_know_nothing_of_collections_out_of_scope(self, scope: Scope) -> None:
        visible = [row for row in ROWS if row.collection in scope.collections]
        self.assert_as_if_alone(self.load(ROWS), "index of the graph", scope, visible)

    def test_scores_know_nothing_of_deleted_chunks(self) -> None:
        lexical = self.load(ROWS)
        self.delete(lexical, [2, 5, 999])
        left = [row for row in ROWS if row.chunk not in (2, 5)]
        self.assert_as_if_alone(lexical, "index of the graph", within(1, 2, 3), left)

    def test_a_scope_whose_chunks_are_all_deleted_gives_nothing(self) -> None:
        lexical = self.load(ROWS)
        self.delete(lexical, [4, 5])
        found = lexical.postings(["index"], within(2))
        assert (found.count, found.total_length) == (0, 0)
        assert len(self.search(lexical, "index", within(2))) == 0

    def test_k_cuts_the_ranking(self) -> None:
        lexical = self.load(ROWS)
        whole, cut = (self.search(lexical, "index graph", within(1, 2), k) for k in (100, 2))
        assert cut.ids.tolist() == whole.ids[:2].tolist()

    def test_equal_chunks_stand_in_the_order_of_their_ids(self) -> None:
        lexical = self.load([TextRow(chunk, 1, "the same words") for chunk in (8, 3, 5)])
        assert self.search(lexical, "words", within(1)).ids.tolist() == [3, 5, 8]

    def test_the_same_search_twice_gives_the_same(self) -> None:
        lexical = self.load(ROWS)
        first, second = (self.search(lexical, "index graph neighbour", within(1, 2)) for _ in range(2))
        np.testing.assert_array_equal(first.ids, second.ids)
        np.testing.assert_array_equal(first.scores, second.scores)


def alive(postings: Postings) -> dict[str, dict[int, tuple[int, int]]]:
    """Term → chunk → (frequency, length), of the chunks that are not deleted."""
    deleted = set(postings.deleted.tolist())
    found = {
        term.term: {
            chunk: (frequency, length)
            for chunk, frequency, length in zip(
                term.ids.tolist(), term.frequencies.tolist(), term.lengths.tolist(), strict=True
            )
            if chunk not in deleted
        }
        for term in postings.terms
    }
    return {term: chunks for term, chunks in found.items() if chunks}


class EmbedderContract:
    """Subclasses give the fixture `embedder`, and `dimensions`.

    `tolerance` is how far a number of a vector may be off, for number formats smaller than float32.
    """

    dimensions = 384
    tolerance = 1e-5

    @pytest.fixture
    def embedder(self) -> Any:
        raise NotImplementedError

    def test_one_row_a_text_of_unit_length(self, embedder: Embedder) -> None:
        vectors = embedder.embed(["One text", "another, longer text", "?"], "document")
        assert (*vectors.shape, vectors.dtype.name) == (3, self.dimensions, "float32")
        np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)

    def test_no_texts_give_no_rows(self, embedder: Embedder) -> None:
        assert len(embedder.embed([], "query")) == 0

    def test_rows_keep_the_order_of_the_texts(self, embedder: Embedder) -> None:
        texts = ["apple pie with cinnamon " * n for n in (1, 9, 3)] + ["quantum tunnelling", "a violin"]
        together = embedder.embed(texts, "document")
        alone = np.concatenate([embedder.embed([text], "document") for text in texts])
        np.testing.assert_allclose(together, alone, atol=self.tolerance)

    def test_what_a_question_is_about_is_nearest(self, embedder: Embedder) -> None:
        documents = [
            "Cats sleep for most of the day.",
            "The database keeps vectors in an index.",
            "Bread is baked from flour, water and salt.",
        ]
        questions = ["Which index holds vectors in the database?", "How is bread baked?", "Do cats sleep?"]
        scores = embedder.embed(questions, "query") @ embedder.embed(documents, "document").T
        assert scores.argmax(axis=1).tolist() == [1, 2, 0]

    def test_a_misspelt_kind_is_refused(self, embedder: Embedder) -> None:
        kind: Any = "passage"
        with pytest.raises(ValueError, match="passage"):
            embedder.embed(["text"], kind)
