"""The admin of documents, and of the uploads, sources and collections that hold them."""

from kb.documents.admin import collections, sources, uploads

__all__ = ["collections", "sources", "uploads"]
