"""A model as an OpenVINO graph on the processor: needs no torch once the graph has been converted."""

import os
import sys
import warnings
from collections.abc import Iterator, Sequence
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from retrieval.embedders import Vectors
from retrieval.embedders.backends import Backend, BackendUnavailable, Inputs

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

HINTS = {"float32": "f32", "bfloat16": "bf16"}
TOKENS, MASK = "input_ids", "attention_mask"
MOST_STREAMS = 8  # each takes memory of its own


def openvino() -> Any:
    """The package, kept from sending usage statistics, which it otherwise does from its import on."""
    # It looks for this module and does without when there is none.
    sys.modules["openvino_telemetry"] = None  # type: ignore[assignment]
    try:
        import openvino as package  # type: ignore[import-untyped]  # noqa: PLC0415
    except (ImportError, OSError) as error:
        raise BackendUnavailable(f"openvino cannot be imported: {error}") from error
    return package


class OpenVinoNetwork:
    """`graph` is a model of OpenVINO's, converted or read; `threads` None: as many as cores."""

    def __init__(self, graph: Any, backend: Backend, threads: int | None = None) -> None:
        core = openvino().Core()
        if backend.number_format == "bfloat16" and "BF16" not in core.get_property(
            "CPU", "OPTIMIZATION_CAPABILITIES"
        ):
            raise BackendUnavailable("OpenVINO computes no bfloat16 on this processor")
        settings: dict[str, object] = {
            # Without a hint it takes what it likes: bfloat16 where it can, float16 on ARM.
            "INFERENCE_PRECISION_HINT": HINTS[backend.number_format],
            "PERFORMANCE_HINT": "LATENCY",
            "ENABLE_CPU_PINNING": False,  # several processes share the cores
        }
        if threads is not None:
            settings["INFERENCE_NUM_THREADS"] = threads
        self._compiled = partial(core.compile_model, graph, "CPU")
        self._settings, self._streams = settings, min(threads or os.cpu_count() or 1, MOST_STREAMS)
        compiled = self._compiled(settings)
        used = compiled.get_property("INFERENCE_PRECISION_HINT").get_type_name()
        if used != HINTS[backend.number_format]:
            raise BackendUnavailable(f"OpenVINO computes with {used} instead of {backend.number_format}")
        self.backend = backend
        self._request = compiled.create_infer_request()
        self._output = compiled.output(0)

    def vectors(self, batches: Sequence[Inputs]) -> Iterator[Vectors]:
        """One batch is computed by all threads together; several beside each other, which is a third faster: then no
        thread waits for another, above all where other processes are at work."""
        if len(batches) > 1 and self._streams > 1:
            yield from self._beside(batches)
            return
        for tokens, mask in batches:
            # A copy: the request writes its next result into the same memory.
            yield np.array(self._request.infer({TOKENS: tokens, MASK: mask})[self._output], np.float32)

    def _beside(self, batches: Sequence[Inputs]) -> list[Vectors]:
        found: dict[int, Vectors] = {}

        def take(request: Any, place: int) -> None:
            found[place] = np.array(request.get_output_tensor(0).data, np.float32)

        self._queue.set_callback(take)
        for place, (tokens, mask) in enumerate(batches):
            self._queue.start_async({TOKENS: tokens, MASK: mask}, place)
        self._queue.wait_all()
        return [found[place] for place in range(len(batches))]

    @cached_property
    def _queue(self) -> Any:
        """The graph once more, for several batches: a question needs none of it."""
        streams = {"PERFORMANCE_HINT": "THROUGHPUT", "NUM_STREAMS": self._streams}
        return openvino().AsyncInferQueue(self._compiled(self._settings | streams), self._streams)


def converted(model: "SentenceTransformer", token_types: bool) -> Any:
    """The float32 graph of token ids (n, length) and mask to unit vectors, of any n and length."""
    ov = openvino()
    import torch  # noqa: PLC0415

    class Whole(torch.nn.Module):
        """The model with normalisation at its end."""

        def __init__(self) -> None:
            super().__init__()
            self.model = model

        def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
            features = {TOKENS: input_ids, MASK: attention_mask}
            if token_types:
                features["token_type_ids"] = torch.zeros_like(input_ids)
            return torch.nn.functional.normalize(self.model(features)["sentence_embedding"], dim=-1)

    # Two texts of unequal length: what is traced must not take the mask for superfluous.
    example = torch.tensor([[1, 1, 1, 1, 1], [1, 1, 1, 0, 0]], dtype=torch.int64)
    shape = ov.PartialShape([-1, -1])
    with warnings.catch_warnings(), torch.inference_mode():
        warnings.simplefilter("ignore")  # torch's about tracing, which is what is wanted here
        return ov.convert_model(
            Whole().eval(),
            example_input={TOKENS: example, MASK: example},
            input=[(TOKENS, shape, ov.Type.i64), (MASK, shape, ov.Type.i64)],
        )


def save(graph: Any, path: Path) -> None:
    """Writes `path` (.xml) and the weights beside it (.bin), as float32."""
    openvino().save_model(graph, path, compress_to_fp16=False)


def read(path: Path) -> Any:
    try:
        return openvino().Core().read_model(path)
    except RuntimeError as error:
        raise BackendUnavailable(f"The graph {path} cannot be read: {error}") from error
