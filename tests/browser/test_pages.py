"""What only a browser can tell: the keyboard alone, small screens, no JavaScript, themes, refused files."""

from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.live import Site

pytestmark = [pytest.mark.browser, pytest.mark.services]

PAGES = [
    "/",
    "/search/",
    "/library/",
    "/library/failures/",
    "/upload/",
    "/uploads/",
    "/account/",
    "/collections/new/",
    "/nothing-here/",
]


@pytest.mark.parametrize("path", PAGES)
def test_nothing_is_wider_than_a_small_screen(page: Page, path: str) -> None:
    page.set_viewport_size({"width": 390, "height": 800})
    page.goto(path)
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_how_to_search_opens_by_keyboard_and_fits_a_small_screen(page: Page) -> None:
    page.set_viewport_size({"width": 390, "height": 800})
    page.goto("/search/")
    page.get_by_text("How to search").focus()
    page.keyboard.press("Enter")
    expect(page.get_by_text("these very words, one after the other")).to_be_visible()
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_the_first_tab_skips_to_the_content(page: Page) -> None:
    page.goto("/library/")
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to the content")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.locator("main")).to_be_focused()


def test_the_theme_is_remembered_by_the_server(page: Page) -> None:
    page.emulate_media(color_scheme="light")
    page.goto("/library/")
    page.get_by_role("button", name="Switch to dark").click()
    page.reload()
    expect(page.locator("html")).to_have_attribute("data-theme", "dark")
    expect(page.get_by_role("button", name="Switch to light")).to_be_visible()


def test_an_empty_question_is_refused_in_place(page: Page) -> None:
    page.get_by_role("button", name="Ask", exact=True).click()
    expect(page.locator("[data-reply]").get_by_text("There is no question")).to_be_visible()


def test_a_refused_file_says_why_in_its_row(page: Page, tmp_path: Path) -> None:
    page.goto("/collections/new/")
    page.get_by_label("Name").fill("Refusals")
    page.get_by_role("button", name="Make the collection").click()
    page.goto("/upload/?collection=refusals")
    empty = tmp_path / "empty.txt"
    empty.touch()
    page.get_by_label("Files", exact=True).set_input_files(empty)
    row = page.get_by_role("listitem").filter(has_text="empty.txt")
    expect(row.get_by_text("Not taken")).to_be_visible()
    expect(row.get_by_text("is empty")).to_be_visible()


def test_asking_and_searching_work_without_javascript(chromium: Browser, live_site: Site) -> None:
    context = chromium.new_context(base_url=live_site.url, java_script_enabled=False)
    page = context.new_page()
    page.goto("/login/")
    page.get_by_label("Username").fill(live_site.username)
    page.get_by_label("Password").fill(live_site.password)
    page.get_by_role("button", name="Sign in").click()
    page.get_by_label("Your question").fill("What colour does the moon's cheese have?")
    page.get_by_role("button", name="Ask", exact=True).click()
    expect(page.get_by_text("The documents do not answer this.")).to_be_visible()
    page.goto("/search/?q=cheese")
    expect(page.get_by_role("searchbox", name="Words to look for")).to_have_value("cheese")
    context.close()
