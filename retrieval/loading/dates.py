"""The dates that files carry, in the notations of their formats; those that cannot be true are dropped."""

import re
from datetime import UTC, date, datetime, timedelta, timezone

_ISO = re.compile(r"\s*(\d{4})(?:[-/.]?(\d{2})(?:[-/.]?(\d{2}))?)?(?:[T ](.+?))?\s*\Z", re.DOTALL)
_TIME = re.compile(r"(\d{2}):?(\d{2})(?::?(\d{2})(?:[.,]\d+)?)?\s*(?:(Z)|([+-])(\d{2}):?(\d{2})?)?\Z")
_PDF = re.compile(r"(?:D:)?(\d{4})(\d{2})?(\d{2})?(\d{2})?(\d{2})?(\d{2})?(?:Z|([+-])(\d{2})'?(\d{2})?)?")
_EARLIEST = 1450  # what was printed has a date since then
# What programs write for "unknown": the zero of one clock or another, and python-docx's template.
_ZEROS = frozenset(
    {
        date(1601, 1, 1),
        date(1899, 12, 30),
        date(1899, 12, 31),
        date(1900, 1, 1),
        date(1904, 1, 1),
        date(1970, 1, 1),
        date(1980, 1, 1),
    }
)


def plausible(value: datetime | None) -> datetime | None:
    """`value`, in UTC where it names no zone; None if nothing can have been written then."""
    if value is None:
        return None
    try:
        aware = value.replace(tzinfo=UTC) if value.utcoffset() is None else value.astimezone(UTC)
    except (ValueError, OverflowError):
        return None
    is_past = aware <= datetime.now(UTC) + timedelta(days=2)
    return aware if aware.year >= _EARLIEST and is_past and aware.date() not in _ZEROS else None


def from_iso(text: str) -> datetime | None:
    """An ISO 8601 date, with or without month, day, time and zone."""
    found = _ISO.match(text)
    if not found:
        return None
    year, month, day, time = found.groups()
    clock = _TIME.match(time.strip()) if time else None
    hour, minute, second, _, sign, hours, minutes = clock.groups() if clock else (None,) * 7
    return _made((year, month, day, hour, minute, second), sign, hours, minutes)


def from_pdf(text: str) -> datetime | None:
    """A date of a PDF's information dictionary: D:20240229120000+01'00'."""
    found = _PDF.match(text.strip())
    return _made(found.groups()[:6], *found.groups()[6:]) if found else None


def _made(
    parts: tuple[str | None, ...], sign: str | None, hours: str | None, minutes: str | None
) -> datetime | None:
    year, month, day, hour, minute, second = (int(part) if part else 0 for part in parts)
    offset = timedelta(hours=int(hours or 0), minutes=int(minutes or 0))
    try:
        zone = timezone(-offset if sign == "-" else offset)
        return plausible(datetime(year, month or 1, day or 1, hour, minute, min(second, 59), tzinfo=zone))
    except ValueError:
        return None
