"""Files to canonical text: one loader for each format, chosen by name and checked by content.

What is here needs no parser of any format, whose packages take long to import: those are with `loaders`.
"""

from retrieval.loading.advice import unreadable
from retrieval.loading.errors import LoadError
from retrieval.loading.formats import MARKDOWN, MAX_TEXT_CHARS, PARSER, SIMPLE, SUFFIXES

__all__ = ["MARKDOWN", "MAX_TEXT_CHARS", "PARSER", "SIMPLE", "SUFFIXES", "LoadError", "unreadable"]
