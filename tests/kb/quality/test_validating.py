"""A version is measured beside the live one, on real Postgres: what is broken in it is found and named."""

import pytest
from django.core.files.base import ContentFile
from django.db import connection

from kb.core.models import AuditEntry, Collection, User
from kb.core.problems import Problem
from kb.documents.actions import add_document
from kb.documents.models import Document
from kb.indexes.models import EmbeddingJob, Index, IndexVersion, ValidationReport
from kb.quality import soundness
from kb.quality.models import QuestionSet
from kb.quality.question_sets import add
from kb.quality.validating import validate
from tests.conftest import work_off
from tests.kb.candidates import State, candidate

pytestmark = pytest.mark.django_db(transaction=True)

TOPICS = ("apples", "bridges", "comets", "dialects", "engines", "fungi", "glaciers", "harps")


@pytest.fixture
def papers(alice: User, collection: Collection, index: Index) -> Collection:
    for topic in TOPICS:
        text = f"This tells of {topic}. Whoever studies {topic} reads on here."
        add_document(alice, collection, ContentFile(text.encode(), f"{topic}.txt"))
    work_off()
    return collection


@pytest.fixture
def questions(papers: Collection, index: Index) -> QuestionSet:
    """Three about each document."""
    made = QuestionSet.objects.create(index=index, name="by hand")
    for document in Document.objects.all():
        for text in ("What is known of {}?", "Who studies {}?", "{}"):
            add(made, text.format(document.title), {document.pk: 1})
    return made


def change(version: IndexVersion, statement: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute(statement.format(table=version.table))


def failed(report: ValidationReport) -> list[str]:
    return [check["name"] for check in report.figures["checks"] if not check["passed"]]


def test_a_sound_version_passes_with_its_figures(admin: User, index: Index, questions: QuestionSet) -> None:
    version = candidate(index)
    report = validate(admin, version)
    assert (report.verdict, failed(report), report.against) == ("pass", [], index.live_version)
    assert len(report.reasons) == 6
    figures = report.figures
    assert figures["rows"] == [
        {"collection": questions.index.pk and Collection.objects.get().pk, "chunks": 8, "right": 8,
         "waiting": 0, "lost": 0, "strays": 0, "uncut": 0}
    ]  # fmt: skip
    assert figures["vectors"]["count"] == 8
    assert figures["recall@10"] == 1
    assert figures["compared"]["questions"] == 24
    assert figures["compared"]["ndcg"][0] > 0.9
    assert all(size > 0 for size in figures["bytes"])
    assert all(took > 0 for took in figures["p95_ms"])
    assert AuditEntry.objects.filter(verb="validate", actor=admin).exists()


def test_without_questions_only_what_finds_the_same_passes(
    admin: User, index: Index, papers: Collection
) -> None:
    report = validate(admin, candidate(index))
    assert report.figures["compared"] is None
    assert report.figures["overlap@10"] == 1, "of eight documents either finds all"
    assert report.verdict == "pass"


@pytest.mark.parametrize(
    ("statement", "check"),
    [
        ("DELETE FROM {table} WHERE chunk_id = (SELECT min(chunk_id) FROM {table})", "rows"),
        ("UPDATE {table} SET content_hash = 'x' WHERE chunk_id = (SELECT min(chunk_id) FROM {table})", "rows"),
        ("UPDATE {table} SET chunk_id = -1 WHERE chunk_id = (SELECT min(chunk_id) FROM {table})", "rows"),
        ("UPDATE {table} SET collection_id = -1", "rows"),
        ("UPDATE {table} SET vector = array_fill(0, ARRAY[64])::real[]::halfvec WHERE chunk_id = "
         "(SELECT min(chunk_id) FROM {table})", "vectors"),
        ("UPDATE {table} SET vector = (SELECT array_agg(2 * n) FROM unnest(vector::vector::real[]) n)::real[]"
         "::halfvec", "vectors"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_its_vectors_is_found(
    admin: User, index: Index, papers: Collection, statement: str, check: str
) -> None:
    version = candidate(index)
    change(version, statement)
    report = validate(admin, version)
    assert report.verdict == "fail"
    assert check in failed(report)
    assert len(report.reasons) == len(failed(report)), "the reasons of a failure are what failed"


def test_chunks_that_wait_are_not_lost(index: Index, papers: Collection) -> None:
    version = candidate(index)
    change(version, "DELETE FROM {table}")
    [before] = soundness.rows(version)
    assert (before.right, before.waiting, before.lost) == (0, 0, 8)
    EmbeddingJob.objects.bulk_create(
        EmbeddingJob(version=version, chunk_id=chunk, collection=papers)
        for chunk in Document.objects.values_list("chunks", flat=True)
    )
    [found] = soundness.rows(version)
    assert (found.right, found.waiting, found.lost) == (0, 8, 0)
    EmbeddingJob.objects.update(attempts=EmbeddingJob.MOST_ATTEMPTS)
    [given_up] = soundness.rows(version)
    assert given_up.lost == 8


def test_vectors_that_belong_to_other_texts_fail_by_the_judged_questions(
    admin: User, index: Index, questions: QuestionSet
) -> None:
    version = candidate(index)
    change(
        version,
        "UPDATE {table} SET vector = other.vector FROM (SELECT chunk_id, lead(vector, 1) OVER w AS vector FROM {table} "
        "WINDOW w AS (ORDER BY chunk_id)) other WHERE other.chunk_id = {table}.chunk_id AND other.vector IS NOT NULL",
    )
    report = validate(admin, version)
    assert failed(report) == ["quality"]
    assert report.figures["compared"]["ndcg_difference"]["low"] < -0.03


def test_a_version_is_measured_in_its_own_space(admin: User, index: Index, questions: QuestionSet) -> None:
    wide, narrow = candidate(index, dimensions=32), candidate(index, dimensions=128, number=3)
    for version in (wide, narrow):
        assert validate(admin, version).figures["vectors"]["count"] == 8


def test_an_index_without_documents_is_no_reason_to_wait(admin: User, index: Index) -> None:
    assert validate(admin, candidate(index)).verdict == "pass"


@pytest.mark.parametrize("state", [State.BUILDING, State.LIVE, State.RETIRED, State.CANCELLED, State.DROPPED])
def test_what_is_not_built_or_serves_already_is_not_measured(admin: User, index: Index, state: str) -> None:
    version = candidate(index)
    version.state = state
    with pytest.raises(Problem) as refused:
        validate(admin, version)
    assert (refused.value.code, refused.value.status) == ("not_measurable", 409)
    assert not ValidationReport.objects.exists()
