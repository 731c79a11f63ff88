"""Whatever the bytes: a text that keeps the rules, or a LoadError. Nothing else, ever."""

import contextlib
import re
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from retrieval.loading import LoadError, load
from retrieval.loading.text import Block, assemble, clean
from retrieval.loading.wire import decode, encode, verified

FORBIDDEN = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\ufffe\uffff\ud800-\udfff]")
MARKS = """
# ## - * + 1. > ``` ` ** __ | |--|--| === --- ~~~ --- title: <!-- \\
.. :: .. note:: .. image:: :ref:`a :ref:`a` |x|_ ``x`` a_ _b +-+ +=+-+ #. (a) >>>
<p> </p> <b <table> <tr> <td> </table> <ul> <li> </ul> <pre> <h1> </h1> <main> <header>
&amp; &#0; &#xd800;
"""
MARKUP = st.sampled_from([*MARKS.split(), "==== ==="])
WORDS = (
    st.text(max_size=12)
    | MARKUP
    | st.sampled_from(["\n", "\n\n", "    ", "  ", "\t", "\r\n", "\x0c", "word"])
)
SOURCES = st.lists(WORDS, max_size=40).map("".join)
TEXT_NAMES = st.sampled_from(["a.txt", "a.md", "a.rst", "a.html"])
RELAXED = settings(
    max_examples=150,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)


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


@pytest.mark.parametrize("name", ["a.pdf", "a.docx"])
@settings(parent=RELAXED, max_examples=60)
@given(data=st.data())
def test_damaged_files(files, name, data):
    content = bytearray(files[name])
    for _ in range(data.draw(st.integers(1, 6))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    check(bytes(content), name)


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
