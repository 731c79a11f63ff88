"""Both arms without embedding beside the bare statement, many readers at once, and a scope of many collections."""

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
from django.db import connection
from numpy.typing import NDArray
from pgvector import Vector

from kb.core.models import Collection, Membership
from kb.indexes import block_cache, planning
from kb.indexes.dense import PostgresDense
from kb.indexes.lexical import PostgresLexical
from retrieval import bm25
from retrieval.protocols import Scope
from retrieval.ranking import Hits, Retriever
from tests.benchmarks import clauses, corpus
from tests.benchmarks.loads import READERS, Whole, crowd, side_by_side
from tests.benchmarks.made_up import DEPTH, Made, settle
from tests.benchmarks.words import distinct

COLLECTIONS, VISIBLE = 1000, 900


class OneVector:
    """An embedder that costs nothing: the vectors were made before."""

    def __init__(self, vectors: Mapping[str, NDArray[np.float32]]) -> None:
        self.vectors = vectors

    def embed(self, texts: Sequence[str], kind: str) -> NDArray[np.float32]:
        return np.stack([self.vectors[text] for text in texts])


class Arms:
    """The arms alone and together, for one scope."""

    def __init__(self, made: Made, scope: Scope, executor: ThreadPoolExecutor) -> None:
        self.scope, self.vectors = scope, made.vectors()
        self.dense, self.lexical = PostgresDense(made.version), PostgresLexical(made.version.chunking_id)
        self.retriever = Retriever(self.dense, self.lexical, OneVector(self.vectors), 0.8, DEPTH, executor)

    def by_words(self, question: str) -> Any:
        terms = question.split()
        return bm25.rank(self.lexical.postings(distinct(terms), self.scope), terms, DEPTH)

    def by_meaning(self, question: str) -> Any:
        return self.dense.nearest(self.vectors[question], self.scope, DEPTH)

    def together(self, question: str) -> Hits:
        return self.retriever.search(question, self.scope, 10)

    def both(self, question: str) -> Hits:
        hits = self.together(question)
        if hits.missing or not len(hits):
            raise AssertionError(f"{len(hits)} hits, without {hits.missing}")
        return hits


def bare(made: Made) -> Callable[[str], object]:
    """The statement as anybody would write it, along a list of candidates as long as ours."""
    written = {question: Vector(vector).to_text() for question, vector in made.vectors().items()}
    with connection.cursor() as cursor:
        ef_search = planning.least(DEPTH, made.version.hnsw_ef_search)
        cursor.execute(f"SET hnsw.ef_search = {ef_search}")

    def search(question: str) -> None:
        with connection.cursor() as cursor:
            cursor.execute(
                f"SELECT chunk_id FROM {made.version.table} ORDER BY vector <=> %s::halfvec LIMIT {DEPTH}",
                [written[question]],
            )
            if len(cursor.fetchall()) != DEPTH:
                raise AssertionError("the bare statement brought fewer rows than were asked for")

    return search


def rounds(made: Made) -> dict[str, dict[str, list[float]]]:
    with ThreadPoolExecutor(2 * READERS) as executor:
        arms = Arms(made, made.scope, executor)
        engines = {
            clauses.BARE: bare(made),
            clauses.BY_MEANING: arms.by_meaning,
            clauses.BY_WORDS: arms.by_words,
            clauses.BOTH: arms.both,
        }
        return {clauses.WITHOUT_EMBEDDING: side_by_side(engines, list(arms.vectors))}


def crowded(made: Made) -> tuple[list[float], float, list[str]]:
    """Sixteen readers at once: milliseconds, answers a second, errors."""
    with ThreadPoolExecutor(2 * READERS) as executor:
        arms = Arms(made, made.scope, executor)
        asked = Whole(arms.together, lambda hits: hits.missing)
        taken, seconds = crowd(asked, list(arms.vectors))
    return taken, len(taken) / seconds, asked.errors


# Many collections ---------------------------------------------------------------------------------


def many_collections(made: Made, chunks: int) -> Scope:
    """All chunks spread over many collections, of which the member may read most; the scope of these."""
    corpus.empty(made.version)
    made.ids.clear()
    made.batches.clear()
    collections = Collection.objects.bulk_create(
        Collection(
            name=f"Part {n}", slug=f"part-{n}", owner=made.admin, visibility=Collection.Visibility.MEMBERS
        )
        for n in range(COLLECTIONS)
    )
    visible = collections[:VISIBLE]
    Membership.objects.filter(user=made.member).delete()
    Membership.objects.bulk_create(Membership(collection=each, user=made.member) for each in visible)
    with corpus.without_graph(made.version):
        for each in collections:
            corpus.put_in(made.version, each, made.generator.batch(max(chunks // COLLECTIONS, 1)))
    settle()
    seen = tuple(sorted(Collection.objects.visible_to(made.member).values_list("pk", flat=True)))
    if seen != tuple(sorted(each.pk for each in visible)):
        raise AssertionError("the member sees other collections than those")
    return Scope(seen)


def scattered(made: Made, scope: Scope) -> dict[str, dict[str, list[float]]]:
    with ThreadPoolExecutor(2 * READERS) as executor:
        arms = Arms(made, scope, executor)
        words = {clauses.BY_WORDS: arms.by_words, clauses.BOTH: arms.both}
        engines = words | {clauses.BY_MEANING: arms.by_meaning}
        questions = list(arms.vectors)
        return {
            "blocks cached": side_by_side(engines, questions),
            "nothing cached": side_by_side(words, questions, before=dict.fromkeys(words, block_cache.clear)),
        }
