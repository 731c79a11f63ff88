"""Searching beside other engines, in one run: `make bench-search`.

Prints tables of times and ratios and writes them to var/bench/search.json. On made-up corpora of growing size (see
tests.benchmarks.corpus) in a site of its own: the lexical arm beside the same arithmetic over arrays in memory,
rank_bm25, bm25s and PostgreSQL's ts_rank; the dense arm beside the bare statement; both together; through the API;
many readers at once; while documents are put in; in a thousand collections. Then SciFact end to end beside txtai and
Haystack, and the embedding of one question. Times are milliseconds of this machine; what counts is their ratios.
"""

import argparse
import json
import os
import platform
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import django

from kb.core.embedded import layout
from retrieval.beir import read_beir
from retrieval.embedders.local import default_directory
from tests.benchmarks.loads import READERS, Api, crowd, figures, milliseconds, open_loop, say, site
from tests.live import Site
from tests.places import ROOT, shared_data

RESULT = ROOT / "var" / "bench" / "search.json"
SIZES = (10_000, 100_000, 300_000)
DEPTH = 100  # candidates of each arm
QUESTIONS = 60
COLLECTIONS, VISIBLE = 1000, 900


# Measuring ----------------------------------------------------------------------------------------


def side_by_side(
    engines: dict[str, Callable[[Any], object]], questions: Sequence[Any]
) -> dict[str, list[float]]:
    """The times of each engine on the same questions, in turns, so that what disturbs one disturbs all."""
    for search in engines.values():
        for question in questions[:5]:
            search(question)
    times: dict[str, list[float]] = {name: [] for name in engines}
    for question in questions:
        for name, search in engines.items():
            times[name].append(milliseconds(lambda: search(question)))  # noqa: B023  # called at once
    return times


# A site, filled -----------------------------------------------------------------------------------


class Made:
    """The made-up corpus in the site, and the same in arrays and lists for the others."""

    def __init__(self) -> None:
        from kb.core.models import Collection, User
        from kb.indexes.models import IndexVersion
        from tests.benchmarks.corpus import Generator

        self.version = IndexVersion.objects.maintained().select_related("model").get()
        admin = User.objects.get(username="admin")
        self.collection = Collection.objects.create(name="Made up", slug="made-up", owner=admin)
        self.generator = Generator(self.version.dimensions)
        self.ids: list[int] = []
        self.words: list[list[str]] = []

    def grow(self, size: int) -> None:
        """Puts batches in until there are `size` chunks; what is done in the background is done at once."""
        from kb.indexes import merging
        from tests.benchmarks import corpus

        with corpus.without_graph(self.version):
            while len(self.ids) < size:
                batch = self.generator.batch(min(corpus.BATCH, size - len(self.ids)))
                self.ids += corpus.put_in(self.version, self.collection, batch)
                self.words += batch.words()
        merging.merge_all()
        analyse()

    def bytes_per_chunk(self) -> dict[str, float]:
        from django.db import connection

        tables = {"words": "indexes_postingblock", "vectors": self.version.table}
        with connection.cursor() as cursor:
            found = {}
            for what, name in tables.items():
                cursor.execute("SELECT pg_total_relation_size(%s)", [name])
                found[what] = cursor.fetchone()[0] / len(self.ids)
        return found

    def questions(self) -> list[list[str]]:
        return [self.generator.question() for _ in range(QUESTIONS)]


def analyse() -> None:
    from django.db import connection

    with connection.cursor() as cursor:
        cursor.execute("VACUUM ANALYZE")


# Words --------------------------------------------------------------------------------------------


def postgres_words(made: Made) -> Callable[[list[str]], object]:
    from kb.indexes.lexical import PostgresLexical
    from retrieval import bm25
    from retrieval.protocols import Scope

    lexical, scope = PostgresLexical(made.version.chunking_id), Scope((made.collection.pk,))
    return lambda terms: bm25.rank(lexical.postings(terms, scope), terms, DEPTH)


class Arrays:
    """The postings of the corpus held in memory as arrays, by word; all of its chunks have one length."""

    def __init__(self, made: Made) -> None:
        import numpy as np

        self.ids, self.length = np.array(made.ids, np.int32), len(made.words[0])
        self.words = {
            word: (np.array(ids, np.int32), np.array(times, np.uint16))
            for word, (ids, times) in inverted(made).items()
        }

    def textbook(self, question: list[str]) -> object:
        """BM25 by its formula in numpy: a score for every chunk, of which the best are picked."""
        import numpy as np

        scores = np.zeros(len(self.ids))
        for word in dict.fromkeys(question):
            if word not in self.words:
                continue
            ids, times = self.words[word]
            idf = np.log(1 + (len(self.ids) - len(ids) + 0.5) / (len(ids) + 0.5))
            lengths = np.full(len(ids), self.length)
            weights = times * 2.2 / (times + 1.2 * (0.25 + 0.75 * lengths / self.length))
            scores[np.searchsorted(self.ids, ids)] += idf * weights
        best = np.argpartition(scores, -DEPTH)[-DEPTH:]
        return self.ids[best[np.argsort(-scores[best])]]

    def ours(self, question: list[str]) -> object:
        import numpy as np

        from retrieval import bm25
        from retrieval.protocols import Postings, TermPostings

        count = len(self.ids)
        given = tuple(
            TermPostings(word, ids, times, np.full(len(ids), self.length, np.int32))
            for word in dict.fromkeys(question)
            if word in self.words
            for ids, times in [self.words[word]]
        )
        postings = Postings(count, count * self.length, given, np.empty(0, np.int32))
        return bm25.rank(postings, question, DEPTH)


def inverted(made: Made) -> dict[str, tuple[list[int], list[int]]]:
    """For each word the chunks that have it, and how often."""
    found: dict[str, tuple[list[int], list[int]]] = {}
    for chunk, words in zip(made.ids, made.words, strict=True):
        counts: dict[str, int] = {}
        for word in words:
            counts[word] = counts.get(word, 0) + 1
        for word, times in counts.items():
            ids, frequencies = found.setdefault(word, ([], []))
            ids.append(chunk)
            frequencies.append(times)
    return found


def rank_bm25(made: Made) -> Callable[[list[str]], object]:
    import numpy as np
    from rank_bm25 import BM25Okapi

    model = BM25Okapi(made.words)
    return lambda terms: np.argsort(-model.get_scores(terms))[:DEPTH]


def bm25s(made: Made) -> Callable[[list[str]], object]:
    import bm25s as package

    model = package.BM25(backend="numba")
    model.index(made.words, show_progress=False)
    return lambda terms: model.retrieve([terms], k=DEPTH, show_progress=False)


def ts_rank(made: Made) -> Callable[[list[str]], object]:
    from django.db import connection

    with connection.cursor() as cursor:
        cursor.execute("DROP TABLE IF EXISTS benchmark_words")
        cursor.execute(
            "CREATE TABLE benchmark_words AS SELECT id, to_tsvector('simple', text) AS words FROM documents_chunk"
        )
        cursor.execute("CREATE INDEX ON benchmark_words USING gin (words)")
        cursor.execute("ANALYZE benchmark_words")

    def search(terms: list[str]) -> object:
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT id, ts_rank(words, query) FROM benchmark_words, to_tsquery('simple', %s) query "
                "WHERE words @@ query ORDER BY 2 DESC LIMIT %s",
                [" | ".join(terms), DEPTH],
            )
            return cursor.fetchall()

    return search


def words(made: Made) -> dict[str, Any]:
    """The lexical arm beside the others, on the corpus as large as it is now."""
    from kb.indexes import block_cache

    arrays, footnote = Arrays(made), postgres_words(made)
    questions = made.questions()

    def from_the_database(question: list[str]) -> object:
        block_cache.clear()
        return footnote(question)

    times = side_by_side({"footnote, nothing cached": from_the_database}, questions)
    times |= side_by_side(
        {
            "footnote, blocks cached": footnote,
            "arrays in memory, the formula in numpy": arrays.textbook,
            "arrays in memory, our arithmetic": arrays.ours,
        },
        questions,
    )
    times |= side_by_side({"bm25s": bm25s(made), "ts_rank": ts_rank(made)}, questions[:20])
    if len(made.ids) <= 100_000:  # beyond it needs more memory than is fair to ask for
        times |= side_by_side({"rank_bm25": rank_bm25(made)}, questions[:6])
    return {name: figures(taken) for name, taken in times.items()}


# Vectors, both, and the whole way -----------------------------------------------------------------


class OneVector:
    """An embedder that costs nothing: the vectors were made before."""

    def __init__(self, vectors: dict[str, Any]) -> None:
        self.vectors = vectors

    def embed(self, texts: Sequence[str], kind: str) -> Any:
        import numpy as np

        return np.stack([self.vectors[text] for text in texts])


def both(made: Made) -> dict[str, Any]:
    """Raw statement, dense arm, lexical arm, and both without embedding, on the same questions in turns."""
    from django.db import connection
    from pgvector import Vector

    from kb.indexes.dense import PostgresDense
    from kb.indexes.lexical import PostgresLexical
    from retrieval.protocols import Scope
    from retrieval.ranking import Retriever

    questions = [" ".join(terms) for terms in made.questions()]
    vectors = dict(zip(questions, made.generator.vectors(len(questions)), strict=True))
    scope, dense, lexical = Scope((made.collection.pk,)), PostgresDense(made.version), postgres_words(made)

    def raw(question: str) -> object:
        with connection.cursor() as cursor:
            cursor.execute(
                f"SELECT chunk_id FROM {made.version.table} ORDER BY vector <=> %s::halfvec LIMIT {DEPTH}",
                [Vector(vectors[question]).to_text()],
            )
            return cursor.fetchall()

    with ThreadPoolExecutor(2 * READERS) as executor:
        retriever = Retriever(
            dense, PostgresLexical(made.version.chunking_id), OneVector(vectors), 0.8, DEPTH, executor
        )
        engines = {
            "raw statement": raw,
            "dense": lambda question: dense.nearest(vectors[question], scope, DEPTH),
            "lexical": lambda question: lexical(question.split()),
            "hybrid": lambda question: retriever.search(question, scope, 10),
        }
        times = side_by_side(engines, questions)
        taken, seconds = crowd(engines["hybrid"], questions)
    return {name: figures(taken) for name, taken in times.items()} | {
        f"hybrid, {READERS} readers": figures(taken) | {"a second": round(len(taken) / seconds, 1)}
    }


def through_the_api(made: Made, api: Api) -> dict[str, Any]:
    """The same questions again and again, so that their vectors are cached."""
    questions = [" ".join(terms) for terms in made.questions()]
    times = side_by_side({"first": api.search}, questions) | side_by_side({"cached": api.search}, questions)
    return {name: figures(taken) for name, taken in times.items()}


def while_putting_in(made: Made, api: Api, running: Site) -> dict[str, Any]:
    """An open loop of searches at a fifth of what the site can do, idle and while 5,000 chunks are put in."""

    questions = [" ".join(terms) for terms in made.questions()]
    taken, seconds = crowd(api.search, questions)
    pause = seconds / len(taken) * 5

    def ask(number: int) -> object:
        return api.search(questions[number % len(questions)])

    idle = open_loop(ask, pause, lambda: time.sleep(20))
    folder = Path(tempfile.mkdtemp(dir=running.home))
    for number in range(50):
        text = " ".join(word for words in made.generator.batch(100).words() for word in words)
        (folder / f"{number}.txt").write_text(text)
    waits: list[str] = []

    def put_in() -> None:
        watch(running, waits, lambda: running.manage("ingest", str(folder), "--wait", seconds=1800))

    busy = open_loop(ask, pause, put_in)
    return {"idle": figures(idle), "putting in": figures(busy), "locks waited for": len(waits)}


def watch(running: Site, waits: list[str], work: Callable[[], object]) -> None:
    """Notes each search statement that is seen to wait for a lock while `work` goes on."""
    over = threading.Event()

    def look() -> None:
        while not over.wait(0.05):
            found = running.sql(
                "SELECT query FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query ILIKE 'select%%'"
            )
            waits.extend(query for (query,) in found)

    watcher = threading.Thread(target=look)
    watcher.start()
    try:
        work()
    finally:
        over.set()
        watcher.join()


def many_collections(made: Made, chunks: int) -> dict[str, Any]:
    """All chunks spread over many collections, of which the reader sees most."""
    from kb.core.models import Collection, User
    from kb.indexes import merging
    from tests.benchmarks import corpus

    corpus.empty(made.version)
    admin = User.objects.get(username="admin")
    collections = Collection.objects.bulk_create(
        Collection(name=f"Part {n}", slug=f"part-{n}", owner=admin) for n in range(COLLECTIONS)
    )
    with corpus.without_graph(made.version):
        for collection in collections:
            corpus.put_in(made.version, collection, made.generator.batch(chunks // COLLECTIONS))
    merging.merge_all()
    analyse()
    return seen(made, tuple(collection.pk for collection in collections[:VISIBLE]))


def seen(made: Made, collections: tuple[int, ...]) -> dict[str, Any]:
    from kb.indexes.dense import PostgresDense
    from kb.indexes.lexical import PostgresLexical
    from retrieval import bm25
    from retrieval.protocols import Scope

    scope, dense, lexical = (
        Scope(collections),
        PostgresDense(made.version),
        PostgresLexical(made.version.chunking_id),
    )
    questions = [(terms, made.generator.vectors(1)[0]) for terms in made.questions()]
    engines = {
        "lexical": lambda asked: bm25.rank(lexical.postings(asked[0], scope), asked[0], DEPTH),
        "dense": lambda asked: dense.nearest(asked[1], scope, DEPTH),
    }
    return {name: figures(taken) for name, taken in side_by_side(engines, questions).items()}


# Real text, end to end ----------------------------------------------------------------------------


def one_question() -> dict[str, float]:
    """The embedding of one question by the backend that the site would choose."""
    from kb.indexes import providers
    from kb.indexes.models import IndexVersion

    embedder = providers.embedder(IndexVersion.objects.maintained().select_related("model").get().model)
    texts = [
        "how are vectors compared",
        "what does the handbook say about backups",
        "which index is the fastest",
    ]
    return figures(side_by_side({"embed": lambda text: embedder.embed([text], "query")}, texts * 20)["embed"])


def real_text(running: Site, api: Api) -> dict[str, Any]:
    """SciFact's questions end to end: Footnote through its API, txtai hybrid, Haystack's pgvector with BM25."""
    dataset = read_beir(shared_data() / "scifact")
    questions = list(dataset.queries.values())[:QUESTIONS]
    documents = [f"{entry.title}\n\n{entry.text}" for entry in dataset.corpus.values()]
    folder = Path(tempfile.mkdtemp(dir=running.home))
    for name, entry in dataset.corpus.items():
        (folder / f"{name}.md").write_text(f"# {entry.title}\n\n{entry.text}\n")
    running.manage("ingest", str(folder), "--wait", seconds=1800)
    engines = {"footnote": api.search, "txtai": txtai(documents), "haystack": haystack(running, documents)}
    return {name: figures(taken) for name, taken in side_by_side(engines, questions).items()}


def txtai(documents: list[str]) -> Callable[[str], object]:
    from txtai import Embeddings

    embeddings = Embeddings(path=str(default_directory()), content=True, hybrid=True, gpu=False)
    embeddings.index(enumerate(documents))
    return lambda question: embeddings.search(question, 10)


def haystack(running: Site, documents: list[str]) -> Callable[[str], object]:
    """Its retrievers by vector (pgvector, HNSW) and by words (BM25 in memory), joined by reciprocal rank."""
    from haystack import Document, Pipeline
    from haystack.components.joiners import DocumentJoiner
    from haystack.components.retrievers.in_memory import InMemoryBM25Retriever
    from haystack.document_stores.in_memory import InMemoryDocumentStore
    from haystack.utils import Secret
    from haystack_integrations.components.embedders.sentence_transformers import (
        SentenceTransformersDocumentEmbedder,
        SentenceTransformersTextEmbedder,
    )
    from haystack_integrations.components.retrievers.pgvector import PgvectorEmbeddingRetriever
    from haystack_integrations.document_stores.pgvector import PgvectorDocumentStore

    where = f"host={layout.sockets(running.home)} user={layout.USER} dbname={layout.DATABASE}"
    running.sql("CREATE SCHEMA IF NOT EXISTS haystack")
    vectors = PgvectorDocumentStore(
        connection_string=Secret.from_token(f"{where} passfile={layout.password_file(running.home)}"),
        create_extension=False,
        schema_name="haystack",
        embedding_dimension=384,
        vector_type="halfvec",
        search_strategy="hnsw",
        recreate_table=True,
    )
    lexicon = InMemoryDocumentStore()
    given = [Document(content=text) for text in documents]
    embedder = SentenceTransformersDocumentEmbedder(model=str(default_directory()), progress_bar=False)
    embedder.warm_up()
    vectors.write_documents(embedder.run(given)["documents"])
    lexicon.write_documents(given)
    asking = SentenceTransformersTextEmbedder(model=str(default_directory()), progress_bar=False)
    asking.warm_up()
    pipeline = Pipeline()
    pipeline.add_component("embedder", asking)
    pipeline.add_component("dense", PgvectorEmbeddingRetriever(document_store=vectors, top_k=DEPTH))
    pipeline.add_component("lexical", InMemoryBM25Retriever(document_store=lexicon, top_k=DEPTH))
    pipeline.add_component("joiner", DocumentJoiner(join_mode="reciprocal_rank_fusion", top_k=10))
    pipeline.connect("embedder.embedding", "dense.query_embedding")
    pipeline.connect("dense", "joiner")
    pipeline.connect("lexical", "joiner")
    return lambda question: pipeline.run({"embedder": {"text": question}, "lexical": {"query": question}})


# The run ------------------------------------------------------------------------------------------


def measured(folder: Path, sizes: Sequence[int]) -> dict[str, Any]:
    result: dict[str, Any] = {
        "machine": f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores",
        "milliseconds": {},
    }
    taken = result["milliseconds"]
    with site(
        folder / "home", EMBED_THREADS="1"
    ) as running:  # so that searches have a processor of their own
        django.setup()
        made, api = Made(), Api(running)
        for size in sizes:
            say(f"{size:,} chunks")
            made.grow(size)
            taken[f"{size:,} chunks: words"] = words(made)
            taken[f"{size:,} chunks: both arms"] = both(made)
        taken[f"{sizes[-1]:,} chunks: through the API"] = through_the_api(made, api)
        result["bytes_per_chunk"] = made.bytes_per_chunk()
        say("putting documents in meanwhile")
        taken["an open loop at a fifth of saturation"] = while_putting_in(made, api, running)
        say(f"{COLLECTIONS:,} collections")
        taken[f"{COLLECTIONS:,} collections, {VISIBLE} of them visible"] = many_collections(made, sizes[-1])
        taken["embedding one question"] = {"chosen backend": one_question()}
    say("real text")
    with site(folder / "real") as running:
        taken["SciFact, end to end"] = real_text(running, Api(running))
    return result


def table(result: dict[str, Any]) -> str:
    lines = [result["machine"], f"{'':44}{'p50 ms':>10}{'p95 ms':>10}{'p99 ms':>10}"]
    for title, engines in result["milliseconds"].items():
        lines.append(title)
        for name, found in engines.items():
            if isinstance(found, dict):
                shown = "".join(f"{found[cut]:>10.2f}" for cut in ("p50", "p95", "p99"))
                more = f"   {found['a second']} a second" if "a second" in found else ""
                lines.append(f"  {name:42}{shown}{more}")
            else:
                lines.append(f"  {name:42}{found:>10}")
    lines += [f"{what}: {size:.0f} bytes a chunk" for what, size in result["bytes_per_chunk"].items()]
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--sizes", type=int, nargs="+", default=SIZES, help="chunks, ascending")
    asked = parser.parse_args()
    os.environ |= {"HF_HUB_OFFLINE": "1", "HAYSTACK_TELEMETRY_ENABLED": "False"}
    with tempfile.TemporaryDirectory(prefix="footnote-bench-") as folder:
        result = measured(Path(folder), asked.sizes)
    RESULT.parent.mkdir(parents=True, exist_ok=True)
    RESULT.write_text(json.dumps(result, indent=2, ensure_ascii=False))
    sys.stdout.write(f"{table(result)}\nWritten to {RESULT.relative_to(ROOT)}\n")


if __name__ == "__main__":
    main()
