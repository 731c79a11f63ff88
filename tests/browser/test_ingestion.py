"""Many files at once in a real browser: live progress, pause and resume, a failure with its cause, retry."""

import re
import zipfile
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.live import Site

pytestmark = [pytest.mark.browser, pytest.mark.services]

FILES = 12
PARAGRAPHS = 40


@pytest.fixture(scope="module")
def notes(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Texts that take the model some seconds, and a PDF that is none."""
    folder = tmp_path_factory.mktemp("notes")
    paths = [folder / f"note-{number:02}.md" for number in range(FILES)]
    for number, path in enumerate(paths):
        sections = [
            f"## Section {section}\n\n" + f"Note {number} tells of lamp {section} and its light. " * 20
            for section in range(PARAGRAPHS)
        ]
        path.write_text(f"# Note {number}\n\n" + "\n\n".join(sections))
    broken = folder / "broken.pdf"
    broken.write_bytes(b"%PDF-1.7\nnothing of a PDF follows")
    return [*paths, broken]


def make_collection(page: Page, name: str) -> None:
    page.goto("/collections/new/")
    page.get_by_label("Name").fill(name)
    page.get_by_role("button", name="Make the collection").click()
    expect(page.get_by_text("This collection is empty.")).to_be_visible()


def press(page: Page, button: str | re.Pattern[str]) -> None:
    """By the keyboard alone."""
    page.get_by_role("button", name=button, exact=True).focus()
    page.keyboard.press("Enter")


@pytest.mark.slow
def test_many_files_are_watched_paused_resumed_and_retried(page: Page, notes: list[Path]) -> None:
    make_collection(page, "Lamps")
    page.goto("/upload/?collection=lamps")
    page.get_by_label("Files", exact=True).set_input_files(notes)
    whole = page.get_by_role("region", name="Progress")
    expect(whole.get_by_role("progressbar")).to_be_visible()
    expect(page.get_by_text("All files are uploaded.")).to_be_attached()
    press(page, "Pause")  # on the upload page itself, which stays
    expect(whole.get_by_text("paused", exact=True)).to_be_visible()
    expect(page.get_by_role("button", name="Resume", exact=True)).to_be_focused()
    whole.get_by_role("link", name="This upload").click()

    page.wait_for_url("**/uploads/*/")
    expect(page.get_by_text(f"{FILES + 1} documents")).to_be_visible()
    page.evaluate("document.body.dataset.stayed = 'yes'")
    press(page, "Resume")
    expect(page.locator(".messages").get_by_text("goes on")).to_be_visible()
    expect(page.get_by_role("button", name="Pause", exact=True)).to_be_focused()
    expect(page.get_by_text("1 failed")).to_be_visible()
    expect(page.get_by_text(f"{FILES} ready")).to_be_visible(timeout=180_000)
    expect(page.get_by_role("listitem").filter(has_text="note-00.md").get_by_text("Ready")).to_be_visible()
    assert page.evaluate("document.body.dataset.stayed") == "yes", "the page was loaded anew"
    failed(page)


def failed(page: Page) -> None:
    """The failure stands among its like with the remedy, and fails again when it is retried."""
    page.get_by_role("link", name="1 failed").click()
    cause = page.get_by_role("region", name="The file is damaged or incomplete")
    expect(cause.get_by_text("broken.pdf")).to_be_visible()
    expect(cause.get_by_text("replace the document")).to_be_visible()
    press(page, re.compile("Try again.*broken"))
    expect(page.get_by_text("Taken up again: 1 document of “broken”.")).to_be_visible()
    page.goto("/library/lamps/")
    expect(page.get_by_text("1 failed")).to_be_visible()
    page.get_by_role("link", name="broken", exact=True).click()
    expect(page.get_by_text("Parse")).to_be_visible()


@pytest.mark.slow
def test_an_archive_is_watched_to_its_last_entry_and_lists_follow(
    page: Page, notes: list[Path], tmp_path: Path
) -> None:
    make_collection(page, "Boxes")
    lists = page.context.new_page()
    lists.goto("/library/boxes/")
    expect(lists.get_by_text("This collection is empty.")).to_be_visible()
    archive = tmp_path / "notes.zip"
    with zipfile.ZipFile(archive, "w") as opened:
        for path in notes[:4]:
            opened.writestr(f"boxed-{path.name}", f"Boxed. {path.read_text()[:8000]}")
    page.goto("/upload/?collection=boxes")
    page.get_by_label("Files", exact=True).set_input_files([archive])
    # The list that was empty shows what came, and later what is put in beside it, without being loaded by hand.
    expect(lists.get_by_role("link", name="notes", exact=True)).to_be_visible()
    lists.evaluate("document.body.dataset.stayed = 'yes'")
    beside = tmp_path / "beside.txt"
    beside.write_text("Something beside it.")
    page.get_by_label("Files", exact=True).set_input_files([beside])
    expect(lists.get_by_role("link", name="beside", exact=True)).to_be_visible()
    assert lists.evaluate("document.body.dataset.stayed") == "yes", "the page was loaded anew"
    expect(page.get_by_text("All files are worked off.")).to_be_attached(timeout=120_000)
    expect(page.get_by_text("5 documents, all ready")).to_be_visible()
    expect(lists.get_by_text("6 documents, all ready")).to_be_visible()


def test_the_buttons_are_forms_without_javascript(
    chromium: Browser, live_site: Site, page: Page, tmp_path: Path
) -> None:
    make_collection(page, "Plain forms")
    context = chromium.new_context(
        base_url=live_site.url, java_script_enabled=False, storage_state=page.context.storage_state()
    )
    plain = context.new_page()
    files = [tmp_path / f"plain-{number}.txt" for number in range(2)]
    for path in files:
        path.write_text(f"Words of {path.name}. " * 2000)
    plain.goto("/upload/?collection=plain-forms")
    plain.get_by_label("Files", exact=True).set_input_files(files)
    plain.get_by_role("button", name="Upload", exact=True).click()
    plain.wait_for_url("**/uploads/*/")
    plain.get_by_role("button", name="Cancel the rest").click()
    expect(plain.get_by_text("Cancelled: the work on")).to_be_visible()
    plain.get_by_role("button", name="ones again").click()
    expect(plain.get_by_text("Taken up again:")).to_be_visible()
    context.close()
