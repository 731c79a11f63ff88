"""SciFact end to end: Footnote through its API beside txtai and Haystack; and the embedding of one question."""

import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

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
from txtai import Embeddings

from kb.core.embedded import layout
from kb.indexes import calibrating, providers
from kb.indexes.models import Calibration, IndexVersion
from retrieval import metrics
from retrieval.beir import Dataset, Entry, read_beir
from retrieval.embedders.local import default_directory
from tests.benchmarks import clauses
from tests.benchmarks.loads import Api, milliseconds, say, side_by_side
from tests.benchmarks.made_up import DEPTH
from tests.live import Site, until
from tests.places import shared_data

TOP = 10
ASKED = ("how are vectors compared", "what does the handbook say about backups", "which index is the fastest")

Search = Callable[[str], list[str]]


def scifact(most: int) -> Dataset:
    """With the judged documents first, and no more than `most` in all."""
    whole = read_beir(shared_data() / "scifact")
    judged = {document for grades in whole.judgements.values() for document in grades}
    names = sorted(whole.corpus, key=lambda name: name not in judged)[:most]
    queries = {query: text for query, text in whole.queries.items() if query in whole.judgements}
    return Dataset(whole.name, {name: whole.corpus[name] for name in names}, queries, whole.judgements)


def measured(running: Site, documents: int) -> dict[str, Any]:
    dataset = scifact(documents)
    folder = Path(tempfile.mkdtemp(dir=running.home))
    for name, entry in dataset.corpus.items():
        (folder / f"{name}.md").write_text(f"# {entry.title}\n\n{entry.text}\n")
    running.manage("ingest", str(folder), "--wait", seconds=1800)
    embedding = one_question()
    texts = {name: text_of(entry) for name, entry in dataset.corpus.items()}
    say("  txtai")
    engines = {clauses.FOOTNOTE: footnote(running), "txtai": txtai(texts)}
    say("  Haystack")
    engines["Haystack"] = haystack(running, texts)
    for search in engines.values():
        for question in ASKED:
            search(question)
    asked = list(dataset.queries.values())
    first: dict[str, list[float]] = {name: [] for name in engines}
    found: dict[str, list[list[str]]] = {name: [] for name in engines}
    for question in asked:
        for name, search in engines.items():
            first[name].append(milliseconds(lambda: found[name].append(search(question))))  # noqa: B023
    return {
        "milliseconds": {
            clauses.ASKED_FIRST: first,
            clauses.ASKED_AGAIN: side_by_side(engines, asked[:100]),
            clauses.EMBEDDING: {clauses.CHOSEN: embedding["milliseconds"]},
        },
        "nDCG@10": {name: quality(dataset, rankings) for name, rankings in found.items()},
        "backend": embedding["backend"],
        "documents": len(dataset.corpus),
    }


def quality(dataset: Dataset, rankings: Sequence[Sequence[str]]) -> float:
    by_query = dict(zip(dataset.queries, rankings, strict=True))
    return round(metrics.mean(metrics.ndcg, by_query, dataset.judgements, TOP), 4)


def text_of(entry: Entry) -> str:
    return f"{entry.title}\n\n{entry.text}"


def one_question() -> dict[str, Any]:
    """The embedding of one question by the backend that the site has chosen."""
    until(Calibration.objects.exists, "the calibration", 300)
    model = IndexVersion.objects.maintained().select_related("model").get().model
    if calibrating.calibration(model) is None:
        raise AssertionError("the site's calibration is of another machine than this process sees")
    embedder = providers.local(model)
    taken = side_by_side({clauses.CHOSEN: lambda text: embedder.embed([text], "query")}, ASKED * 20)
    return {"milliseconds": taken[clauses.CHOSEN], "backend": str(embedder.backend)}


def footnote(running: Site) -> Search:
    """Through the API, as anybody asks; its passages are told by their documents."""
    api = Api(running)
    names = {
        str(document): Path(filename).stem
        for document, filename in running.sql("SELECT id, filename FROM documents_document")
    }

    def search(question: str) -> list[str]:
        found = api.search(question)
        if found["degraded"]:
            raise AssertionError(found["degraded"])
        return list(dict.fromkeys(names[passage["document_id"]] for passage in found["passages"]))

    return search


def txtai(texts: Mapping[str, str]) -> Search:
    embeddings = Embeddings(path=str(default_directory()), content=True, hybrid=True, gpu=False)
    embeddings.index(texts.items())
    return lambda question: [found["id"] for found in embeddings.search(question, TOP)]


def haystack(running: Site, texts: Mapping[str, str]) -> Search:
    """Its retrievers by vector (pgvector, HNSW) and by words (BM25 in memory), joined by reciprocal rank."""
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
    given = [Document(id=name, content=text) for name, text in texts.items()]
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
    pipeline.add_component("joiner", DocumentJoiner(join_mode="reciprocal_rank_fusion", top_k=TOP))
    pipeline.connect("embedder.embedding", "dense.query_embedding")
    pipeline.connect("dense", "joiner")
    pipeline.connect("lexical", "joiner")

    def search(question: str) -> list[str]:
        found = pipeline.run({"embedder": {"text": question}, "lexical": {"query": question}})
        return [document.id for document in found["joiner"]["documents"]]

    return search
