"""The embedded Valkey: listens on its socket alone, and one that was left over makes room."""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from kb.core.embedded import layout, valkey
from kb.core.embedded.postgres import EmbeddedServiceError


@pytest.fixture
def home(tmp_path: Path) -> Path:
    layout.sockets(tmp_path).mkdir(parents=True)
    return tmp_path


@pytest.fixture
def server(home: Path) -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(valkey.command(home), stdout=subprocess.DEVNULL)
    try:
        valkey.wait_until_ready(home, lambda: process.poll() is None)
        yield process
    finally:
        process.terminate()
        process.wait()


def test_it_serves_on_its_socket_and_on_no_port(home: Path, server: subprocess.Popen[bytes]) -> None:
    with redis.Redis(unix_socket_path=str(layout.valkey_socket(home))) as client:
        assert client.set("key", "value")
        assert client.config_get("port") == {"port": "0"}
        assert client.config_get("save") == {"save": ""}
    assert layout.valkey_socket(home).stat().st_mode & 0o077 == 0


def test_one_that_was_left_over_is_found_and_ended(home: Path, server: subprocess.Popen[bytes]) -> None:
    assert valkey.running_pid(home) == server.pid
    valkey.stop_stale(home)
    assert server.wait(10) == 0
    assert valkey.running_pid(home) is None


def test_the_one_of_another_folder_is_left_alone(
    home: Path, server: subprocess.Popen[bytes], tmp_path_factory: pytest.TempPathFactory
) -> None:
    other = tmp_path_factory.mktemp("other")
    valkey.pid_file(other).parent.mkdir()
    valkey.pid_file(other).write_text(str(server.pid))
    valkey.stop_stale(other)
    assert valkey.ready(home)


@pytest.mark.parametrize("written", [None, "", "nobody", str(2**22 + 1), "1"])
def test_a_stale_pid_file_is_nobody(home: Path, written: str | None) -> None:
    valkey.pid_file(home).parent.mkdir()
    if written is not None:
        valkey.pid_file(home).write_text(written)
    assert valkey.running_pid(home) is None
    valkey.stop_stale(home)


def test_one_that_does_not_start_is_given_up(home: Path) -> None:
    with pytest.raises(EmbeddedServiceError, match="Valkey did not start"):
        valkey.wait_until_ready(home, lambda: False)
