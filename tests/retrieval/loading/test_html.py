"""HTML: the article without the page's furniture."""

import pytest

from retrieval.loading.loaders import load

LONG = "<p>" + "Words of the article. " * 20 + "</p>"


def text_of(source: str) -> str:
    return load(source.encode(), "a.html").text


@pytest.mark.parametrize(
    ("source", "shown"),
    [
        ("<p>a  <b>b</b>\n c<p>d", "a b c\n\nd"),
        ("un<i>believ</i>able", "unbelievable"),
        ("<p>a<br>b", "a\nb"),
        ("<script>x</script><style>y</style><p>z", "z"),
        ("<p>a</p><p hidden>b</p><p style='display: none'>c</p><p aria-hidden=true>d</p>", "a"),
        ("<pre>  x = 1\n    y\n</pre>", "  x = 1\n    y"),
        ("<ul><li>a<li><p>b<ul><li>c</ul></ul><ol start=4><li>d</ol>", "- a\n- b\n  - c\n4. d"),
        ("<ul><li><p>a</p><p>b</p></ul>", "- a\n\n  b"),
        ("<dl><dt>a<dd>b<dt>c<dd>d</dl>", "a\nb\n\nc\nd"),
        ("<table><caption>T</caption><tr><th>a<th>b<tr><td>1<td><p>2<p>3</table>", "T\na | b\n1 | 2 3"),
        ("<table><tr><td><p>a<p>b<table><tr><td>1<td>2</table></table>", "a\n\nb\n\n1 | 2"),
        ("<p>a&nbsp;&shy;b &lt;c&gt; &#0;", "a b <c> \ufffd"),
        ("<img alt='a picture'>", "a picture"),
        ("<h2>Head<a class=headerlink href=#x>¶</a></h2><p>a", "Head\n\na"),
        ("<details><summary>More</summary>Hidden text</details>", "More\n\nHidden text"),
    ],
)
def test_blocks(source, shown):
    assert text_of(source) == shown


def test_furniture_goes():
    page = f"<header>Logo</header><nav>Menu</nav><div>{LONG}</div><aside>Ad</aside><footer>Imprint</footer>"
    assert text_of(page).startswith("Words")
    assert not {"Logo", "Menu", "Ad", "Imprint"} & set(text_of(page).split())


def test_main_is_preferred_and_keeps_its_own_header():
    header = "<header><h1>The title</h1><ul><li>Menu</ul></header>"
    page = f"<div>Cookies?</div><main>{header}{LONG}</main><p>Related"
    loaded = load(page.encode(), "a.html")
    assert loaded.text.startswith("The title\n\nWords")
    assert not {"Cookies?", "Related", "Menu"} & set(loaded.text.split())


def test_an_empty_main_is_not_preferred():
    assert "Words" in text_of(f"<main><p>Loading</main>{LONG}")


def test_a_page_of_furniture_alone_is_better_than_none():
    assert text_of("<header>Just this</header>") == "Just this"


@pytest.mark.parametrize(
    ("source", "title"),
    [
        ("<title> The \n title </title><h1>H</h1>", "The title"),
        ("<h2>Two</h2><h1>One</h1>", "One"),
        ("<h2>Two</h2><p>a", "Two"),
        ("<svg><title>Icon</title></svg><p>a", ""),
    ],
)
def test_title(source, title):
    assert load(source.encode(), "a.html").title == title


def test_headings_have_levels_and_places():
    loaded = load(b"<h1>One</h1><p>a<h3>Th<b>r</b>ee</h3>", "a.html")
    assert [(h.level, h.title, loaded.text[h.start : h.end]) for h in loaded.headings] == [
        (1, "One", "One"),
        (3, "Three", "Three"),
    ]


def test_xhtml_with_a_declaration():
    page = '<?xml version="1.0" encoding="iso-8859-1"?><html><body><p>é</p></body></html>'
    assert load(page.encode("iso-8859-1"), "a.xhtml").text == "é"
