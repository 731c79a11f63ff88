"""Which backend is to run a model here, decided from what each was measured to do."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from retrieval.embedders.backends import (
    BACKENDS,
    DEFAULT_BATCH_SIZE,
    ON_CUDA,
    ON_MPS,
    ON_PROCESSOR,
    TORCH,
    Backend,
)
from retrieval.embedders.machine import Machine

LEAST_COSINE = 0.999  # to float32, of the worst text of the sample
CLEARLY_FASTER = 1.10
AS_FAST = 1.05  # between batch sizes of one backend: the smaller one needs less memory

_PARAGRAPHS = (
    "The committee met on Tuesday to review the annual report. Three members asked why maintenance had cost "
    "a fifth more than planned; the treasurer answered that two pumps were replaced before their time. It was "
    "agreed to compare suppliers again in March, and to keep a reserve of 12,000 euros until then.",
    "Vitamin D deficiency is common in older adults (25-hydroxyvitamin D below 50 nmol/L). In a randomised, "
    "placebo-controlled trial with 2,256 women, a single yearly dose did not reduce falls or fractures; the "
    "hazard ratio was 1.15 (95% CI 1.02-1.30). Whether smaller daily doses act differently remains unclear.",
    "To install the package, create a virtual environment and run `pip install --upgrade example`. The server "
    "reads its settings from environment variables; DATABASE_URL must point to a reachable PostgreSQL. If the "
    "migration stops with a lock timeout, close idle connections and try again.",
    "When the river froze, children skated as far as the old mill. The miller, who was said to be a hundred "
    "years old, put lanterns on the ice, and nobody remembered a winter in which the music stopped before "
    "midnight. In the spring the lanterns were found in the reeds, one after the other.",
    "An index over vectors is a graph: each node keeps links to some near neighbours, and a search walks from "
    "a coarse layer down to a fine one. Larger candidate lists raise recall and cost time. A filter that is "
    "applied afterwards may leave fewer results than were asked for.",
)
_LENGTHS = (140, 70, 110, 15, 140, 90, 125, 40, 140, 100)  # in words; about 200 tokens at most


def sample(count: int = 24) -> list[str]:
    """Texts as chunks are: most of them long, some short, no two alike; always the same ones."""
    words = " ".join(_PARAGRAPHS).split()
    endless = words * 2
    starts = [37 * number % len(words) for number in range(count)]
    return [
        " ".join(endless[start : start + _LENGTHS[number % len(_LENGTHS)]])
        for number, start in enumerate(starts)
    ]


@dataclass(frozen=True)
class Measurement:
    """What a backend did: chunks a second by batch size, and the least cosine to float32; or why it did nothing."""

    backend: Backend
    rates: Mapping[int, float]
    cosine: float | None = None
    failure: str = ""

    @property
    def batch_size(self) -> int:
        """The smallest that is about as fast as the fastest."""
        if not self.rates:
            return DEFAULT_BATCH_SIZE
        return min(size for size, rate in self.rates.items() if rate * AS_FAST >= max(self.rates.values()))

    @property
    def rate(self) -> float:
        return self.rates.get(self.batch_size, 0.0)

    @property
    def refused(self) -> str:
        """Why it cannot be chosen, or nothing."""
        if self.failure:
            return self.failure
        if self.cosine is None or not self.cosine >= LEAST_COSINE:  # which refuses NaN, too
            return (
                f"not exact enough: cosine {self.cosine:.4f}" if self.cosine is not None else "not compared"
            )
        return "" if self.rate > 0 else "not measured"


@dataclass(frozen=True)
class Choice:
    """What a model is to be run with."""

    backend: Backend
    batch_size: int


# OpenVINO in float32 gives torch's vectors, and needs neither torch nor a measurement.
UNMEASURED = Choice(Backend("openvino", "float32"), DEFAULT_BATCH_SIZE)


def choose(measurements: Iterable[Measurement], current: Backend | None = None) -> Choice:
    """The fastest that is exact enough, unless one that is preferred is about as fast.

    Preferred is what is in use (`current`), so that noise changes nothing, then the order of BACKENDS:
    a backend is left for another one only if that is clearly faster. Nothing usable gives torch.
    """
    usable = {made.backend: made for made in measurements if not made.refused}
    order = [backend for backend in (current, *BACKENDS) if backend in usable]
    if not order:
        return Choice(TORCH, DEFAULT_BATCH_SIZE)
    fastest = max(made.rate for made in usable.values())
    chosen = next(
        usable[backend] for backend in order if backend and usable[backend].rate * CLEARLY_FASTER > fastest
    )
    return Choice(chosen.backend, chosen.batch_size)


def verdict(made: Measurement, choice: Choice, rate_chosen: float) -> str:
    """Why a backend was chosen or not, for people; `rate_chosen` is the chosen one's."""
    if made.refused:
        return made.refused
    if made.backend == choice.backend:
        return "chosen"
    return "slower" if made.rate < rate_chosen else "not clearly faster"


def candidates(machine: Machine) -> Sequence[Backend]:
    """What is worth trying on the machine; float32 on torch is first, the others are compared with it."""
    if not machine.accelerator:
        return ON_PROCESSOR
    return (*ON_PROCESSOR, *(ON_MPS if machine.accelerator == "mps" else ON_CUDA))
