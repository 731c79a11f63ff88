"""XLSX to readable text: each sheet under its name, each row with the names of its columns."""

import io
import warnings
from collections.abc import Iterator
from datetime import datetime, time

import openpyxl
from openpyxl.workbook import Workbook
from openpyxl.worksheet.worksheet import Worksheet

from retrieval.loading import tables
from retrieval.loading.errors import LoadError
from retrieval.loading.ooxml import FAILURES, changed, said
from retrieval.loading.text import Block, assemble, one_line
from retrieval.loading.xlsx_sparse import sparse
from retrieval.spans import LoadedText

MEDIA_TYPE = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"
_DIGITS = 15  # what a spreadsheet shows of a number at most


def load(content: bytes) -> LoadedText:
    """What the visible sheets show, formulas by the results that were saved with them."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of parts that openpyxl does not know
            workbook = openpyxl.load_workbook(io.BytesIO(sparse(content)), read_only=True, data_only=True)
            text, headings = assemble(_blocks(workbook))
            properties = workbook.properties
    except FAILURES as error:
        raise LoadError(
            "broken",
            "The Excel workbook is damaged or incomplete. Open it in Excel, save it again and retry.",
        ) from error
    if (
        headings
        and len(text) == sum(heading.end - heading.start for heading in headings) + 2 * len(headings) - 2
    ):
        raise LoadError("empty", "The sheets of the workbook are empty. Choose a file that has some text.")
    return LoadedText(
        text,
        said(properties.title),
        MEDIA_TYPE,
        headings=headings,
        author=said(properties.creator),
        written_at=changed(properties),
    )


def _blocks(workbook: Workbook) -> Iterator[Block]:
    for sheet in workbook.worksheets:
        if sheet.sheet_state == "visible":
            yield Block(one_line(sheet.title), level=1)
            yield from tables.blocks(_rows(sheet))


def _rows(sheet: Worksheet) -> Iterator[list[str]]:
    """The rows as text; as wide as what is in them, not as the sheet says that it is."""
    sheet.reset_dimensions()  # type: ignore[attr-defined]  # of a sheet opened for reading only
    for row in sheet.iter_rows(values_only=True):
        yield [_shown(value) for value in row] if row else []


def _shown(value: object) -> str:
    """A cell as its sheet shows it by default; dates as ISO writes them."""
    match value:
        case None:
            shown = ""
        case bool():
            shown = "yes" if value else "no"
        case float():
            shown = f"{value:.{_DIGITS}g}"
        case datetime():
            shown = value.isoformat(" ", "seconds").removesuffix(" 00:00:00")
        case time():
            shown = value.isoformat("seconds")
        case _:  # texts, whole numbers, dates, periods
            shown = str(value)
    return one_line(shown)
