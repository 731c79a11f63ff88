"""A sentence-transformers model in torch, on the processor or an accelerator."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from retrieval.embedders import Vectors
from retrieval.embedders.backends import Backend, BackendUnavailable, Inputs

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

# Without one of these, a processor computes bfloat16 by way of float32: slower, and no more exact.
FAST_BFLOAT16 = ("avx512_bf16", "amx_bf16", "amx_tile", "arm_bf16", "bf16")


class TorchNetwork:
    """The model itself: its modules one after the other. Takes the model over and may change its type."""

    def __init__(self, model: "SentenceTransformer", backend: Backend, token_types: bool) -> None:
        self.backend, self.token_types = backend, token_types
        self.model = moved(model, backend)

    def vectors(self, batches: Sequence[Inputs]) -> Iterator[Vectors]:
        return (self.batch(tokens, mask) for tokens, mask in batches)

    def batch(self, tokens: NDArray[np.int64], mask: NDArray[np.int64]) -> Vectors:
        import torch  # noqa: PLC0415

        device = self.backend.device
        features = {
            "input_ids": torch.from_numpy(tokens).to(device),
            "attention_mask": torch.from_numpy(mask).to(device),
        }
        if self.token_types:
            features["token_type_ids"] = torch.zeros_like(features["input_ids"])
        with torch.inference_mode():
            pooled = self.model(features)["sentence_embedding"].float()
            unit = torch.nn.functional.normalize(pooled, dim=-1)
        return np.asarray(unit.cpu().numpy(), np.float32)


class WholeModel:
    """For models that want more than token ids: sentence-transformers does everything, in its own way."""

    def __init__(self, model: "SentenceTransformer", backend: Backend) -> None:
        self.backend = backend
        self.model = moved(model, backend)

    def encode(self, texts: Sequence[str], prompt: str, batch_size: int) -> Vectors:
        vectors = self.model.encode(
            list(texts),
            prompt=prompt,
            batch_size=batch_size,
            show_progress_bar=False,
            normalize_embeddings=True,
            convert_to_tensor=True,  # numpy has no bfloat16
        )
        return np.asarray(vectors.float().cpu().numpy(), np.float32)


def moved(model: "SentenceTransformer", backend: Backend) -> "SentenceTransformer":
    """The model on the backend's device in its number format; BackendUnavailable where that makes no sense."""
    refuse_missing(backend)
    import torch  # noqa: PLC0415

    return model.to(device=backend.device, dtype=getattr(torch, backend.number_format)).eval()


def refuse_missing(backend: Backend) -> None:
    import torch  # noqa: PLC0415

    match backend.name:
        case "torch-cuda":
            if not torch.cuda.is_available():
                raise BackendUnavailable("torch finds no CUDA device")
        case "torch-mps":
            if not torch.backends.mps.is_available():
                raise BackendUnavailable("torch finds no Metal device")
        case _ if backend.number_format == "bfloat16":
            able = torch.cpu.get_capabilities()
            if not any(able.get(name) for name in FAST_BFLOAT16):
                raise BackendUnavailable("this processor has neither AVX512-BF16 nor AMX")
