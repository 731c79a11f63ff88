"""A real site in a folder of its own, started by `manage.py up`, and a real browser."""

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect, sync_playwright

ROOT = Path(__file__).parent.parent.parent
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
START_SECONDS = 120
STOP_SECONDS = 60
QUIET = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update"]

expect.set_options(timeout=60_000)


@dataclass(frozen=True)
class Site:
    """Where the site is, and its administrator."""

    url: str
    home: Path
    password: str
    username: str = "admin"


class Output:
    """What `up` prints: kept whole, and searched for a line that is awaited."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        self.text = ""
        self.changed = threading.Condition()
        self.reader = threading.Thread(target=self.read, daemon=True)
        self.reader.start()

    def read(self) -> None:
        assert self.process.stdout is not None
        with self.process.stdout as lines:
            for line in lines:
                with self.changed:
                    self.text += line
                    self.changed.notify_all()
        with self.changed:
            self.changed.notify_all()

    def wait_for(self, pattern: str, seconds: float) -> re.Match[str]:
        with self.changed:
            self.changed.wait_for(
                lambda: re.search(pattern, self.text) or self.process.poll() is not None, seconds
            )
        found = re.search(pattern, self.text)
        assert found, f"`manage.py up` did not print {pattern!r} within {seconds} s:\n{self.text}"
        return found


def free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return int(taken.getsockname()[1])


@pytest.fixture(scope="session")
def live_site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """The site with its own database, broker and workers, and with the real embedding model."""
    home, port = tmp_path_factory.mktemp("site"), free_port()
    own = {
        "KB_HOME",
        "KB_TEST_HOME",
        "DJANGO_SETTINGS_MODULE",
        "EMBEDDER",
        "PORT",
        "DATABASE_URL",
        "REDIS_URL",
    }
    environment = {name: value for name, value in os.environ.items() if name not in own}
    process = subprocess.Popen(
        [sys.executable, "manage.py", "up", "--port", str(port), "--no-demo"],
        cwd=ROOT,
        env=environment | {"KB_HOME": str(home), "PYTHONUNBUFFERED": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    output = Output(process)
    try:
        password = output.wait_for(r"as admin with the password (\S+)", START_SECONDS)[1]
        url = output.wait_for(r"Footnote is at (http://\S+?)/?\s", START_SECONDS)[1]
        yield Site(url, home, password)
    finally:
        process.send_signal(signal.SIGINT)
        try:
            process.wait(STOP_SECONDS)
        finally:
            process.kill()
            output.reader.join(STOP_SECONDS)


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
    return opened
