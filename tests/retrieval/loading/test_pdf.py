"""PDF: pages, paragraphs that are whole again, headings by bookmark or by size."""

import io

import pytest
from reportlab.pdfgen.canvas import Canvas

from retrieval.loading.loaders import load
from retrieval.loading.pdf_lines import HYPHEN, Line, joined
from retrieval.spans import LoadedText


def drawn(
    *pages: list[tuple[float, float, float, str]], bookmarks: bool = False, title: str = ""
) -> LoadedText:
    """A PDF of lines at (x, y) in a size; with `bookmarks`, one to the first line of each page."""
    target = io.BytesIO()
    canvas = Canvas(target)
    canvas.setTitle(title)
    for number, lines in enumerate(pages):
        for x, y, size, text in lines:
            canvas.setFont("Helvetica", size)
            canvas.drawString(x, y, text)
        if bookmarks:
            canvas.bookmarkPage(str(number))
            canvas.addOutlineEntry(lines[0][3], str(number), level=min(number, 1))
        canvas.showPage()
    canvas.save()
    return load(target.getvalue(), "a.pdf")


def column(
    *lines: str, x: float = 72, top: float = 700, size: float = 10
) -> list[tuple[float, float, float, str]]:
    return [(x, top - 12 * number, size, line) for number, line in enumerate(lines)]


FULL = "The quick brown fox jumps over the lazy dog and then it runs"


def test_pages_have_their_spans(pdf):
    loaded = load(pdf, "a.pdf")
    assert [page.number for page in loaded.pages] == [1, 2]
    first, second = (loaded.text[page.start : page.end] for page in loaded.pages)
    assert first.startswith("Of retrieval")
    assert first.endswith("The second paragraph ends here.")
    assert second.startswith("Ranking")


def test_a_page_without_text_has_an_empty_span():
    loaded = drawn(column("one"), [], column("three"))
    assert [loaded.text[page.start : page.end] for page in loaded.pages] == ["one", "", "three"]


def test_sentences_are_not_broken_by_lines(pdf):
    text = load(pdf, "a.pdf").text
    assert "places each passage in a space where near means alike in meaning. Retrieval" in text
    assert "\n\nThe second paragraph ends here." in text


@pytest.mark.parametrize(
    ("lines", "shown"),
    [
        (column(FULL, "far away."), f"{FULL} far away."),
        (column(FULL, "home.", FULL, "again."), f"{FULL} home.\n\n{FULL} again."),
        (column("A short list:", "- one", "- two"), "A short list:\n- one\n- two"),
        (column(FULL, "• a point"), f"{FULL}\n• a point"),
        (column(FULL + " below", "50. It slept."), f"{FULL} below 50. It slept."),
        (column("1. " + FULL, "2. " + FULL), f"1. {FULL}\n2. {FULL}"),
        (column("1 2.5 3.5", "4 5.5 6.5"), "1 2.5 3.5\n4 5.5 6.5"),
        (column(FULL) + column(FULL, top=640), f"{FULL}\n\n{FULL}"),
        (column(FULL + " infor-", "mation and " + FULL), f"{FULL} information and {FULL}"),
    ],
)  # fmt: skip
def test_lines_become_paragraphs(lines, shown):
    assert drawn(lines).text == shown


@pytest.mark.parametrize(
    ("lines", "words", "shown"),
    [
        (["infor" + HYPHEN, "mation"], set(), "information"),
        (["infor-", "mation"], set(), "information"),
        (["infor" + HYPHEN, "mation of ele" + HYPHEN, "ments"], set(), "information of elements"),
        (["inter" + HYPHEN, "nation" + HYPHEN, "ally"], set(), "internationally"),
        (["well" + HYPHEN, "known"], {"well-known"}, "well-known"),
        (["Jean-", "Paul"], set(), "Jean-Paul"),
        (["1914-", "1918"], set(), "1914-1918"),
        (["one -", "two"], set(), "one - two"),
        (["検索の", "結果"], set(), "検索の結果"),
    ],
)
def test_hyphens_at_line_ends(lines, words, shown):
    assert joined([Line(text, 0, 1, 0, 10) for text in lines], frozenset(words)) == shown


def test_headings_from_bookmarks():
    pages = [column("1 Beginnings", FULL, FULL), column("1.1 Growth", FULL)]
    loaded = drawn(*pages, bookmarks=True)
    assert [(h.level, h.title) for h in loaded.headings] == [(1, "1 Beginnings"), (2, "1.1 Growth")]
    assert loaded.title == "1 Beginnings"


def test_headings_by_size():
    lines = [
        (72, 760, 24, "The report"),
        (72, 720, 14, "Findings"),
        *column(*[FULL] * 8, top=700),
        (72, 560, 14, "Conclusion"),
        *column(*[FULL] * 4, top=540),
    ]
    assert [(h.level, h.title) for h in drawn(lines).headings] == [
        (1, "The report"),
        (2, "Findings"),
        (2, "Conclusion"),
    ]


@pytest.mark.parametrize(
    ("metadata", "title"),
    [
        ("A good title", "A good title"),
        ("Microsoft Word - A good title", "A good title"),
        ("Microsoft Word - report_final.docx", "Seen on the page"),
        ("untitled", "Seen on the page"),
        ("12.03.2020", "Seen on the page"),
        ("", "Seen on the page"),
    ],
)
def test_title(metadata, title):
    page = [(72, 760, 24, "Seen on the page"), *column(*[FULL] * 8)]
    assert drawn(page, title=metadata).title == title


def test_running_heads_and_page_numbers_go():
    pages = [
        [
            (72, 800, 8, "The journal"),
            *column(FULL, f"It says {number}.", FULL),
            (300, 30, 8, f"Page {number}"),
        ]
        for number in range(1, 6)
    ]
    text = drawn(*pages).text
    assert "The journal" not in text
    assert "Page" not in text
    assert [f"It says {number}." in text for number in range(1, 6)] == [True] * 5


def test_pages_of_few_lines_keep_them():
    text = drawn(*[column(f"Chapter {number}") for number in range(1, 6)]).text
    assert text.split("\n\n") == [f"Chapter {number}" for number in range(1, 6)]
