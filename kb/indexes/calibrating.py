"""Which backend runs a local model on this machine: measured once by a worker, kept in the database, read by all."""

import logging
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path

from django.conf import settings
from django.db import ProgrammingError, connection, transaction

from kb.core.beating import beat
from kb.indexes.models import Calibration, EmbeddingModel, IndexVersion
from retrieval.embedders.backends import DEFAULT_BATCH_SIZE, Backend, named
from retrieval.embedders.calibration import UNMEASURED, Choice, Measurement, candidates, choose, verdict
from retrieval.embedders.machine import Machine, this_machine
from retrieval.embedders.measuring import Pulse, Request, measured, to_json

logger = logging.getLogger(__name__)

AUTOMATIC = "auto"
LOCK_SECONDS = 0.5  # between two attempts to get the lock
LONGEST_WAIT = 300.0  # for another worker that measures


class CalibrationFailed(Exception):
    """No backend could run the model; the message says why each of them could not."""


class Interrupted(Exception):
    """The worker is to stop, and does not wait for the end of the measurement."""


def choice(model: EmbeddingModel) -> Choice:
    """What is set, else what was measured for this machine, else what needs no measuring. One query."""
    if settings.EMBED_BACKEND != AUTOMATIC:
        return Choice(named(settings.EMBED_BACKEND), DEFAULT_BATCH_SIZE)
    kept = calibration(model)
    return chosen(kept) if kept else UNMEASURED


def calibration(model: EmbeddingModel) -> Calibration | None:
    """The one that holds on this machine."""
    return Calibration.objects.filter(model=model.pk, machine=machine().fingerprint).first()


def chosen(kept: Calibration) -> Choice:
    return Choice(Backend(kept.backend, kept.number_format), kept.batch_size)


@cache
def machine() -> Machine:
    """This machine with the setting of threads, as it was at the start of the process."""
    return this_machine(settings.EMBED_THREADS)


def wanted(model: EmbeddingModel) -> bool:
    """Whether there is anything to choose."""
    return model.provider == EmbeddingModel.Provider.LOCAL and settings.EMBED_BACKEND == AUTOMATIC


_looked_after = set[int]()


def ensure(model: EmbeddingModel, stopping: Callable[[], object] = bool) -> None:
    """For workers, before they embed: measures where nothing is known about this machine, once a process.

    What goes wrong is logged: the work goes on with what needs no measuring. Ends early when `stopping()`.
    """
    if not wanted(model) or model.pk in _looked_after:
        return

    def pulse() -> None:
        beat("embed")
        if stopping():
            raise Interrupted

    try:
        calibrate(model, pulse)
    except CalibrationFailed:
        logger.exception("%s could not be calibrated", model)
    except Interrupted:
        logger.info("The calibration of %s is left to another worker: this one is to stop", model)
    _looked_after.add(model.pk)


def calibrate(model: EmbeddingModel, pulse: Pulse, again: bool = False) -> Calibration:
    """The calibration for this machine, measured if there is none, or `again`; one process at a time does so.

    Takes about 20 seconds, outside any transaction; `pulse` is called about once a second.
    """
    kept = calibration(model)
    if kept is not None and not again:
        return kept
    with alone(f"calibration:{model.pk}:{machine().fingerprint}", pulse):
        now = calibration(model)
        if now is not None and (not again or (kept is None or now.created_at != kept.created_at)):
            return now  # another process was at it meanwhile
        return keep(model, measure(model, pulse), chosen(now).backend if now else None)


def measure(model: EmbeddingModel, pulse: Pulse) -> list[Measurement]:
    request = Request(
        model=model.name,
        revision=model.revision,
        sha256=model.weights_sha256,
        backends=tuple(map(str, candidates(machine()))),
        threads=settings.EMBED_THREADS,
        cache=str(graphs()),
    )
    logger.info("Measuring the backends for %s on %s", model, machine())
    return measured(request, pulse)


def keep(model: EmbeddingModel, made: Sequence[Measurement], current: Backend | None) -> Calibration:
    """Decides and writes; CalibrationFailed, and nothing written, if no backend works."""
    if all(one.refused for one in made):
        raise CalibrationFailed("; ".join(f"{one.backend}: {one.refused}" for one in made))
    decided = choose(made, current)
    rate = max(one.rate for one in made if one.backend == decided.backend)
    # Deleted and made anew, not changed: it has another time, by which others know that it is another one.
    Calibration.objects.filter(model=model, machine=machine().fingerprint).delete()
    kept = Calibration.objects.create(
        model=model,
        machine=machine().fingerprint,
        described=str(machine()),
        backend=decided.backend.name,
        number_format=decided.backend.number_format,
        batch_size=decided.batch_size,
        measured=[{**to_json(one), "verdict": verdict(one, decided, rate)} for one in made],
    )
    logger.info("%s runs on %s, in batches of %s", model, decided.backend, decided.batch_size)
    return kept


def known() -> list[Calibration]:
    """All calibrations of this database with their models; none where it has no such table yet."""
    try:
        with transaction.atomic():
            return list(Calibration.objects.select_related("model"))
    except ProgrammingError:
        return []


def carry(calibrations: Iterable[Calibration], model: EmbeddingModel, pulse: Pulse) -> None:
    """Takes along what another database knew of the same model, and measures what is not known."""
    if not wanted(model):
        return
    for kept in calibrations:
        if (kept.model.name, kept.model.weights_sha256) == (model.name, model.weights_sha256):
            kept.pk, kept.model = None, model
            kept.save(force_insert=True)
    calibrate(model, pulse)


@contextmanager
def alone(name: str, pulse: Callable[[], object]) -> Iterator[None]:
    """Holds the advisory lock `name` of this connection; waits for whoever has it, but not for ever."""
    deadline = time.monotonic() + LONGEST_WAIT
    while not (locked := locking("pg_try_advisory_lock", name)) and time.monotonic() < deadline:
        pulse()
        time.sleep(LOCK_SECONDS)
    try:
        yield
    finally:
        if locked:
            locking("pg_advisory_unlock", name)


def locking(function: str, name: str) -> bool:
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT {function}(hashtextextended(%s, 0))", [name])
        return bool(cursor.fetchone()[0])


def graphs() -> Path:
    """Where converted models are kept."""
    return Path(settings.KB_HOME) / "cache" / "graphs"


def local_models() -> list[EmbeddingModel]:
    """Those that maintained index versions use."""
    used = IndexVersion.objects.maintained().filter(model__provider=EmbeddingModel.Provider.LOCAL)
    return list(EmbeddingModel.objects.filter(pk__in=used.values("model")).order_by("pk"))
