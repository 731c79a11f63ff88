"""All loaders, and with them the packages that parse."""

from collections.abc import Callable, Mapping
from pathlib import PurePath
from types import MappingProxyType

from retrieval.loading import (
    MAX_TEXT_CHARS,
    LoadError,
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
    unreadable,
    xlsx,
)
from retrieval.loading.language import with_language
from retrieval.spans import LoadedText

LOADERS: Mapping[str, Callable[[bytes], LoadedText]] = MappingProxyType(
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


def load(content: bytes, filename: str, max_text_chars: int = MAX_TEXT_CHARS) -> LoadedText:
    """The text of a file with its title, pages, headings, author, date and language; LoadError if there is none.

    Parses in this process, without limits: `isolation.IsolatedLoader` is for files of others.
    """
    return with_language(parse(content, filename, max_text_chars), filename)


def parse(content: bytes, filename: str, max_text_chars: int = MAX_TEXT_CHARS) -> LoadedText:
    """What `load` gives, but without the language."""
    suffix = PurePath(filename).suffix.lower()
    loader = LOADERS.get(suffix)
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
