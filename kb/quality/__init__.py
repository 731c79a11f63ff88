"""Evaluation against judged questions."""
