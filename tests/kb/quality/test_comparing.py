"""Two versions on the same questions: what counts as found, by what they are compared, how the graph is walked."""

import numpy as np
import pytest

from kb.core.models import Collection, User
from kb.documents.models import Chunk, Chunking
from kb.indexes.models import Index, IndexVersion
from kb.indexes.planning import TIES, Graph
from kb.quality.comparing import CUT, Found, compared, mean_overlap, run, share_found, walk
from kb.quality.question_sets import Judged
from retrieval.protocols import Ranked, Scope
from tests.conftest import ingest
from tests.kb.candidates import State, candidate


def ranked(*scores: float) -> Ranked:
    return Ranked(np.arange(len(scores)), np.array(scores))


@pytest.mark.parametrize(
    ("exact", "walked", "expected"),
    [
        ((0.9, 0.8), (0.9, 0.8), 1.0),
        ((0.9, 0.8), (0.9, 0.7), 0.5),
        ((0.9, 0.8), (), 0.0),
        ((0.9, 0.8, 0.8), (0.9, 0.8, 0.8, 0.8), 1.0),  # equal texts: any of them will do
    ],
)
def test_what_is_as_near_as_the_last_is_found(
    exact: tuple[float, ...], walked: tuple[float, ...], expected: float
) -> None:
    assert share_found(ranked(*exact), ranked(*walked)) == expected


def test_the_graph_is_walked_as_a_search_does_however_small_it_is() -> None:
    version = IndexVersion(hnsw_ef_search=100)
    assert walk(version, 1_000_000) == Graph(200, CUT + TIES, 1_000_000)
    assert walk(version, 5) == Graph(200, CUT + TIES, 5)
    assert walk(version, 0) == Graph(200, CUT + TIES, 1)


def test_the_difference_is_the_candidates_less_the_live_ones() -> None:
    questions = [Judged("q", {"a": 1}), Judged("r", {"b": 1})]
    better, worse = Found([["a"], ["b"], ["x"]]), Found([["x", "a"], ["x", "b"], ["x"]])
    found = compared(better, worse, questions)
    assert found is not None
    assert (found.questions, found.ndcg[0], found.recall) == (2, 1.0, (1.0, 1.0))
    assert found.ndcg_difference.mean == pytest.approx(1 - 1 / np.log2(3))
    assert compared(better, worse, []) is None


def test_overlap_is_a_mean_over_the_questions() -> None:
    assert mean_overlap(Found(shown=[[1, 2], [3]]), Found(shown=[[2, 1], [4]])) == 0.5
    assert mean_overlap(Found(), Found()) is None


@pytest.mark.django_db(transaction=True)
def test_versions_that_cut_differently_are_compared_by_documents(
    alice: User, collection: Collection, index: Index
) -> None:
    for word in ("bread", "comets"):
        ingest(alice, collection, f"{word}.txt", f"This tells of {word}.")
    live = index.live_version
    assert live is not None
    other = Chunking.objects.create(settings={"most": 50}, tokenizer_hash="t", analyser_hash="a")
    for chunk in list(Chunk.objects.all()):
        chunk.pk, chunk.chunking = None, other
        chunk.save(force_insert=True)
    version = candidate(index, State.SHADOW, chunking=other)
    mine, theirs = run([version, live], ["bread"], Scope((collection.pk,)))
    assert mine.shown == mine.rankings
    assert set(map(str, mine.shown[0])) == set(map(str, theirs.shown[0]))
    same, again = run([live, live], ["bread"], Scope((collection.pk,)))
    assert all(isinstance(chunk, int) for chunk in same.shown[0])
    assert same.shown == again.shown
    assert min(same.took) > 0
