"""A text is set in blocks without losing a word, and exactly the passage is highlighted."""

import re
from pathlib import Path

import pytest
from django.contrib.staticfiles import finders
from hypothesis import given
from hypothesis import strategies as st

from kb.documents.reading import Segment, Text, blocks, heading_path, outline, page_at, part_at, parts
from retrieval.spans import Heading, Page

TEXT = "Bread\n\nFlour and water.\nSalt too.\n\nSalt\n\nA pinch."
HEADINGS = (Heading(1, "Bread", 0, 5), Heading(2, "Salt", 35, 39))


def shown(found) -> list[tuple[str, str]]:
    return [(block.kind, "".join(segment.text for segment in block.segments)) for block in found]


def marked(found) -> str:
    return "".join(segment.text for block in found for segment in block.segments if segment.marked)


def test_headings_interrupt_paragraphs() -> None:
    assert shown(blocks(Text(TEXT, (), HEADINGS), (0, len(TEXT)))) == [
        ("heading", "Bread"),
        ("paragraph", "Flour and water.\nSalt too."),
        ("heading", "Salt"),
        ("paragraph", "A pinch."),
    ]


def test_pages_begin_where_they_begin() -> None:
    found = blocks(Text("One.\n\nTwo.", (Page(1, 0, 4), Page(2, 6, 10))), (0, 10))
    assert [(block.kind, block.number) for block in found] == [
        ("page", 1), ("paragraph", 0), ("page", 2), ("paragraph", 0),
    ]  # fmt: skip


@pytest.mark.parametrize(("text", "kind"), [
    ("def f():\n    return 1\n    # end", "verbatim"),
    ("name | size\na | 1\nb | 2", "rows"),
    ("- one\n- two", "lines"),
    ("What it needs:\n1. flour\n2. water", "lines"),
    ("Kiln\nAn oven that burns clay.", "lines"),
    ("Kiln\nAn oven that burns clay.\nGlaze\nWhat melts on it.", "lines"),
    ("The oven that burns clay is\ncalled a kiln.", "paragraph"),
    ("It is hot.\nKeep the door of the pottery open.", "paragraph"),
    ("a sentence | with a bar", "paragraph"),
])  # fmt: skip
def test_code_and_tables_are_told_from_prose(text: str, kind: str) -> None:
    assert [block.kind for block in blocks(Text(text), (0, len(text)))] == [kind]


def test_every_kind_whose_lines_count_is_set_with_them() -> None:
    """The style sheet keeps the breaks of each kind of block but plain paragraphs."""
    css = Path(str(finders.find("css/reading.css"))).read_text()
    kept = re.findall(r"\.text ([^{]+)\{[^}]*white-space: pre", css)
    for kind in ("lines", "rows", "verbatim"):
        assert any(f".{kind}" in selector for selector in kept), kind
    assert not any(".paragraph" in selector for selector in kept)


def test_a_highlight_may_cross_blocks_and_is_anchored_once() -> None:
    found = blocks(Text(TEXT, (), HEADINGS), (0, len(TEXT)), (13, 39))
    assert marked(found) == TEXT[13:39].replace("\n\n", "")
    firsts = [segment for block in found for segment in block.segments if segment.first]
    assert firsts == [Segment("and water.\nSalt too.", marked=True, first=True)]


@given(st.text(alphabet="ab \n|", max_size=300), st.data())
def test_no_word_is_lost_and_exactly_the_highlight_is_marked(text: str, data: st.DataObject) -> None:
    start = data.draw(st.integers(0, len(text)))
    end = data.draw(st.integers(start, len(text)))
    page = data.draw(st.integers(0, len(text)))
    found = blocks(
        Text(text, (Page(1, page, len(text)),)), (0, len(text)), (start, end) if start < end else None
    )
    assert "".join("".join(words for _, words in shown(found)).split()) == "".join(text.split())
    assert "".join(marked(found).split()) == "".join(text[start:end].split())


@given(st.text(alphabet="ab\n", max_size=400), st.integers(10, 50))
def test_parts_cover_the_text(text: str, size: int) -> None:
    spans = parts(text, size)
    assert "".join(text[start:end] for start, end in spans) == text
    assert all(end - start <= size for start, end in spans)
    for offset in range(len(text)):
        start, end = spans[part_at(spans, offset)]
        assert start <= offset < end


def test_parts_are_cut_at_blank_lines() -> None:
    text = "a" * 40 + "\n\n" + "b" * 40
    assert parts(text, 50) == [(0, 42), (42, 82)]


def test_an_outline_drops_levels_before_it_drowns() -> None:
    chapters = [Heading(1, f"Chapter {n}", n * 100, n * 100 + 9) for n in range(20)]
    sections = [Heading(3, f"Section {n}", n * 10 + 1, n * 10 + 9) for n in range(200)]
    headings = sorted(chapters + sections, key=lambda heading: heading.start)
    found = outline(headings, [(0, 1000), (1000, 2100)])
    assert [entry.title for entry in found] == [chapter.title for chapter in chapters]
    assert {entry.part for entry in found} == {1, 2}


@pytest.mark.parametrize(("offset", "page"), [(0, 1), (9, 1), (10, 2), (99, 2)])
def test_an_offset_stands_on_a_page(offset: int, page: int) -> None:
    assert page_at([Page(1, 0, 8), Page(2, 10, 20)], offset) == page
    assert page_at([], offset) is None


def test_a_heading_path_leads_from_the_outermost() -> None:
    headings = [
        Heading(1, "A", 0, 1),
        Heading(2, "B", 10, 11),
        Heading(2, "C", 20, 21),
        Heading(1, "D", 30, 31),
    ]
    assert heading_path(headings, 25) == ("A", "C")
    assert heading_path(headings, 35) == ("D",)
    assert heading_path(headings, 0) == ("A",)
    assert heading_path([], 5) == ()
