"""What PowerPoint's and Excel's files have in common: their properties and the ways they break."""

import zipfile
import zlib
from datetime import UTC, date, datetime

from docx.exceptions import PythonDocxError
from openpyxl.utils.exceptions import CellCoordinatesException, InvalidFileException
from pptx.exc import PythonPptxError

from retrieval.loading.dates import plausible
from retrieval.loading.text import one_line

# The dates in the templates of python-docx and python-pptx, which tell nothing of a document made with them.
_TEMPLATES = frozenset(
    {
        datetime(2013, 12, 23, 23, 15, tzinfo=UTC),
        datetime(2013, 1, 27, 9, 14, 16, tzinfo=UTC),
        datetime(2013, 1, 27, 9, 15, 58, tzinfo=UTC),
    }
)
_PLACEHOLDERS = frozenset(
    {"python-docx", "openpyxl", "powerpoint presentation", "unknown", "un-named", "user", "admin"}
)
_EARLIEST = 1985  # the formats' programs are not older; what is, is a default of some library

FAILURES = (
    PythonDocxError,
    PythonPptxError,
    CellCoordinatesException,
    InvalidFileException,
    zipfile.BadZipFile,
    zlib.error,
    SyntaxError,  # what XML parsers raise
    KeyError,
    IndexError,
    ValueError,  # also what defusedxml raises for entities
    TypeError,
    AttributeError,
    OSError,
    EOFError,
    NotImplementedError,
    RecursionError,
)
"""What the libraries raise on damaged files."""


def said(value: object) -> str:
    """A property's text on one line; empty for placeholders that libraries and programs put there."""
    text = one_line(value) if isinstance(value, str) else ""
    return "" if text.casefold() in _PLACEHOLDERS else text


def changed(properties: object) -> datetime | None:
    """When the document was last written, or else made, if its properties say something credible."""
    for name in ("modified", "created"):
        try:
            value = getattr(properties, name, None)
        except FAILURES:
            continue
        if isinstance(value, date) and not isinstance(value, datetime):
            value = datetime(value.year, value.month, value.day)  # noqa: DTZ001 - plausible() adds the zone
        found = plausible(value) if isinstance(value, datetime) else None
        if found and found.year >= _EARLIEST and found not in _TEMPLATES:
            return found
    return None
