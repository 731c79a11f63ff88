"""Whatever the bytes: a text that keeps the rules, or a LoadError. Nothing else, ever."""

import contextlib
import io
import random
import re
import zipfile
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from retrieval.loading import LoadError
from retrieval.loading.loaders import load
from retrieval.loading.text import Block, assemble, clean
from retrieval.loading.wire import decode, encode, verified
from tests.retrieval.loading.conftest import zipped

FORBIDDEN = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\ufffe\uffff\ud800-\udfff]")
MARKS = """
# ## - * + 1. > ``` ` ** __ | |--|--| === --- ~~~ --- title: <!-- \\
.. :: .. note:: .. image:: :ref:`a :ref:`a` |x|_ ``x`` a_ _b +-+ +=+-+ #. (a) >>>
<p> </p> <b <table> <tr> <td> </table> <ul> <li> </ul> <pre> <h1> </h1> <main> <header>
&amp; &#0; &#xd800;
, ; {" ": [ ] } "a": 1 null " "" def§f( class§A [s] From:§a
Content-Type:§multipart/mixed;boundary=b --b --b--
"""
MARKUP = st.sampled_from([*(mark.replace("§", " ") for mark in MARKS.split()), "==== ==="])
WORDS = (
    st.text(max_size=12)
    | MARKUP
    | st.sampled_from(["\n", "\n\n", "    ", "  ", "\t", "\r\n", "\x0c", "word"])
)
SOURCES = st.lists(WORDS, max_size=40).map("".join)
TEXT_NAMES = st.sampled_from(
    [
        "a.txt",
        "a.md",
        "a.rst",
        "a.html",
        "a.csv",
        "a.eml",
        "a.json",
        "a.jsonl",
        "a.py",
        "a.ts",
        "a.sql",
        "a.rs",
    ]
)
PACKED = ["a.docx", "a.pptx", "a.xlsx", "a.epub"]
RELAXED = settings(
    max_examples=150,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)


PIECES = [
    b"",
    b"<",
    b">",
    b"/>",
    b'"',
    b"0",
    b"-1",
    b"99999999999",
    b"x",
    b"</a>",
    b"<a>",
    b"&x;",
    b"\xff",
    b"r:id=",
]


def check(content: bytes, name: str) -> None:
    with contextlib.suppress(LoadError):
        loaded = verified(load(content, name))
        assert not FORBIDDEN.search(loaded.text + loaded.title)
        assert loaded.text.strip()
        assert decode(encode(loaded)) == replace(loaded, language="")


@RELAXED
@given(SOURCES, TEXT_NAMES)
@example("a\n==\n\n+--+\n|\n", "a.rst")
@example("* a\n * b\n  * c::\n\n d", "a.rst")
def test_marked_up_text(source, name):
    check(source.encode("utf-8", errors="surrogatepass"), name)


@RELAXED
@given(st.binary(max_size=300), TEXT_NAMES)
def test_any_bytes(content, name):
    check(content, name)


@pytest.mark.parametrize(
    "name", ["a.pdf", "a.docx", "a.pptx", "a.xlsx", "a.epub", "a.eml", "a.json", "a.csv"]
)
@settings(parent=RELAXED, max_examples=60)
@given(data=st.data())
def test_damaged_files(files, name, data):
    content = bytearray(files[name])
    for _ in range(data.draw(st.integers(1, 6))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    check(bytes(content), name)


def mutated(content: bytes, seed: int) -> bytes:
    """A good archive of which one part is damaged, and packed as if it were meant so."""
    chance = random.Random(seed)
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    name = chance.choice(sorted(parts))
    part = bytearray(parts[name])
    for _ in range(chance.randint(1, 4)):
        start = chance.randint(0, len(part))
        part[start : start + chance.randint(0, 40)] = chance.choice([*PIECES, chance.randbytes(8)])
    return zipped(parts | {name: bytes(part)})


@pytest.mark.parametrize("name", PACKED)
@settings(parent=RELAXED, max_examples=40)
@given(seed=st.integers(0, 2**32 - 1))
def test_damaged_parts(files, name, seed):
    check(mutated(files[name], seed), name)


@pytest.mark.slow
@pytest.mark.timeout(1_200)
@pytest.mark.parametrize("name", PACKED)
@settings(parent=RELAXED, max_examples=2_000)
@given(seed=st.integers(0, 2**32 - 1))
def test_damaged_parts_at_length(files, name, seed):
    check(mutated(files[name], seed), name)


@pytest.mark.slow
@pytest.mark.timeout(1_200)
@settings(parent=RELAXED, max_examples=5_000)
@given(SOURCES, TEXT_NAMES)
def test_marked_up_text_at_length(source, name):
    check(source.encode("utf-8", errors="surrogatepass"), name)


@given(st.lists(st.tuples(st.text(max_size=20), st.integers(0, 3), st.booleans())))
def test_assembled_blocks_keep_their_places(blocks):
    text, headings = assemble(Block(entry, level, tight=tight) for entry, level, tight in blocks)
    for heading in headings:
        assert text[heading.start : heading.end].strip() == heading.title
    assert len(headings) == sum(1 for entry, level, _ in blocks if level and clean(entry).strip())


@pytest.mark.parametrize(
    ("name", "source"),
    [
        ("a.html", "<div>" * 10_000 + "deep"),
        ("a.html", "<ul><li>" * 5_000 + "deep"),
        ("a.html", "<b><p>" * 2_000 + "deep"),
        ("a.md", ">" * 50 + " deep"),
        ("a.md", "- " * 25 + "deep"),
        ("a.md", "[" * 5_000 + "deep"),
        ("a.rst", "\n\n".join(" " * (2 * depth) + "* deep" for depth in range(500))),
        ("a.rst", "* " * 5_000 + "deep"),
        ("a.rst", "``" * 5_000 + " deep"),
    ],
)
def test_deep_nesting(name, source):
    assert "deep" in load(source.encode(), name).text


@pytest.mark.parametrize("mark", [">", "- ", "1. ", "* > "])
def test_markdown_nested_beyond_reason_is_left_out(mark):
    assert load(("Before it.\n\n" + mark * 5_000 + "deep").encode(), "a.md").text.startswith("Before it.")
