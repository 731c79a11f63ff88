"""What may run a local model, and in which numbers; one network a file."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from retrieval.embedders import Vectors


class BackendUnavailable(Exception):
    """This backend cannot run this model on this machine; the message says why."""


@dataclass(frozen=True)
class Backend:
    """A runtime on a device, and the numbers that it computes with."""

    name: str
    number_format: str

    def __str__(self) -> str:
        return f"{self.name}-{self.number_format}"

    @property
    def device(self) -> str:
        """Torch's name of the device; OpenVINO is used on the processor only."""
        return {"torch-cuda": "cuda", "torch-mps": "mps"}.get(self.name, "cpu")

    @property
    def batch_sizes(self) -> tuple[int, ...]:
        """Those worth measuring. On a processor small ones stay in its cache, have less padding, and its cores are
        done with the last ones at about the same time."""
        return (4, 8, 16) if self.device == "cpu" else (64, 256)


TORCH = Backend("torch", "float32")  # what every model runs on, and what the others are compared with
OPENVINO = Backend("openvino", "float32")
OPENVINO_BFLOAT16 = Backend("openvino", "bfloat16")
TORCH_BFLOAT16 = Backend("torch", "bfloat16")
ON_CUDA = tuple(Backend("torch-cuda", number_format) for number_format in ("float32", "bfloat16", "float16"))
ON_MPS = tuple(Backend("torch-mps", number_format) for number_format in ("float32", "float16"))
# The exact ones first: an earlier one is kept unless a later one is clearly faster. Never float16 on
# a processor, which has to emulate it.
ON_PROCESSOR = (TORCH, OPENVINO, OPENVINO_BFLOAT16, TORCH_BFLOAT16)
BACKENDS = (*ON_PROCESSOR, *ON_CUDA, *ON_MPS)
DEFAULT_BATCH_SIZE = 8


def named(name: str) -> Backend:
    """The backend that is written so, as in "openvino-bfloat16"; ValueError if there is none."""
    for backend in BACKENDS:
        if str(backend) == name:
            return backend
    raise ValueError(f"There is no backend {name!r}; there are {', '.join(map(str, BACKENDS))}")


Inputs: TypeAlias = tuple[NDArray[np.int64], NDArray[np.int64]]
"""Token ids (n, length) of a batch, and their mask, which is 0 where they are padding."""


class Network(Protocol):
    """A loaded model, pooling and normalisation included; used by one thread at a time."""

    backend: Backend

    def vectors(self, batches: Sequence[Inputs]) -> Iterator[Vectors]:
        """Of each batch, in their order, unit vectors (n, dimensions)."""
        ...


class Encoder(Protocol):
    """Texts to unit vectors (n, dimensions), in the order given; used by one thread at a time."""

    backend: Backend

    def encode(self, texts: Sequence[str], prompt: str, batch_size: int) -> Vectors: ...
