"""Template filters that several apps' pages use: numbers and times as people say them."""

import re
from datetime import timedelta

from django import template
from django.conf.locale import LANG_INFO
from django.utils.html import escape
from django.utils.safestring import mark_safe

register = template.Library()

TICKED = re.compile("`([^`]+)`")
MINUTE, HOUR, DAY = 60, 3600, 86400


@register.filter
def minutes(duration: timedelta) -> str:
    """A duration in whole minutes, in words: "15 minutes"."""
    return counted(max(1, round(duration.total_seconds() / MINUTE)), "minute")


@register.filter
def remaining(seconds: float) -> str:
    """An estimate no finer than it is worth: "less than a minute", "about 2 hours 10 minutes"."""
    if seconds < MINUTE:
        return "less than a minute"
    if seconds < HOUR - MINUTE / 2:
        return f"about {counted(round(seconds / MINUTE), 'minute')}"
    if seconds < DAY:
        hours, left = divmod(round(seconds / MINUTE / 5) * 5, 60)
        return f"about {counted(hours, 'hour')}" + (f" {counted(left, 'minute')}" if left else "")
    return f"about {counted(round(seconds / DAY), 'day')}"


@register.filter
def took(seconds: float) -> str:
    """A duration with two figures: "40 ms", "3.2 s", "12 min", "2.5 h"."""
    if seconds < 1:
        return f"{1000 * seconds:.0f} ms"
    if seconds < 10:
        return f"{seconds:.1f} s"
    if seconds < MINUTE:
        return f"{seconds:.0f} s"
    if seconds < HOUR:
        return f"{seconds / MINUTE:.0f} min"
    return f"{seconds / HOUR:.1f} h"


@register.filter
def rate(each_second: float) -> str:
    """So many a second, with two figures."""
    return f"{each_second:,.0f}" if each_second >= 10 else f"{each_second:.1f}"


@register.filter
def thousands(number: int) -> str:
    return f"{number:,}"


@register.filter
def percent(fraction: float) -> str:
    """Full percents, rounded down: 100 % is only what is finished."""
    return f"{int(100 * fraction)} %"


@register.filter
def language(code: str) -> str:
    """The English name of a language by its ISO 639-1 code; the code itself where none is known."""
    known = LANG_INFO.get(code, {})
    return str(known.get("name", code))


@register.filter
def ticks(text: str) -> str:
    """A sentence in which what stands between backticks is set as code."""
    return mark_safe(TICKED.sub(r"<code>\1</code>", escape(text)))  # noqa: S308 (escaped just before)


def counted(count: int, unit: str) -> str:
    return f"{count} {unit}" if count == 1 else f"{count:,} {unit}s"
