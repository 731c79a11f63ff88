"""Which web addresses may be fetched: decided on the text of a URL and on the numbers it resolves to.

The server stands where the reader does not: behind a firewall, beside its own database, in a cloud that
hands out passwords at an address of its own. So only what anybody on the internet could ask is asked.
"""

import ipaddress
import re
from collections.abc import Callable
from dataclasses import dataclass
from urllib.parse import quote, urljoin, urlsplit

import idna

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
# Why an address may not be asked, in words; None where it may.
Verdict = Callable[[Address], str | None]

MOST_CHARACTERS = 2000
PORTS = {"http": 80, "https": 443}
# Services of a system live below 1024, where HTTP is spoken at 80 and 443 alone. Above, web servers are
# everywhere, but these are spoken to in other protocols (the list of https://fetch.spec.whatwg.org/#port-blocking).
OTHER_PROTOCOLS = frozenset(
    {1719, 1720, 1723, 2049, 3659, 4045, 4190, 5060, 5061, 6000, 6566, 6665, 6666, 6667, 6668, 6669, 6679}
    | {6697, 10080}
)
# The registries of special-purpose addresses (IANA, 2025), and what clouds keep for themselves.
_IPV4 = {
    "0.0.0.0/8": "this network",
    "10.0.0.0/8": "a private network",
    "100.64.0.0/10": "a provider's inner network",
    "127.0.0.0/8": "this machine",
    "168.63.129.16/32": "a cloud's inner service",
    "169.254.0.0/16": "a link-local or metadata address",
    "172.16.0.0/12": "a private network",
    "192.0.0.0/24": "a reserved network",
    "192.0.2.0/24": "a network for examples",
    "192.88.99.0/24": "a 6to4 relay",
    "192.168.0.0/16": "a private network",
    "198.18.0.0/15": "a network for measurements",
    "198.51.100.0/24": "a network for examples",
    "203.0.113.0/24": "a network for examples",
    "224.0.0.0/4": "a multicast address",
    "240.0.0.0/4": "a reserved network",
}
_IPV6 = {
    "::/128": "this network",
    "::1/128": "this machine",
    "::ffff:0:0/96": "an IPv4 address in IPv6 clothes",
    "::/96": "an IPv4 address in IPv6 clothes",
    "64:ff9b::/96": "an IPv4 address in IPv6 clothes (NAT64)",
    "64:ff9b:1::/48": "an IPv4 address in IPv6 clothes (NAT64)",
    "100::/64": "a network that swallows everything",
    "2001::/32": "an IPv4 address in IPv6 clothes (Teredo)",
    "2001::/23": "a reserved network",
    "2001:db8::/32": "a network for examples",
    "2002::/16": "an IPv4 address in IPv6 clothes (6to4)",
    "3fff::/20": "a network for examples",
    "5f00::/16": "a reserved network",
    "fc00::/7": "a private network (unique local)",
    "fe80::/10": "a link-local address",
    "fec0::/10": "a private network (site-local)",
    "ff00::/8": "a multicast address",
}
_SPECIAL = [(ipaddress.ip_network(network), name) for network, name in (_IPV4 | _IPV6).items()]
_GLOBAL_UNICAST = ipaddress.IPv6Network("2000::/3")
# The last 64 bits of ISATAP addresses: 0:5efe or 200:5efe, then an IPv4 address.
_ISATAP = frozenset({0x00005EFE, 0x02005EFE})
_UNWRITABLE = re.compile(r"[\x00-\x20\x7f\\]")
_LABEL = re.compile(r"[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?")
# What may be meant as a number: WHATWG reads 0x7f.1, 017700000001 and 2130706433 as 127.0.0.1.
_NUMBER = re.compile(r"[0-9]+|0x[0-9a-f]*")
_KEPT_IN_PATHS = "/%:@!$&'()*+,;=~-._"
_KEPT_IN_QUERIES = _KEPT_IN_PATHS + "?[]"


class BadAddress(ValueError):
    """A URL or an address that is not fetched; says why, for people."""


@dataclass(frozen=True)
class WebAddress:
    """A URL taken apart once: what is asked is made of these parts, and never read anew from a text.

    `host` is in ASCII and lower case, without brackets or a last dot; `target` is path and query.
    """

    scheme: str
    host: str
    port: int
    target: str

    @property
    def authority(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == PORTS[self.scheme] else f"{host}:{self.port}"

    @property
    def origin(self) -> str:
        """What politeness and robots.txt go by."""
        return f"{self.scheme}://{self.authority}"

    @property
    def path(self) -> str:
        return self.target.partition("?")[0]

    def __str__(self) -> str:
        return self.origin + self.target


def web_address(url: str) -> WebAddress:
    """The parts of an absolute URL. Raises BadAddress for one that is never fetched, whatever it resolves to."""
    if len(url) > MOST_CHARACTERS:
        raise BadAddress(f"An address may have {MOST_CHARACTERS} characters at most.")
    if _UNWRITABLE.search(url):
        raise BadAddress("An address has no spaces, backslashes or control characters.")
    try:
        parts = urlsplit(url)
        given = parts.port
    except ValueError as error:
        raise BadAddress("This is not an address of the web.") from error
    scheme = parts.scheme.lower()
    if scheme not in PORTS:
        raise BadAddress("Only addresses that begin with http:// or https:// are fetched.")
    if "@" in parts.netloc:
        raise BadAddress("Addresses with a user name or a password are not fetched.")
    host = checked_host(parts.netloc, parts.hostname or "")
    target = quote(parts.path, safe=_KEPT_IN_PATHS) or "/"
    if parts.query:
        target += "?" + quote(parts.query, safe=_KEPT_IN_QUERIES)
    found = WebAddress(scheme, host, checked_port(scheme, given), target)
    if len(str(found)) > MOST_CHARACTERS:  # letters of other scripts grow when they are written in ASCII
        raise BadAddress(f"An address may have {MOST_CHARACTERS} characters at most.")
    return found


def joined(base: WebAddress, reference: str) -> WebAddress:
    """The address that a page at `base` means by `reference`. Raises BadAddress."""
    if len(reference) > MOST_CHARACTERS:
        raise BadAddress(f"An address may have {MOST_CHARACTERS} characters at most.")
    try:
        return web_address(urljoin(str(base), reference.strip()))
    except BadAddress:
        raise
    except ValueError as error:
        raise BadAddress("This is not an address of the web.") from error


def checked_port(scheme: str, given: int | None) -> int:
    port = PORTS[scheme] if given is None else given
    if port not in PORTS.values() and (port < 1024 or port in OTHER_PROTOCOLS):
        raise BadAddress(f"Port {port} is none where web servers answer: 80, 443 and most above 1023 are.")
    return port


def checked_host(netloc: str, name: str) -> str:
    """The host in its one spelling. Raises BadAddress."""
    if netloc.startswith("["):
        return _ipv6_literal(name)
    host = _ascii(name).removesuffix(".")
    if not host:
        raise BadAddress("This address names no host.")
    labels = host.split(".")
    if _NUMBER.fullmatch(labels[-1]):
        return _ipv4_literal(host)
    if not all(_LABEL.fullmatch(label) for label in labels) or len(host) > 253:
        raise BadAddress(f"{name} is no name of a host.")
    if len(labels) == 1 or labels[-1] in {"localhost", "local", "internal", "localdomain"}:
        raise BadAddress(f"{host} is a name of an inner network. Only public addresses are fetched.")
    return host


def _ascii(name: str) -> str:
    """The name as the network knows it: other scripts in punycode, wide and ringed letters as plain ones."""
    if name.isascii():
        return name.lower()
    try:
        return idna.encode(name, uts46=True).decode().lower()
    except idna.IDNAError as error:
        raise BadAddress(f"{name} is no name of a host.") from error


def _ipv4_literal(host: str) -> str:
    try:
        return str(ipaddress.IPv4Address(host))  # four plain decimals; no octal, no hexadecimal
    except ValueError as error:
        raise BadAddress(f"{host} is no address: write it as four plain decimal numbers.") from error


def _ipv6_literal(name: str) -> str:
    if "%" in name:
        raise BadAddress("An address with a scope lies on this machine's own networks.")
    try:
        return str(ipaddress.IPv6Address(name))
    except ValueError as error:
        raise BadAddress(f"[{name}] is no address.") from error


def address(text: str) -> Address:
    """The number that a resolver gave. Raises BadAddress."""
    if "%" in text:
        raise BadAddress("An address with a scope lies on this machine's own networks.")
    try:
        return ipaddress.ip_address(text)
    except ValueError as error:
        raise BadAddress(f"{text} is no address.") from error


def why_not_public(number: Address) -> str | None:
    """What the address belongs to if it is none that everybody on the internet could ask; else None."""
    for network, name in _SPECIAL:
        if number.version == network.version and number in network:
            return name
    if isinstance(number, ipaddress.IPv6Address):
        if number not in _GLOBAL_UNICAST:
            return "a reserved network"
        if (int(number) >> 32) & 0xFFFFFFFF in _ISATAP:
            return "an IPv4 address in IPv6 clothes (ISATAP)"
    return None if number.is_global else "a reserved network"
