"""Where things stand in a document's canonical text; every offset is a Python string index."""

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True)
class Page:
    """One page: `text[start:end]` is what stands on it; `number` counts from 1."""

    number: int
    start: int
    end: int


@dataclass(frozen=True)
class Heading:
    """One heading: `text[start:end]` is its line; `level` counts from 1, the outermost."""

    level: int
    title: str
    start: int
    end: int


@dataclass(frozen=True)
class LoadedText:
    """What a loader made of a file.

    `text` has "\\n" for newlines, no NUL and no lone surrogates. `title` is empty where the
    format carries none. `pages` and `headings` are in the order of the text and do not overlap.
    `author` and `written_at` (aware) are what the file says of itself, where it says something
    sensible; `language` is an ISO 639-1 code where the text leaves no doubt, or else empty.
    """

    text: str
    title: str
    media_type: str
    pages: tuple[Page, ...] = ()
    headings: tuple[Heading, ...] = ()
    author: str = ""
    language: str = ""
    written_at: datetime | None = None
