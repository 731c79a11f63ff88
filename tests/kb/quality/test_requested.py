"""A validation that was asked for ends with a report: after a lost message, a killed worker, a model that fails."""

from datetime import timedelta

import pytest
from django.db import OperationalError
from django.utils import timezone

from kb.core.models import Collection, User
from kb.indexes import lifecycle
from kb.indexes.graph import apart
from kb.indexes.models import EmbeddingModel, Index, IndexVersion, ValidationReport
from kb.quality import requested, tasks, validating
from kb.quality.actions import request_validation
from kb.quality.models import ValidationRequest
from tests.conftest import ingest
from tests.kb.candidates import candidate

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def version(admin: User, index: Index, collection: Collection) -> IndexVersion:
    ingest(admin, collection, "comets.txt", "This tells of comets.")
    made = candidate(index)
    request_validation(admin, made)
    return made


def request() -> ValidationRequest:
    return ValidationRequest.objects.get()


def test_what_was_left_is_found_again(version: IndexVersion, monkeypatch: pytest.MonkeyPatch) -> None:
    woken: list[int] = []
    monkeypatch.setattr(tasks, "wake", lambda _, version_id, **__: woken.append(version_id))
    tasks.sweep_validations_task()
    assert woken == [], "its own message may still wait"
    ValidationRequest.objects.update(at=timezone.now() - timedelta(minutes=1))
    tasks.sweep_validations_task()
    assert woken == [version.pk]
    tasks.validate_version_task(version.pk)
    tasks.sweep_validations_task()
    assert (woken, requested.left()) == ([version.pk], [])


def test_one_process_at_a_time_measures_a_version(version: IndexVersion) -> None:
    with apart() as other:
        other.execute("SELECT pg_advisory_lock(hashtextextended(%s, 0))", [f"validate:{version.pk}"])
        requested.carry_out(version.pk)
    assert (request().tries, ValidationReport.objects.count()) == (0, 0)


def test_a_model_that_cannot_be_used_is_a_report_that_says_so(admin: User, version: IndexVersion) -> None:
    EmbeddingModel.objects.filter(pk=version.model_id).update(provider="local", name="/nowhere")
    requested.carry_out(version.pk)
    report = ValidationReport.objects.get()
    assert (report.verdict, report.lets_on, report.against_id) == (
        "fail", False, version.index.live_version_id,
    )  # fmt: skip
    assert "/nowhere" in report.reasons[0]
    assert report.figures["checks"][0]["passed"] is False
    assert not ValidationRequest.objects.exists()


def test_a_database_that_went_away_leaves_the_request(
    version: IndexVersion, monkeypatch: pytest.MonkeyPatch
) -> None:
    def gone(*_: object) -> None:
        raise OperationalError("the connection is lost")

    monkeypatch.setattr(requested, "validate", gone)
    with pytest.raises(OperationalError):
        requested.carry_out(version.pk)
    assert (request().tries, ValidationReport.objects.count()) == (1, 0)


def test_workers_that_end_at_it_are_not_sent_for_ever(version: IndexVersion) -> None:
    ValidationRequest.objects.update(tries=ValidationRequest.MOST_TRIES)
    requested.carry_out(version.pk)
    assert "ended several times" in ValidationReport.objects.get().reasons[0]
    assert not ValidationRequest.objects.exists()


def test_lost_arms_of_both_sides_are_counted(admin: User, version: IndexVersion) -> None:
    live = version.index.live_version
    assert live is not None
    EmbeddingModel.objects.filter(pk=live.model_id).update(provider="local", name="/nowhere")
    live.refresh_from_db()
    measured = validating.validate(
        admin, IndexVersion.objects.select_related("index", "model").get(pk=version.pk)
    )
    assert measured.figures["lost_arms"][0] == 0 < measured.figures["lost_arms"][1]
    assert "arms" not in [check["name"] for check in measured.figures["checks"] if not check["passed"]]


def test_what_changed_while_it_was_measured_is_not_let_on(
    admin: User, version: IndexVersion, monkeypatch: pytest.MonkeyPatch
) -> None:
    measure = validating.measure

    def built_anew(*given: object) -> object:
        found = measure(*given)
        IndexVersion.objects.filter(pk=version.pk).update(built_at=timezone.now())
        return found

    monkeypatch.setattr(validating, "measure", built_anew)
    assert validating.validate(admin, version).verdict == "pass"
    version.refresh_from_db()
    assert not lifecycle.let_on(version)
