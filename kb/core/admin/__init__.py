"""The admin of accounts, collections, keys and records."""

from kb.core.admin import access, collections, people, records

__all__ = ["access", "collections", "people", "records"]
