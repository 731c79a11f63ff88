"""An explanation adds up to the scores that it explains."""

from dataclasses import replace

import pytest

from retrieval.analysis import analyse
from retrieval.explaining import explanations
from retrieval.fusion import STRATEGIES
from retrieval.ranking import Retriever
from tests.contracts import within


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_the_arms_add_up_to_the_fused_score(retriever: Retriever, strategy: str) -> None:
    hits = replace(retriever, strategy=strategy).search("an index of vectors", within(1))
    found = explanations(hits, [1, 2, 3])
    assert found.keys() == {1, 2, 3}
    for hit in hits:
        why = found[hit.chunk_id]
        arms = [arm for arm in (why.dense, why.lexical) if arm]
        assert sum(arm.gives for arm in arms) == pytest.approx(hit.score) == why.fused
        assert all(arm.gives == pytest.approx(arm.weight * arm.normalised) for arm in arms)
        assert why.strategy == strategy


def test_the_terms_add_up_to_the_lexical_score(retriever: Retriever) -> None:
    hits = retriever.search("index index vectors of bread and stone", within(1))
    for chunk, why in explanations(hits, [1, 2, 3]).items():
        assert why.lexical, chunk
        assert sum(term.score for term in why.terms) == pytest.approx(why.lexical.score)
    terms = {chunk: [t.term for t in why.terms] for chunk, why in explanations(hits, [1, 2, 3]).items()}
    assert terms == {1: ["index", "vector"], 2: ["bread"], 3: ["vector"]}


def test_ranks_are_those_of_the_arms(retriever: Retriever) -> None:
    hits = retriever.search("an index of vectors", within(1))
    found = explanations(hits, [1, 2, 3])
    for arm, name in ((hits.dense, "dense"), (hits.lexical, "lexical")):
        ranks = {chunk: share.rank for chunk, why in found.items() if (share := getattr(why, name))}
        assert ranks == {chunk: rank for rank, chunk in enumerate(arm.ids.tolist(), 1)}


def test_statistics_are_of_the_scope_alone(retriever: Retriever) -> None:
    def terms() -> object:
        return explanations(retriever.search("secret index", within(1)), [1])[1].terms

    before = terms()
    retriever.lexical.add(5, 2, analyse("index index secret"))
    assert terms() == before


def test_what_was_not_found_has_no_explanation(retriever: Retriever) -> None:
    assert explanations(retriever.search("index", within(1)), [4, 99]) == {}


def test_the_sentence_says_it_in_words(retriever: Retriever) -> None:
    found = explanations(retriever.search("index vectors", within(1)), [1, 2])
    assert found[1].sentence == (
        "No. 1 by meaning and no. 1 by words. Each arm's score is divided by its best one; "
        "meaning counts 80%, words 20%."
    )
    assert "not among the 2 best by words" in found[2].sentence
    nothing = explanations(retriever.search("the of", within(1)), [1])[1]
    assert "not looked for by words" in nothing.sentence
    ranks = replace(retriever, strategy="reciprocal_rank").search("index", within(1))
    assert "reciprocal rank fusion" in explanations(ranks, [1])[1].sentence
