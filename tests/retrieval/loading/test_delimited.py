"""CSV: delimiters, encodings and quotation marks as they come."""

import pytest

from retrieval.loading.loaders import load

FIRST = "Name: Ada; Year: 1815"


@pytest.mark.parametrize(
    "content",
    [
        b"Name,Year\nAda,1815\n",
        b"Name;Year\r\nAda;1815\r\n",
        b"Name\tYear\rAda\t1815\r",
        b"Name|Year\nAda|1815",
        b"sep=;\nName;Year\nAda;1815",
        b'"Name","Year"\n"Ada","1815"\n',
        "Name,Year\nAda,1815".encode("utf-16"),
        b"\xef\xbb\xbfName,Year\nAda,1815",
        b"\n\nName,Year\n\n\nAda,1815\n\n",
    ],
)
def test_whatever_parts_the_cells(content):
    assert load(content, "a.csv").text.endswith(FIRST)


def test_media_types():
    assert load(b"Name\tYear\nAda\t1815", "a.tsv").media_type == "text/tab-separated-values"
    assert load(b"Name,Year\nAda,1815", "a.csv").media_type == "text/csv"


@pytest.mark.parametrize(
    ("content", "shown"),
    [
        (b'Name,Note\n"Hopper, Grace","two\nlines"', "Name: Hopper, Grace; Note: two lines"),
        (b"Name;Share\nAda;1,5\nBob;2,5", "Name: Ada; Share: 1,5\n\nName: Bob; Share: 2,5"),
        ("Name,Ort\nJürg,Köln".encode("latin-1"), "Name: Jürg; Ort: Köln"),
        ("名前,年\n検索,1815\n".encode("shift_jis"), "名前: 検索; 年: 1815"),
        (b'Say "hi",2', 'Say "hi" | 2'),
    ],
)
def test_cells(content, shown):
    assert load(content, "a.csv").text == shown


def test_a_quotation_mark_that_nothing_closes_takes_no_rows_away():
    rows = b"".join(b"%d,row\n" % number for number in range(20_000))
    text = load(b'Number,Kind\n1,"open\n' + rows, "a.csv").text
    assert "Number: 1; Kind: open" in text
    assert "Number: 19999; Kind: row" in text


def test_a_huge_field():
    text = load(b"Name,Note\nAda," + b"word " * 200_000 + b"\nGrace,short", "a.csv").text
    assert "Name: Grace; Note: short" in text
    assert len(text) > 900_000
