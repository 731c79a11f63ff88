"""Runs a labelled collection through the real pipeline, in-process, and scores every arm."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from django.core.files.base import ContentFile

from kb.core.actions import create_collection
from kb.core.models import Collection, User
from kb.core.problems import Problem
from kb.documents import parsing
from kb.documents.actions import add_document
from kb.documents.models import Chunk, Document
from kb.indexes import calibrating, embedding, embedding_queue, providers, settling
from kb.indexes.actions import ensure_default_index
from kb.indexes.dense import PostgresDense
from kb.indexes.lexical import PostgresLexical
from kb.indexes.models import IndexVersion
from kb.quality.datasets import Question, demo_files, demo_questions, files, judged
from kb.quality.declining import Trial, best_threshold, count, halves
from kb.quality.scoring import ARMS, Arm, Corpus, figures, score
from kb.quality.scratch import scratch
from kb.quality.vector_cache import CachedEmbedder
from kb.search.arranging import arranged, within
from kb.search.models import RetrievalProfile
from kb.search.narrowing import languages
from kb.search.profiles import default_profile
from retrieval.analysis import analyse
from retrieval.answering import Finished
from retrieval.answering.extractive import ExtractiveAnswerer
from retrieval.beir import Dataset
from retrieval.chunking import render
from retrieval.embedders import DescribedEmbedder
from retrieval.protocols import Scope
from retrieval.ranking import Retriever

Progress = Callable[[str, int], Callable[[], None]]
"""Called with a stage's name and size; gives a function to be called after each step."""


@dataclass(frozen=True)
class Ingested:
    """A collection that went through the pipeline.

    `embedder` may read vectors from the cache; questions are embedded by the version's own, so that
    their time is a search's time. `profile` is the one of the site by which they are searched.
    """

    profile: RetrievalProfile
    user: User
    collection: Collection
    version: IndexVersion
    embedder: DescribedEmbedder
    corpus: Corpus

    @property
    def scope(self) -> Scope:
        return Scope((self.collection.pk,))

    @property
    def languages(self) -> Sequence[str]:
        return languages(self.scope.collections)

    @contextmanager
    def retriever(self) -> Iterator[Retriever]:
        profile = self.profile
        with ThreadPoolExecutor(max_workers=4) as executor:
            yield Retriever(
                PostgresDense(self.version),
                PostgresLexical(self.version.chunking_id),
                providers.embedder(self.version.model),
                profile.dense_weight,
                profile.candidates,
                executor,
                profile.fusion_strategy,
            )


def evaluate_beir(dataset: Dataset, cache: Path | None, progress: Progress) -> dict[str, Any]:
    """The report on a BEIR collection; leaves nothing behind but the cache."""
    profile = default_profile()
    with calibrated_scratch():
        contents = files(dataset.corpus)
        ingested = ingest(dataset.name, contents, len(dataset.corpus), cache, progress, profile=profile)
        queries = judged(dataset)
        arms = scored(ingested, queries, progress)
        return report(dataset.name, ingested, arms, {query: dataset.judgements[query] for query in queries})


def evaluate_demo(cache: Path | None, progress: Progress) -> dict[str, Any]:
    """The report on the demo questions: how well they are found, and which are rightly declined."""
    profile, questions = default_profile(), demo_questions()
    with calibrated_scratch():
        contents = list(demo_files())
        ingested = ingest("demo", contents, len(contents), cache, progress, profile=profile)
        answerable = {question.id: question for question in questions if question.documents}
        arms = scored(ingested, {question.id: question.text for question in answerable.values()}, progress)
        judgements = {key: dict.fromkeys(question.documents, 1) for key, question in answerable.items()}
        trials = tried(ingested, questions, progress)
        product = ExtractiveAnswerer(ingested.embedder).threshold
        return report("demo", ingested, arms, judgements) | {"declining": declining(trials, product)}


@contextmanager
def calibrated_scratch() -> Iterator[None]:
    """A scratch database with the default index, whose model runs on what it was calibrated to at home."""
    known = calibrating.known()
    with scratch():
        version = IndexVersion.objects.select_related("model").get(index=ensure_default_index())
        calibrating.carry(known, version.model, bool)
        yield


def ingest(
    name: str,
    contents: Iterable[tuple[str, str, bytes]],
    total: int,
    cache: Path | None,
    progress: Progress,
    *,
    profile: RetrievalProfile,
) -> Ingested:
    """Adds, parses, chunks and embeds every document as a worker would; raises Problem if one fails.

    `profile` was read before the scratch database, which has one of its own.
    """
    version = IndexVersion.objects.select_related("model", "index").get(index=ensure_default_index())
    made = providers.embedder(version.model)
    embedder = CachedEmbedder(made, cache) if cache else made
    user = User.objects.create_superuser("evaluation")
    collection = create_collection(user, name, slug="evaluation")
    names: dict[str, str] = {}
    step = progress("Parsing", total)
    for beir_id, filename, content in contents:
        document = add_document(user, collection, ContentFile(content, filename)).document
        parsing.parse(document.pk)
        names[str(document.pk)] = beir_id
        step()
    embed_all(version, embedder, progress)
    refuse_failures()
    return Ingested(profile, user, collection, version, embedder, corpus_of(names))


def embed_all(version: IndexVersion, embedder: DescribedEmbedder, progress: Progress) -> None:
    step = progress("Embedding", version.jobs.count())
    while inputs := embedding_queue.lease(version):
        embedding.embed_batch(version, inputs, embedder)
        for _ in inputs:
            step()
    settling.settle()


def refuse_failures() -> None:
    failed = Document.objects.exclude(state=Document.State.READY).first()
    if failed is not None:
        raise Problem(
            "evaluation_failed", f"{failed.filename} did not get ready: {failed.state} {failed.error}"
        )


def corpus_of(names: Mapping[str, str]) -> Corpus:
    numbers = {document_id: number for number, document_id in enumerate(names)}
    documents, terms = {}, {}
    for chunk in Chunk.objects.select_related("document", "revision").order_by("pk").iterator(2000):
        documents[chunk.pk] = numbers[str(chunk.document_id)]
        rendered = render(chunk.document.title, chunk.heading_path, chunk.text)
        terms[chunk.pk] = analyse(rendered, chunk.revision.language)
    return Corpus(documents, list(names.values()), terms)


def scored(ingested: Ingested, queries: Mapping[str, str], progress: Progress) -> dict[str, Arm]:
    step = progress("Scoring", len(queries))
    # The weights are loaded before the clock runs.
    providers.embedder(ingested.version.model).embed(["warm up"], "query")
    with ingested.retriever() as retriever:
        return score(ingested.corpus, queries, retriever, ingested.scope, step, languages=ingested.languages)


def report(
    name: str, ingested: Ingested, arms: Mapping[str, Arm], judgements: Mapping[str, Mapping[str, int]]
) -> dict[str, Any]:
    card = ingested.embedder.describe()
    measured = {arm: figures(arms[arm], judgements) for arm in ARMS}
    difference = measured["lexical"]["ndcg@10"] - measured["independent_bm25"]["ndcg@10"]
    return {
        "dataset": name,
        "documents": len(ingested.corpus.names),
        "chunks": len(ingested.corpus.documents),
        "queries": len(judgements),
        "profile": str(ingested.profile),
        "model": ingested.version.model.name,
        "backend": card.backend,
        "number_format": card.number_format,
        "arms": measured,
        "lexical_difference": round(difference, 4),
    }


def tried(ingested: Ingested, questions: Iterable[Question], progress: Progress) -> list[Trial]:
    """Every question asked of the quoting answerer, which tells how sure it is."""
    asked = list(questions)
    step = progress("Answering", len(asked))
    answerer, profile = ExtractiveAnswerer(ingested.embedder), ingested.profile
    trials = []
    with ingested.retriever() as retriever:
        for question in asked:
            hits = list(retriever.search(question.text, ingested.scope, languages=ingested.languages))
            laid = arranged(ingested.user, question.text, hits, profile, profile.passages, join=False)
            *_, last = answerer.answer(question.text, within(laid.passages, profile.context_tokens))
            if not isinstance(last, Finished) or last.confidence is None:
                raise TypeError("The quoting answerer ended without its confidence")
            trials.append(Trial(question.id, last.confidence, bool(question.documents)))
            step()
    return trials


def declining(trials: list[Trial], product: float) -> dict[str, Any]:
    """The product's threshold on all questions, and one set on half of them judged on the other half."""
    first, second = halves(trials)
    threshold = best_threshold(first)
    return {
        "threshold": round(threshold, 4),
        "held_out": asdict(count(second, threshold)),
        "product_threshold": product,
        "product": asdict(count(trials, product)),
        "product_held_out": asdict(count(second, product)),
    }
