"""A calibration is measured once for a model and a machine, kept, and taken up by who embeds."""

import json
from collections.abc import Iterator
from io import StringIO
from typing import Any

import psycopg
import pytest
from django.conf import LazySettings
from django.core.management import CommandError, call_command
from django.db import connection, transaction

from kb.core import pools
from kb.indexes import calibrating, providers, tasks
from kb.indexes.actions import first_version, register
from kb.indexes.calibrating import CalibrationFailed, alone, calibrate, choice, ensure
from kb.indexes.models import Calibration, EmbeddingModel, Index
from retrieval.embedders.backends import OPENVINO, OPENVINO_BFLOAT16, TORCH, TORCH_BFLOAT16, Backend
from retrieval.embedders.calibration import UNMEASURED, Choice, Measurement
from retrieval.embedders.local import default_card

pytestmark = pytest.mark.django_db


class Measuring:
    """In the place of the measuring process: gives what was arranged, and counts."""

    def __init__(self) -> None:
        self.calls = 0
        self.found = [
            Measurement(TORCH, {8: 20.0}, 1.0),
            Measurement(OPENVINO_BFLOAT16, {8: 40.0, 16: 50.0}, 0.9999),
        ]

    def __call__(self, request: Any, pulse: Any) -> list[Measurement]:
        self.calls += 1
        pulse()
        return self.found


@pytest.fixture
def measuring(monkeypatch: pytest.MonkeyPatch) -> Measuring:
    made = Measuring()
    monkeypatch.setattr(calibrating, "measured", made)
    return made


@pytest.fixture(autouse=True)
def new_process() -> Iterator[None]:
    """What a process keeps in mind is forgotten."""
    calibrating._looked_after.clear()
    providers._held.clear()
    yield
    calibrating._looked_after.clear()
    providers._held.clear()


@pytest.fixture
def model(db: None) -> EmbeddingModel:
    return register(EmbeddingModel.Provider.LOCAL, default_card())


def kept(model: EmbeddingModel, backend: Backend, machine: str = "", size: int = 8) -> Calibration:
    return Calibration.objects.create(
        model=model,
        machine=machine or calibrating.machine().fingerprint,
        described="a machine",
        backend=backend.name,
        number_format=backend.number_format,
        batch_size=size,
        measured=[],
    )


def test_the_fastest_is_chosen_and_kept_with_its_reasons(model: EmbeddingModel, measuring: Measuring) -> None:
    assert choice(model) == UNMEASURED
    made = calibrate(model, bool)
    assert choice(model) == Choice(OPENVINO_BFLOAT16, 16)
    assert made.described == str(calibrating.machine())
    assert [(row["backend"], row["cosine"], row["verdict"]) for row in made.measured] == [
        ("torch", 1.0, "slower"),
        ("openvino", 0.9999, "chosen"),
    ]


def test_it_is_measured_once(model: EmbeddingModel, measuring: Measuring) -> None:
    assert calibrate(model, bool).pk == calibrate(model, bool).pk
    assert (measuring.calls, Calibration.objects.count()) == (1, 1)


def test_again_replaces_it_and_keeps_what_is_in_use_unless_clearly_slower(
    model: EmbeddingModel, measuring: Measuring
) -> None:
    kept(model, TORCH_BFLOAT16)
    measuring.found += [Measurement(TORCH_BFLOAT16, {8: 47.0}, 0.9999)]
    assert calibrate(model, bool, again=True).backend == "torch"
    measuring.found[-1] = Measurement(TORCH_BFLOAT16, {8: 30.0}, 0.9999)
    assert calibrate(model, bool, again=True).backend == "openvino"
    assert Calibration.objects.count() == 1


def test_another_machine_is_measured_itself(model: EmbeddingModel, measuring: Measuring) -> None:
    other = kept(model, TORCH, machine="another")
    assert choice(model) == UNMEASURED
    calibrate(model, bool)
    assert Calibration.objects.count() == 2
    other.refresh_from_db()
    assert other.backend == "torch"


def test_where_nothing_works_nothing_is_kept(model: EmbeddingModel, measuring: Measuring) -> None:
    measuring.found = [
        Measurement(TORCH, {}, None, "ModelMissing: no files"),
        Measurement(OPENVINO, {8: 9.0}, 0.5),
    ]
    with pytest.raises(CalibrationFailed, match=r"ModelMissing: no files; .*cosine 0\.5000"):
        calibrate(model, bool)
    assert not Calibration.objects.exists()


def test_a_worker_measures_once_and_goes_on_when_that_fails(
    model: EmbeddingModel, measuring: Measuring, caplog: pytest.LogCaptureFixture
) -> None:
    measuring.found = [Measurement(TORCH, {}, None, "no")]
    ensure(model)
    ensure(model)
    assert measuring.calls == 1
    assert "could not be calibrated" in caplog.text


def test_a_worker_shows_signs_of_life_meanwhile(
    model: EmbeddingModel, measuring: Measuring, monkeypatch: pytest.MonkeyPatch
) -> None:
    beats: list[str] = []
    monkeypatch.setattr(calibrating, "beat", beats.append)
    ensure(model)
    assert beats == ["embed"]


def test_a_worker_that_is_to_stop_leaves_it_to_another_one(
    model: EmbeddingModel, measuring: Measuring, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    ensure(model, stopping=lambda: True)
    assert "left to another worker" in caplog.text
    assert not Calibration.objects.exists()


@pytest.mark.parametrize("provider", [EmbeddingModel.Provider.HASHING, EmbeddingModel.Provider.OPENAI])
def test_only_local_models_are_measured(measuring: Measuring, provider: str) -> None:
    ensure(EmbeddingModel.objects.create(provider=provider, name="m", dimensions=8, max_tokens=9))
    assert not measuring.calls


def test_what_is_set_is_used_and_nothing_measured(
    model: EmbeddingModel, measuring: Measuring, settings: LazySettings
) -> None:
    kept(model, OPENVINO_BFLOAT16)
    settings.EMBED_BACKEND = "torch-bfloat16"
    ensure(model)
    assert not measuring.calls
    assert choice(model).backend == TORCH_BFLOAT16


def test_who_finds_another_one_at_it_waits_and_takes_its_result(
    model: EmbeddingModel, measuring: Measuring, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(calibrating, "LOCK_SECONDS", 0)
    name = f"calibration:{model.pk}:{calibrating.machine().fingerprint}"
    waits: list[None] = []
    with psycopg.connect(**pools.parameters(), autocommit=True) as other:
        other.execute("SELECT pg_advisory_lock(hashtextextended(%s, 0))", [name])

        def done_meanwhile() -> None:
            waits.append(None)
            kept(model, OPENVINO)
            other.execute("SELECT pg_advisory_unlock(hashtextextended(%s, 0))", [name])

        assert calibrate(model, done_meanwhile).backend == "openvino"
    assert (len(waits), measuring.calls) == (1, 0)


def test_the_lock_is_given_back_even_after_an_error() -> None:
    with pytest.raises(RuntimeError, match="broken"), alone("a name", bool):
        raise RuntimeError("broken")
    with psycopg.connect(**pools.parameters()) as other:
        assert other.execute("SELECT pg_try_advisory_lock(hashtextextended('a name', 0))").fetchone() == (
            True,
        )


def test_an_embedder_is_kept_until_another_choice_is_made(
    model: EmbeddingModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = providers.embedder(model)
    assert providers.embedder(model) is first
    monkeypatch.setattr(providers, "LOOK_SECONDS", 0)
    assert providers.embedder(model) is first
    kept(model, OPENVINO, size=16)
    second = providers.embedder(model)
    assert second is not first
    assert providers.embedder(model) is second


def test_the_choice_is_not_looked_up_for_every_question(
    model: EmbeddingModel, django_assert_num_queries: Any
) -> None:
    providers.embedder(model)
    with django_assert_num_queries(0):
        providers.embedder(model)


def test_vectors_say_what_made_them(model: EmbeddingModel, settings: LazySettings) -> None:
    settings.EMBED_BACKEND = "openvino-float32"
    card = providers.embedder(model).describe()
    assert (card.backend, card.number_format) == ("openvino", "float32")
    settings.EMBED_BACKEND = "torch-float32"
    assert providers.embedder(model).describe() == default_card()


# The command --------------------------------------------------------------------------------------


def command(*arguments: str) -> str:
    out = StringIO()
    call_command("calibrate", *arguments, stdout=out)
    return out.getvalue()


@pytest.fixture
def served(settings: LazySettings, db: None) -> Iterator[EmbeddingModel]:
    """An index with the local model."""
    settings.EMBEDDER = "local"
    version = first_version(Index.objects.create(name="Local", slug="local"))
    yield version.model
    with connection.cursor() as cursor:
        cursor.execute(f'DROP TABLE IF EXISTS "{version.table}"')


def test_the_command_measures_once_and_shows(served: EmbeddingModel, measuring: Measuring) -> None:
    assert "openvino, bfloat16" in command()
    assert "chosen" in command()
    assert measuring.calls == 1
    command("--again")
    assert measuring.calls == 2


def test_the_command_gives_json(served: EmbeddingModel, measuring: Measuring) -> None:
    (one,) = json.loads(command("--json"))
    assert (one["model"], one["backend"], one["batch_size"]) == (served.name, "openvino", 16)
    assert [row["verdict"] for row in one["measured"]] == ["slower", "chosen"]


def test_the_command_shows_failures_and_missing_numbers(served: EmbeddingModel, measuring: Measuring) -> None:
    measuring.found.append(Measurement(OPENVINO, {}, None, "openvino cannot be imported"))
    assert "openvino cannot be imported" in command()


def test_the_command_says_when_there_is_nothing_to_do(db: None) -> None:
    with pytest.raises(CommandError, match="nothing to calibrate"):
        command()


def test_the_command_says_why_nothing_works(served: EmbeddingModel, measuring: Measuring) -> None:
    measuring.found = [Measurement(TORCH, {}, None, "no files")]
    with pytest.raises(CommandError, match="no files"):
        command()


# Evaluations --------------------------------------------------------------------------------------


def test_an_evaluation_takes_along_what_is_known_of_its_model(
    model: EmbeddingModel, measuring: Measuring
) -> None:
    kept(model, OPENVINO_BFLOAT16, size=16)
    known = calibrating.known()
    Calibration.objects.all().delete()  # as in the scratch database
    calibrating.carry(known, model, bool)
    assert choice(model) == Choice(OPENVINO_BFLOAT16, 16)
    assert not measuring.calls


def test_an_evaluation_measures_what_is_not_known(model: EmbeddingModel, measuring: Measuring) -> None:
    other = EmbeddingModel.objects.create(provider="local", name="other", dimensions=8, max_tokens=9)
    calibrating.carry([kept(other, TORCH)], model, bool)
    assert measuring.calls == 1


def test_a_database_without_tables_knows_nothing(db: None) -> None:
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("ALTER TABLE indexes_calibration RENAME TO elsewhere")
        assert calibrating.known() == []
        transaction.set_rollback(True)


def test_the_workers_task_calibrates_before_it_embeds(
    served: EmbeddingModel, measuring: Measuring, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[int] = []
    monkeypatch.setattr(tasks.embedding, "embed_for", lambda *_: seen.append(measuring.calls))
    tasks.embed_chunks_task(served.versions.get().pk)
    assert seen == [1]
