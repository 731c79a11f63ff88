"""Near-duplicates are found by the words that follow each other."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from retrieval.collapsing import firsts, resemblance, shingles

WORDS = [f"word{chr(97 + number % 26)}{chr(97 + number // 26)}" for number in range(200)]
LONG = " ".join(WORDS)


@given(st.lists(st.text(max_size=40), max_size=8))
def test_every_text_is_the_first_or_points_at_a_first(texts: list[str]) -> None:
    found = firsts(texts)
    assert len(found) == len(texts)
    for place, first in enumerate(found):
        assert first <= place
        assert found[first] == first


@given(st.text(max_size=60))
def test_the_same_text_is_the_same(text: str) -> None:
    assert firsts([text, "something else altogether", text])[2] in {0, 1}
    assert firsts([text, text]) == [0, 0]


def test_layout_and_capitals_make_no_difference() -> None:
    assert firsts([LONG, LONG.upper().replace(" ", "\n  ")]) == [0, 0]


def test_a_word_more_is_the_same_and_another_half_is_not() -> None:
    assert firsts([LONG, f"{LONG} indeed", " ".join(WORDS[:100] * 2)]) == [0, 0, 2]


@pytest.mark.parametrize(("one", "other"), [("2023", "2024"), ("v2.1.0", "v2.2.0"), ("10 euros", "20 euros")])
def test_other_numbers_say_something_else(one: str, other: str) -> None:
    assert firsts([f"{LONG} {one}", f"{LONG} {other}"]) == [0, 1]


def test_scripts_without_spaces_are_compared_by_letters() -> None:
    text = "机器学习模型把文本变成向量然后在索引里寻找最近的邻居并把结果按照相似度排序返回给读者"
    assert firsts(
        [text, text + "了", "今天天气很好我们去公园散步然后回家吃饭看电视最后早早睡觉了明天再来"]
    ) == [0, 0, 2]


def test_resemblance_is_the_share_of_what_both_have() -> None:
    one, other = shingles("a b c d"), shingles("b c d e")
    assert resemblance(one, other) == pytest.approx(1 / 3)
    assert resemblance(one, shingles("x y z")) == 0


@given(st.lists(st.lists(st.sampled_from("abcd"), max_size=30).map(" ".join), max_size=6), st.floats(0.1, 1))
def test_looking_at_a_few_shingles_first_changes_nothing(texts: list[str], alike: float) -> None:
    found: list[int] = []
    for place, text in enumerate(texts):
        same = (
            other
            for other in range(place)
            if found[other] == other and resemblance(shingles(text), shingles(texts[other])) >= alike
        )
        found.append(next(same, place))
    assert firsts(texts, alike) == found
