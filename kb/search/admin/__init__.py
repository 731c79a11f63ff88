"""The admin of questions, answers and retrieval profiles, and its first page."""

from kb.search.admin import asked, profiles

__all__ = ["asked", "profiles"]
