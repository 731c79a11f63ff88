"""Files to canonical text: one loader for each format, chosen by name and checked by content."""

from collections.abc import Callable, Mapping
from pathlib import PurePath
from types import MappingProxyType

from retrieval.loading import docx, html, markdown, pdf, plain, rst, sniff
from retrieval.loading.errors import LoadError
from retrieval.spans import LoadedText

__all__ = ["MAX_TEXT_CHARS", "SUFFIXES", "LoadError", "load"]

MAX_TEXT_CHARS = 5_000_000
_LOADERS: Mapping[str, Callable[[bytes], LoadedText]] = MappingProxyType(
    {
        ".txt": plain.load,
        ".md": markdown.load,
        ".markdown": markdown.load,
        ".rst": rst.load,
        ".html": html.load,
        ".htm": html.load,
        ".xhtml": html.load,
        ".pdf": pdf.load,
        ".docx": docx.load,
    }
)
SUFFIXES: frozenset[str] = frozenset(_LOADERS)


def load(content: bytes, filename: str, max_text_chars: int = MAX_TEXT_CHARS) -> LoadedText:
    """The text of a file with its title, pages and headings; LoadError where there is none.

    Parses in this process, without limits: `isolation.IsolatedLoader` is for files of others.
    """
    suffix = PurePath(filename).suffix.lower()
    loader = _LOADERS.get(suffix)
    if loader is None:
        raise LoadError(
            "unsupported",
            f"Files of the type {suffix or '(none)'} are not supported. "
            f"Supported are: {', '.join(sorted(SUFFIXES))}.",
        )
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
