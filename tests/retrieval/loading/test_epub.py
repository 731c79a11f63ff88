"""EPUB: chapters in the order of reading."""

from datetime import UTC, datetime

import pytest

from retrieval.loading import LoadError
from retrieval.loading.loaders import load
from tests.retrieval.loading.conftest import OPF, make_epub

ENCRYPTION = '<encryption><e:EncryptionMethod xmlns:e="urn:x" Algorithm="{}"/></encryption>'
NCX = """<ncx xmlns="http://www.daisy.org/z3986/2005/ncx/"><navMap><navPoint><navLabel><text>Old style</text>
</navLabel><content src="text/two.xhtml"/></navPoint></navMap></ncx>"""


def test_chapters_headings_and_what_the_book_says_of_itself():
    loaded = load(make_epub(), "a.epub")
    assert loaded.text == "The first\n\nOn retrieval.\n\nThe second\n\nOn ranking."
    assert loaded.author == "Ada Lovelace, Grace Hopper"
    assert loaded.written_at == datetime(1884, 1, 1, tzinfo=UTC)


def test_the_contents_of_epub_2():
    item = '<item id="n" href="toc.ncx" media-type="application/x-dtbncx+xml"/>'
    package = OPF.replace(
        '<item id="n" href="nav.xhtml" media-type="application/xhtml+xml" properties="nav"/>', item
    )
    book = make_epub(**{"OPS/book.opf": package, "OPS/toc.ncx": NCX})
    assert [heading.title for heading in load(book, "a.epub").headings] == ["The first", "Old style"]


def test_a_broken_table_of_contents_does_no_harm():
    assert "On ranking." in load(make_epub(**{"OPS/nav.xhtml": b"\xff\xfe<"}), "a.epub").text


@pytest.mark.parametrize(
    ("parts", "code"),
    [
        ({"META-INF/encryption.xml": ENCRYPTION.format("http://www.w3.org/2001/04/xmlenc#aes128-cbc")}, "encrypted"),
        ({"META-INF/container.xml": "<container/>"}, "broken"),
        ({"META-INF/container.xml": "no XML"}, "broken"),
        ({"OPS/book.opf": "<package>"}, "broken"),
        ({"OPS/book.opf": "<package/>"}, "empty"),
    ],
)  # fmt: skip
def test_books_that_cannot_be_read(parts, code):
    with pytest.raises(LoadError) as caught:
        load(make_epub(**parts), "a.epub")
    assert caught.value.code == code


def test_obfuscated_fonts_are_no_protection():
    book = make_epub(**{"META-INF/encryption.xml": ENCRYPTION.format("http://www.idpf.org/2008/embedding")})
    assert load(book, "a.epub").text
