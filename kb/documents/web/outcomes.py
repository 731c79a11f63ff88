"""What may come of asking for a web address."""

from dataclasses import dataclass
from typing import TypeAlias

from kb.documents.web.addresses import WebAddress


@dataclass(frozen=True)
class Fetched:
    """The whole body, decompressed, and where it was found after all redirects."""

    address: WebAddress
    body: bytes
    media_type: str = ""
    charset: str = ""
    etag: str = ""
    last_modified: str = ""


@dataclass(frozen=True)
class NotModified:
    """The server says that what we have is what it has."""

    address: WebAddress


@dataclass(frozen=True)
class Gone:
    """404 or 410: there is nothing (any more)."""

    status: int


@dataclass(frozen=True)
class Refused:
    """We do not fetch this, and asking again soon will not change it: an inner address, robots.txt, too large."""

    code: str
    reason: str


@dataclass(frozen=True)
class Failed:
    """It did not work this time; `retry_after` is in seconds, where somebody named a time.

    `status` is HTTP's, or 0 where there was none.
    """

    reason: str
    retry_after: float | None = None
    status: int = 0


@dataclass(frozen=True)
class Later:
    """Nobody was asked, as it is not our turn: come back in so many seconds. A reason is worth telling."""

    seconds: float
    reason: str = ""


Outcome: TypeAlias = Fetched | NotModified | Gone | Refused | Failed | Later
