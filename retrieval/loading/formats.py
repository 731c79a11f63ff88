"""Which files are read, by the ends of their names; and what all loaders have in common."""

from retrieval.loading.source import DEFINITIONS

PARSER = "loaders-2"
"""The version of all loaders, kept with what they read; to be raised when a file would give another text."""

MAX_TEXT_CHARS = 5_000_000
MARKDOWN = frozenset({".md", ".markdown"})
SIMPLE: frozenset[str] = (
    MARKDOWN
    | {".txt", ".text", ".rst", ".csv", ".tsv", ".json", ".jsonl", ".ndjson"}
    | frozenset(DEFINITIONS)
)
"""What Python alone reads, but for Markdown with tags: no native parser that a hostile file might take over."""

SUFFIXES: frozenset[str] = SIMPLE | {
    ".html", ".htm", ".xhtml", ".pdf", ".docx", ".pptx", ".xlsx", ".epub", ".eml"
}  # fmt: skip
