"""PPTX to readable text: each slide a page under its title, with its tables and the speaker's notes."""

import contextlib
import io
from collections.abc import Iterable, Iterator, Sequence

from pptx import Presentation
from pptx.chart.chart import Chart
from pptx.enum.shapes import PP_PLACEHOLDER
from pptx.shapes.base import BaseShape
from pptx.shapes.graphfrm import GraphicFrame
from pptx.shapes.group import GroupShape
from pptx.slide import Slide
from pptx.table import Table
from pptx.text.text import TextFrame

from retrieval.loading.errors import LoadError
from retrieval.loading.ooxml import FAILURES, changed, said
from retrieval.loading.tables import table_lines
from retrieval.loading.text import Block, assemble, one_line
from retrieval.spans import Heading, LoadedText, Page

MEDIA_TYPE = "application/vnd.openxmlformats-officedocument.presentationml.presentation"
_MAX_DEPTH = 40  # of groups within groups
_FURNITURE = frozenset({PP_PLACEHOLDER.DATE, PP_PLACEHOLDER.FOOTER, PP_PLACEHOLDER.SLIDE_NUMBER})
_LISTS = frozenset({PP_PLACEHOLDER.BODY, PP_PLACEHOLDER.OBJECT, PP_PLACEHOLDER.VERTICAL_BODY})


def load(content: bytes) -> LoadedText:
    """The slides in their order; the title from the properties, or else the first slide's."""
    try:
        presentation = Presentation(io.BytesIO(content))
        slides = [list(_slide(slide)) for slide in presentation.slides]
        properties = presentation.core_properties
        title, author, written_at = said(properties.title), said(properties.author), changed(properties)
    except FAILURES as error:
        raise LoadError(
            "broken",
            "The PowerPoint presentation is damaged or incomplete. "
            "Open it in PowerPoint, save it again and retry.",
        ) from error
    text, pages, headings = paged(slides)
    if not title and headings:
        title = headings[0].title
    return LoadedText(text, title, MEDIA_TYPE, pages, headings, author=author, written_at=written_at)


def paged(pages: Iterable[Iterable[Block]]) -> tuple[str, tuple[Page, ...], tuple[Heading, ...]]:
    """The blocks of pages as one text, a blank line between them, with the span of each page."""
    parts: list[str] = []
    spans: list[Page] = []
    headings: list[Heading] = []
    length = 0
    for number, blocks in enumerate(pages, 1):
        text, found = assemble(blocks)
        if text and length:
            parts.append("\n\n")
            length += 2
        headings += (Heading(h.level, h.title, h.start + length, h.end + length) for h in found)
        spans.append(Page(number, length, length + len(text)))
        parts.append(text)
        length += len(text)
    return "".join(parts), tuple(spans), tuple(headings)


def _slide(slide: Slide) -> Iterator[Block]:
    title = slide.shapes.title
    if title is not None:
        yield Block(one_line(title.text_frame.text), level=1)
    for shape in slide.shapes:
        if title is None or shape.shape_id != title.shape_id:
            yield from _shape(shape)
    notes = slide.notes_slide.notes_text_frame if slide.has_notes_slide else None
    if notes is not None and notes.text.strip():
        yield Block("Notes: " + notes.text.strip())


def _shape(shape: BaseShape, depth: int = 0) -> Iterator[Block]:
    if isinstance(shape, GroupShape):
        for inner in shape.shapes if depth < _MAX_DEPTH else ():
            yield from _shape(inner, depth + 1)
    elif isinstance(shape, GraphicFrame) and shape.has_table:
        yield Block("\n".join(_rows(shape.table)))
    elif isinstance(shape, GraphicFrame) and shape.has_chart:
        with contextlib.suppress(*FAILURES):  # of kinds that the library does not know
            yield Block("\n".join(_chart(shape.chart)))
    elif shape.has_text_frame:
        kind = shape.placeholder_format.type if shape.is_placeholder else None
        if kind not in _FURNITURE:
            yield from _paragraphs(shape.text_frame, is_list=kind in _LISTS)  # type: ignore[attr-defined]


def _paragraphs(frame: TextFrame, *, is_list: bool) -> Iterator[Block]:
    """The paragraphs line under line: as a list where the layout makes one of them."""
    found = [(paragraph.level, paragraph.text.replace("\v", "\n")) for paragraph in frame.paragraphs]
    found = [(level, text.strip()) for level, text in found if text.strip()]
    is_list = is_list and len(found) > 1
    for number, (level, text) in enumerate(found):
        marked = "  " * level + ("- " + text.replace("\n", " ") if is_list else text)
        yield Block(marked, tight=number > 0)


def _rows(table: Table) -> list[str]:
    return table_lines(
        [one_line(cell.text_frame.text) if not cell.is_spanned else "" for cell in row.cells]
        for row in table.rows
    )


def _chart(chart: Chart) -> list[str]:
    """The chart as a table: a row for each category, a column for each series."""
    title = one_line(chart.chart_title.text_frame.text) if chart.has_title else ""
    series = [(one_line(entry.name or ""), list(entry.values)) for entry in chart.series]
    categories = [one_line(str(category)) for category in chart.plots[0].categories]
    rows = [
        [category, *(_value(values, at) for _, values in series)] for at, category in enumerate(categories)
    ]
    return [title, *table_lines([["", *(name for name, _ in series)], *rows])]


def _value(values: Sequence[float | None], at: int) -> str:
    value = values[at] if at < len(values) else None
    return "" if value is None else f"{value:g}"
