"""What files say of themselves, where it can be true; and the language of their text."""

from datetime import UTC, datetime

import pytest

from retrieval.loading.dates import from_iso, from_pdf, plausible
from retrieval.loading.language import language_of
from retrieval.loading.loaders import load


@pytest.mark.parametrize(
    ("text", "year_to_minute"),
    [
        ("2020", (2020, 1, 1, 0, 0)),
        ("2020-02", (2020, 2, 1, 0, 0)),
        ("2020-02-29", (2020, 2, 29, 0, 0)),
        ("2020/02/29", (2020, 2, 29, 0, 0)),
        ("2020-02-29T12:30:00Z", (2020, 2, 29, 12, 30)),
        ("2020-02-29T12:30:00.123+02:00", (2020, 2, 29, 10, 30)),
        ("2020-02-29 12:30", (2020, 2, 29, 12, 30)),
        ("2020-02-29T25:00:00", None),
        ("2020-02-30", None),
        ("yesterday", None),
        ("", None),
        ("1970-01-01T00:00:00Z", None),
        ("0001-01-01", None),
        ("9999-12-31", None),
        ("2020-01-01T00:00:00+99:99", None),
    ],
)
def test_iso_dates(text, year_to_minute):
    assert from_iso(text) == (datetime(*year_to_minute, tzinfo=UTC) if year_to_minute else None)


@pytest.mark.parametrize(
    ("text", "year_to_minute"),
    [
        ("D:20200229123000Z", (2020, 2, 29, 12, 30)),
        ("D:20200229123000+02'00'", (2020, 2, 29, 10, 30)),
        ("D:20200229", (2020, 2, 29, 0, 0)),
        ("20200229123000-0330", (2020, 2, 29, 16, 0)),
        ("D:00000101000000Z", None),
        ("D:19700101000000Z", None),
        ("Sat Feb 29", None),
        ("", None),
    ],
)
def test_pdf_dates(text, year_to_minute):
    assert from_pdf(text) == (datetime(*year_to_minute, tzinfo=UTC) if year_to_minute else None)


def test_dates_at_the_edge_of_the_calendar():
    assert plausible(datetime.max.replace(tzinfo=UTC)) is None
    assert plausible(datetime.min.replace(tzinfo=UTC)) is None
    assert plausible(None) is None


@pytest.mark.parametrize(
    ("head", "author", "year"),
    [
        ('<meta name=author content=Ada><meta property="article:published_time" content="2020-02-29">', "Ada", 2020),
        ('<meta name="citation_author" content="A"><meta name="citation_author" content="B">', "A, B", None),
        ('<meta property="article:author" content="https://example.org/ada">', "", None),
        ('<meta name="date" content="someday"><meta name="DC.date" content="2019">', "", 2019),
    ],
)  # fmt: skip
def test_pages_of_the_web(head, author, year):
    loaded = load(f"<html><head>{head}</head><body>text".encode(), "a.html")
    assert loaded.author == author
    assert (loaded.written_at.year if loaded.written_at else None) == year


def test_a_pdf_says_when_it_was_made(pdf):
    written = load(pdf, "a.pdf").written_at
    assert written
    assert abs((datetime.now(UTC) - written).days) <= 1


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("Retrieval finds the passages that bear on a question before anything is written.", "en"),
        ("Die Suche findet die Stellen, die zu einer Frage gehören, bevor etwas geschrieben wird.", "de"),
        ("La recherche trouve les passages qui concernent une question avant toute rédaction.", "fr"),
        ("検索は質問に関係する文章を見つけます。その後に書きます。", "ja"),
        ("Поиск находит отрывки, относящиеся к вопросу, прежде чем что-либо написано.", "ru"),
        ("البحث يجد المقاطع المتعلقة بالسؤال قبل كتابة أي شيء في الإجابة النهائية هنا", "ar"),
        ("Hello world", ""),
        ("1815 | 1906 | 22.5\n" * 50, ""),
        ("a1b2c3d4 x_y_z https://example.org/path?x=1 " * 20, ""),
        ("", ""),
    ],
)
def test_languages(text, language):
    assert language_of(text) == language


def test_a_long_text_is_sampled_throughout():
    text = "1 2 3 4 5\n" * 100 + "The words of the book begin after its numbers and go on to the end. " * 500
    assert language_of(text) == "en"
