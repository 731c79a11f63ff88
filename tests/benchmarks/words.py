"""The lexical arm beside arithmetic in memory, rank_bm25, bm25s and PostgreSQL's ts_rank."""

from collections.abc import Callable, Sequence
from statistics import fmean
from typing import Any

import bm25s
import numpy as np
from django.db import connection
from rank_bm25 import BM25Okapi

from kb.indexes import block_cache
from kb.indexes.lexical import PostgresLexical
from retrieval import bm25
from retrieval.protocols import Postings
from tests.benchmarks import clauses, corpus
from tests.benchmarks.loads import side_by_side
from tests.benchmarks.made_up import DEPTH, Made

MOST_FOR_RANK_BM25 = 100_000  # chunks: more need more memory and time than is fair to ask for

Search = Callable[[list[str]], Any]


def rounds(made: Made) -> dict[str, dict[str, list[float]]]:
    """Milliseconds by round and engine: each round has our arm in it, so that ratios are of one moment."""
    questions, ours, memory = made.questions(), footnote(made), Memory(made)
    memory.check(questions, ours)
    beside = {clauses.FOOTNOTE: ours, clauses.BM25S: of_bm25s(made), clauses.TS_RANK: ts_rank()}
    if len(made.ids) <= MOST_FOR_RANK_BM25:
        beside[clauses.RANK_BM25] = rank_bm25(made)
    return {
        clauses.NOTHING_CACHED: side_by_side(
            {clauses.FOOTNOTE: ours, clauses.FORMULA: memory.formula, clauses.ARITHMETIC: memory.arithmetic},
            questions,
            before={clauses.FOOTNOTE: block_cache.clear},
        ),
        clauses.BLOCKS_CACHED: side_by_side(
            {clauses.FOOTNOTE: ours, clauses.FORMULA: memory.formula, clauses.ARITHMETIC: memory.arithmetic},
            questions,
        ),
        clauses.OTHER_ENGINES: side_by_side(beside, questions),
    }


def mean_postings(made: Made) -> int:
    """How often the terms of a question occur together, on average."""
    lexical = PostgresLexical(made.version.chunking_id)
    found = [lexical.postings(distinct(terms), made.scope) for terms in made.questions()]
    return round(fmean(sum(len(term.ids) for term in postings.terms) for postings in found))


def footnote(made: Made) -> Search:
    lexical, scope = PostgresLexical(made.version.chunking_id), made.scope
    return lambda terms: bm25.rank(lexical.postings(distinct(terms), scope), terms, DEPTH)


def distinct(terms: Sequence[str]) -> list[str]:
    return list(dict.fromkeys(terms))


class Memory:
    """Ids, frequencies and lengths of each term of the questions held in memory, as arrays by id.

    What is left to do is the arithmetic: weights of today's statistics, their sums, the best of them.
    """

    def __init__(self, made: Made) -> None:
        lexical = PostgresLexical(made.version.chunking_id)
        terms = distinct([term for question in made.questions() for term in question])
        self.all = lexical.postings(terms, made.scope)
        self.terms = {term.term: term for term in self.all.terms}
        self.average = self.all.total_length / self.all.count

    def formula(self, question: list[str]) -> Any:
        """As the formula is written in numpy: the weights of each term, added up by chunk."""
        found = [self.terms[term] for term in distinct(question)]
        weights = []
        for term in found:
            df = len(term.ids)
            idf = np.log(1 + (self.all.count - df + 0.5) / (df + 0.5))
            saturated = term.frequencies + bm25.K1 * (1 - bm25.B + bm25.B * term.lengths / self.average)
            weights.append(question.count(term.term) * idf * (bm25.K1 + 1) * term.frequencies / saturated)
        scores = np.bincount(np.concatenate([term.ids for term in found]), np.concatenate(weights))
        ids = np.flatnonzero(scores)
        return bm25.best(ids, scores[ids], DEPTH)

    def arithmetic(self, question: list[str]) -> Any:
        """Our own code, given the same arrays."""
        found = tuple(self.terms[term] for term in distinct(question))
        postings = Postings(self.all.count, self.all.total_length, found, self.all.deleted)
        return bm25.rank(postings, question, DEPTH)

    def check(self, questions: Sequence[list[str]], ours: Search) -> None:
        """What is compared finds the same, or its times say nothing."""
        for question in questions:
            for other in (self.formula, self.arithmetic):
                if not np.allclose(ours(question).scores, other(question).scores):
                    raise AssertionError(f"another ranking of {question}")


def of_bm25s(made: Made) -> Search:
    model = bm25s.BM25(backend="numba")
    ids = {word: rank for rank, word in enumerate(corpus.vocabulary())}
    model.index((made.ranks(), ids), show_progress=False)
    return lambda terms: model.retrieve([terms], k=DEPTH, show_progress=False)


def rank_bm25(made: Made) -> Search:
    model = BM25Okapi(made.words())
    return lambda terms: np.argsort(-model.get_scores(terms))[:DEPTH]


def ts_rank() -> Search:
    with connection.cursor() as cursor:
        cursor.execute("DROP TABLE IF EXISTS benchmark_words")
        cursor.execute(
            "CREATE TABLE benchmark_words AS SELECT id, to_tsvector('simple', text) AS words FROM documents_chunk"
        )
        cursor.execute("CREATE INDEX ON benchmark_words USING gin (words)")
        cursor.execute("VACUUM ANALYZE benchmark_words")

    def search(terms: list[str]) -> Any:
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT id, ts_rank(words, query) FROM benchmark_words, to_tsquery('simple', %s) query "
                "WHERE words @@ query ORDER BY 2 DESC LIMIT %s",
                [" | ".join(terms), DEPTH],
            )
            return cursor.fetchall()

    return search
