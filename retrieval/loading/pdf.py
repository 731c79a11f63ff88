"""PDF to readable text, page by page; pdfium bears one thread only, so never call this from two."""

import re
from collections.abc import Iterator, Sequence

import pypdfium2  # type: ignore[import-untyped]  # carries no types
import pypdfium2.raw as pdfium  # type: ignore[import-untyped]  # carries no types

from retrieval.loading import ocr
from retrieval.loading.dates import from_pdf
from retrieval.loading.errors import LoadError
from retrieval.loading.pdf_headings import mark_headings
from retrieval.loading.pdf_lines import Line, joined, lines_of, paragraphs, vocabulary
from retrieval.loading.pdf_running import without_running_lines
from retrieval.loading.text import Block, assemble, one_line
from retrieval.spans import Heading, LoadedText, Page

MEDIA_TYPE = "application/pdf"
_FROM_PROGRAM = re.compile(r"^Microsoft (?:Word|PowerPoint|Excel) - ")
_FILE_NAME = re.compile(
    r"\.(?:docx?|pdf|dvi|tex|indd|qxd|pptx?|xlsx?|odt|rtf|pub|ps|txt|html?)$", re.IGNORECASE
)
_NO_TITLES = frozenset(
    {"untitled", "untitled document", "title", "the title", "document", "print", "model", "(anonymous)"}
)
_NO_AUTHORS = frozenset(
    {"anonymous", "(anonymous)", "unknown", "author", "user", "admin", "administrator", "root"}
)


def load(content: bytes) -> LoadedText:
    """The text of all pages with their spans; headings from the bookmarks, or else by size."""
    document = _open(content)
    try:
        count = len(document)
        pages = [_page_lines(document, index) for index in range(count)]
        pages = without_running_lines(_with_scanned(document, pages))
        mark_headings(document, pages)
        said = document.get_metadata_dict()
    finally:
        document.close()
    text, spans, headings = _assembled(pages)
    title = _sensible(said.get("Title", ""))
    if not title and spans:
        first = [heading for heading in headings if heading.start < spans[0].end]
        title = min(first, key=lambda heading: heading.level).title if first else ""
    return LoadedText(
        text,
        title,
        MEDIA_TYPE,
        tuple(spans),
        tuple(headings),
        author=_author(said.get("Author", "")),
        written_at=from_pdf(said.get("CreationDate", "")) or from_pdf(said.get("ModDate", "")),
    )


def _with_scanned(document: pypdfium2.PdfDocument, pages: list[list[Line]]) -> list[list[Line]]:
    """The pages, those that are pictures read by text recognition; LoadError if nothing else is left."""
    bare = [index for index, lines in enumerate(pages) if not _has_words(lines)]
    scanned = [index for index in bare if ocr.is_picture(document[index])]
    has_text = len(bare) < len(pages)
    if not has_text and not scanned and pages:
        raise LoadError("empty", "The pages of the PDF are blank. Choose a file that has some text.")
    recognise = ocr.recogniser() if scanned else None
    if recognise:
        found = ocr.read(document, scanned, recognise, all_or_none=not has_text)
        pages = [found.get(index, lines) for index, lines in enumerate(pages)]
        if not any(_has_words(lines) for lines in pages):
            raise LoadError("empty", "The PDF has only pictures, and no text was recognised in them.")
    elif scanned and not has_text:
        raise LoadError(
            "needs_ocr",
            "The PDF has pages but no text in them, only pictures. Run text recognition (OCR) on it first, "
            f"for example with OCRmyPDF, or let this server do it ({ocr.INSTALLING}).",
        )
    return pages


def _has_words(lines: Sequence[Line]) -> bool:
    return any(character.isalnum() for line in lines for character in line.text)


def _open(content: bytes) -> pypdfium2.PdfDocument:
    try:
        return pypdfium2.PdfDocument(content)
    except pypdfium2.PdfiumError as error:
        if error.err_code in (pdfium.FPDF_ERR_PASSWORD, pdfium.FPDF_ERR_SECURITY):
            raise LoadError(
                "encrypted", "The PDF has a password or a protection. Save a copy without it and try again."
            ) from error
        raise LoadError(
            "broken", "The PDF is damaged or incomplete. Download it again, or open it and save a new copy."
        ) from error


def _page_lines(document: pypdfium2.PdfDocument, index: int) -> list[Line]:
    try:
        return lines_of(document[index])
    except pypdfium2.PdfiumError as error:
        raise LoadError(
            "broken", f"Page {index + 1} of the PDF is damaged. Open it and save a new copy, then try again."
        ) from error


def _assembled(pages: Sequence[Sequence[Line]]) -> tuple[str, list[Page], list[Heading]]:
    """The pages' texts one after another, a blank line between them."""
    words = vocabulary(pages)
    spans: list[Page] = []
    headings: list[Heading] = []
    parts: list[str] = []
    length = 0
    for number, lines in enumerate(pages, 1):
        text, found = assemble(_blocks(lines, words))
        if text and length:
            parts.append("\n\n")
            length += 2
        headings += (Heading(h.level, h.title, h.start + length, h.end + length) for h in found)
        spans.append(Page(number, length, length + len(text)))
        parts.append(text)
        length += len(text)
    return "".join(parts), spans, headings


def _blocks(lines: Sequence[Line], words: frozenset[str]) -> Iterator[Block]:
    previous: list[Line] = []
    for paragraph in paragraphs(lines):
        text = joined(paragraph, words)
        yield Block(one_line(text), paragraph[0].level, tight=_is_row_below(previous, paragraph))
        previous = paragraph


def _is_row_below(above: Sequence[Line], lines: Sequence[Line]) -> bool:
    """Whether single lines follow closely without being a paragraph: a list or a table, kept together."""
    if len(above) != 1 or len(lines) != 1 or above[0].group or lines[0].group:
        return False
    drop = above[0].bottom - lines[0].bottom
    return 0 <= drop < 1.6 * lines[0].size and abs(lines[0].size - above[0].size) < 0.5


def _author(author: str) -> str:
    """The metadata's author, unless a program put a placeholder there."""
    author = one_line(author)
    return "" if author.casefold() in _NO_AUTHORS or len(author) > 300 else author


def _sensible(title: str) -> str:
    """The metadata's title, unless a program put a file name or nothing of use there."""
    title = _FROM_PROGRAM.sub("", one_line(title)).strip()
    useless = title.lower() in _NO_TITLES or _FILE_NAME.search(title) or len(title) > 300
    return "" if useless or not any(character.isalpha() for character in title) else title
