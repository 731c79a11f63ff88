"""Citation markers out of a stream: which are read, which go, and that the cut does not matter."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from retrieval.answering.citations import MarkerFilter, Reference, disarm


def shown(pieces: list[str | Reference]) -> str:
    """References as «n», so that a marker left in the text looks different."""
    return "".join(p if isinstance(p, str) else f"«{p.source}»" for p in pieces)


def filtered(text: str, sources: int = 3) -> tuple[str, int]:
    markers = MarkerFilter(sources)
    pieces = [*markers.feed(text), *markers.flush()]
    return shown(pieces), markers.removed


@pytest.mark.parametrize(
    ("text", "expected", "removed"),
    [
        ("A claim [1].", "A claim «1».", 0),
        ("A claim.[1][2] Next", "A claim.«1»«2» Next", 0),
        ("A claim [1, 2].", "A claim «1»«2».", 0),
        ("A claim [1;3].", "A claim «1»«3».", 0),
        ("A claim [1-3].", "A claim «1»«2»«3».", 0),
        ("A claim [1–2].", "A claim «1»«2».", 0),
        ("A claim [ 2 ].", "A claim «2».", 0),
        ("A claim [^2].", "A claim «2».", 0),
        ("A claim【1】.", "A claim«1».", 0),
        ("A claim【2†L10-L12】.", "A claim«2».", 0),
        ("Twice [1, 1].", "Twice «1».", 0),
        ("Nobody [4].", "Nobody.", 1),
        ("Nobody [0], nobody [17].", "Nobody, nobody.", 2),
        ("Half [1, 9].", "Half «1».", 1),
        ("Wide [2-5].", "Wide «2»«3».", 2),
        ("Backward [3-1].", "Backward «3»«1».", 0),
        ("A year [2024] and [sic] and [].", "A year [2024] and [sic] and [].", 0),
        ("A list [1, two].", "A list [1, two].", 0),
        ("Never closed [1", "Never closed [1", 0),
        ("Never closed [1, 2\n[1]", "Never closed [1, 2\n«1»", 0),
        ("In `code[1]` and out [1]", "In `code[1]` and out «1»", 0),
        ("In ``co`de[9]`` and out [9]", "In ``co`de[9]`` and out", 1),
        ("A stray ` tick [1]\nand ` [2]", "A stray ` tick «1»\nand ` «2»", 0),
        ("```python\nx[1]\n```\ny [1]", "```python\nx[1]\n```\ny «1»", 0),
        ("  ~~~\nx[9]\n```\nx[1]\n~~~\n[1]", "  ~~~\nx[9]\n```\nx[1]\n~~~\n«1»", 0),
        ("````\n```\nx[1]\n````\n[1]", "````\n```\nx[1]\n````\n«1»", 0),
        ("```\nx[1]", "```\nx[1]", 0),
        ("```x[1]``` and [1]", "```x[1]``` and «1»", 0),
        ("[1] first\n[2] second", "«1» first\n«2» second", 0),
        ("[[1]]", "[«1»]", 0),
        ("", "", 0),
    ],
)
def test_reads_markers(text: str, expected: str, removed: int) -> None:
    assert filtered(text) == (expected, removed)


def test_holds_back_only_what_may_become_a_marker() -> None:
    markers = MarkerFilter(sources=2)
    assert markers.feed("It is so [1") == ["It is so"]
    assert markers.feed(", 2") == []
    assert markers.feed("] and") == [" ", Reference(1), Reference(2), " and"]
    assert markers.feed(" [see") == [" [see"]
    assert markers.feed(" `x[1") == [" "]
    assert markers.feed("]` y") == ["`x[1]` y"]
    assert markers.flush() == []


LIKELY = st.sampled_from(
    [
        "[",
        "]",
        "1",
        "2",
        "[1]",
        " [9]",
        ", ",
        "-",
        "【",
        "】",
        "†",
        "`",
        "``",
        "```",
        "~~~",
        "\n",
        " ",
        "word",
        ".",
    ]
)


@given(st.lists(LIKELY, max_size=40).map("".join), st.data())
def test_any_cut_of_the_stream_gives_the_same(text: str, data: st.DataObject) -> None:
    cuts = sorted(data.draw(st.lists(st.integers(0, len(text)), max_size=12)))
    whole = filtered(text)
    markers = MarkerFilter(3)
    pieces: list[str | Reference] = []
    for start, end in zip([0, *cuts], [*cuts, len(text)], strict=True):
        pieces += markers.feed(text[start:end])
    pieces += markers.flush()
    assert (shown(pieces), markers.removed) == whole


@given(st.lists(LIKELY, max_size=40).map("".join))
def test_character_by_character_gives_the_same(text: str) -> None:
    markers = MarkerFilter(3)
    pieces = [piece for character in text for piece in markers.feed(character)] + markers.flush()
    assert (shown(pieces), markers.removed) == filtered(text)


@pytest.mark.parametrize("length", [1998, 1999, 2000, 2001, 2002])
def test_code_that_reaches_the_limit_is_decided_alike(length: int) -> None:
    text = "`" + "x" * length + "` [1] ` [2]"
    markers = MarkerFilter(3)
    pieces = [piece for character in text for piece in markers.feed(character)] + markers.flush()
    assert shown(pieces) == filtered(text)[0]


@given(st.text(alphabet="ab [](){}.\n", max_size=60))
def test_text_without_digits_passes_unchanged(text: str) -> None:
    assert filtered(text) == (text, 0)


@given(st.lists(LIKELY, max_size=40).map("".join))
def test_disarmed_text_holds_no_marker(text: str) -> None:
    safe = disarm(text)
    assert filtered(safe, sources=999) == (safe, 0)
    assert safe.replace("\u2060", "") == text


def test_disarm_leaves_code_alone() -> None:
    assert disarm("As in [3], `x[1]`") == "As in [\u20603], `x[1]`"
