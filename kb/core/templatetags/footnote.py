"""Template filters that several apps' pages use."""

from datetime import timedelta

from django import template

register = template.Library()


@register.filter
def minutes(duration: timedelta) -> str:
    """A duration in whole minutes, in words: "15 minutes"."""
    count = max(1, round(duration.total_seconds() / 60))
    return "1 minute" if count == 1 else f"{count} minutes"
