"""Connections to checked addresses only, each bounded in time and bytes."""

import ipaddress
import socket
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from ssl import SSLContext
from typing import Any

import httpcore

from kb.documents.web.addresses import BadAddress, Verdict, address

# The numbers that a name stands for; raises OSError where nobody knows it.
Resolver = Callable[[str, int, float], list[str]]
MOST_ADDRESSES_TRIED = 4


class TooMuch(Exception):
    """The server sent more than was to be taken."""


def system_resolver(host: str, port: int, seconds: float) -> list[str]:
    """Asks the system, for so long at most. The dot at the end keeps it from adding domains of its own."""
    found: list[str] = []
    problems: list[OSError] = []

    def ask() -> None:
        try:
            found.extend(
                str(entry[4][0]) for entry in socket.getaddrinfo(f"{host}.", port, type=socket.SOCK_STREAM)
            )
        except (OSError, UnicodeError) as error:
            problems.append(error if isinstance(error, OSError) else OSError(str(error)))

    asking = threading.Thread(target=ask, daemon=True)  # the system's own limit is minutes
    asking.start()
    asking.join(seconds)
    if problems:
        raise problems[0]
    if not found:
        raise OSError("no answer in time")
    return list(dict.fromkeys(found))


@dataclass
class Allowance:
    """What is left of the time and of the bytes of one request. `ends` is on the monotonic clock."""

    ends: float
    bytes_left: int

    def seconds(self, most: float | None = None) -> float:
        left = self.ends - time.monotonic()
        if left <= 0:
            raise httpcore.ReadTimeout("the time is up")
        return left if most is None else min(left, most)


class BoundedStream(httpcore.NetworkStream):
    """Takes no longer and no more than its allowance, however slowly or endlessly the other side sends."""

    def __init__(self, inner: httpcore.NetworkStream, allowance: Allowance) -> None:
        self.inner, self.allowance = inner, allowance

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        content = self.inner.read(max_bytes, self.allowance.seconds(timeout))
        self.allowance.bytes_left -= len(content)
        if self.allowance.bytes_left < 0:
            raise TooMuch
        return content

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self.inner.write(buffer, self.allowance.seconds(timeout))

    def close(self) -> None:
        self.inner.close()

    def start_tls(
        self, ssl_context: SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.NetworkStream:
        secured = self.inner.start_tls(ssl_context, server_hostname, self.allowance.seconds(timeout))
        return BoundedStream(secured, self.allowance)

    def get_extra_info(self, info: str) -> Any:
        return self.inner.get_extra_info(info)


class CheckedBackend(httpcore.NetworkBackend):
    """Resolves a name once, judges every number it stands for, and connects to those numbers themselves.

    So there is no second answer that could differ from the one that was judged. TLS goes on to verify the name.
    """

    def __init__(self, resolve: Resolver, verdict: Verdict, allowance: Allowance) -> None:
        self.resolve, self.verdict, self.allowance = resolve, verdict, allowance
        self.network = httpcore.SyncBackend()

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,  # noqa: ARG002 (httpcore's signature)
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.NetworkStream:
        last: Exception | None = None
        for number in self.checked(host, port, self.allowance.seconds(timeout))[:MOST_ADDRESSES_TRIED]:
            try:
                stream = self.network.connect_tcp(
                    number, port, self.allowance.seconds(timeout), None, socket_options
                )
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
                last = error
                continue
            not_to_ourselves(stream)
            return BoundedStream(stream, self.allowance)
        raise last or httpcore.ConnectError(f"{host} has no address")

    def checked(self, host: str, port: int, seconds: float) -> list[str]:
        """The numbers behind the host. Raises BadAddress if a single one of them may not be asked."""
        numbers = [address(text) for text in self.numbers(host, port, seconds)]
        for number in numbers:
            if reason := self.verdict(number):
                raise BadAddress(f"{host} leads to {reason}. Only public addresses are fetched.")
        return [str(number) for number in numbers]

    def numbers(self, host: str, port: int, seconds: float) -> list[str]:
        try:
            return [str(ipaddress.ip_address(host))]
        except ValueError:
            pass
        try:
            return self.resolve(host, port, seconds)
        except OSError as error:
            raise httpcore.ConnectError(f"The name {host} is not known at present.") from error


def not_to_ourselves(stream: httpcore.NetworkStream) -> None:
    """Raises BadAddress where a public number turned out to be this machine's own: inner services listen there."""
    here, there = stream.get_extra_info("client_addr")[0], stream.get_extra_info("server_addr")[0]
    if here == there and not ipaddress.ip_address(here).is_loopback:  # loopback was for the verdict to judge
        stream.close()
        raise BadAddress("This is an address of this very machine. Only public addresses are fetched.")
