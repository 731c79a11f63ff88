"""The one error of loading: a code for programs and a sentence for people."""

from typing import Literal, get_args

Code = Literal[
    "unsupported",
    "empty",
    "needs_ocr",
    "broken",
    "encrypted",
    "mismatch",
    "too_large",
    "timeout",
    "memory",
    "crashed",
]
Stopped = Literal["stopped"]
STOPPED: Stopped = "stopped"
"""Between processes: what `ReaderStopped` says."""
CODES: frozenset[str] = frozenset(get_args(Code))


class LoadError(Exception):
    """A file could not be loaded; `message` says in plain words why and what to do."""

    def __init__(self, code: Code, message: str) -> None:
        super().__init__(message)
        self.code: Code = code
        self.message = message


class ReaderStopped(LoadError):
    """Somebody ended the process that reads, such as a kernel short of memory: the file may not be to blame."""

    def __init__(self) -> None:
        super().__init__("crashed", "The reader was stopped while it read the file. Try again.")
