"""Files of every format, made here, and the folder of real ones where there is one."""

import io
import os
from collections.abc import Callable
from pathlib import Path

import docx
import pytest
from reportlab.lib.pagesizes import A4
from reportlab.lib.pdfencrypt import StandardEncryption
from reportlab.lib.styles import getSampleStyleSheet
from reportlab.pdfgen.canvas import Canvas
from reportlab.platypus import PageBreak, Paragraph, SimpleDocTemplate

ROOT = Path(__file__).resolve().parents[3]
LOREM = (
    "Retrieval finds the passages that bear on a question before anything is written. "
    "An embedding places each passage in a space where near means alike in meaning. "
)


def make_pdf(password: str | None = None, title: str = "A handbook of retrieval") -> bytes:
    """Two pages: a large title and two sections of wrapped paragraphs."""
    styles = getSampleStyleSheet()
    styles["Title"].fontSize, styles["Title"].leading = 26, 30
    target = io.BytesIO()
    SimpleDocTemplate(
        target, pagesize=A4, title=title, encrypt=StandardEncryption(password) if password else None
    ).build(
        [
            Paragraph("Of retrieval", styles["Title"]),
            Paragraph("Finding", styles["Heading1"]),
            Paragraph(LOREM * 4, styles["BodyText"]),
            Paragraph("The second paragraph ends here.", styles["BodyText"]),
            PageBreak(),
            Paragraph("Ranking", styles["Heading1"]),
            Paragraph("BM25 ranks by words. " + LOREM, styles["BodyText"]),
        ]
    )
    return target.getvalue()


def make_docx() -> bytes:
    """Title, headings, lists and a table."""
    document = docx.Document()
    document.core_properties.title = "Minutes of March"
    document.add_heading("Minutes", 0)
    document.add_heading("Decisions", 1)
    document.add_paragraph("We keep the index.")
    document.add_paragraph("First point", style="List Bullet")
    document.add_paragraph("Second point", style="List Bullet")
    table = document.add_table(rows=2, cols=2)
    for cell, text in zip(
        (c for row in table.rows for c in row.cells), ["Model", "Size", "mini", "22 M"], strict=True
    ):
        cell.text = text
    document.add_heading("Open questions", 2)
    document.add_paragraph("Who pays?")
    target = io.BytesIO()
    document.save(target)
    return target.getvalue()


def make_picture_pdf() -> bytes:
    """One page with a line on it and no text."""
    target = io.BytesIO()
    canvas = Canvas(target)
    canvas.line(10, 10, 300, 300)
    canvas.showPage()
    canvas.save()
    return target.getvalue()


@pytest.fixture(scope="session")
def pdf() -> bytes:
    return make_pdf()


@pytest.fixture(scope="session")
def encrypted_pdf() -> bytes:
    return make_pdf(password="secret")


@pytest.fixture(scope="session")
def picture_pdf() -> bytes:
    return make_picture_pdf()


@pytest.fixture(scope="session")
def word() -> bytes:
    return make_docx()


@pytest.fixture(scope="session")
def pdf_maker() -> Callable[..., bytes]:
    return make_pdf


@pytest.fixture(scope="session")
def files(pdf: bytes, word: bytes) -> dict[str, bytes]:
    """One good file for each format, with the words "Decisions" or "retrieval" somewhere."""
    return {
        "a.txt": b"Notes on retrieval.\n\nSecond paragraph.\n",
        "a.md": b"# Notes\n\nOn *retrieval*.\n",
        "a.rst": b"Notes\n=====\n\nOn :term:`retrieval`.\n",
        "a.html": b"<title>Notes</title><h1>Notes</h1><p>On retrieval.",
        "a.pdf": pdf,
        "a.docx": word,
    }


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real-world files: KB_TEST_DATA, or shared/data beside the repository."""
    folder = Path(os.environ.get("KB_TEST_DATA") or ROOT.parent / "shared" / "data")
    if not (folder / "files").is_dir():
        pytest.skip(
            f"no real-world files at {folder / 'files'}: set KB_TEST_DATA to the folder that has them"
        )
    return folder
