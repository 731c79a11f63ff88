"""Answers are set as HTML: footnotes become links, and nothing written by others becomes markup."""

import pytest

from kb.search.redaction import REMOVED
from kb.search.rendering import answer_html
from kb.search.snippets import snippet

LINKS = {1: ("/answers/x/footnotes/1/", 'Salt & "Bread", page 3'), 2: ("/answers/x/footnotes/2/", "Wine")}
FIRST = (
    '<sup class="note"><a href="/answers/x/footnotes/1/" data-note="1" '
    'aria-label="Footnote 1: Salt &amp; &quot;Bread&quot;, page 3" id="marker-1">1</a></sup>'
)


def test_a_quoting_answer_is_plain_text_with_footnotes() -> None:
    html = answer_html("# No *heading* [1]\n\nSecond <b>line</b>.", "extractive-1", LINKS)
    assert html == f"<p># No *heading*{FIRST}</p><p>Second &lt;b&gt;line&lt;/b&gt;.</p>"


def test_a_written_answer_is_markdown_without_raw_html_links_or_images() -> None:
    text = "**Bold** [1]\n\n<script>x</script>\n\n[here](https://elsewhere.example) ![i](https://elsewhere.example/i)"
    html = answer_html(text, "some-model", LINKS)
    assert f"<p><strong>Bold</strong> {FIRST}</p>" in html.replace("</strong><sup", "</strong> <sup")
    assert "<script" not in html
    assert "<img" not in html
    assert 'href="https' not in html


def test_markers_in_code_are_the_codes_own() -> None:
    html = answer_html("`a[1]` and [1]\n\n```\nb[2]\n```\n", "some-model", LINKS)
    assert "<code>a[1]</code>" in html
    assert "b[2]" in html
    assert html.count("data-note") == 1


def test_a_marker_without_a_source_stays_as_written() -> None:
    assert answer_html("Said [7].", "extractive-1", LINKS) == "<p>Said [7].</p>"


def test_only_the_first_of_a_number_carries_the_anchor() -> None:
    html = answer_html("One [1] two [1] three [1, 2].", "extractive-1", LINKS)
    assert html.count('id="marker-1"') == 1
    assert html.count('data-note="1"') == 3
    assert html.count('data-note="2"') == 1


@pytest.mark.parametrize("model", ["extractive-1", "some-model"])
def test_what_was_removed_is_said(model: str) -> None:
    html = answer_html(f"Kept [1] {REMOVED}", model, LINKS)
    assert '<span class="removed">' in html
    assert REMOVED not in html


def joined(pieces) -> str:
    return "".join(f"<{piece.text}>" if piece.marked else piece.text for piece in pieces)


@pytest.mark.parametrize(("text", "query", "expected"), [
    ("Breads are baked daily.", "baking bread", "<Breads> are <baked> daily."),
    ("Error ERR-4012 means out of salt.", "err-4012", "Error <ERR-4012> means out of salt."),
    ("Nothing here.", "bread", "Nothing here."),
    ("Head\n\n  Body of bread", "bread", "Head\nBody of <bread>"),
    ("the and of", "the", "the and of"),
    ("<b>bread</b>", "bread", "<b><bread></b>"),
])  # fmt: skip
def test_the_querys_words_are_marked_in_any_inflection(text: str, query: str, expected: str) -> None:
    assert joined(snippet(text, query)) == expected


def test_a_long_passage_is_cut_around_the_words() -> None:
    text = "filler words " * 100 + "the needle is here " + "more words " * 100
    found = joined(snippet(text, "needle", width=100))
    assert found.startswith("… ")
    assert found.endswith(" …")
    assert "<needle>" in found
    assert len(found) < 130
