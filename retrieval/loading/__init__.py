"""Files to canonical text: one loader for each format, chosen by name and checked by content."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import PurePath
from types import MappingProxyType

from retrieval.loading import (
    delimited,
    docx,
    eml,
    epub,
    html,
    json_values,
    markdown,
    pdf,
    plain,
    pptx,
    rst,
    sniff,
    source,
    xlsx,
)
from retrieval.loading.advice import unreadable
from retrieval.loading.errors import LoadError
from retrieval.loading.language import language_of
from retrieval.spans import LoadedText

__all__ = [
    "MARKDOWN",
    "MAX_TEXT_CHARS",
    "PARSER",
    "SIMPLE",
    "SUFFIXES",
    "LoadError",
    "load",
    "parse",
    "unreadable",
    "with_language",
]

PARSER = "loaders-2"
"""The version of all loaders, kept with what they read; to be raised when a file would give another text."""

MAX_TEXT_CHARS = 5_000_000
_LOADERS: Mapping[str, Callable[[bytes], LoadedText]] = MappingProxyType(
    {
        ".txt": plain.load,
        ".text": plain.load,
        ".md": markdown.load,
        ".markdown": markdown.load,
        ".rst": rst.load,
        ".html": html.load,
        ".htm": html.load,
        ".xhtml": html.load,
        ".pdf": pdf.load,
        ".docx": docx.load,
        ".pptx": pptx.load,
        ".xlsx": xlsx.load,
        ".csv": delimited.load,
        ".tsv": delimited.load,
        ".epub": epub.load,
        ".eml": eml.load,
        ".json": json_values.load,
        ".jsonl": json_values.load_lines,
        ".ndjson": json_values.load_lines,
        **{suffix: source.loader(suffix) for suffix in source.DEFINITIONS},
    }
)
SUFFIXES: frozenset[str] = frozenset(_LOADERS)
MARKDOWN = frozenset({".md", ".markdown"})
SIMPLE: frozenset[str] = SUFFIXES - {
    ".html", ".htm", ".xhtml", ".pdf", ".docx", ".pptx", ".xlsx", ".epub", ".eml"
}  # fmt: skip
"""What Python alone reads, but for Markdown with tags: no native parser that a hostile file might take over."""


def load(content: bytes, filename: str, max_text_chars: int = MAX_TEXT_CHARS) -> LoadedText:
    """The text of a file with its title, pages, headings, author, date and language; LoadError if there is none.

    Parses in this process, without limits: `isolation.IsolatedLoader` is for files of others.
    """
    return with_language(parse(content, filename, max_text_chars), filename)


def parse(content: bytes, filename: str, max_text_chars: int = MAX_TEXT_CHARS) -> LoadedText:
    """What `load` gives, but without the language."""
    suffix = PurePath(filename).suffix.lower()
    loader = _LOADERS.get(suffix)
    if loader is None:
        raise LoadError("unsupported", unreadable(suffix))
    sniff.check(content, suffix)
    loaded = loader(content)
    if not loaded.text.strip():
        raise LoadError("empty", "There is no text in the file. Choose a file that has some.")
    if len(loaded.text) > max_text_chars:
        raise LoadError(
            "too_large",
            f"The file holds {len(loaded.text):,} characters of text; the limit is {max_text_chars:,}. "
            "Split it into smaller files.",
        )
    return loaded


def with_language(loaded: LoadedText, filename: str) -> LoadedText:
    """`loaded` with the language of its text; source code has none."""
    if PurePath(filename).suffix.lower() in source.DEFINITIONS:
        return loaded
    return replace(loaded, language=language_of(loaded.text))
