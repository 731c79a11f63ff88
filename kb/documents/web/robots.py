"""robots.txt (RFC 9309): what came of asking for it, and what it allows. Pure; `hosts` remembers it."""

import re
from dataclasses import dataclass
from functools import lru_cache

from protego import Protego

from kb.documents.web.addresses import WebAddress
from kb.documents.web.outcomes import Failed, Fetched, Gone, Outcome, Refused

PRODUCT = "footnote"
MOST_BYTES = 512 * 1024
KEPT_SECONDS = 24 * 3600.0
WAIT_SECONDS = 3600.0
# Faster than this is impolite without being asked; slower than that is a door closed without saying so.
LEAST_DELAY, MOST_DELAY = 1.0, 60.0
_USER_AGENT = re.compile(r"[ \t]*user[- ]?agent[ \t]*[: \t][ \t]*(.*)", re.IGNORECASE)


@dataclass(frozen=True)
class Rules:
    """The rules to go by, and for how many seconds."""

    text: str
    seconds: float


@dataclass(frozen=True)
class Wait:
    """Nobody knows the rules at present, so nothing may be asked for so many seconds."""

    seconds: float
    reason: str


def rules(found: Outcome, host: str) -> Rules | Wait:
    """What the answer to /robots.txt means: without one everything is allowed, with trouble nothing is for now."""
    match found:
        case Fetched():
            return Rules(ours(found.body.decode("utf-8", "replace")), KEPT_SECONDS)
        case Gone() | Refused(code="redirects"):
            return Rules("", KEPT_SECONDS)
        case Failed(status=status) if 400 <= status < 500 and status != 429:
            return Rules("", KEPT_SECONDS)
        case Failed(reason=reason, retry_after=seconds):
            return Wait(WAIT_SECONDS if seconds is None else max(seconds, 60.0), unreadable(host, reason))
        case Refused(reason=reason):
            return Wait(KEPT_SECONDS, unreadable(host, reason))
        case _:
            return Wait(WAIT_SECONDS, unreadable(host, ""))


def unreadable(host: str, reason: str) -> str:
    return f"The robots.txt of {host} cannot be read, so nothing there is asked for now. {reason}".strip()


def ours(text: str) -> str:
    """The file with the names of all other robots made one.

    A file that names thousands of robots before thousands of rules would otherwise become millions of rules.
    """
    return "\n".join(
        f"User-agent: {_product(match[1])}" if (match := _USER_AGENT.match(line)) else line
        for line in text.replace("\0", "").removeprefix("\ufeff").splitlines()
    )


def _product(named: str) -> str:
    name = re.split(r"[/#\s]", named.strip(), maxsplit=1)[0].lower()
    return name if name == "*" else PRODUCT if name.rstrip("*") == PRODUCT else "others"


@lru_cache(maxsize=16)
def _parsed(text: str) -> Protego:
    return Protego.parse(text)


def allows(text: str, asked: WebAddress) -> bool:
    return _parsed(text).can_fetch(str(asked), PRODUCT)


def delay(text: str) -> float:
    """The seconds to leave between two requests: as the file says, within bounds."""
    named = _parsed(text).crawl_delay(PRODUCT)
    return min(max(named or 0.0, LEAST_DELAY), MOST_DELAY)
