"""Text in the encodings that people's files have."""

import pytest

from retrieval.loading.decoding import decode
from retrieval.loading.loaders import load

JAPANESE = "これは日本語の文書です。検索と埋め込みについて説明します。\n" * 4
RUSSIAN = "Это документ о поиске и о том, как находить ответы в тексте.\n" * 4
FRENCH = "L'été dernier, nous avons déjà cherché où se cachait la réponse.\n"
CHINESE = "这是一个关于检索和向量的文档，我们在其中寻找答案。\n" * 4


@pytest.mark.parametrize(
    ("text", "encoding"),
    [
        (FRENCH, "utf-8"),
        (FRENCH, "utf-8-sig"),
        (FRENCH, "utf-16"),
        (FRENCH, "utf-16-le"),
        (FRENCH, "utf-16-be"),
        (FRENCH, "utf-32"),
        (FRENCH, "latin-1"),
        ("café", "latin-1"),
        ("Price: 5 € – “good”", "cp1252"),
        (JAPANESE, "shift_jis"),
        (JAPANESE, "euc_jp"),
        (JAPANESE, "iso2022_jp"),
        (RUSSIAN, "cp1251"),
        (CHINESE, "gb18030"),
        ("plain", "ascii"),
        ("", "ascii"),
    ],
)
def test_decode(text, encoding):
    assert decode(text.encode(encoding)) == text


@pytest.mark.parametrize(
    ("declaration", "encoding"),
    [
        ('<meta charset="shift_jis">', "shift_jis"),
        ("<meta content='text/html; charset=windows-1251'>", "cp1251"),
    ],
)
def test_html_declares_its_encoding(declaration, encoding):
    page = f"{declaration}<p>あいう" if encoding == "shift_jis" else f"{declaration}<p>Да"
    assert load(page.encode(encoding), "a.html").text == page.rsplit(">", 1)[1]


@pytest.mark.parametrize("declared", ["no-such-thing", "utf-8", "base64", "utf-16", ""])
def test_a_false_declaration_does_no_harm(declared):
    page = f"<meta charset={declared}><p>déjà vu".encode("latin-1")
    assert load(page, "a.html").text == "déjà vu"


def test_the_loaded_text_of_utf16_is_no_mismatch():
    assert load("Hello wörld\r\nagain".encode("utf-16"), "a.txt").text == "Hello wörld\nagain"
    assert load("Hello world, again".encode("utf-16-le"), "a.txt").text == "Hello world, again"
