"""The choice of a backend follows from what was measured, and from nothing else."""

import pytest

from retrieval.embedders.backends import (
    BACKENDS,
    ON_CUDA,
    ON_MPS,
    ON_PROCESSOR,
    OPENVINO,
    OPENVINO_BFLOAT16,
    TORCH,
    TORCH_BFLOAT16,
    Backend,
)
from retrieval.embedders.calibration import Choice, Measurement, candidates, choose, sample, verdict
from retrieval.embedders.machine import Machine
from retrieval.embedders.model_files import default_tokenizer

GPU = ON_CUDA[2]


def at(backend: Backend, rate: float, cosine: float | None = 1.0, failure: str = "") -> Measurement:
    return Measurement(backend, {8: rate}, cosine, failure)


def of(backend: Backend, size: int = 8) -> Choice:
    return Choice(backend, size)


@pytest.mark.parametrize(
    ("measurements", "current", "expected"),
    [
        pytest.param([at(TORCH, 20)], None, of(TORCH), id="the only one"),
        pytest.param([at(TORCH, 20), at(OPENVINO, 27)], None, of(OPENVINO), id="clearly faster"),
        pytest.param([at(TORCH, 20), at(OPENVINO, 21.9)], None, of(TORCH), id="not clearly"),
        pytest.param([at(TORCH, 20), at(OPENVINO, 22)], None, of(OPENVINO), id="by just a tenth"),
        pytest.param(
            [at(TORCH_BFLOAT16, 40), at(TORCH, 20), at(OPENVINO_BFLOAT16, 38)],
            None,
            of(OPENVINO_BFLOAT16),
            id="the preferred of two that are about as fast, in any order",
        ),
        pytest.param(
            [at(TORCH, 20), at(OPENVINO_BFLOAT16, 50, 0.9989)], None, of(TORCH), id="not exact enough"
        ),
        pytest.param(
            [at(TORCH, 20), at(OPENVINO_BFLOAT16, 50, 0.999)], None, of(OPENVINO_BFLOAT16), id="just exact"
        ),
        pytest.param([at(TORCH, 20), at(OPENVINO, 50, float("nan"))], None, of(TORCH), id="no number"),
        pytest.param([at(TORCH, 20), at(OPENVINO, 50, None)], None, of(TORCH), id="never compared"),
        pytest.param([at(TORCH, 20), at(OPENVINO, 50, 1.0, "no memory")], None, of(TORCH), id="failed later"),
        pytest.param(
            [at(TORCH, 0, None, "missing"), at(OPENVINO, 27)], None, of(OPENVINO), id="torch failed"
        ),
        pytest.param([at(TORCH, 20), at(OPENVINO_BFLOAT16, 50), at(GPU, 900)], None, of(GPU), id="a GPU"),
        pytest.param(
            [at(TORCH, 20), at(OPENVINO_BFLOAT16, 44), at(TORCH_BFLOAT16, 41)],
            TORCH_BFLOAT16,
            of(TORCH_BFLOAT16),
            id="what is in use stays for less than a tenth",
        ),
        pytest.param(
            [at(TORCH, 20), at(OPENVINO_BFLOAT16, 50), at(TORCH_BFLOAT16, 41)],
            TORCH_BFLOAT16,
            of(OPENVINO_BFLOAT16),
            id="what is in use goes for more",
        ),
        pytest.param([at(TORCH, 20)], OPENVINO, of(TORCH), id="what was in use is gone"),
        pytest.param([at(TORCH, 0, None, "no")], None, of(TORCH), id="nothing works"),
        pytest.param([], None, of(TORCH), id="nothing measured"),
    ],
)
def test_the_choice(measurements: list[Measurement], current: Backend | None, expected: Choice) -> None:
    assert choose(measurements, current) == expected


@pytest.mark.parametrize(
    ("rates", "expected"),
    [({8: 40, 16: 41}, 8), ({8: 40, 16: 43}, 16), ({8: 43, 16: 40}, 8), ({64: 1, 256: 9}, 256), ({}, 8)],
)
def test_the_smaller_batch_of_two_that_are_about_as_fast(rates: dict[int, float], expected: int) -> None:
    assert Measurement(TORCH, rates, 1.0).batch_size == expected


def test_each_backend_has_its_reason() -> None:
    made = [
        at(TORCH, 20),
        at(OPENVINO, 50),
        at(OPENVINO_BFLOAT16, 51),
        at(TORCH_BFLOAT16, 90, 0.99),
        at(GPU, 0, None, "no CUDA device"),
    ]
    choice = choose(made)
    assert [verdict(one, choice, 50) for one in made] == [
        "slower",
        "chosen",
        "not clearly faster",
        "not exact enough: cosine 0.9900",
        "no CUDA device",
    ]


@pytest.mark.parametrize(
    ("accelerator", "more"), [("", ()), ("NVIDIA A10", ON_CUDA), ("rocm", ON_CUDA), ("mps", ON_MPS)]
)
def test_what_is_tried(accelerator: str, more: tuple[Backend, ...]) -> None:
    tried = candidates(Machine("a processor", (), 2, 0, accelerator, ()))
    assert tuple(tried) == (*ON_PROCESSOR, *more)
    assert tried[0] == TORCH
    assert set(tried) <= set(BACKENDS)


def test_the_sample_is_like_chunks() -> None:
    texts = sample()
    lengths = [len(default_tokenizer().encode(text).ids) for text in texts]
    assert len(set(texts)) == len(texts) == 24
    assert max(lengths) < 256
    assert min(lengths) < 30 < 100 < sum(lengths) / len(lengths) < 160
    assert sample() == texts
