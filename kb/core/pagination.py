"""Cursors: where a list goes on, by the values of the last row rather than by a count of rows to skip."""

import base64
import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Generic, TypeVar

from django.core.exceptions import ValidationError
from django.db.models import Field, Model, Q, QuerySet

from kb.core.problems import Problem

M = TypeVar("M", bound=Model)
MOST = 100


@dataclass(frozen=True)
class Slice(Generic[M]):
    """A stretch of a list; `next_cursor` is None at the end of it."""

    items: Sequence[M]
    next_cursor: str | None


def encode(values: Sequence[Any]) -> str:
    text = json.dumps([value.isoformat() if hasattr(value, "isoformat") else str(value) for value in values])
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def decode(cursor: str, fields: Sequence["Field[Any, Any]"]) -> list[Any]:
    """The values in a cursor. Raises Problem for one that did not come from `encode` with these fields."""
    try:
        texts = json.loads(base64.urlsafe_b64decode(cursor.encode() + b"=" * (-len(cursor) % 4)))
        values = [field.to_python(str(text)) for field, text in zip(fields, texts, strict=True)]
        return [storable(value) for value in values]
    except (ValueError, TypeError, ValidationError, OverflowError) as error:
        raise Problem("invalid_cursor", "This cursor is not valid: start again without one.") from error


def storable(value: Any) -> Any:
    """The value itself. Raises ValueError for what the database would refuse to compare with."""
    if isinstance(value, datetime) and not 1900 < value.year < 9000:
        raise ValueError("PostgreSQL has no such time in all time zones")
    if isinstance(value, str) and "\0" in value:
        raise ValueError("PostgreSQL has no NUL in texts")
    return value


def after(order: Sequence[str], values: Sequence[Any]) -> Q:
    """Rows behind the one with `values` in this order; a name that starts with "-" goes downwards."""
    condition, equal = Q(), Q()
    for name, value in zip(order, values, strict=True):
        field = name.removeprefix("-")
        comparison = "lt" if name.startswith("-") else "gt"
        condition |= equal & Q(**{f"{field}__{comparison}": value})
        equal &= Q(**{field: value})
    return condition


def paginate(rows: QuerySet[M], order: Sequence[str], cursor: str | None, limit: int) -> Slice[M]:
    """`limit` rows behind `cursor`. `order` must end with a unique field and hold no empty values."""
    names = [name.removeprefix("-") for name in order]
    if cursor:
        values = decode(cursor, [rows.model._meta.get_field(name) for name in names])  # type: ignore[misc]
        rows = rows.filter(after(order, values))
    found = list(rows.order_by(*order)[: limit + 1])
    more = len(found) > limit
    items = found[:limit]
    return Slice(items, encode([getattr(items[-1], name) for name in names]) if more else None)
