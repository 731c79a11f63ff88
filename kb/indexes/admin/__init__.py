"""The admin of indexes, and of documents and chunks with what the indexes make of them."""

from kb.indexes.admin import calibrations, chunks, documents, models, versions

__all__ = ["calibrations", "chunks", "documents", "models", "versions"]
