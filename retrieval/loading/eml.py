"""E-mail to readable text: who, to whom, when and about what; the message; the names of attachments."""

import email
import email.policy
from collections.abc import Iterator
from datetime import datetime
from email.message import Message
from email.utils import parseaddr, parsedate_to_datetime

from retrieval.loading import html
from retrieval.loading.dates import plausible
from retrieval.loading.decoding import decode
from retrieval.loading.errors import LoadError
from retrieval.loading.text import Block, assemble, clean, one_line
from retrieval.spans import LoadedText

MEDIA_TYPE = "message/rfc822"
_SHOWN = ("From", "To", "Cc", "Date", "Subject")
_LONGEST_HEADER = 4_000  # characters: reading one takes time that grows with the square of it
_MOST_PARTS = 1_000
# What the standard library raises on headers and parts that are not as they should be.
_FAILURES = (ValueError, LookupError, TypeError, AttributeError, AssertionError, RecursionError)


def load(content: bytes) -> LoadedText:
    """The message with its headers on top; plain text is preferred to HTML."""
    try:
        message = email.message_from_bytes(content, policy=email.policy.default)
        parts = list(_parts(message))
    except RecursionError as error:
        raise LoadError(
            "broken", "The parts of the e-mail are nested too deeply to be read. Save its text as a file."
        ) from error
    headers = {name: found for name in _SHOWN if (found := _header(message, name))}
    if not headers:
        raise LoadError(
            "broken", "The file has no headers of an e-mail. Save the message anew as .eml and try again."
        )
    bodies = _bodies(parts)
    attached = [name for part in parts if part not in bodies and (name := _filename(part))]
    text, headings = assemble(_blocks(headers, bodies, attached))
    return LoadedText(
        text,
        headers.get("Subject", ""),
        MEDIA_TYPE,
        headings=headings,
        author=_author(headers.get("From", "")),
        written_at=_date(headers.get("Date", "")),
    )


def _blocks(headers: dict[str, str], bodies: list[Message], attached: list[str]) -> Iterator[Block]:
    for number, (name, value) in enumerate(headers.items()):
        yield Block(f"{name}: {value}", tight=number > 0)
    if attached:
        yield Block("Attachments: " + ", ".join(attached), tight=True)
    for body in bodies:
        if body.get_content_subtype() == "html":
            yield from html.blocks_of_document(_payload(body))
        else:
            yield Block(_text(body).strip("\n"))


def _parts(message: Message) -> Iterator[Message]:
    """The parts that hold something, not those that hold parts; without what is in attached messages."""
    pending = [message]
    count = 0
    while pending and count < _MOST_PARTS:
        part = pending.pop()
        count += 1
        inner = part.get_payload()
        if part.get_content_maintype() == "multipart" and isinstance(inner, list):
            pending.extend(entry for entry in reversed(inner) if isinstance(entry, Message))
        else:
            yield part


def _bodies(parts: list[Message]) -> list[Message]:
    """The parts to read: all plain texts that are no attachments, or else all HTML ones."""
    for subtype in ("plain", "html"):
        found = [
            part
            for part in parts
            if part.get_content_type() == f"text/{subtype}"
            and not _is_attachment(part)
            and _payload(part).strip()
        ]
        if found:
            return found
    return []


def _is_attachment(part: Message) -> bool:
    return (
        one_line(str(part.get("Content-Disposition", ""))[:_LONGEST_HEADER]).lower().startswith("attachment")
    )


def _filename(part: Message) -> str:
    try:
        name = part.get_filename()
    except _FAILURES:
        return ""
    if not name and part.get_content_type() == "message/rfc822":
        inner = part.get_payload()
        first = inner[0] if isinstance(inner, list) and inner else None
        return _header(first, "Subject") if isinstance(first, Message) else ""
    return one_line(str(name or ""))[:200]


def _payload(part: Message) -> bytes:
    try:
        payload = part.get_payload(decode=True)
    except _FAILURES:
        return b""
    return payload if isinstance(payload, bytes) else b""


def _text(part: Message) -> str:
    payload = _payload(part)
    try:
        return clean(payload.decode(str(part.get_content_charset() or "utf-8")))
    except _FAILURES:  # an unknown encoding, or not what it says
        return clean(decode(payload))


def _header(message: Message, name: str) -> str:
    """The first header of that name, decoded; as it stands where it cannot be."""
    raw = next((value for key, value in message.raw_items() if key.lower() == name.lower()), "")
    raw = str(raw)[:_LONGEST_HEADER]
    try:
        return one_line(str(email.policy.default.header_fetch_parse(name, raw)))
    except _FAILURES:
        return one_line(raw)


def _author(sender: str) -> str:
    name, address = parseaddr(sender)
    return one_line(name or address)


def _date(value: str) -> datetime | None:
    try:
        return plausible(parsedate_to_datetime(value))
    except _FAILURES:
        return None
