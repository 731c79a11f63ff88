"""JSON: values beside the keys that lead to them."""

import pytest

from retrieval.loading import LoadError
from retrieval.loading.loaders import load


@pytest.mark.parametrize(
    ("source", "shown"),
    [
        ('[{"name": "Ada", "year": 1815}, {"name": "Grace"}]', "name: Ada; year: 1815\n\nname: Grace"),
        ('{"a": 1, "b": {"c": true, "d": null}}', "a: 1\n\nb.c: true"),
        ('{"v": 1, "people": [{"name": "Ada"}]}', "v: 1\n\npeople\n\nname: Ada"),
        ('[{"tags": ["x", "y"], "in": [{"n": 1}, {"n": 2}]}]', "tags: x, y; in.n: 1; in.n: 2"),
        ('"just text"', "just text"),
        ("[1, 2.50, 1e400]", "1, 2.50, 1e400"),
        ('{"a": "two\\nlines", "b": 1}', "a: two\nlines\nb: 1"),
        ('{"a": "\\u0000\\ud800x"}', "a: \ufffdx"),
        ("9" * 6_000, "9" * 6_000),
        ('{"a": 1}\n{"a": 2}\n', "a: 1\n\na: 2"),
        ("\ufeff[[1, 2], [3, 4]]", "1, 2\n\n3, 4"),
    ],
)
def test_values_keep_their_keys(source, shown):
    assert load(source.encode(), "a.json").text == shown


def test_lists_of_records_have_headings():
    assert [h.title for h in load(b'{"people": [{"n": 1}], "x": [1]}', "a.json").headings] == ["people"]


def test_a_long_record_is_cut_between_values():
    record = ", ".join(f'"key{number}": "{"word " * 20}"' for number in range(100))
    paragraphs = load(f"[{{{record}}}]".encode(), "a.json").text.split("\n\n")
    assert len(paragraphs) > 5
    assert all(paragraph.startswith("key") and len(paragraph) < 2_000 for paragraph in paragraphs)


def test_lines_of_which_some_are_none():
    assert load(b'{"a": 1}\n{"a": \n{"a": 3}', "a.jsonl").text == 'a: 1\n\n{"a":\n\na: 3'


@pytest.mark.parametrize(
    ("source", "name", "words"),
    [
        (b'{"a": 1,}', "a.json", "line 1, column"),
        (b'{\n"a": tru}', "a.json", "line 2, column"),
        (b"just words\nand more", "a.jsonl", "no valid JSON"),
        (b"[" * 100_000 + b"]" * 100_000, "a.json", "nested too deeply"),
        (b'{"a":' * 100_000, "a.json", "nested too deeply"),
    ],
)
def test_what_is_no_json(source, name, words):
    with pytest.raises(LoadError) as caught:
        load(source, name)
    assert caught.value.code == "broken"
    assert words in caught.value.message
