"""What is in the way is said before anything starts."""

import errno
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from kb.core.supervision import preflight
from kb.core.supervision.preflight import CannotStart, check_folder, check_port, port_problem


@pytest.fixture
def taken_port() -> Iterator[int]:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        yield listener.getsockname()[1]


def test_a_free_port_is_fine(taken_port: int) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        free = probe.getsockname()[1]
    check_port("127.0.0.1", free)


def test_a_taken_port_names_another(taken_port: int) -> None:
    with pytest.raises(CannotStart, match=f"PORT={taken_port + 1}"):
        check_port("127.0.0.1", taken_port)


def test_a_host_that_is_not_ours() -> None:
    with pytest.raises(CannotStart, match="not an address of this machine"):
        check_port("192.0.2.1", 8000)


@pytest.mark.parametrize(
    ("code", "says"),
    [
        (errno.EADDRINUSE, "taken by another program"),
        (errno.EACCES, "above 1023"),
        (errno.EADDRNOTAVAIL, "0.0.0.0"),
        (errno.ENETDOWN, "cannot listen"),
    ],
)
def test_port_problem(code: int, says: str) -> None:
    assert says in port_problem("127.0.0.1", 80, code)


def test_a_folder_is_made_and_left_clean(tmp_path: Path) -> None:
    check_folder(tmp_path / "new" / "home")
    assert [path.name for path in (tmp_path / "new" / "home").iterdir()] == ["logs"]


def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(CannotStart, match="set KB_HOME"):
        check_folder(tmp_path / "file" / "home")


def test_a_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(preflight, "MINIMUM_FREE", 2**60)
    with pytest.raises(CannotStart, match="free some space"):
        check_folder(tmp_path / "home")
