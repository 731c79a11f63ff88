"""Sentence spans: the text is only cut, and cut where a reader would."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from retrieval.answering.sentences import sentence_spans


def sentences(text: str) -> list[str]:
    return [text[start:end] for start, end in sentence_spans(text)]


@pytest.mark.parametrize(
    "expected",
    [
        ["Dr. Smith came.", "He left."],
        ["Use a model, e.g. MiniLM, i.e. a small one.", "It is fast."],
        ["See Fig. 3 and Eq. 4.", "Then stop."],
        ["It is 3.5 times v2.1.0.", "Next."],
        ["Read https://example.org/a.b?c=d.", "Then write."],
        ["J. R. Smith wrote it.", "Others read."],
        ["Really?", "Yes!", "Good."],
        ["He said “stop.”", "She went (at last.)", "Gone."],
        ["Models etc. and data.", "Models, data, etc.", "Then more."],
        ["The answer is no.", "No. 5 is better."],
        ["It holds vectors.", "pgvector is an extension."],
        ["Raise it.", "ef_search costs time."],
        ["Yahoo! search is a name."],
        ["Call `a. B` first.", "Then `c`."],
        ["今日は良い。", "明日も。", "「終わり。」", "以上"],
        ["The norm |x| is one.", "So is |y|."],
        ["Wait… what?", "Nothing."],
    ],
    ids=lambda expected: expected[0],
)
def test_cuts_prose(expected: list[str]) -> None:
    assert sentences(" ".join(expected)) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("# A title. Really\nText.", ["# A title. Really", "Text."]),
        ("A title\n=======\nText.", ["A title\n=======", "Text."]),
        ("One line\ngoes on. Then\nends.", ["One line\ngoes on.", "Then\nends."]),
        ("- first. More\n- second", ["- first.", "More", "- second"]),
        ("1. one\n2. two\n   goes on", ["1. one", "2. two\n   goes on"]),
        ("Para\n\nPara", ["Para", "Para"]),
        ("| a. B | c |\n|---|---|\n| d | e |", ["| a. B | c |", "|---|---|", "| d | e |"]),
        ("name | size. X\nfoo | 3", ["name | size. X", "foo | 3"]),
        ("```py\na. B\n\nc\n```\nText.", ["```py\na. B\n\nc\n```", "Text."]),
        ("~~~\nnever closed. A\n\nB", ["~~~\nnever closed. A\n\nB"]),
        ("So::\n\n    a. B\n\n    c\n\nText.", ["So::", "a. B\n\n    c", "Text."]),
        ("", []),
        (" \n\t\n", []),
    ],
)
def test_keeps_blocks(text: str, expected: list[str]) -> None:
    assert sentences(text) == expected


MARKUP = st.sampled_from(
    [
        "a",
        "Word",
        "e.g.",
        ".",
        "!",
        "。",
        " ",
        "\n",
        "\n\n",
        "`",
        "```",
        "|",
        " | ",
        "# ",
        "- ",
        "1. ",
        "===",
        "::",
        "   ",
    ]
)


@given(st.one_of(st.text(), st.lists(MARKUP, max_size=60).map("".join)))
def test_spans_are_ordered_apart_trimmed_and_cover_what_is_not_white(text: str) -> None:
    spans = sentence_spans(text)
    at = 0
    for start, end in spans:
        assert at <= start < end <= len(text)
        assert text[at:start].strip() == ""
        assert text[start:end] == text[start:end].strip()
        at = end
    assert text[at:].strip() == ""


@pytest.mark.timeout(20)
@pytest.mark.parametrize(
    "part", ["!", "`", "|", "a. ", "`a", "::\n\n  a\n", " ", "\n", "x | ", "1. ", "。", "(.)"]
)
def test_takes_linear_time_on_repetition(part: str) -> None:
    text = part * 20_000
    assert sum(end - start for start, end in sentence_spans(text)) <= len(text)
