"""The admin of documents and uploads."""

from kb.documents.admin import uploads

__all__ = ["uploads"]
