"""Fetches one web address: checked at every step, bounded in time, size and redirects, never as anybody.

Cookies, proxies and passwords of the environment play no part: httpcore knows of none.
"""

import threading
import time
import zlib
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from ssl import SSLContext, create_default_context

import certifi
import httpcore

from kb.documents.web.addresses import BadAddress, Verdict, WebAddress, joined, web_address, why_not_public
from kb.documents.web.connecting import Allowance, CheckedBackend, Resolver, TooMuch, system_resolver
from kb.documents.web.media import media_type
from kb.documents.web.outcomes import Failed, Fetched, Gone, Later, NotModified, Outcome, Refused

USER_AGENT = "Footnote/0.1 (a knowledge base; it reads pages that its people chose)"
REDIRECTS = frozenset({301, 302, 303, 307, 308})
MOST_HEADER_BYTES = 128 * 1024
MOST_HEADER_VALUE = 500
PIECE_BYTES = 256 * 1024
LONGEST_WAIT = 7 * 24 * 3600.0
CONNECT_SECONDS, READ_SECONDS = 10.0, 20.0

# Asked before every request, those after a redirect included: a reason not to go there, or None.
MayAsk = Callable[[WebAddress], Refused | Failed | Later | None]
# Asked with the media type and the path before the body is read: a sentence if it is of no use.
WhyNot = Callable[[str, str], str | None]


_of_this_thread = threading.local()


def trusted_authorities() -> SSLContext:
    """The thread's own: httpcore changes it for each connection, which OpenSSL forbids while others use it."""
    if not hasattr(_of_this_thread, "authorities"):
        _of_this_thread.authorities = create_default_context(cafile=certifi.where())
    context: SSLContext = _of_this_thread.authorities
    return context


@dataclass(frozen=True)
class Validators:
    """What the server said of the copy that we have, and at which address it said so."""

    address: str = ""
    etag: str = ""
    last_modified: str = ""

    def headers(self, asked: WebAddress) -> dict[str, str]:
        """The conditions of a request; none for another address, whose answer would be about something else."""
        if self.address != str(asked):
            return {}
        conditions = {"If-None-Match": self.etag, "If-Modified-Since": self.last_modified}
        return {name: value for name, value in conditions.items() if value}


@dataclass(frozen=True)
class Fetcher:
    """How to fetch. Tests reach their own machine with another `verdict`; nothing else can."""

    resolve: Resolver = system_resolver
    verdict: Verdict = why_not_public
    authorities: Callable[[], SSLContext] = trusted_authorities
    seconds: float = 60.0
    most_redirects: int = 5
    user_agent: str = field(default=USER_AGENT)

    def fetch(
        self,
        url: str,
        *,
        most_bytes: int,
        validators: Validators | None = None,
        may_ask: MayAsk = lambda _address: None,
        why_not: WhyNot = lambda _kind, _path: None,
    ) -> Outcome:
        """What is at the address, after redirects. Never raises for what a server may do."""
        ends = time.monotonic() + self.seconds
        try:
            asked = web_address(url)
            for _ in range(self.most_redirects + 1):
                if obstacle := may_ask(asked):
                    return obstacle
                allowance = Allowance(ends, most_bytes + MOST_HEADER_BYTES)
                conditions = (validators or Validators()).headers(asked)
                found = self.ask(asked, conditions, allowance, most_bytes, why_not)
                if not isinstance(found, WebAddress):
                    return found
                if asked.scheme == "https" and found.scheme == "http":
                    return Refused(
                        "downgrade", "A redirect leads from https to http, which anybody may read and change."
                    )
                asked = found
        except BadAddress as error:
            return Refused("address", str(error))
        return Refused("redirects", f"There are more than {self.most_redirects} redirects one after another.")

    def ask(
        self,
        asked: WebAddress,
        conditions: Mapping[str, str],
        allowance: Allowance,
        most_bytes: int,
        why_not: WhyNot,
    ) -> Outcome | WebAddress:
        """One request: what came of it, or the address that it redirects to. Raises BadAddress."""
        headers = {
            "User-Agent": self.user_agent,
            "Accept": "text/html, application/xhtml+xml, application/pdf, */*;q=0.5",
            "Accept-Encoding": "gzip",
            "Connection": "close",
            **conditions,
        }
        backend = CheckedBackend(self.resolve, self.verdict, allowance)
        timeouts = {
            "connect": CONNECT_SECONDS,
            "read": READ_SECONDS,
            "write": READ_SECONDS,
            "pool": CONNECT_SECONDS,
        }
        url = httpcore.URL(
            scheme=asked.scheme, host=asked.host, port=asked.port, target=asked.target.encode("ascii")
        )
        try:
            with (
                httpcore.ConnectionPool(ssl_context=self.authorities(), network_backend=backend) as pool,
                pool.stream(
                    "GET", url, headers=list(headers.items()), extensions={"timeout": timeouts}
                ) as reply,
            ):
                return outcome(asked, reply, bool(conditions), most_bytes, why_not)
        except TooMuch:
            return too_large(most_bytes)
        except httpcore.TimeoutException:
            return Failed(f"{asked.host} was too slow: it did not answer in time.")
        except httpcore.ConnectError as error:
            return Failed(f"{asked.host} cannot be reached: {error}")
        except (httpcore.NetworkError, httpcore.ProtocolError) as error:
            return Failed(f"{asked.host} broke off or sent what is no proper reply ({error}).")
        except (zlib.error, EOFError):
            return Failed(f"What {asked.host} sent is damaged: its compression does not fit.")


def outcome(
    asked: WebAddress, reply: httpcore.Response, conditional: bool, most_bytes: int, why_not: WhyNot
) -> Outcome | WebAddress:
    headers = {
        name.decode("latin-1").lower(): value.decode("latin-1").strip() for name, value in reply.headers
    }
    status = reply.status
    if status in REDIRECTS and headers.get("location"):
        # Servers send what browsers understand: bytes of UTF-8 where ASCII should be.
        return joined(asked, headers["location"].encode("latin-1").decode("utf-8", "replace"))
    if status == 304 and conditional:
        return NotModified(asked)
    if status != 200:
        return without_content(asked, status, headers)
    return content(asked, reply, headers, most_bytes, why_not)


def without_content(asked: WebAddress, status: int, headers: Mapping[str, str]) -> Gone | Failed:
    if status in {404, 410}:
        return Gone(status)
    wait = retry_after(headers.get("retry-after", ""), datetime.now(UTC))
    return Failed(f"{asked.host} answered with the status {status}{MEANING.get(status, '')}.", wait, status)


def content(
    asked: WebAddress, reply: httpcore.Response, headers: Mapping[str, str], most_bytes: int, why_not: WhyNot
) -> Fetched | Refused:
    """The body, unless it is of no use or too large. Raises TooMuch as soon as it turns out to be."""
    kind, charset = media_type(headers.get("content-type", ""))
    if reason := why_not(kind, asked.path):
        return Refused("unsupported", reason)
    length = headers.get("content-length", "")
    if length.isdecimal() and int(length[:20]) > most_bytes:
        return too_large(most_bytes)
    with closing(decompressed(reply.iter_stream(), headers.get("content-encoding", ""), most_bytes)) as parts:
        body = b"".join(parts)
    return Fetched(
        asked,
        body,
        kind,
        charset,
        validator(headers.get("etag", "")),
        validator(headers.get("last-modified", "")),
    )


MEANING = {
    401: ": it wants a login",
    403: ": it does not let us in",
    429: ": we ask too often",
    451: ": it may not show this",
    503: ": it is not available at present",
}


def too_large(most_bytes: int) -> Refused:
    return Refused(
        "too_large", f"It is larger than {most_bytes / 1024**2:.3g} MB, which is the most that is taken."
    )


def validator(value: str) -> str:
    """A header to send back later; one that is longer than any sensible one is forgotten."""
    return value if len(value) <= MOST_HEADER_VALUE and value.isascii() and value.isprintable() else ""


def decompressed(parts: Iterable[bytes], encoding: str, most_bytes: int) -> Generator[bytes]:
    """The body in pieces. Raises TooMuch as soon as it is larger, before more of it is unpacked."""
    match encoding.lower():
        case "" | "identity":
            pieces = iter(parts)
        case "gzip" | "x-gzip":
            pieces = gunzipped(parts)
        case _:
            raise zlib.error("an encoding that nobody asked for")
    left = most_bytes
    for piece in pieces:
        left -= len(piece)
        if left < 0:
            raise TooMuch
        yield piece


def gunzipped(parts: Iterable[bytes]) -> Iterator[bytes]:
    """Unpacks gzip in pieces of a bounded size.

    Raises EOFError where the end is missing, zlib.error where it is no gzip.
    """
    unpacker = zlib.decompressobj(wbits=31)
    begun = False
    for part in parts:
        begun = begun or bool(part)
        rest, full = part, True
        while (rest or full) and not unpacker.eof:
            piece = unpacker.decompress(rest, PIECE_BYTES)
            # A full piece may have more behind it that has been read already.
            rest, full = unpacker.unconsumed_tail, len(piece) == PIECE_BYTES
            yield piece
        if unpacker.eof:
            return  # what follows the end is nobody's business
    if begun:
        raise EOFError


def retry_after(header: str, now: datetime) -> float | None:
    """The seconds that a server wants to be left alone: given as such or as a date; a week at most."""
    if header.isdecimal():
        return min(float(header[:9]), LONGEST_WAIT)
    try:
        moment = parsedate_to_datetime(header)
    except ValueError:
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return min(max((moment - now).total_seconds(), 0.0), LONGEST_WAIT)
