"""The subcommands of `manage.py index` that measure a version: none yet can be reached."""

from typing import Any


def add(subparsers: Any) -> None:
    """Adds this module's subcommands."""
