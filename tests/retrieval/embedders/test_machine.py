"""A machine is known by what decides how fast backends are on it."""

from dataclasses import replace
from pathlib import Path

import pytest

from retrieval.embedders import machine
from retrieval.embedders.machine import Machine, field, this_machine

SOME = Machine("AMD EPYC", ("avx2", "avx512_bf16", "avx512f"), 2, 0, "", (("torch", "2.13.0"),))


def test_this_machine_is_the_same_every_time() -> None:
    assert this_machine() == this_machine()
    assert len(this_machine().fingerprint) == 64
    assert this_machine().cores >= 1
    assert "torch 2" in str(this_machine())


@pytest.mark.parametrize(
    "changed",
    [
        {"processor": "Intel Xeon"},
        {"features": ("avx2",)},
        {"cores": 4},
        {"threads": 1},
        {"accelerator": "NVIDIA A10"},
        {"packages": (("torch", "2.14.0"),)},
    ],
    ids=str,
)
def test_whatever_may_change_speed_makes_it_another(changed: dict[str, object]) -> None:
    assert replace(SOME, **changed).fingerprint != SOME.fingerprint  # type: ignore[arg-type]


def test_it_is_described_for_people() -> None:
    assert str(SOME) == "AMD EPYC, 2 cores, AVX2, AVX-512, AVX512-BF16, torch 2.13.0"
    assert "1 threads" in str(replace(SOME, threads=1))


def test_the_kernels_files_are_read_by_field() -> None:
    lines = ["processor\t: 0", "model name\t: AMD EPYC: Zen", "flags\t\t: fpu avx2", "model name\t: other"]
    assert (field(lines, "model name"), field(lines, "none")) == ("AMD EPYC: Zen", "")


def test_a_missing_file_has_no_lines(tmp_path: Path) -> None:
    assert not list(machine.read(tmp_path / "cpuinfo"))


@pytest.mark.parametrize(
    ("platform", "torch", "expected"), [("linux", "2.13.0+cpu", ""), ("darwin", "2.13.0", "mps")]
)
def test_accelerators_are_found_without_torch(
    monkeypatch: pytest.MonkeyPatch, platform: str, torch: str, expected: str
) -> None:
    monkeypatch.setattr(machine, "version", lambda package: torch)
    monkeypatch.setattr(machine.sys, "platform", platform)
    monkeypatch.setattr(machine.platform, "machine", lambda: "arm64")
    assert machine.accelerator() == expected
