"""Chunks: what they cover, what they fit into, and where they are cut."""

import time
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

from retrieval.chunking import ChunkSettings, ChunkSpan, chunk, render
from retrieval.embedders.model_files import default_tokenizer
from retrieval.spans import Heading, LoadedText, Page

SMALL = ChunkSettings(max_tokens=32, model_limit=220, tiny_tokens=8, max_characters=400)
WORDS = [
    "vector",
    "Index.",
    "naïve",
    "😀",
    "数据库的向量",
    "x" * 150,
    "\t",
    "  ",
    "\n",
    "\n\n",
    "- item",
    "ERR-4012;",
]
TEXTS = st.lists(st.one_of(st.sampled_from(WORDS), st.text(max_size=20)), max_size=120).map(" ".join)


def document(*parts: tuple[int, str] | str, title: str = "Title") -> LoadedText:
    """A pair is a heading of that level, a string is text below it."""
    text, headings = "", []
    for part in parts:
        level, line = part if isinstance(part, tuple) else (0, part)
        if level:
            headings.append(Heading(level, line, len(text), len(text) + len(line)))
        text += line + "\n\n"
    return LoadedText(text, title, "text/plain", headings=tuple(headings))


def texts(loaded: LoadedText, spans: list[ChunkSpan]) -> list[str]:
    return [loaded.text[span.start : span.end] for span in spans]


def sentences(count: int, word: str = "word") -> str:
    return " ".join(f"Sentence {n} has a {word} in it." for n in range(count))


@pytest.fixture(scope="module")
def byte_level() -> Tokenizer:
    """The other common kind of tokenizer: white space belongs to tokens, a character may be several."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=400, initial_alphabet=alphabet, show_progress=False)
    tokenizer.train_from_iterator([sentences(30)], trainer)
    return tokenizer


def assert_sound(
    loaded: LoadedText, spans: list[ChunkSpan], tokenizer: Tokenizer, limits: ChunkSettings
) -> None:
    covered = [False] * len(loaded.text)
    for span in spans:
        text = loaded.text[span.start : span.end]
        assert text
        assert text == text.strip()
        assert len(text) <= limits.max_characters
        assert span.tokens == len(tokenizer.encode(text, add_special_tokens=False).ids) <= limits.max_tokens
        whole = tokenizer.encode(render(loaded.title, span.heading_path, text))
        assert len(whole.ids) <= limits.model_limit
        covered[span.start : span.end] = [True] * len(text)
    assert all(a.end <= b.start for a, b in pairwise(spans))
    assert all(seen or character.isspace() for seen, character in zip(covered, loaded.text, strict=True))


@settings(max_examples=150, deadline=None)
@given(text=TEXTS, title=st.text(max_size=400), data=st.data())
def test_chunks_cover_everything_in_order_and_fit(text: str, title: str, data: st.DataObject) -> None:
    places = data.draw(st.lists(st.integers(0, len(text)), unique=True, max_size=6).map(sorted))
    bounds = [(a, min(a + 5, b)) for a, b in pairwise([*places, len(text)])]
    levels = [data.draw(st.integers(1, 4)) for _ in bounds]
    headings = tuple(Heading(n, text[a:b] or "Empty", a, b) for n, (a, b) in zip(levels, bounds, strict=True))
    loaded = LoadedText(text, title, "text/plain", headings=headings)
    tokenizer = default_tokenizer()
    assert_sound(loaded, chunk(loaded, tokenizer, SMALL), tokenizer, SMALL)


@settings(max_examples=60, deadline=None)
@given(text=TEXTS)
def test_so_they_do_with_a_byte_level_tokenizer(byte_level: Tokenizer, text: str) -> None:
    loaded = LoadedText(text, "A title", "text/plain")
    assert_sound(loaded, chunk(loaded, byte_level, SMALL), byte_level, SMALL)


@pytest.mark.parametrize("text", ["", " \n\t\n "])
def test_nothing_gives_no_chunks(text: str) -> None:
    assert chunk(LoadedText(text, "", "text/plain"), default_tokenizer()) == []


def test_a_short_text_is_one_chunk() -> None:
    loaded = document("One line.", "Another line.")
    assert texts(loaded, chunk(loaded, default_tokenizer())) == ["One line.\n\nAnother line."]


def test_a_long_text_is_cut_after_sentences_into_even_parts() -> None:
    loaded = document(sentences(60))
    spans = chunk(loaded, default_tokenizer())
    assert all(text.endswith("in it.") for text in texts(loaded, spans))
    assert min(span.tokens for span in spans) > 0.6 * max(span.tokens for span in spans)


def test_paragraphs_are_kept_whole_where_they_fit() -> None:
    paragraphs = [sentences(8, word) for word in ("cat", "dog", "cow", "hen")]
    loaded = document(*paragraphs)
    for text in texts(loaded, chunk(loaded, default_tokenizer(), ChunkSettings(max_tokens=150))):
        assert all(part in paragraphs for part in text.split("\n\n"))


def test_wrapped_lines_are_no_reason_to_cut_inside_a_sentence() -> None:
    wrapped = sentences(60).replace("has a", "has\na")
    loaded = document(wrapped)
    assert all(text.endswith("in it.") for text in texts(loaded, chunk(loaded, default_tokenizer())))


def test_a_chunk_stays_in_its_section() -> None:
    loaded = document((1, "Cats"), sentences(12, "cat"), (1, "Dogs"), sentences(12, "dog"))
    spans = chunk(loaded, default_tokenizer())
    assert [span.heading_path for span in spans] == [("Cats",), ("Dogs",)]
    assert not any("cat" in text and "dog" in text for text in texts(loaded, spans))


def test_the_path_names_the_headings_in_force() -> None:
    loaded = document(
        sentences(10),
        (1, "A"),
        sentences(10),
        (3, "B"),
        sentences(10),
        (2, "C"),
        sentences(10),
        (1, "D"),
        sentences(10),
    )
    paths = [span.heading_path for span in chunk(loaded, default_tokenizer())]
    assert paths == [(), ("A",), ("A", "B"), ("A", "C"), ("D",)]


def test_tiny_neighbours_under_one_parent_share_a_chunk() -> None:
    loaded = document(
        (1, "Terms"), (2, "HNSW"), "A graph.", (2, "IVF"), "Lists.", (1, "Other"), sentences(12)
    )
    spans = chunk(loaded, default_tokenizer())
    assert texts(loaded, spans)[0] == "Terms\n\nHNSW\n\nA graph.\n\nIVF\n\nLists."
    assert [span.heading_path for span in spans] == [("Terms",), ("Other",)]


def test_tiny_sections_under_different_parents_stay_apart() -> None:
    loaded = document((1, "A"), sentences(30), (2, "Aa"), "Tiny.", (1, "B"), "Small.")
    found = texts(loaded, chunk(loaded, default_tokenizer()))
    assert found[-2:] == ["Aa\n\nTiny.", "B\n\nSmall."]


def test_a_tiny_section_joins_the_longer_one_it_belongs_to() -> None:
    loaded = document((1, "A"), sentences(12), (2, "Aa"), "Tiny.", (1, "B"), sentences(12))
    spans = chunk(loaded, default_tokenizer())
    assert [span.heading_path for span in spans] == [("A",), ("B",)]
    assert texts(loaded, spans)[0].endswith("Aa\n\nTiny.")


def test_a_bare_heading_goes_with_what_it_stands_over() -> None:
    loaded = document((1, "Guide"), (2, "Start"), sentences(60))
    first = texts(loaded, chunk(loaded, default_tokenizer()))[0]
    assert first.startswith("Guide\n\nStart\n\nSentence 0")


def test_the_page_is_that_of_the_start() -> None:
    text = sentences(30)
    pages = tuple(Page(n + 1, a, b) for n, (a, b) in enumerate([(0, 300), (300, 600), (600, len(text))]))
    loaded = LoadedText(text, "", "application/pdf", pages=pages)
    spans = chunk(loaded, default_tokenizer(), SMALL)
    assert [span.page for span in spans] == [
        next(p.number for p in pages if span.start < p.end) for span in spans
    ]
    assert {span.page for span in spans} == {1, 2, 3}
    assert {span.page for span in chunk(document(text), default_tokenizer())} == {None}


@pytest.mark.parametrize("count", [24, 49, 74])  # which would fill their chunks to the brim
def test_a_long_title_takes_room_from_the_text_not_from_the_limit(count: int) -> None:
    limits = ChunkSettings(max_tokens=200, model_limit=220)
    loaded = LoadedText(sentences(count), "An uncommonly long-winded title " * 40, "text/plain")
    assert_sound(loaded, chunk(loaded, default_tokenizer(), limits), default_tokenizer(), limits)


@pytest.mark.parametrize(
    "text",
    [
        "a" * 2_000_000,
        "a" * 40 + "+/" * 500_000,
        "word " * 400_000,
        "\n" * 1_000_000 + "end",
        "数据" * 200_000,
    ],
    ids=["one word", "base64", "one line", "blank", "unspaced"],
)
def test_huge_runs_take_linear_time(text: str) -> None:
    began = time.perf_counter()
    spans = chunk(LoadedText(text, "", "text/plain"), default_tokenizer())
    # Quadratic time would be minutes; this takes two seconds on a slow machine.
    assert time.perf_counter() - began < 20
    assert all(span.end - span.start <= 3_000 for span in spans)
    assert sum(len(text[span.start : span.end]) for span in spans) >= len(
        text.replace("\n", "").replace(" ", "")
    )


@pytest.mark.parametrize(
    ("title", "path", "text", "rendered"),
    [
        ("", (), "Text.", "Text."),
        ("Title", (), "Text.", "Title\nText."),
        ("Title", ("A", "B"), "Text.", "Title\nA > B\nText."),
        ("Guide", ("guide", "Start"), "Text.", "Guide\nStart\nText."),
        ("Guide", ("Guide",), "Text.", "Guide\nText."),
        ("Guide", ("Start",), "Start\n\nText.", "Guide\nStart\n\nText."),
        ("Guide", ("Guide", "Start"), "## Start\nText.", "Guide\n## Start\nText."),
        ("Guide", ("Guide",), "# Guide\nText.", "# Guide\nText."),
        (" A\n title ", ("A\theading",), "Text.", "A title\nA heading\nText."),
    ],
)
def test_render(title: str, path: tuple[str, ...], text: str, rendered: str) -> None:
    assert render(title, path, text) == rendered


@given(title=st.text(max_size=2000), path=st.lists(st.text(max_size=500), max_size=10))
def test_a_header_is_never_long(title: str, path: list[str]) -> None:
    header = render(title, path, "")
    assert len(default_tokenizer().encode(header, add_special_tokens=False).ids) <= 170
    assert len(header) <= 500


def test_a_long_title_is_cut_between_words() -> None:
    assert render("embedding " * 100, (), "x") == "embedding " * 21 + "embedding\nx"


def test_the_fingerprint_follows_the_settings() -> None:
    assert ChunkSettings().fingerprint() == ChunkSettings().fingerprint()
    others = [ChunkSettings(max_tokens=201), ChunkSettings(model_limit=255), ChunkSettings(tiny_tokens=51)]
    assert len({ChunkSettings().fingerprint(), *(other.fingerprint() for other in others)}) == 4


@pytest.mark.parametrize(
    "wrong", [{"max_tokens": 0}, {"max_tokens": 300}, {"max_characters": 0}, {"max_characters": 10**6}]
)
def test_settings_that_cannot_work_are_refused(wrong: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="must lie"):
        ChunkSettings(**wrong)


def test_a_text_that_is_one_heading_is_not_repeated_with_every_chunk() -> None:
    given = document((1, "a heading that was never closed " * 2000), "Text. " * 2000)
    spans = chunk(given, default_tokenizer())
    assert len(spans) > 50
    assert sum(len(title) for span in spans for title in span.heading_path) < len(given.text)
