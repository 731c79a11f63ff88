"""How a result crosses from the process that parses to the one that asked: JSON, checked on arrival."""

import json
from datetime import datetime
from typing import Any

from retrieval.loading.errors import CODES, STOPPED, LoadError, ReaderStopped
from retrieval.spans import Heading, LoadedText, Page


def encode(loaded: LoadedText) -> bytes:
    """All of `loaded` but its language, which is told on arrival."""
    return _dump(
        {
            "text": loaded.text,
            "title": loaded.title,
            "media_type": loaded.media_type,
            "pages": [[page.number, page.start, page.end] for page in loaded.pages],
            "headings": [[h.level, h.title, h.start, h.end] for h in loaded.headings],
            "author": loaded.author,
            "written_at": loaded.written_at.isoformat() if loaded.written_at else "",
        }
    )


def encode_error(code: str, message: str) -> bytes:
    return _dump({"code": code, "message": message})


def is_error(payload: bytes) -> bool:
    """Whether it is what `encode_error` makes."""
    return payload.startswith(b'{"code":')


def decode(payload: bytes) -> LoadedText:
    """The result in `payload`, or the LoadError that is in it.

    ValueError when it is neither: what a hostile file made of the parser is not believed.
    """
    found = json.loads(payload)
    try:
        if "code" in found:
            code, message = _row([found["code"], found["message"]], str, str)
            if code == STOPPED:
                raise ReaderStopped
            if code not in CODES:
                raise ValueError("not an error that we know")
            raise LoadError(code, message)
        pages = tuple(Page(*_row(row, int, int, int)) for row in found["pages"])
        headings = tuple(Heading(*_row(row, int, str, int, int)) for row in found["headings"])
        names = ("text", "title", "media_type", "author", "written_at")
        text, title, media_type, author, written = _row([found[name] for name in names], *[str] * 5)
        written_at = datetime.fromisoformat(written) if written else None
    except (KeyError, TypeError) as error:
        raise ValueError("a part of the result is missing or of the wrong type") from error
    return verified(LoadedText(text, title, media_type, pages, headings, author, written_at=written_at))


def verified(loaded: LoadedText) -> LoadedText:
    """`loaded`, if its spans lie within its text, in order, apart from each other; ValueError if not."""
    for spans in (loaded.pages, loaded.headings):
        at = 0
        for span in spans:
            if not at <= span.start <= span.end <= len(loaded.text):
                raise ValueError(f"a span out of order or out of range: {span}")
            at = span.end
    for heading in loaded.headings:
        if heading.level < 1 or heading.title not in loaded.text[heading.start : heading.end]:
            raise ValueError(f"a heading that does not stand where it says: {heading}")
    if "\x00" in loaded.text + loaded.title + loaded.author or "\r" in loaded.text:
        raise ValueError("characters that no canonical text has")
    if loaded.written_at and loaded.written_at.utcoffset() is None:
        raise ValueError("a date without its zone")
    return loaded


def _row(row: Any, *types: type) -> Any:
    if len(row) != len(types) or any(type(value) is not kind for value, kind in zip(row, types, strict=True)):
        raise ValueError("a value of the wrong type")
    return row


def _dump(message: dict[str, object]) -> bytes:
    return json.dumps(message, ensure_ascii=False, separators=(",", ":")).encode("utf-8", errors="replace")
