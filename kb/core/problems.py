"""A refusal with a reason: what went wrong and what to do, for pages, API, admin and command line alike."""

import errno

# No space, no more for this account, or no file of this size.
FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


class Problem(Exception):
    """`code` is stable and for programs, `message` is a sentence for people, `status` is HTTP's.

    In `extra`, `retry_after` is in so many seconds the asker may try again.
    """

    def __init__(self, code: str, message: str, status: int = 400, **extra: object) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.status = status
        self.extra = extra


def not_found(what: str) -> Problem:
    """The same words whether it does not exist or may not be known."""
    return Problem("not_found", f"There is no such {what}, or you may not see it.", 404)


def is_full(error: BaseException | None) -> bool:
    """Whether a disk did not take what was to be written."""
    return isinstance(error, OSError) and error.errno in FULL


def not_stored(error: OSError) -> Problem:
    return Problem(
        "not_stored",
        f"The server cannot store this file ({error.strerror}). Nothing was changed: tell its administrator.",
        507,
    )
