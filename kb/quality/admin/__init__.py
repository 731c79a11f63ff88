"""The admin of question sets, and of the life of index versions."""

from kb.quality.admin import life, questions

__all__ = ["life", "questions"]
