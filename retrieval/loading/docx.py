"""DOCX to readable text: paragraphs, lists and tables in the order of the document."""

import io
from collections.abc import Iterator

import docx
from docx.document import Document
from docx.oxml.ns import qn
from docx.oxml.xmlchemy import BaseOxmlElement as Element
from docx.styles.style import ParagraphStyle

from retrieval.loading.docx_numbering import Numbering
from retrieval.loading.docx_strict import usual
from retrieval.loading.errors import LoadError
from retrieval.loading.ooxml import FAILURES, changed, said
from retrieval.loading.tables import table_lines
from retrieval.loading.text import Block, assemble, indented, one_line
from retrieval.spans import LoadedText

MEDIA_TYPE = "application/vnd.openxmlformats-officedocument.wordprocessingml.document"
_P, _TBL, _SDT, _CONTENT = qn("w:p"), qn("w:tbl"), qn("w:sdt"), qn("w:sdtContent")
_MARKUP_ONLY = frozenset({qn("w:del"), qn("w:moveFrom"), qn("w:instrText"), qn("w:pPr"), qn("w:rPr")})
_BREAKS = {qn("w:tab"): "\t", qn("w:br"): "\n", qn("w:cr"): "\n", qn("w:noBreakHyphen"): "-"}
_TEXT = frozenset({qn("w:t"), "{http://schemas.openxmlformats.org/officeDocument/2006/math}t"})
_TEXT_BOX = qn("w:txbxContent")
_FALLBACK = "{http://schemas.openxmlformats.org/markup-compatibility/2006}Fallback"
_WRAPPERS = frozenset({_SDT, _CONTENT, qn("w:customXml"), qn("w:ins"), qn("w:moveTo"), qn("w:smartTag")})
_MAX_DEPTH = 40  # of tables within tables and the like


def load(content: bytes) -> LoadedText:
    """The document as text; its title from the properties, or else its Title or first heading."""
    try:
        document = docx.Document(io.BytesIO(usual(content)))
        text, headings = assemble(_Reader(document).blocks(document.element.body))
        properties = document.core_properties
        title, author, written_at = said(properties.title), said(properties.author), changed(properties)
    except FAILURES as error:
        raise LoadError(
            "broken", "The Word document is damaged or incomplete. Open it in Word, save it again and retry."
        ) from error
    if not title and headings:
        title = headings[0].title
    return LoadedText(text, title, MEDIA_TYPE, headings=headings, author=author, written_at=written_at)


class _Reader:
    def __init__(self, document: Document) -> None:
        styles = [style for style in document.styles if isinstance(style, ParagraphStyle)]
        self._levels = {style.style_id: _level(style) for style in styles}
        self._numbering = Numbering(document)
        self._in_list = False

    def blocks(self, container: Element, depth: int = 0) -> Iterator[Block]:
        """The blocks of a body, a cell or a text box."""
        for element in container:
            if element.tag == _P:
                yield from self._paragraph(element, depth)
            elif element.tag == _TBL:
                self._in_list = False
                yield Block("\n".join(table_lines(self._rows(element, depth))))
            elif element.tag in _WRAPPERS and depth < _MAX_DEPTH:
                yield from self.blocks(element, depth + 1)

    def _paragraph(self, paragraph: Element, depth: int) -> Iterator[Block]:
        text, boxes = _text(paragraph)
        level = self._heading_level(paragraph)
        if text.strip() and level:
            self._in_list = False
            yield Block(one_line(text), level)
        elif text.strip():
            margin, marker = self._numbering.marker(paragraph)
            body = margin + marker + indented(text.strip(), margin + "  " * bool(marker))
            yield Block(body, tight=bool(marker) and self._in_list)
            self._in_list = bool(marker)
        for box in boxes if depth < _MAX_DEPTH else []:
            yield from self.blocks(box, depth + 1)

    def _heading_level(self, paragraph: Element) -> int:
        own = paragraph.find(f"{qn('w:pPr')}/{qn('w:outlineLvl')}")
        if own is not None:
            return _outline(own.get(qn("w:val")))
        style = paragraph.find(f"{qn('w:pPr')}/{qn('w:pStyle')}")
        return self._levels.get(style.get(qn("w:val")) or "", 0) if style is not None else 0

    def _rows(self, table: Element, depth: int) -> Iterator[list[str]]:
        for row in table.iter(qn("w:tr")) if depth < _MAX_DEPTH else ():
            if next(row.iterancestors(_TBL), None) is not table:
                continue  # a row of a table within this one: it is in its cell's text
            yield [
                one_line(" ".join(block.text for block in self.blocks(cell, depth + 1)))
                for cell in row.iter(qn("w:tc"))
                if next(cell.iterancestors(qn("w:tr")), None) is row
            ]


def _level(style: ParagraphStyle) -> int:
    """The heading level that a paragraph style gives; 0 for body text."""
    seen: set[str] = set()
    current: ParagraphStyle | None = style
    while current is not None and current.style_id not in seen:
        seen.add(current.style_id)
        name = (current.name or "").lower()
        if name == "title":
            return 1
        if name.startswith("heading ") and name[8:].isdecimal():
            return int(name[8:])
        outline = current.element.find(f"{qn('w:pPr')}/{qn('w:outlineLvl')}")
        if outline is not None:
            return _outline(outline.get(qn("w:val")))
        base = current.base_style
        current = base if isinstance(base, ParagraphStyle) else None
    return 0


def _outline(value: str | None) -> int:
    """Word counts outline levels from 0; 9 is body text."""
    return int(value) + 1 if value and value.isdecimal() and int(value) < 9 else 0


def _text(paragraph: Element) -> tuple[str, list[Element]]:
    """The paragraph's words, without deleted ones; and the text boxes that hang on it."""
    parts: list[str] = []
    boxes: list[Element] = []
    pending = [iter(paragraph)]
    while pending:
        element = next(pending[-1], None)
        if element is None:
            pending.pop()
        elif element.tag in _TEXT:
            parts.append(element.text or "")
        elif element.tag in _BREAKS:
            parts.append(_BREAKS[element.tag])
        elif element.tag == _TEXT_BOX:
            boxes.append(element)
        elif element.tag not in _MARKUP_ONLY and element.tag != _FALLBACK:
            pending.append(iter(element))
    return "".join(parts), boxes
