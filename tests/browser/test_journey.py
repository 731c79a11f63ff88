"""The whole way in a real browser: put documents in, ask, follow a footnote, delete, ask again."""

from pathlib import Path

import pytest
from docx import Document as Word
from playwright.sync_api import Locator, Page, expect
from reportlab.lib.pagesizes import A4
from reportlab.pdfgen.canvas import Canvas

pytestmark = [pytest.mark.browser, pytest.mark.services]

QUESTION = "At which temperature does the kiln of the pottery melt the copper glaze?"
MODEL_LOADS_MS = 180_000  # at the first document of a new site, beside other tests
GLAZE = "The kiln melts the copper glaze at 1240 degrees Celsius."


@pytest.fixture(scope="module")
def pdf(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("files") / "kiln.pdf"
    canvas = Canvas(str(path), pagesize=A4)
    canvas.setTitle("Kiln manual")
    for page in (
        ["Kiln manual", "", "Read this before you light the fire.", "Keep the door of the pottery open."],
        ["Glazes", "", GLAZE, "Cobalt glaze needs forty degrees more than that."],
    ):
        canvas.setFont("Helvetica", 14)
        for number, line in enumerate(page):
            canvas.drawString(72, 760 - 24 * number, line)
        canvas.showPage()
    canvas.save()
    return path


@pytest.fixture(scope="module")
def docx(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("files") / "garden.docx"
    word = Word()
    word.add_heading("Garden calendar", 1)
    word.add_paragraph("Tomatoes are sown indoors in March and planted out after the last frost in May.")
    word.save(str(path))
    return path


def ask(page: Page, question: str) -> None:
    page.goto("/")
    page.get_by_label("Your question").fill(question)
    page.keyboard.press("Enter")


def test_from_upload_to_footnote_to_deletion(page: Page, pdf: Path, docx: Path) -> None:
    make_collection(page)
    upload(page, pdf, docx)
    search_and_see_why(page)
    answer_with_footnote(page)
    follow_footnote(page)
    delete_document(page)
    ask(page, QUESTION)
    expect(page.get_by_role("article").get_by_text("The documents do not answer this.")).to_be_visible()
    expect(page.get_by_role("status")).to_have_text("The documents do not answer this.")
    expect(page.get_by_text("1240")).to_have_count(0)


def make_collection(page: Page) -> None:
    page.goto("/library/")
    page.get_by_role("link", name="New collection").click()
    page.get_by_label("Name").fill("Workshop")
    page.get_by_role("button", name="Make the collection").click()
    expect(page.get_by_text("This collection is empty.")).to_be_visible()


def upload(page: Page, *paths: Path) -> None:
    page.get_by_role("link", name="Upload documents").click()
    page.get_by_label("Files", exact=True).set_input_files(paths)
    for path in paths:
        row = page.get_by_role("listitem").filter(has_text=path.name)
        expect(row.get_by_text("Ready")).to_be_visible(timeout=MODEL_LOADS_MS)
    expect(page.get_by_text("All files are worked off.")).to_be_attached()


def search_and_see_why(page: Page) -> None:
    """A misspelt word is found all the same; what made the passage rank opens by the keyboard alone."""
    page.goto("/search/")
    page.get_by_role("searchbox").fill("coper glaze type:pdf")
    page.keyboard.press("Enter")
    expect(page.get_by_text("Showing results for copper")).to_be_visible()
    best = page.locator(".passages > li").first
    expect(best).to_contain_text("Kiln manual")
    best.get_by_text("Why this?").focus()
    page.keyboard.press("Enter")
    expect(best.get_by_role("row", name="Words")).to_be_visible()
    expect(best).to_contain_text("by meaning and")
    page.get_by_role("link", name="Search for “coper glaze type:pdf” instead").click()
    expect(page.get_by_text("Showing results for")).to_have_count(0)


def answer_with_footnote(page: Page) -> None:
    ask(page, QUESTION)
    expect(page.locator(".answer")).to_contain_text(GLAZE)
    page.wait_for_url("**/answers/*/")
    footnote(page).hover()
    card = page.get_by_role("tooltip")
    expect(card).to_contain_text("Kiln manual")
    expect(card).to_contain_text("page 2")
    expect(card).to_contain_text("1240 degrees")
    page.keyboard.press("Escape")
    expect(card).to_have_count(0)
    page.reload()
    expect(page.locator(".answer")).to_contain_text(GLAZE)
    page.get_by_role("button", name="Yes").click()
    expect(page.get_by_text("noted as helpful")).to_be_visible()


def footnote(page: Page) -> Locator:
    """The marker of the source that speaks of the glaze."""
    number = page.locator(".sources .source", has_text="1240").get_attribute("data-marker")
    return page.get_by_role("link", name=f"Footnote {number}:").first


def follow_footnote(page: Page) -> None:
    footnote(page).click()
    page.wait_for_url("**/documents/**")
    passage = page.locator("mark#passage")
    expect(passage).to_contain_text("copper glaze at 1240 degrees")
    expect(passage).to_be_in_viewport()


def delete_document(page: Page) -> None:
    page.get_by_role("link", name="Delete").click()
    page.get_by_role("button", name="Delete it").click()
    expect(page.get_by_text("is gone from answers and searches")).to_be_visible()
    expect(page.get_by_text("garden.docx")).to_be_visible()
