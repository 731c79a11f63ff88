"""Whom a command acts for."""

from kb.core.models import User
from kb.core.problems import Problem


def acting(username: str | None) -> User:
    """The named user, or the first administrator."""
    if username:
        user = User.objects.filter(username=username, is_active=True).first()
        if user is None:
            raise Problem("not_found", f"There is no active user {username!r}.", 404)
        return user
    user = User.objects.filter(is_superuser=True, is_active=True).order_by("pk").first()
    if user is None:
        raise Problem("no_administrator", "There is no administrator yet: run `manage.py prepare`.")
    return user
