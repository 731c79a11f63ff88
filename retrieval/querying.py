"""What a question asks for beside its words: phrases, exclusions and filters, read off its syntax.

`"exact phrase"`, `-without`, `-"not this phrase"`, `title:`, `tag:`, `type:` (each also with a minus),
`after:` and `before:`. Whatever is not well-formed is plain words, and so is every other colon or hyphen.
"""

import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import date
from types import MappingProxyType
from typing import Literal, TypeAlias

from retrieval.loading import SUFFIXES
from retrieval.loading.archives import ARCHIVES
from retrieval.loading.source import DEFINITIONS

MOST_RESTRICTIONS = 16
"""How many a question may have; what comes behind them is plain words."""

_CALLED = {
    "word": (".docx",),
    "doc": (".docx",),
    "excel": (".xlsx",),
    "xls": (".xlsx",),
    "spreadsheet": (".xlsx", ".csv", ".tsv"),
    "powerpoint": (".pptx",),
    "ppt": (".pptx",),
    "slides": (".pptx",),
    "md": (".md", ".markdown"),
    "markdown": (".md", ".markdown"),
    "txt": (".txt", ".text"),
    "text": (".txt", ".text"),
    "html": (".html", ".htm", ".xhtml"),
    "htm": (".html", ".htm", ".xhtml"),
    "web": (".html", ".htm", ".xhtml"),
    "ebook": (".epub",),
    "mail": (".eml",),
    "email": (".eml",),
    "json": (".json", ".jsonl", ".ndjson"),
    "code": tuple(sorted(DEFINITIONS)),
}
TYPES: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {suffix[1:]: (suffix,) for suffix in sorted(SUFFIXES | ARCHIVES)} | _CALLED
)
"""What may stand behind `type:`, and the endings of file names that it means."""

FilterField: TypeAlias = Literal["title", "tag", "type"]

_QUOTED = r'"[^"]*"|“[^“”]*[“”]|„[^„“”]*[“”]|«[^«»]*»'
_SYNTAX = re.compile(
    rf"""
    (?<!\S) (?P<minus>-)? (?P<name>title|tag|type|after|before) : (?P<value> {_QUOTED} | [^\s"“„«]+ )
    | (?<!\S) - (?P<not_phrase> {_QUOTED} )
    | (?<!\S) - (?P<not_word> (?!-) [^\s"“”„«»]+ )
    | (?<!\w) (?P<phrase> {_QUOTED} )
    """,
    re.VERBOSE | re.IGNORECASE,
)
_QUOTES = '"“”„«»'
_PUNCTUATION = ".,;:!?)]}…"
_LETTER = re.compile(r"[^\W_]")
_NUMBER = re.compile(r"\d[\d.,]*[%°]?")
_DATE = re.compile(r"([1-9]\d{3})(?:[-/](\d\d?)(?:[-/](\d\d?))?)?", re.ASCII)


@dataclass(frozen=True)
class Filter:
    """Only documents of this title, tag or type, or only others (`without`)."""

    field: FilterField
    value: str
    without: bool = False


@dataclass(frozen=True)
class Parsed:
    """A question taken apart.

    `words` are what is to be embedded and looked up, those of the phrases included; they are the whole
    question where it has no syntax, and empty where it consists of restrictions. A passage must hold every
    one of `phrases`, none of `without` in any inflection, and none of `without_phrases`. Its document must
    pass the filters (of several types one, of titles and tags all), and be of `after` or later and
    of earlier than `before`.
    """

    question: str
    words: str
    phrases: tuple[str, ...] = ()
    without: tuple[str, ...] = ()
    without_phrases: tuple[str, ...] = ()
    filters: tuple[Filter, ...] = ()
    after: date | None = None
    before: date | None = None

    @property
    def filtered(self) -> bool:
        """Whether only some documents are asked for."""
        return bool(self.filters or self.after or self.before)

    @property
    def restricted(self) -> bool:
        """Whether only some passages may be found."""
        return self.filtered or bool(self.phrases or self.without or self.without_phrases)


@dataclass
class _Reading:
    """What was found so far; each method says whether it took what it was given."""

    phrases: list[str] = field(default_factory=list)
    without: list[str] = field(default_factory=list)
    without_phrases: list[str] = field(default_factory=list)
    filters: list[Filter] = field(default_factory=list)
    after: date | None = None
    before: date | None = None
    count: int = 0

    def replaced(self, match: re.Match[str]) -> str:
        """What stays of a piece of syntax among the words: itself, where it is none after all."""
        if self.count >= MOST_RESTRICTIONS:
            return match[0]
        if match["phrase"] is not None:
            phrase = _inner(match["phrase"])
            return phrase if self._kept(self.phrases, phrase) else match[0]
        if match["not_phrase"] is not None:
            taken = self._kept(self.without_phrases, _inner(match["not_phrase"]))
        elif match["not_word"] is not None:
            word = match["not_word"].rstrip(_PUNCTUATION)
            taken = not _NUMBER.fullmatch(word) and self._kept(self.without, word)
        else:
            taken = self._filter(match["name"].lower(), _inner(match["value"]), match["minus"] is not None)
            self.count += taken
        return "" if taken else match[0]

    def _kept(self, among: list[str], text: str) -> bool:
        if not _LETTER.search(text):
            return False
        among.append(text)
        self.count += 1
        return True

    def _filter(self, name: str, value: str, without: bool) -> bool:
        if name in ("after", "before"):
            day = None if without else day_of(value)
            if day is None:
                return False
            if name == "after":
                self.after = max(day, self.after or day)
            else:
                self.before = min(day, self.before or day)
            return True
        values = value.split(",") if name == "type" else [value]
        if name == "type" and not all(each.lower().lstrip(".") in TYPES for each in values):
            return False
        if not _LETTER.search(value):
            return False
        if name == "type":
            self.filters += [Filter("type", each.lower().lstrip("."), without) for each in values]
        elif name == "tag":
            self.filters.append(Filter("tag", tag_of(value), without))
        else:
            self.filters.append(Filter("title", value, without))
        return True


def parse(question: str) -> Parsed:
    """The question taken apart; never fails."""
    reading = _Reading()
    words = _SYNTAX.sub(reading.replaced, question)
    return Parsed(
        question,
        " ".join(words.split()) if reading.count else question,
        tuple(reading.phrases),
        tuple(reading.without),
        tuple(reading.without_phrases),
        tuple(reading.filters),
        reading.after,
        reading.before,
    )


def with_words(parsed: Parsed, words: str) -> Parsed:
    """The same restrictions with other words."""
    return replace(parsed, words=words)


def tag_of(text: str) -> str:
    """A tag as it is stored: lower case, in one word."""
    return "-".join(unicodedata.normalize("NFC", text.lower()).split())


def day_of(text: str) -> date | None:
    """The first day of an ISO date, a month (2024-05) or a year; None if it is none of these."""
    match = _DATE.fullmatch(text)
    if match is None:
        return None
    year, month, day = (int(part) if part else 1 for part in match.groups())
    try:
        return date(year, month, day)
    except ValueError:
        return None


def _inner(value: str) -> str:
    """What stands in the quotes, or the bare value without the punctuation behind it."""
    if value[0] in _QUOTES:
        return " ".join(value[1:-1].split())
    return value.rstrip(_PUNCTUATION)
