"""Files of every format, made here, and the folder of real ones where there is one."""

import io
import os
import zipfile
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path

import docx
import openpyxl
import pptx
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


def make_pptx() -> bytes:
    """Two slides: a list with notes, and a table."""
    deck = pptx.Presentation()
    deck.core_properties.title, deck.core_properties.author = "On retrieval", "Ada Lovelace"
    deck.core_properties.modified = datetime(2021, 5, 4, 3, 2, 1, tzinfo=UTC)
    slide = deck.slides.add_slide(deck.slide_layouts[1])
    slide.shapes.title.text, slide.placeholders[1].text = "Finding", "Words\nVectors"
    slide.notes_slide.notes_text_frame.text = "Say it slowly."
    slide = deck.slides.add_slide(deck.slide_layouts[5])
    slide.shapes.title.text = "Sizes"
    table = slide.shapes.add_table(2, 2, 0, 0, 10, 10).table
    for cell, text in zip(table.iter_cells(), ["Model", "Size", "mini", "22 M"], strict=True):
        cell.text = text
    target = io.BytesIO()
    deck.save(target)
    return target.getvalue()


def make_xlsx(*sheets: tuple[str, list[list[object]]]) -> bytes:
    """Sheets of rows."""
    book = openpyxl.Workbook()
    book.remove(book.active)
    for name, rows in sheets:
        sheet = book.create_sheet(name)
        for row in rows:
            sheet.append(row)
    book.properties.title, book.properties.creator = "People of retrieval", "Ada Lovelace"
    target = io.BytesIO()
    book.save(target)
    return target.getvalue()


PEOPLE: list[list[object]] = [["Name", "Year"], ["Ada of retrieval", 1815], ["Grace", 1906]]
OPF = """<?xml version="1.0"?><package xmlns="http://www.idpf.org/2007/opf" version="3.0">
<metadata xmlns:dc="http://purl.org/dc/elements/1.1/"><dc:title>A book of retrieval</dc:title>
<dc:creator>Ada Lovelace</dc:creator><dc:creator>Grace Hopper</dc:creator><dc:date>1884</dc:date></metadata>
<manifest><item id="n" href="nav.xhtml" media-type="application/xhtml+xml" properties="nav"/>
<item id="b" href="text/two.xhtml" media-type="application/xhtml+xml"/>
<item id="a" href="text/one.xhtml" media-type="application/xhtml+xml"/></manifest>
<spine><itemref idref="a"/><itemref idref="b"/></spine></package>"""


def make_epub(**parts: str | bytes) -> bytes:
    """Two chapters, the second one headed in the table of contents only; `parts` replace or add files."""
    files: dict[str, str | bytes] = {
        "mimetype": "application/epub+zip",
        "META-INF/container.xml": '<container xmlns="urn:oasis:names:tc:opendocument:xmlns:container">'
        '<rootfiles><rootfile full-path="OPS/book.opf"/></rootfiles></container>',
        "OPS/book.opf": OPF,
        "OPS/nav.xhtml": '<nav><a href="text/one.xhtml">One</a><a href="text/two.xhtml#x">The second</a></nav>',
        "OPS/text/one.xhtml": "<html><body><h1>The first</h1><p>On retrieval.</p></body></html>",
        "OPS/text/two.xhtml": "<html><body><p>On ranking.</p></body></html>",
    }
    return zipped(files | parts)


def zipped(files: Mapping[str, str | bytes]) -> bytes:
    """The same bytes at any time: an archive in an archive is packed by what its entries' dates are."""
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w") as archive:
        for name, content in files.items():
            entry = zipfile.ZipInfo(name)  # of 1980
            entry.external_attr = 0o600 << 16
            archive.writestr(entry, content, zipfile.ZIP_DEFLATED)
    return target.getvalue()


def with_parts(archive: bytes, change: Callable[[str, bytes], bytes]) -> bytes:
    """A ZIP archive with each of its files changed."""
    with zipfile.ZipFile(io.BytesIO(archive)) as source:
        return zipped({name: change(name, source.read(name)) for name in source.namelist()})


EML = (
    b"From: Ada Lovelace <ada@example.org>\r\nTo: grace@example.org\r\nSubject: On retrieval\r\n"
    b"Date: Tue, 4 May 2021 03:02:01 +0000\r\n\r\nDear Grace,\r\n\r\nit works.\r\n"
)


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


class Files(dict[str, bytes]):
    """Says little of itself where a test fails."""

    def __repr__(self) -> str:
        return f"<{len(self)} files>"


@pytest.fixture(scope="session")
def files(pdf: bytes, word: bytes) -> dict[str, bytes]:
    """One good file for each format, with the words "Decisions" or "retrieval" somewhere."""
    return Files(
        {
            "a.txt": b"Notes on retrieval.\n\nSecond paragraph.\n",
            "a.md": b"# Notes\n\nOn *retrieval*.\n",
            "a.rst": b"Notes\n=====\n\nOn :term:`retrieval`.\n",
            "a.html": b"<title>Notes</title><h1>Notes</h1><p>On retrieval.",
            "a.pdf": pdf,
            "a.docx": word,
            "a.pptx": make_pptx(),
            "a.xlsx": make_xlsx(("People", PEOPLE)),
            "a.csv": b"Name,Year\nAda of retrieval,1815\nGrace,1906\n",
            "a.epub": make_epub(),
            "a.eml": EML,
            "a.json": b'[{"name": "Ada of retrieval", "year": 1815}, {"name": "Grace"}]',
            "a.jsonl": b'{"name": "Ada of retrieval"}\n{"name": "Grace"}\n',
            "a.py": b'"""On retrieval."""\n\n\ndef find():\n    return 1\n',
        }
    )


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real-world files: KB_TEST_DATA, or shared/data beside the repository."""
    folder = Path(os.environ.get("KB_TEST_DATA") or ROOT.parent / "shared" / "data")
    if not (folder / "files").is_dir():
        pytest.skip(
            f"no real-world files at {folder / 'files'}: set KB_TEST_DATA to the folder that has them"
        )
    return folder
