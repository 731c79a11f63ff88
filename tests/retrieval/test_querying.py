"""The syntax of questions: what restricts, and what is nothing but words."""

from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from retrieval.querying import MOST_RESTRICTIONS, TYPES, Filter, Parsed, day_of, parse, tag_of, with_words


@pytest.mark.parametrize(
    "question",
    [
        "",
        "What did the trial find?",
        "  two  blanks  ",
        "apples - pears",
        "apples -- pears --force",
        "- -",
        "state-of-the-art x-ray",
        "see https://example.org/a?b=c:d at 10:30",
        "John 3:16",
        "foo:bar",
        "note type: pdf",
        "type:",
        "type:banana",
        "after:yesterday before:2024-13 after:2024-02-30",
        "-after:2024",
        'a 5" pipe and a 6" pipe',
        'an "unfinished phrase',
        '"" “” -"" title:"" tag:?',
        "below -5 or -3.5% or -20°",
        "subtitle:x",
        "C:\\title:x",
        "SELECT * FROM x; -- drop & ! | <->",
    ],
)
def test_plain_words_stay_as_they_are(question: str) -> None:
    assert parse(question) == Parsed(question, question)
    assert not parse(question).restricted


@pytest.mark.parametrize(
    ("question", "words", "phrases"),
    [
        ('"exact phrase"', "exact phrase", ("exact phrase",)),
        ('What does "idem potent" mean?', "What does idem potent mean?", ("idem potent",)),
        ('("one") and “two  words”', "(one) and two words", ("one", "two words")),
        ("„auf Deutsch“ «en français»", "auf Deutsch en français", ("auf Deutsch", "en français")),
        ('"one" and "unfinished', 'one and "unfinished', ("one",)),
        ('foo:"bar"', "foo:bar", ("bar",)),
    ],
)
def test_phrases_are_words_as_well(question: str, words: str, phrases: tuple[str, ...]) -> None:
    assert parse(question) == Parsed(question, words, phrases=phrases)


def test_exclusions() -> None:
    parsed = parse('apples -green, -ERR-4012 -"not this" -„auch nicht“ -foo:bar')
    assert parsed.words == "apples"
    assert parsed.without == ("green", "ERR-4012", "foo:bar")
    assert parsed.without_phrases == ("not this", "auch nicht")
    assert parsed.restricted
    assert not parsed.filtered


def test_filters() -> None:
    parsed = parse('report TITLE:"annual report" title:x tag:Urgent tag:"two words" -type:pdf type:Word,.md')
    assert parsed.words == "report"
    assert parsed.filters == (
        Filter("title", "annual report"),
        Filter("title", "x"),
        Filter("tag", "urgent"),
        Filter("tag", "two-words"),
        Filter("type", "pdf", without=True),
        Filter("type", "word"),
        Filter("type", "md"),
    )
    assert parsed.filtered


def test_restrictions_alone_leave_no_words() -> None:
    parsed = parse("type:pdf after:2024")
    assert (parsed.words, parsed.after) == ("", date(2024, 1, 1))
    assert parsed.restricted


def test_the_narrowest_of_several_dates_counts() -> None:
    parsed = parse('after:2023 after:"2024-05" before:2025/1/2, before:2026')
    assert (parsed.after, parsed.before) == (date(2024, 5, 1), date(2025, 1, 2))


@pytest.mark.parametrize(
    ("text", "day"),
    [
        ("2024", date(2024, 1, 1)),
        ("2024-05", date(2024, 5, 1)),
        ("2024-5-7", date(2024, 5, 7)),
        ("0999", None),
        ("24", None),
        ("2024-00", None),
        ("٢٠٢٤", None),
    ],
)
def test_days(text: str, day: date | None) -> None:
    assert day_of(text) == day


@pytest.mark.parametrize(
    ("name", "suffix"), [("pdf", ".pdf"), ("excel", ".xlsx"), ("py", ".py"), ("code", ".py")]
)
def test_types_by_ending_and_by_what_people_call_them(name: str, suffix: str) -> None:
    assert suffix in TYPES[name]


def test_tags_are_one_word() -> None:
    assert tag_of("  Two\tWords ") == "two-words"


def test_what_comes_behind_too_many_is_words() -> None:
    parsed = parse(" ".join(f"-w{number}" for number in range(MOST_RESTRICTIONS + 1)))
    assert len(parsed.without) == MOST_RESTRICTIONS
    assert parsed.words == f"-w{MOST_RESTRICTIONS}"


def test_other_words_keep_the_restrictions() -> None:
    parsed = parse("aple -green tag:x")
    assert with_words(parsed, "apple") == Parsed(
        parsed.question, "apple", without=("green",), filters=(Filter("tag", "x"),)
    )


PIECES = st.one_of(
    st.text(),
    st.sampled_from(
        [
            '"',
            "-",
            "title:",
            "tag:",
            "type:pdf",
            "after:",
            "2024",
            "before:2024-01",
            "“",
            "”",
            "«",
            " ",
            "word",
        ]
    ),
)


@given(st.lists(PIECES, max_size=12).map("".join))
def test_any_question_is_taken(question: str) -> None:
    parsed = parse(question)
    assert parsed.question == question
    if not parsed.restricted:
        assert parsed.words == question
    restrictions = (*parsed.phrases, *parsed.without, *parsed.without_phrases, *parsed.filters)
    assert all(any(letter.isalnum() for letter in getattr(each, "value", each)) for each in restrictions)
    assert all(" ".join(phrase.split()) == phrase for phrase in parsed.phrases)


@given(st.text(st.characters(exclude_characters='"“”„«»-:')))
def test_without_signs_of_syntax_all_is_words(question: str) -> None:
    assert parse(question) == Parsed(question, question)
