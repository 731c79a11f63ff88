"""Every format gives a text with true spans; every bad file a code and a sentence."""

import io
import re
import zipfile

import pytest

from retrieval.loading import SUFFIXES, LoadError
from retrieval.loading.loaders import LOADERS, load
from retrieval.loading.wire import verified

PNG = b"\x89PNG\r\n\x1a\n" + bytes(range(256))
ELF = b"\x7fELF\x02\x01\x01" + b"\x00" * 64
OLE = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + b"\x00" * 512


def zipped(*names: str) -> bytes:
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w") as archive:
        for name in names:
            archive.writestr(name, "x")
    return target.getvalue()


def test_every_suffix_has_a_loader_and_every_loader_a_suffix() -> None:
    assert set(LOADERS) == SUFFIXES


@pytest.mark.parametrize(
    ("name", "title", "media_type", "headings"),
    [
        ("a.txt", "", "text/plain", []),
        ("a.md", "Notes", "text/markdown", [(1, "Notes")]),
        ("a.rst", "Notes", "text/x-rst", [(1, "Notes")]),
        ("a.html", "Notes", "text/html", [(1, "Notes")]),
        (
            "a.pdf",
            "A handbook of retrieval",
            "application/pdf",
            [(1, "Of retrieval"), (2, "Finding"), (2, "Ranking")],
        ),
        (
            "a.docx",
            "Minutes of March",
            "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
            [(1, "Minutes"), (1, "Decisions"), (2, "Open questions")],
        ),
        (
            "a.pptx",
            "On retrieval",
            "application/vnd.openxmlformats-officedocument.presentationml.presentation",
            [(1, "Finding"), (1, "Sizes")],
        ),
        (
            "a.xlsx",
            "People of retrieval",
            "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
            [(1, "People")],
        ),
        ("a.csv", "", "text/csv", []),
        ("a.epub", "A book of retrieval", "application/epub+zip", [(1, "The first"), (1, "The second")]),
        ("a.eml", "On retrieval", "message/rfc822", []),
        ("a.json", "", "application/json", []),
        ("a.jsonl", "", "application/jsonl", []),
    ],
)
def test_each_format(files, name, title, media_type, headings):
    loaded = verified(load(files[name], name))
    assert loaded.title == title
    assert loaded.media_type == media_type
    assert [(h.level, h.title) for h in loaded.headings] == headings
    assert all(loaded.text[h.start : h.end] == h.title for h in loaded.headings)
    assert any(word in loaded.text for word in ("retrieval", "Decisions", "Vectors"))


@pytest.mark.parametrize(
    ("content", "name", "code"),
    [
        (b"x", "a.xyz", "unsupported"),
        (b"x", "README", "unsupported"),
        (b"", "a.txt", "empty"),
        (b" \n\t\r\n", "a.md", "empty"),
        (b"\xef\xbb\xbf\n", "a.txt", "empty"),
        (b"<html><script>x</script></html>", "a.html", "empty"),
        (b".. a comment\n", "a.rst", "empty"),
        (b"", "a.pdf", "empty"),
        (PNG, "a.pdf", "mismatch"),
        (PNG, "a.txt", "mismatch"),
        (b"%PDF-1.7\n1 0 obj", "a.txt", "mismatch"),
        (b"just words", "a.pdf", "mismatch"),
        (b"just words", "a.docx", "mismatch"),
        (ELF, "a.md", "mismatch"),
        (b"MZ\x90\x00\x03" + b"\x00" * 60, "a.html", "mismatch"),
        (b"\x1f\x8b\x08\x00", "a.rst", "mismatch"),
        (b"words\x00\x01\x02\x00\xff" * 20, "a.txt", "mismatch"),
        (zipped("xl/workbook.xml"), "a.docx", "mismatch"),
        (zipped("word/document.xml"), "a.txt", "mismatch"),
        (OLE, "a.docx", "mismatch"),
        (OLE + "EncryptedPackage".encode("utf-16-le"), "a.docx", "encrypted"),
        (zipped("word/document.xml"), "a.docx", "broken"),
        (b"PK\x03\x04" + b"\x00" * 40, "a.docx", "broken"),
        (b"%PDF-1.7\n" + b"garbage" * 20, "a.pdf", "broken"),
        (b"\x00\x01\x02\x03" * 400, "a.pdf", "broken"),
    ],
)
def test_bad_files(content, name, code):
    with pytest.raises(LoadError) as caught:
        load(content, name)
    assert caught.value.code == code
    assert caught.value.message.endswith(".")


@pytest.mark.parametrize(
    ("name", "advice"),
    [
        ("a.doc", "save it as .docx"),
        ("a.XLS", "save it as .xlsx"),
        ("a.ppt", "save it as .pptx"),
        ("a.odt", "save it as .docx"),
        ("a.msg", "save it as .eml"),
        ("a.png", "picture"),
        ("a.rar", "pack it anew as .zip"),
        ("a.xyz", "Readable are"),
        ("README", "without a suffix"),
    ],
)
def test_what_is_not_read_comes_with_advice(name, advice):
    with pytest.raises(LoadError) as caught:
        load(b"x", name)
    assert caught.value.code == "unsupported"
    assert advice in caught.value.message


def test_a_mismatch_says_what_the_file_is():
    with pytest.raises(LoadError, match=r"named \.pdf but is a PNG picture"):
        load(PNG, "a.pdf")


def test_encrypted_pdf(encrypted_pdf):
    with pytest.raises(LoadError) as caught:
        load(encrypted_pdf, "a.pdf")
    assert caught.value.code == "encrypted"


def test_a_pdf_of_pictures_needs_ocr(picture_pdf):
    with pytest.raises(LoadError) as caught:
        load(picture_pdf, "a.pdf")
    assert caught.value.code == "needs_ocr"


@pytest.mark.parametrize("name", ["a.pdf", "a.docx", "a.pptx", "a.xlsx", "a.epub"])
@pytest.mark.parametrize("tenths", range(1, 10))
def test_truncated_files(files, name, tenths):
    content = files[name]
    try:
        code = verified(load(content[: len(content) * tenths // 10], name)).media_type
    except LoadError as error:
        code = error.code
    # pdfium repairs what it can
    assert code in ({"broken", "needs_ocr", "application/pdf"} if name == "a.pdf" else {"broken"})


def test_too_much_text():
    with pytest.raises(LoadError) as caught:
        load(b"word " * 100, "a.txt", max_text_chars=400)
    assert caught.value.code == "too_large"
    assert load(b"word " * 100, "a.txt", max_text_chars=499).text


def test_a_bomb_is_refused_before_it_is_unpacked(monkeypatch):
    monkeypatch.setattr("retrieval.loading.sniff.MAX_UNZIPPED", 1000)
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("word/document.xml", b"\x00" * 100_000)
    with pytest.raises(LoadError) as caught:
        load(target.getvalue(), "a.docx")
    assert caught.value.code == "too_large"


@pytest.mark.parametrize("name", ["A.TXT", "b.Markdown", "c.HTM", "d.xhtml"])
def test_suffixes_in_any_case(name):
    assert re.search("words", load(b"just words", name).text)
