"""Markdown: what a reader sees is the text."""

import pytest

from retrieval.loading.loaders import load


@pytest.mark.parametrize(
    ("source", "shown"),
    [
        ("A [link](https://x.org) and `code` and **bold**", "A link and code and bold"),
        ("![a picture](x.png)", "a picture"),
        ("two\nlines", "two lines"),
        ("hard  \nbreak", "hard\nbreak"),
        ("~~gone~~ &amp; <b>tag</b>", "gone & tag"),
        ("- a\n- b\n  - c\n\n    d\n- e", "- a\n- b\n  - c\n\n    d\n\n- e"),
        ("3. c\n4. d", "3. c\n4. d"),
        ("```python\nx = 1\n\ny = 2\n```", "x = 1\n\ny = 2"),
        ("| a | b |\n|---|---|\n| *1* | 2 |", "a | b\n1 | 2"),
        ("> quoted\n> text", "quoted text"),
        ("<p align=center><b>In</b> HTML</p>\n\nafter", "In HTML\n\nafter"),
        ("<!-- hidden -->\n\nshown", "shown"),
        ("漢字\nかな", "漢字 かな"),
        ("# A *b*\n\ntext\n\nC\n---", "A b\n\ntext\n\nC"),
    ],
)
def test_text(source, shown):
    assert load(source.encode(), "a.md").text == shown


@pytest.mark.parametrize(
    ("source", "title"),
    [
        ('---\ntitle: "In front"\ntags: [a]\n---\n# Heading', "In front"),
        ("+++\ntitle = 'In front'\n+++\n# Heading", "In front"),
        ("---\ntags: [a]\n---\n# Heading", "Heading"),
        ("text\n\n## Heading", "Heading"),
        ("only text", ""),
    ],
)
def test_title(source, title):
    loaded = load(source.encode(), "a.md")
    assert loaded.title == title
    assert "tags" not in loaded.text


def test_a_rule_at_the_beginning_is_not_front_matter():
    assert load(b"---\nwords that stay\n\n---\nmore", "a.md").text == "words that stay\n\nmore"


def test_headings_have_levels_and_places():
    loaded = load(b"# One\n\n### Three `x`\n\n- # in a list\n", "a.md")
    assert [(h.level, h.title, loaded.text[h.start : h.end]) for h in loaded.headings] == [
        (1, "One", "One"),
        (3, "Three x", "Three x"),
        (1, "in a list", "- in a list"),
    ]
