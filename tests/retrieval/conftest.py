"""A small corpus in memory, searched by both arms."""

from collections.abc import Iterator
from concurrent.futures import Executor, ThreadPoolExecutor

import pytest

from retrieval.analysis import analyse
from retrieval.embedders.hashing import HashingEmbedder
from retrieval.memory import MemoryDense, MemoryLexical
from retrieval.ranking import Retriever

TEXTS = {
    1: (1, "The index is a graph of vectors, and the graph is an index"),
    2: (1, "Bread is baked from flour"),
    3: (1, "A question is embedded as a vector"),
    4: (2, "The secret index of another collection of vectors"),
}


@pytest.fixture
def executor() -> Iterator[Executor]:
    with ThreadPoolExecutor(2) as executor:
        yield executor


@pytest.fixture
def retriever(executor: Executor) -> Retriever:
    dense, lexical, embedder = MemoryDense(), MemoryLexical(), HashingEmbedder()
    for chunk, (collection, text) in TEXTS.items():
        dense.add(chunk, collection, embedder.embed([text], "document")[0])
        lexical.add(chunk, collection, analyse(text))
    return Retriever(dense, lexical, embedder, weight=0.8, candidates=100, executor=executor)
