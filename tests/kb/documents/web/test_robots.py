"""What robots.txt means for us, whatever state it is in."""

import time

import pytest

from kb.documents.web import robots
from kb.documents.web.addresses import web_address
from kb.documents.web.outcomes import Failed, Fetched, Gone, NotModified, Outcome, Refused
from kb.documents.web.robots import Rules, Wait

ROBOTS = web_address("https://example.org/robots.txt")


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (Fetched(ROBOTS, b"User-agent: *\nDisallow: /x"), Rules),
        (Fetched(ROBOTS, b"\xff\xfe\x00 nonsense"), Rules),
        (Gone(404), Rules),
        (Gone(410), Rules),
        (Failed("no login", status=401), Rules),
        (Failed("forbidden", status=403), Rules),
        (Failed("too often", status=429), Wait),
        (Failed("broken", status=500), Wait),
        (Failed("away", status=503), Wait),
        (Failed("no such name"), Wait),
        (Refused("redirects", "in circles"), Rules),
        (Refused("address", "inside"), Wait),
        (Refused("too_large", "endless"), Wait),
        (NotModified(ROBOTS), Wait),
    ],
)
def test_without_rules_all_is_allowed_and_with_trouble_nothing_is(found: Outcome, expected: type) -> None:
    assert isinstance(robots.rules(found, "example.org"), expected)


def test_a_server_may_name_the_time() -> None:
    found = robots.rules(Failed("away", 7200.0, 503), "example.org")
    assert found == Wait(7200.0, found.reason)
    assert "example.org" in found.reason
    assert robots.rules(Failed("away", 0.0, 503), "example.org").seconds == 60


@pytest.mark.parametrize(
    ("text", "path", "allowed"),
    [
        ("", "/a", True),
        ("User-agent: *\nDisallow: /", "/a", False),
        ("User-agent: *\nDisallow:", "/a", True),
        ("User-agent: *\nDisallow: /private", "/public", True),
        ("User-agent: *\nDisallow: /private", "/private/x", False),
        ("User-agent: *\nDisallow: /\nAllow: /a", "/a", True),
        ("User-agent: other\nDisallow: /", "/a", True),
        ("User-agent: Footnote\nDisallow: /\n\nUser-agent: *\nAllow: /", "/a", False),
        ("User-agent: *\nDisallow: /\n\nUser-agent: footnote\nAllow: /", "/a", True),
        ("user-agent: FOOTNOTE/1.0 # us\ndisallow: /", "/a", False),
        ("User-agent: a\nUser-agent: footnote\nUser-agent: b\nDisallow: /", "/a", False),
        ("User-agent: foot\nDisallow: /", "/a", True),
        ("User-agent: footnotes\nDisallow: /", "/a", True),
        ("User-agent: *\nDisallow: /*.pdf$", "/a/b.pdf", False),
        ("User-agent: *\nDisallow: /*.pdf$", "/a/b.pdf?x", True),
        ("User-agent: *\nDisallow: /ä", "/%C3%A4", False),
        ("\ufeffUser-agent: *\nDisallow: /", "/a", False),
        ("<html>not found</html>", "/a", True),
    ],
)
def test_what_is_allowed(text: str, path: str, allowed: bool) -> None:
    assert robots.allows(robots.ours(text), web_address(f"https://example.org{path}")) is allowed


@pytest.mark.parametrize(
    ("line", "seconds"),
    [
        ("Crawl-delay: 5", 5),
        ("Crawl-delay: 0.1", 1),
        ("Crawl-delay: 86400", 60),
        ("Crawl-delay: soon", 1),
        ("Crawl-delay: -3", 1),
        ("", 1),
    ],
)
def test_the_delay_is_heeded_within_bounds(line: str, seconds: float) -> None:
    assert robots.delay(robots.ours(f"User-agent: *\n{line}\nDisallow: /x")) == seconds


@pytest.mark.parametrize(
    "text",
    [
        "".join(f"User-agent: robot{n}\n" for n in range(10_000)) + "Disallow: /x\n" * 10_000,
        "User-agent: *\nDisallow: /" + "*a" * 2000 + "$\n",
        "User-agent: *\n" + "Disallow: /*a*b*c*d$\n" * 10_000,
    ],
)
def test_hostile_rules_take_no_time(text: str) -> None:
    begun = time.monotonic()
    assert isinstance(
        robots.allows(robots.ours(text), web_address("https://example.org/" + "ab" * 900)), bool
    )
    assert time.monotonic() - begun < 5
