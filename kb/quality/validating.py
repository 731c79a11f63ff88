"""Measures a version of an index beside the live one, and writes the report that lets it go on or does not."""

from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime
from typing import Any

from django.db import transaction
from django.db.models import Max, TextField
from django.db.models.functions import MD5, Cast
from django.utils import timezone

from kb.core.auditing import record
from kb.core.models import Reader
from kb.core.problems import Problem
from kb.documents.models import Chunk
from kb.indexes import embedding_table
from kb.indexes.models import Index, IndexVersion, ValidationReport
from kb.quality import comparing, soundness
from kb.quality.question_sets import Judged, collections_of, judged
from kb.search.models import Query
from retrieval.protocols import Scope
from retrieval.rollout import percentile
from retrieval.validation import Check, Measured, checks

State = IndexVersion.State
MEASURABLE = (State.VALIDATING, State.SHADOW, State.CANARY)
TEXTS = 100  # that are searched, where there are not as many judged questions
MOST_JUDGED = 1000
WORDS_AS_QUESTION = 12
TOKENS_A_WORD = 4 / 3  # nearly, of English in word pieces


def validate(actor: Reader | None, version: IndexVersion) -> ValidationReport:
    """The report on a version that is built, as of when measuring began: it takes as long as a few hundred searches.

    Raises Problem where there is nothing to measure yet, or no more.
    """
    if version.state not in MEASURABLE:
        raise Problem(
            "not_measurable",
            f"{version} is {version.state}: a version is validated once it is built, and before it serves all.",
            409,
            state=version.state,
        )
    began = timezone.now()
    live = Index.objects.select_related("live_version__model", "live_version__index").get(pk=version.index_id)
    measured, figures = measure(version, live.live_version)
    found = checks(measured)
    passed = all(check.passed for check in found)
    return written(
        actor,
        ValidationReport(
            version=version,
            against=live.live_version,
            at=began,
            verdict=ValidationReport.Verdict.PASS if passed else ValidationReport.Verdict.FAIL,
            reasons=[check.reason for check in found if check.passed is passed],
            figures=figures | said(found),
        ),
    )


def unmeasured(actor: Reader | None, version: IndexVersion, began: datetime, reason: str) -> ValidationReport:
    """The report on a version that could not be measured: it failed, and says why."""
    check = Check("measuring", False, f"It could not be measured: {reason}")
    report = ValidationReport(
        version=version,
        against=Index.objects.select_related("live_version").get(pk=version.index_id).live_version,
        at=began,
        verdict=ValidationReport.Verdict.FAIL,
        reasons=[check.reason],
        figures={"texts": 0} | said((check,)),
    )
    return written(actor, report)


@transaction.atomic
def written(actor: Reader | None, report: ValidationReport) -> ValidationReport:
    report.figures["seconds"] = round((timezone.now() - report.at).total_seconds(), 2)
    report.save()
    record(actor, "validate", report.version, verdict=report.verdict, report=report.pk)
    return report


def said(found: tuple[Check, ...]) -> dict[str, Any]:
    return {"checks": [asdict(check) for check in found]}


def measure(version: IndexVersion, live: IndexVersion | None) -> tuple[Measured, dict[str, Any]]:
    """All that the decision needs, and the same as figures for the report."""
    scope = Scope(tuple(collections_of(version.index)))
    questions = judged(version.index)[:MOST_JUDGED]
    texts = asked(version, questions, scope)
    vectors = soundness.vectors(version)
    versions = [version] if live is None else [version, live]
    found = comparing.run(versions, texts, scope)
    candidate, before = found[0], found[-1]
    measured = Measured(
        rows=soundness.rows(version),
        vectors=vectors,
        recall=comparing.graph_recall(version, texts, scope, vectors.count),
        compared=comparing.compared(candidate, before, questions) if live else None,
        overlap=comparing.mean_overlap(candidate, before) if live else None,
        candidate_ms=candidate.took,
        live_ms=before.took if live else (),
        lost_arms=(candidate.lost, before.lost if live else 0),
        alone=live is None,
    )
    return measured, figures(version, live, measured, texts)


def asked(version: IndexVersion, questions: list[Judged], scope: Scope) -> list[str]:
    """The judged questions, and as many others as are wanted: what people asked last, else the texts' own words."""
    texts = dict.fromkeys(question.text for question in questions)
    if len(texts) < TEXTS:
        queries = Query.objects.filter(version__index=version.index_id).exclude(text="")
        latest = queries.order_by().values("text").annotate(latest=Max("created_at")).order_by("-latest")
        texts |= dict.fromkeys(latest.values_list("text", flat=True)[:TEXTS])
    if len(texts) < TEXTS:
        chunks = Chunk.objects.filter(chunking=version.chunking_id, collection__in=scope.collections)
        some = chunks.order_by(MD5(Cast("pk", TextField()))).values_list("text", flat=True)[:TEXTS]
        texts |= dict.fromkeys(" ".join(text.split()[:WORDS_AS_QUESTION]) for text in some)
    return [text for text in texts if text][: max(TEXTS, len(questions))]


def figures(
    version: IndexVersion, live: IndexVersion | None, measured: Measured, texts: list[str]
) -> dict[str, Any]:
    """The report's numbers, as JSON has them; of pairs the first is the candidate's."""
    sizes = [embedding_table.size_bytes(each) for each in (version, live) if each is not None]
    return {
        "texts": len(texts),
        "rows": [asdict(each) for each in measured.rows],
        "vectors": asdict(measured.vectors),
        "recall@10": measured.recall,
        "compared": asdict(measured.compared) if measured.compared else None,
        "overlap@10": measured.overlap,
        "p95_ms": [p95(measured.candidate_ms), p95(measured.live_ms)],
        "bytes": sizes,
        "lost_arms": list(measured.lost_arms),
        "price_per_1000_queries": price(version, texts),
    }


def p95(took: Sequence[float]) -> float | None:
    known = percentile(took)
    return round(known[1], 2) if known else None


def price(version: IndexVersion, texts: list[str]) -> float | None:
    """What a thousand questions cost at the model's price, nearly; None where it has none."""
    million = version.model.price_per_million_tokens
    if million is None or not texts:
        return None
    words = sum(len(text.split()) for text in texts) / len(texts)
    return round(float(million) * words * TOKENS_A_WORD / 1000, 6)
