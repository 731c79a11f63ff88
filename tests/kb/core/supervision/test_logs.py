"""Log files: appended to, put aside when long, and read for the reason of an end."""

from pathlib import Path

import pytest

from kb.core.supervision import logs


def test_a_log_is_appended_to(tmp_path: Path) -> None:
    for word in (b"one\n", b"two\n"):
        with logs.open_log(tmp_path, "web") as log:
            log.write(word)
    assert logs.log_path(tmp_path, "web").read_bytes() == b"one\ntwo\n"


def test_a_long_log_is_put_aside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logs, "ROTATE_BYTES", 3)
    for word in (b"first\n", b"second\n", b"third\n"):
        with logs.open_log(tmp_path, "web") as log:
            log.write(word)
    assert logs.log_path(tmp_path, "web").read_bytes() == b"third\n"
    assert (tmp_path / "logs" / "web.log.1").read_bytes() == b"second\n"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", ""),
        ("Traceback\n  File\nValueError: no\n\n", "ValueError: no"),
        (
            "PANIC: could not write: No space left on device\nLOG: stopped",
            "the disk is full: free some space",
        ),
        (
            "[Errno 98] Address already in use",
            "the port is taken by another program: choose another with PORT",
        ),
        ("caf\xe9", "caf\xe9"),
    ],
)
def test_last_words(tmp_path: Path, text: str, expected: str) -> None:
    (tmp_path / "log").write_text(text)
    assert logs.last_words(tmp_path / "log") == expected


def test_last_words_are_of_this_life(tmp_path: Path) -> None:
    (tmp_path / "log").write_text("No space left on device\nfine now\n")
    assert logs.last_words(tmp_path / "log", begin=24) == "fine now"
    assert logs.last_words(tmp_path / "none") == ""


def test_a_signal_is_a_better_reason_than_the_last_line(tmp_path: Path) -> None:
    (tmp_path / "log").write_text("ready to accept connections\n")
    assert logs.last_words(tmp_path / "log", status=-9) == "ended by SIGKILL"
    assert logs.last_words(tmp_path / "none", status=-11) == "ended by SIGSEGV"
