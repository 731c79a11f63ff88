"""Files made to do harm, through the real isolated loader: each is read or refused with its true reason."""

import io
import time
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from retrieval.loading import LoadError
from retrieval.loading.isolation import IsolatedLoader, Limits
from retrieval.loading.wire import verified
from retrieval.spans import LoadedText
from tests.retrieval.loading.conftest import (
    OPF,
    PEOPLE,
    make_docx,
    make_epub,
    make_pptx,
    make_xlsx,
    with_parts,
)

pytestmark = pytest.mark.timeout(120)
LIMITS = Limits(cpu_seconds=20, wall_seconds=40)
BOMB = b'<!DOCTYPE x [<!ENTITY a0 "ha">%s]>' % b"".join(
    b'<!ENTITY a%d "%s">' % (depth, b"&a%d;" % (depth - 1) * 10) for depth in range(1, 12)
)
OUTSIDE = b'<!DOCTYPE x [<!ENTITY a11 SYSTEM "file:///etc/hostname">]>'
Attempt = Callable[[bytes, str], LoadedText | str]


@pytest.fixture(scope="module")
def loader() -> Iterator[IsolatedLoader]:
    made = IsolatedLoader(LIMITS)
    yield made
    made.close()


@pytest.fixture
def attempt(loader: IsolatedLoader, tmp_path: Path) -> Iterator[Attempt]:
    """Loads; gives the code where that fails. Afterwards the same zygote must still serve."""
    (tmp_path / "good").write_bytes(b"good")
    loader.load(tmp_path / "good", "good.txt")
    zygote = loader.zygote_pid

    def load(content: bytes, name: str) -> LoadedText | str:
        (tmp_path / "stored").write_bytes(content)
        began = time.monotonic()
        try:
            return verified(loader.load(tmp_path / "stored", name))
        except LoadError as error:
            return error.code if error.message.endswith(".") else error.message
        finally:
            assert time.monotonic() - began < LIMITS.wall_seconds

    yield load
    assert loader.load(tmp_path / "good", "good.txt").text == "good"
    assert loader.zygote_pid == zygote


def text_of(result: LoadedText | str) -> str:
    assert isinstance(result, LoadedText), result
    return result.text


def with_entity(declaration: bytes, part: str) -> Callable[[str, bytes], bytes]:
    """Puts a declaration on top of one part, and `&a11;` where the word retrieval stands."""

    def change(name: str, content: bytes) -> bytes:
        if name != part:
            return content
        start = content.find(b"?>") + 2 if content.startswith(b"<?xml") else 0
        return (
            content[:start]
            + declaration
            + content[start:]
            .replace(b"retrieval", b"&a11;")
            .replace(b"index", b"&a11;")
            .replace(b"Words", b"&a11;")
        )

    return change


PARTS = {
    "a.docx": "word/document.xml",
    "a.pptx": "ppt/slides/slide1.xml",
    "a.xlsx": "xl/worksheets/sheet1.xml",
    "a.epub": "OPS/book.opf",
}


@pytest.mark.parametrize("name", PARTS)
@pytest.mark.parametrize("declaration", [BOMB, OUTSIDE], ids=["laughs", "outside"])
def test_entities_are_not_expanded(attempt, files, name, declaration):
    result = attempt(with_parts(files[name], with_entity(declaration, PARTS[name])), name)
    if isinstance(result, LoadedText):
        assert "haha" not in result.text
        assert Path("/etc/hostname").read_text().strip() not in result.text + result.title
    else:
        assert result in ("broken", "too_large")


def test_entities_in_chapters_and_svg(attempt):
    chapter = BOMB + b"<html><body><p>&a11;</p><svg><text>&a11;</text></svg></body></html>"
    assert "haha" not in text_of(attempt(make_epub(**{"OPS/text/one.xhtml": chapter}), "a.epub"))
    assert "hahaha" not in text_of(attempt(BOMB + b"<x>&a11;</x>", "a.xml"))
    assert attempt(BOMB + b"<svg>&a11;</svg>", "a.svg") == "unsupported"


@pytest.mark.parametrize(
    ("name", "make"), [("a.docx", make_docx), ("a.pptx", make_pptx), ("a.epub", make_epub)]
)
def test_archives_that_unpack_to_gigabytes(attempt, name, make):
    target = io.BytesIO(make())
    with zipfile.ZipFile(target, "a", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        for number in range(6):
            with archive.open(f"word/media/{number}.bin", "w") as part:
                for _ in range(100):
                    part.write(bytes(1024 * 1024))
    assert attempt(target.getvalue(), name) == "too_large"


@pytest.mark.slow
@pytest.mark.parametrize("name", ["a.docx", "a.pptx", "a.xlsx", "a.epub"])
def test_parts_that_inflate_within_the_bound(attempt, files, name):
    part = "OPS/text/one.xhtml" if name == "a.epub" else PARTS[name]
    huge = b"<x>" + b"<w:p/>" * 20_000_000
    result = attempt(with_parts(files[name], lambda at, old: huge if at == part else old), name)
    assert result in ("broken", "memory", "timeout", "too_large") or name == "a.epub"


@pytest.mark.slow
def test_a_workbook_of_a_million_empty_rows(attempt):
    rows = b"".join(
        b'<row r="%d" s="1"><c r="A%d" s="1"/><c r="B%d" s="1"/></row>' % (row, row, row)
        for row in range(4, 1_000_004)
    )
    book = with_parts(
        make_xlsx(("People", PEOPLE)), lambda _, part: part.replace(b"</sheetData>", rows + b"</sheetData>")
    )
    began = time.monotonic()
    assert text_of(attempt(book, "a.xlsx")).endswith("Name: Grace; Year: 1906")
    assert time.monotonic() - began < 15


def test_a_sheet_that_claims_to_fill_its_grid(attempt):
    far = b'<row r="1048576"><c r="XFD1048576"><v>7</v></c></row>'
    book = with_parts(
        make_xlsx(("People", PEOPLE)),
        lambda _, part: part.replace(b"</sheetData>", far + b"</sheetData>").replace(
            b"A1:B3", b"A1:XFD1048576"
        ),
    )
    assert text_of(attempt(book, "a.xlsx")).endswith("7")


@pytest.mark.slow
@pytest.mark.parametrize(
    "name",
    [
        "a.txt",
        "a.html",
        *(
            pytest.param(name, marks=pytest.mark.slow)
            for name in ("a.md", "a.csv", "a.py", "a.eml", "a.jsonl")
        ),
    ],
)
def test_a_line_of_fifty_megabytes(attempt, name):
    start = {"a.eml": b"Subject: x\n\n", "a.jsonl": b'{"a": "'}.get(name, b"")
    end = b'"}' if name == "a.jsonl" else b""
    assert attempt(start + b"word " * (10 << 20) + end, name) in ("too_large", "memory")


@pytest.mark.slow
@pytest.mark.parametrize(
    "source", ["<div>" * 60_000, "<ul><li>" * 20_000, "<table><tr><td>" * 3_000, "<b><i>" * 50_000]
)
def test_html_nested_beyond_reason(attempt, source):
    result = attempt((source + "deep").encode(), "a.html")
    assert result in ("timeout", "memory") or "deep" in text_of(result)


def test_tables_within_tables_in_a_word_document(attempt, word):
    depth = 3_000
    nested = b"<w:tbl><w:tr><w:tc>" * depth + b"<w:p/>" + b"</w:tc></w:tr></w:tbl>" * depth
    result = attempt(
        with_parts(word, lambda _, part: part.replace(b"<w:body>", b"<w:body>" + nested)), "a.docx"
    )
    assert result in ("broken", "timeout", "memory") or "Decisions" in text_of(result)


def test_groups_within_groups_on_a_slide(attempt, files):
    open_, close = (
        b'<p:grpSp><p:nvGrpSpPr><p:cNvPr id="9" name="g"/><p:cNvGrpSpPr/><p:nvPr/></p:nvGrpSpPr><p:grpSpPr/>',
        b"</p:grpSp>",
    )
    deck = with_parts(
        files["a.pptx"],
        lambda _, part: part.replace(b"</p:spTree>", open_ * 200 + close * 200 + b"</p:spTree>"),
    )
    result = attempt(deck, "a.pptx")
    assert result == "broken" or "Vectors" in text_of(result)


REFERENCE_LOOP = b"""%PDF-1.4
1 0 obj <</Type/Catalog/Pages 2 0 R>> endobj
2 0 obj <</Type/Pages/Count 2/Kids[2 0 R 3 0 R]/Parent 2 0 R>> endobj
3 0 obj <</Type/Page/Parent 2 0 R/MediaBox[0 0 99 99]/Contents 4 0 R/Resources 3 0 R>> endobj
4 0 obj <</Length 4 0 R/Filter 4 0 R>> stream
BT (words) Tj ET
endstream endobj
trailer <</Root 1 0 R/Size 5/Prev 9>>
"""


@pytest.mark.parametrize(
    "content", [REFERENCE_LOOP, REFERENCE_LOOP.replace(b"/Length 4 0 R/Filter 4 0 R", b"/Length 17")]
)
def test_a_pdf_whose_references_go_in_circles(attempt, content):
    assert attempt(content, "a.pdf") in ("broken", "needs_ocr", "empty")


def test_encrypted_and_truncated(attempt, encrypted_pdf, word):
    assert attempt(encrypted_pdf, "a.pdf") == "encrypted"
    assert attempt(word[: len(word) // 2], "a.docx") == "broken"
    assert attempt(b"words\x00\x00\x01" * 40, "a.txt") == "mismatch"


TEXT = "Über die Suche.\nZweite Zeile."
HEBREW = "שלום עולם, זה טקסט מימין לשמאל."


@pytest.mark.parametrize(
    ("content", "shown"),
    [
        (TEXT.encode("utf-16"), TEXT),
        (TEXT.encode("utf-16-le"), TEXT),
        (TEXT.encode("latin-1"), TEXT),
        ("検索は文書を見つけます。".encode("shift_jis"), "検索は文書を見つけます。"),
        (HEBREW.encode(), HEBREW),
        (b"a\r\nb\rc\nd\x0be\xc2\x85f", "a\nb\nc\nd\ne\nf"),
    ],
)
def test_encodings_and_line_ends(attempt, content, shown):
    assert text_of(attempt(content, "a.txt")) == shown


@pytest.mark.slow
@pytest.mark.parametrize(
    ("content", "name", "code"),
    [
        (b"[" * 1_000_000, "a.json", "broken"),
        (b'{"a":' * 500_000, "a.json", "broken"),
        (b"Subject: x\n" + b"Content-Type: multipart/mixed; boundary=b\n\n--b\n" * 10_000, "a.eml", None),
        (b"Name,Note\n1," + b'"' + b"word " * 1_500_000, "a.csv", "too_large"),
        (b",".join(b"n%d" % n for n in range(200_000)) + b"\n" + b"," * 200_000, "a.csv", None),
        (b'"' * 2_000_000, "a.csv", None),
        (b"> " * 500_000 + b"deep", "a.md", None),
        (OPF.encode() * 100, "a.xml", None),
    ],
)  # fmt: skip
def test_depth_and_width(attempt, content, name, code):
    result = attempt(content, name)
    assert result == code or (
        code is None and (isinstance(result, LoadedText) or result in ("broken", "empty"))
    )
