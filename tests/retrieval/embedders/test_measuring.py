"""Backends are measured in a process of their own, and what goes wrong there is noted."""

import json
import os
import sys
from pathlib import Path
from typing import Any

import pytest

from retrieval.embedders.backends import ON_CUDA, OPENVINO, TORCH, Backend
from retrieval.embedders.calibration import Measurement, choose
from retrieval.embedders.measuring import Request, from_json, measure, measured, to_json
from tests.retrieval.embedders.tiny import tiny_model


def request(model: Path | str, *backends: Backend, cache: str = "") -> Request:
    return Request(str(model), "", "", tuple(map(str, backends)), 0, cache)


BEGIN = """
import json, os, sys, time
def say(**said):
    print(json.dumps(said), flush=True)
asked = json.load(sys.stdin)["backends"]
"""
DONE = """
names = [name.split("-") for name in asked]
rest = {"rates": {"8": 9}, "cosine": 1, "failure": ""}
say(measured=[{"backend": name, "number_format": numbers, **rest} for name, numbers in names])
"""


def child(*lines: str) -> list[str]:
    """A process in the place of the measuring one: it has read what is `asked`, and can `say` something."""
    return [sys.executable, "-c", "\n".join([BEGIN, *lines, DONE])]


@pytest.mark.slow
def test_backends_are_measured_in_turns_and_compared(tmp_path: Path) -> None:
    pulses: list[None] = []
    found = measured(
        request(tiny_model(tmp_path), TORCH, OPENVINO, ON_CUDA[0], cache=str(tmp_path / "graphs")),
        lambda: pulses.append(None),
    )
    assert [made.backend for made in found] == [TORCH, OPENVINO, ON_CUDA[0]]
    for made in found[:2]:
        assert sorted(made.rates) == [4, 8, 16]
        assert made.cosine == pytest.approx(1, abs=1e-4)
        assert not made.refused
    assert "CUDA" in found[2].failure
    assert choose(found).backend in {TORCH, OPENVINO}
    assert pulses


def test_a_model_that_is_not_there_is_each_ones_reason(tmp_path: Path) -> None:
    told: list[dict[str, Any]] = []
    found = measure(request(tmp_path, TORCH, OPENVINO), told.append)
    assert ["ModelMissing" in made.failure for made in found] == [True, True]
    assert told == [{"at": "torch-float32"}, {"at": "openvino-float32"}]


def test_a_backend_that_ends_the_process_is_noted_and_the_others_are_measured() -> None:
    command = child("if 'openvino-float32' in asked: say(at='openvino-float32'); os.kill(os.getpid(), 4)")
    found = {made.backend: made for made in measured(request("m", TORCH, OPENVINO), bool, command=command)}
    assert found[OPENVINO].failure == "signal 4"
    assert found[TORCH].rates == {8: 9.0}


def test_a_process_that_never_gets_anywhere_ends_with_reasons_for_all() -> None:
    found = measured(
        request("m", TORCH, OPENVINO), bool, command=[sys.executable, "-c", "raise SystemExit(3)"]
    )
    assert [made.failure for made in found] == ["the process ended with status 3"] * 2


def test_a_backend_that_stands_still_is_ended_in_time() -> None:
    command = child("if 'openvino-float32' in asked: say(at='openvino-float32'); time.sleep(600)")
    found = {made.backend: made for made in measured(request("m", TORCH, OPENVINO), bool, 2.0, command)}
    assert "longer than 2 s" in found[OPENVINO].failure
    assert found[TORCH].rate == 9


def test_what_libraries_write_is_overlooked() -> None:
    found = measured(request("m", TORCH), bool, command=child("print('a warning'); print('[1]'); print('3')"))
    assert [made.rate for made in found] == [9]


@pytest.mark.parametrize(
    "made",
    [
        Measurement(TORCH, {8: 20.25, 16: 21.5}, 1.0),
        Measurement(OPENVINO, {}, None, "openvino cannot be imported"),
    ],
)
def test_measurements_survive_json(made: Measurement) -> None:
    assert from_json(json.loads(json.dumps(to_json(made)))) == made


def test_a_cosine_that_is_no_number_is_none_in_json() -> None:
    assert to_json(Measurement(TORCH, {8: 1.0}, float("nan")))["cosine"] is None


def test_who_gives_up_waiting_leaves_no_process_behind(tmp_path: Path) -> None:
    command = child(f"open({str(tmp_path / 'pid')!r}, 'w').write(str(os.getpid()))", "time.sleep(600)")

    def give_up() -> None:
        if (tmp_path / "pid").exists() and (tmp_path / "pid").read_text():
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        measured(request("m", TORCH), give_up, command=command)
    with pytest.raises(ProcessLookupError):
        os.kill(int((tmp_path / "pid").read_text()), 0)
