"""No template carries what the Content-Security-Policy forbids, and every page is sent with that policy."""

import re
from pathlib import Path

import pytest

from kb.core.models import Collection, User

ROOT = Path(__file__).parent.parent.parent
# The admin's pages, and the API's documentation, have policies of their own.
OTHERS = {"admin", "ninja"}
TEMPLATES = sorted(
    path
    for path in (ROOT / "templates").rglob("*.html")
    if path.relative_to(ROOT / "templates").parts[0] not in OTHERS
)
FORBIDDEN = {
    "an inline script": re.compile(r"<script(?![^>]*\bsrc=)", re.IGNORECASE),
    "an inline style": re.compile(r"<style\b", re.IGNORECASE),
    "a style attribute": re.compile(r"<[^>]*\sstyle\s*=", re.IGNORECASE),
    "an event attribute": re.compile(r"<[^>]*\son[a-z]+\s*=", re.IGNORECASE),
    "a script address": re.compile(r"javascript:", re.IGNORECASE),
    "evaluated htmx": re.compile(r"hx-on|hx-vals=[\"']js:|hx-vars", re.IGNORECASE),
    "a file from elsewhere": re.compile(r"(?:src|<link[^>]*href)=[\"'](?:https?:)?//", re.IGNORECASE),
}


@pytest.mark.parametrize("path", TEMPLATES, ids=lambda path: str(path.relative_to(ROOT / "templates")))
def test_template_needs_no_exception_from_the_policy(path: Path) -> None:
    text = path.read_text()
    assert [what for what, pattern in FORBIDDEN.items() if pattern.search(text)] == []


@pytest.mark.parametrize(("text", "what"), [
    ("<script>go()</script>", "an inline script"),
    ('<p class="a" style="color:red">', "a style attribute"),
    ('<a\n onclick="go()">', "an event attribute"),
    ('<link rel="x" href="https://elsewhere.example/a.css">', "a file from elsewhere"),
])  # fmt: skip
def test_the_scan_finds_what_it_looks_for(text: str, what: str) -> None:
    assert FORBIDDEN[what].search(text)


PAGES = [
    "/",
    "/search/",
    "/library/",
    "/library/papers/",
    "/library/failures/",
    "/uploads/",
    "/login/",
    "/password/reset/",
    "/nothing-here/",
]


@pytest.mark.parametrize("path", PAGES)
def test_every_page_has_the_strict_policy(as_user, alice: User, collection: Collection, path: str) -> None:
    policy = as_user(None if path == "/login/" else alice).get(path)["Content-Security-Policy"]
    assert "script-src 'self'" in policy
    assert "style-src 'self'" in policy
    assert "unsafe" not in policy


def test_a_page_says_so_where_it_is_not_found(as_user, db: None) -> None:
    response = as_user().get("/nothing-here/")
    assert response.status_code == 404
    assert "Nothing stands here" in response.content.decode()


def test_the_theme_comes_with_the_page(as_user, db: None) -> None:
    client = as_user()
    assert "data-theme" not in client.get("/login/").content.decode().split(">")[1]
    client.cookies["theme"] = "dark"
    assert 'data-theme="dark"' in client.get("/login/").content.decode()
    client.cookies["theme"] = '"><script>'
    assert "data-theme" not in client.get("/login/").content.decode().split("<head>")[0]
