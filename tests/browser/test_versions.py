"""A version's life by the buttons of the admin: what it takes, built, measured, in shadow, promoted and taken back."""

import re
from pathlib import Path

import pytest
from playwright.sync_api import Locator, Page, expect

from tests.live import Site

pytestmark = [pytest.mark.browser, pytest.mark.services]

LIFE = "/admin/indexes/indexversion/life/"
SMALL = {"width": 390, "height": 800}


@pytest.fixture
def stocked(live_site: Site, tmp_path: Path) -> None:
    (tmp_path / "kilns.txt").write_text("A kiln is fired to 1240 degrees for a copper glaze. " * 40)
    live_site.manage("ingest", str(tmp_path), "--wait")


def card(page: Page, name: str) -> Locator:
    return page.get_by_role("article", name=re.compile(rf"^{name}\b"))


def in_state(page: Page, name: str, state: str) -> None:
    """What workers do is followed by the page itself, as long as something goes on."""
    expect(card(page, name).get_by_role("heading")).to_contain_text(state, timeout=120_000)


def fits(page: Page) -> bool:
    before = page.viewport_size
    assert before is not None
    page.set_viewport_size(SMALL)
    fitting = bool(page.evaluate("document.documentElement.scrollWidth <= innerWidth"))
    page.set_viewport_size(before)
    return fitting


@pytest.mark.slow
def test_the_life_of_a_version_by_its_buttons(page: Page, stocked: None) -> None:
    page.goto(LIFE)
    expect(page.get_by_role("heading", name="Life of index versions")).to_be_visible()
    assert fits(page)
    page.get_by_role("link", name="Build a version").first.click()
    page.get_by_label("Storage").select_option("vector")
    assert fits(page)
    expect(page.get_by_role("button", name="Begin to build")).to_have_count(0)
    page.get_by_role("button", name="What it would take").click()
    expect(page.get_by_role("status")).to_contain_text("passages with")
    page.get_by_role("button", name="Begin to build").click()
    expect(page.get_by_text("is being built")).to_be_visible()
    name = re.search(r"\S+ v\d+", page.get_by_text("is being built").inner_text())
    assert name is not None
    in_state(page, name[0], "Validating")

    card(page, name[0]).get_by_role("button", name="Validate").click()
    expect(card(page, name[0])).to_contain_text(
        re.compile("rows.*vectors.*recall", re.DOTALL), timeout=120_000
    )
    card(page, name[0]).get_by_role("link", name=name[0]).click()
    expect(page.get_by_role("heading", name=re.compile("^Report of"))).to_be_visible()
    assert fits(page)

    page.goto(LIFE)
    card(page, name[0]).get_by_role("link", name="Run in shadow").click()
    page.get_by_role("button", name="Run in shadow").click()
    in_state(page, name[0], "Shadow")
    card(page, name[0]).get_by_role("link", name="Promote").click()
    page.get_by_role("button", name="Promote").click()
    in_state(page, name[0], "Live")
    page.get_by_role("button", name="Go back to this version").first.click()
    in_state(page, name[0], "Retired")


def test_a_model_is_tried_and_what_cannot_be_is_said_at_its_field(page: Page) -> None:
    page.goto(LIFE)
    page.get_by_role("button", name="Try all-MiniLM-L6-v2").click()
    expect(page.get_by_text("works: 384 dimensions")).to_be_visible()
    page.get_by_role("link", name="New index").click()
    page.get_by_label("Short name").fill("Two words")
    page.get_by_role("button", name="Make").click()
    expect(page.get_by_text("is no short name")).to_be_visible()
    page.goto(LIFE)
    page.get_by_role("link", name="Move a collection").click()
    assert fits(page)
    page.goto(LIFE)
    page.get_by_role("link", name="Register a model").click()
    page.get_by_label("Name").fill("/nowhere")
    page.get_by_role("button", name="Register").click()
    expect(page.get_by_text("cannot be used")).to_be_visible()
    assert fits(page)
