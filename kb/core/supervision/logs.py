"""The children's log files: where they are, when they begin anew, what their last words mean."""

from pathlib import Path
from signal import Signals
from typing import BinaryIO

from kb.core.embedded.layout import make_private

ROTATE_BYTES = 10 * 1024 * 1024
TAIL_BYTES = 8192
# What a log may say, and what that means for the person who reads it.
MEANINGS = (
    ("no space left on device", "the disk is full: free some space"),
    ("address already in use", "the port is taken by another program: choose another with PORT"),
    ("cannot allocate memory", "the machine is out of memory: stop something else, or give it more"),
    ("could not create shared memory segment", "the machine has too little shared memory for PostgreSQL"),
)


def log_path(home: Path, name: str) -> Path:
    return home / "logs" / f"{name}.log"


def open_log(home: Path, name: str) -> BinaryIO:
    """The child's log, to append to; a long one is put aside first."""
    path = log_path(home, name)
    make_private(path.parent)
    if path.exists() and path.stat().st_size > ROTATE_BYTES:
        path.replace(path.with_suffix(".log.1"))
    return path.open("ab")


def last_words(path: Path, begin: int = 0, status: int = 1) -> str:
    """Why the child ended with this status: by a signal, or as the end of its log from `begin` on says."""
    killed = f"ended by {Signals(-status).name}" if status < 0 else ""
    if not path.exists():
        return killed
    with path.open("rb") as file:
        size = file.seek(0, 2)
        file.seek(max(begin if begin <= size else 0, size - TAIL_BYTES))
        lines = [line.strip() for line in file.read().decode(errors="replace").splitlines() if line.strip()]
    text = "\n".join(lines).lower()
    meaning = next((meaning for words, meaning in MEANINGS if words in text), None)
    return meaning or killed or (lines[-1].removeprefix("CommandError: ")[:400] if lines else "")
