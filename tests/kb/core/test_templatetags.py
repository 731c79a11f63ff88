"""Numbers and times on pages read as people say them."""

import pytest

from kb.core.templatetags import footnote


@pytest.mark.parametrize(("seconds", "said"), [
    (0, "less than a minute"), (59, "less than a minute"), (60, "about 1 minute"), (150, "about 2 minutes"),
    (3540, "about 59 minutes"), (3590, "about 1 hour"), (7800, "about 2 hours 10 minutes"),
    (86399, "about 24 hours"), (86400, "about 1 day"), (200000, "about 2 days"),
])  # fmt: skip
def test_an_estimate_is_no_finer_than_it_is_worth(seconds: float, said: str) -> None:
    assert footnote.remaining(seconds) == said


@pytest.mark.parametrize(("seconds", "said"), [
    (0.0004, "0 ms"), (0.04, "40 ms"), (3.21, "3.2 s"), (42.4, "42 s"), (720, "12 min"), (9000, "2.5 h"),
])  # fmt: skip
def test_a_duration_has_two_figures(seconds: float, said: str) -> None:
    assert footnote.took(seconds) == said


@pytest.mark.parametrize(("each", "said"), [(0.25, "0.2"), (4, "4.0"), (41.7, "42"), (12345, "12,345")])
def test_a_rate_has_two_figures(each: float, said: str) -> None:
    assert footnote.rate(each) == said


@pytest.mark.parametrize(("fraction", "said"), [(0, "0 %"), (0.999, "99 %"), (1, "100 %")])
def test_only_what_is_finished_is_a_hundred_percent(fraction: float, said: str) -> None:
    assert footnote.percent(fraction) == said


@pytest.mark.parametrize(("code", "said"), [("de", "German"), ("tlh", "tlh"), ("zh", "zh")])
def test_a_language_by_its_name(code: str, said: str) -> None:
    assert footnote.language(code) == said


def test_what_stands_between_backticks_is_code_and_markup_is_text() -> None:
    assert footnote.ticks("Run `a <b>` & `c`") == "Run <code>a &lt;b&gt;</code> &amp; <code>c</code>"
