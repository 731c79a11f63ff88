"""A real browser for the real site (`live_site`, in tests/conftest.py)."""

import shutil
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect, sync_playwright

from tests.live import Site

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
QUIET = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update"]

expect.set_options(timeout=60_000)


@pytest.fixture(scope="session")
def chromium() -> Iterator[Browser]:
    """The system's Chromium."""
    path = next((found for name in BROWSERS if (found := shutil.which(name))), None)
    assert path, f"The browser tests need Chromium: install it as one of {', '.join(BROWSERS)}."
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=QUIET)
        yield browser
        browser.close()


@pytest.fixture
def complaints() -> list[str]:
    """What the browser complained of: errors of scripts, and what the policy refused."""
    return []


@pytest.fixture
def visitor(chromium: Browser, live_site: Site, complaints: list[str]) -> Iterator[BrowserContext]:
    """A browser window without a session; a test with complaints fails."""
    context = chromium.new_context(base_url=live_site.url, viewport={"width": 1280, "height": 900})
    context.set_default_timeout(60_000)
    context.on("weberror", lambda error: complaints.append(str(error.error)))
    context.on(
        "console",
        lambda message: (
            complaints.append(message.text) if "Content Security Policy" in message.text else None
        ),
    )
    yield context
    context.close()
    assert complaints == []


@pytest.fixture
def page(visitor: BrowserContext, live_site: Site) -> Page:
    """A page of the administrator, signed in by the form."""
    opened = visitor.new_page()
    opened.goto("/login/")
    opened.get_by_label("Username").fill(live_site.username)
    opened.get_by_label("Password").fill(live_site.password)
    opened.get_by_role("button", name="Sign in").click()
    expect(opened.get_by_role("heading", name="What would you like to know?")).to_be_visible()
    # What follows may need the page's scripts, which come after what is seen.
    opened.wait_for_load_state()
    return opened
