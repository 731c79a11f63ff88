"""Which words of a passage a claim rests on."""

import pytest

from retrieval.answering.quoting import supporting_span

TEXT = (
    "HNSW is a graph. Its ef_search defaults to 40. A larger value finds more, more slowly. It uses memory."
)


@pytest.mark.parametrize(
    ("claim", "quote"),
    [
        ("The default of ef_search is 40", "Its ef_search defaults to 40."),
        ("A graph called HNSW", "HNSW is a graph."),
        ("ef_search defaults to 40; a larger value finds more but slowly", TEXT[17:86]),
        ("Memory use", "It uses memory."),
        ("Der Graph braucht Speicher", TEXT),
        ("Bananas are yellow and sweet", TEXT),
        ("", TEXT),
        ("is it", TEXT),
    ],
)
def test_finds_the_sentences_that_support(claim: str, quote: str) -> None:
    start, end = supporting_span(claim, TEXT)
    assert TEXT[start:end] == quote


def test_an_empty_text_is_its_own_span() -> None:
    assert supporting_span("A claim", "") == (0, 0)
