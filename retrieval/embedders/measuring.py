"""Measures what each backend does with a model, in a process of its own: one that crashes takes nobody along.

The process reads a request (JSON) on standard input. It writes a line of JSON before whatever may take
time, `{"at": backend}`, and at the end `{"measured": [...]}`.
"""

import contextlib
import json
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any

import numpy as np

from retrieval.embedders import Vectors
from retrieval.embedders.backends import TORCH, Backend, named
from retrieval.embedders.calibration import LEAST_COSINE, Measurement, sample
from retrieval.embedders.local import LocalEmbedder

ROOT = Path(__file__).resolve().parents[2]
ROUNDS = 2
ROUNDS_SECONDS = 10.0  # no further round begins after so long
MOST_SECONDS = 300.0
PULSE_SECONDS = 1.0
COMMAND = (sys.executable, "-m", "retrieval.embedders.measuring")

Pulse = Callable[[], object]


@dataclass(frozen=True)
class Request:
    """Which model is to be tried on which backends. `model` as of LocalEmbedder; threads 0: as many as cores."""

    model: str
    revision: str
    sha256: str
    backends: tuple[str, ...]
    threads: int
    cache: str


@dataclass
class Trial:
    """One backend while it is measured."""

    backend: Backend
    embedder: LocalEmbedder | None = None
    rates: dict[int, float] = field(default_factory=dict)
    cosine: float | None = None
    failure: str = ""

    def measurement(self) -> Measurement:
        return Measurement(self.backend, dict(self.rates), self.cosine, self.failure)


def measured(
    request: Request, pulse: Pulse, most_seconds: float = MOST_SECONDS, command: Sequence[str] = COMMAND
) -> list[Measurement]:
    """What each backend did, in the order asked for. `pulse` is called about once a second meanwhile.

    A backend at which the process ends, or stands still until the time is over, is noted as failed,
    and the others are measured anew.
    """
    left, found = list(request.backends), dict[str, Measurement]()
    while left:
        part = replace(request, backends=tuple(left))
        answer, at, ending = attempt(part, pulse, most_seconds, command)
        if answer is not None:
            return [*found.values(), *answer]
        at = at if at in left else left[0]
        found[at] = Measurement(named(at), {}, None, ending)
        left.remove(at)
    return list(found.values())


def attempt(
    request: Request, pulse: Pulse, most_seconds: float, command: Sequence[str]
) -> tuple[list[Measurement] | None, str, str]:
    """One process: its answer; or None, the backend that it was at, and how it ended."""
    process = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    at, deadline = "", time.monotonic() + most_seconds
    try:
        for line in lines(process, json.dumps(asdict(request)), pulse):
            said = parsed(line)
            if "measured" in said:
                return [from_json(row) for row in said["measured"]], "", ""
            at = said.get("at", at)
            if time.monotonic() > deadline:
                return None, at, f"it took longer than {most_seconds:.0f} s"
        status = process.wait()
        return None, at, f"signal {-status}" if status < 0 else f"the process ended with status {status}"
    finally:
        process.kill()
        process.wait()


def lines(process: "subprocess.Popen[str]", request: str, pulse: Pulse) -> Iterator[str]:
    """What the process writes, and an empty line now and then when it writes nothing."""
    arrived: SimpleQueue[str | None] = SimpleQueue()

    def collect() -> None:
        if process.stdout:
            with process.stdout as pipe:
                for line in pipe:
                    arrived.put(line)
        arrived.put(None)

    if process.stdin:
        with contextlib.suppress(OSError), process.stdin as pipe:  # it may have ended already
            pipe.write(request)
    threading.Thread(target=collect, daemon=True).start()
    while True:
        pulse()
        try:
            line = arrived.get(timeout=PULSE_SECONDS)
        except Empty:
            line = ""
        if line is None:
            return
        yield line


def parsed(line: str) -> dict[str, Any]:
    """What a line says; nothing if it is not one of ours: libraries may write, too."""
    try:
        said = json.loads(line)
    except ValueError:
        return {}
    return said if isinstance(said, dict) else {}


# Inside the process -------------------------------------------------------------------------------


def measure(request: Request, tell: Callable[[dict[str, Any]], None]) -> list[Measurement]:
    """Loads all, compares their vectors, then times them in turns: what else the machine does hits all alike."""
    texts = sample()
    trials = [Trial(named(name)) for name in request.backends]
    expected: Vectors | None = None
    for trial in trials:
        tell({"at": str(trial.backend)})
        expected = prepare(trial, request, texts, expected)
    began = time.monotonic()
    for number in range(ROUNDS):
        if number and time.monotonic() - began > ROUNDS_SECONDS:
            break
        for trial in trials:
            if trial.embedder is not None:
                tell({"at": str(trial.backend)})
                round_of(trial, texts)
    return [trial.measurement() for trial in trials]


def prepare(trial: Trial, request: Request, texts: Sequence[str], expected: Vectors | None) -> Vectors | None:
    """Loads a backend and compares it with `expected`; gives what the next ones are compared with.

    Comparing warms up. Where torch cannot run the model in float32, nothing can be trusted.
    """
    try:
        embedder = LocalEmbedder(
            request.model,
            revision=request.revision or None,
            sha256=request.sha256 or None,
            backend=trial.backend,
            threads=request.threads or None,
            cache=Path(request.cache) if request.cache else None,
            strict=True,
        )
        vectors = embedder.embed(texts, "document")
        if expected is None and trial.backend == TORCH:
            expected = vectors
        if expected is not None:
            trial.cosine = float((vectors * expected).sum(axis=1).min())
            if trial.cosine >= LEAST_COSINE:
                trial.embedder = embedder
    except Exception as error:  # noqa: BLE001  # whatever a backend may raise: it is noted
        trial.failure = f"{type(error).__name__}: {error}"
    return expected


def round_of(trial: Trial, texts: Sequence[str]) -> None:
    """Times each batch size once; the best of all rounds counts, as disturbances only ever cost time."""
    if trial.embedder is None:
        return
    most = max(trial.backend.batch_sizes)
    long_enough = list(texts) * max(1, 4 * most // len(texts) if trial.backend.device != "cpu" else 1)
    try:
        for size in trial.backend.batch_sizes:
            began = time.perf_counter()
            trial.embedder.embed(long_enough, "document", size)
            rate = len(long_enough) / (time.perf_counter() - began)
            trial.rates[size] = max(rate, trial.rates.get(size, 0.0))
    except Exception as error:  # noqa: BLE001  # such as no more memory
        trial.failure, trial.embedder = f"{type(error).__name__}: {error}", None


def to_json(made: Measurement) -> dict[str, Any]:
    """For the pipe and for the database: numbers as people read them."""
    cosine = None if made.cosine is None or not np.isfinite(made.cosine) else round(made.cosine, 6)
    return {
        "backend": made.backend.name,
        "number_format": made.backend.number_format,
        "rates": {str(size): round(rate, 2) for size, rate in made.rates.items()},
        "cosine": cosine,
        "failure": made.failure,
    }


def from_json(row: dict[str, Any]) -> Measurement:
    rates = {int(size): float(rate) for size, rate in row["rates"].items()}
    return Measurement(Backend(row["backend"], row["number_format"]), rates, row["cosine"], row["failure"])


def main(arguments: Iterable[str]) -> None:
    given = json.loads("".join(arguments))
    request = Request(**{**given, "backends": tuple(given["backends"])})

    def tell(said: dict[str, Any]) -> None:
        sys.stdout.write(json.dumps(said) + "\n")
        sys.stdout.flush()

    tell({"measured": [to_json(made) for made in measure(request, tell)]})


if __name__ == "__main__":
    main(sys.stdin)
