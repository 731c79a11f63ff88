"""The admin of documents and uploads."""

from kb.documents.admin import sources, uploads

__all__ = ["sources", "uploads"]
