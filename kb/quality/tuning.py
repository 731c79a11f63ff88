"""Learns the weight of the fusion from judged questions, through the real pipeline."""

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

from kb.core.models import User
from kb.core.problems import Problem
from kb.indexes import providers
from kb.quality.datasets import demo_files, demo_questions, files, judged
from kb.quality.evaluation import Ingested, Progress, calibrated_scratch, ingest
from kb.quality.scoring import by_meaning, by_words
from kb.search.models import RetrievalProfile
from kb.search.profiles import default_profile, revise_profile
from retrieval.beir import Dataset
from retrieval.fusion import best_per_document
from retrieval.tuning import Judged, Tuning, tune

Judgements = Mapping[str, Mapping[str, int]]


def tune_on_beir(dataset: Dataset, cache: Path | None, progress: Progress) -> Tuning:
    """What a BEIR collection says of the default profile's fusion; leaves nothing behind but the cache."""
    profile, contents = default_profile(), files(dataset.corpus)
    with calibrated_scratch():
        ingested = ingest(dataset.name, contents, len(dataset.corpus), cache, progress, profile=profile)
        return learned(ingested, judged(dataset), dataset.judgements, progress)


def tune_on_demo(cache: Path | None, progress: Progress) -> Tuning:
    """The same of the questions about the demo corpus."""
    profile, contents = default_profile(), list(demo_files())
    questions = [question for question in demo_questions() if question.documents]
    with calibrated_scratch():
        ingested = ingest("demo", contents, len(contents), cache, progress, profile=profile)
        judgements = {question.id: dict.fromkeys(question.documents, 1) for question in questions}
        queries = {question.id: question.text for question in questions}
        return learned(ingested, queries, judgements, progress)


def learned(
    ingested: Ingested,
    queries: Mapping[str, str],
    judgements: Judgements,
    progress: Progress,
) -> Tuning:
    """Raises Problem where nothing can be learned."""
    step = progress("Searching", len(queries))
    providers.embedder(ingested.version.model).embed(["warm up"], "query")
    questions: list[Judged] = []
    with ingested.retriever() as retriever:
        for query, text in queries.items():
            dense = by_meaning(retriever, text, ingested.scope)
            lexical = by_words(retriever, text, ingested.scope, ingested.languages)
            arms = [best_per_document(arm, ingested.corpus.documents) for arm in (dense, lexical)]
            questions.append(Judged(arms[0], arms[1], ingested.corpus.names, judgements[query]))
            step()
    try:
        return tune(questions, retriever.fusion)
    except ValueError as error:
        raise Problem("evaluation_failed", f"{error}.") from error


def apply(actor: User | None, name: str, tuning: Tuning) -> RetrievalProfile:
    """The default profile's next version, with the learned weight. Raises Problem where the gain is in doubt."""
    if tuning.refusal:
        raise Problem("not_tuned", tuning.refusal)
    draft = default_profile()
    draft.strategy, draft.dense_weight = RetrievalProfile.Fusing.LEARNED, tuning.best
    draft.learned_from = {
        "weight": tuning.best,
        "questions": name,
        "count": tuning.questions,
        "before": tuning.current,
        "gain": asdict(tuning.gain),
    }
    return revise_profile(actor, draft)
