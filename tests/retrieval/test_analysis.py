"""Terms of the lexical index: words, identifiers, and scripts without spaces."""

import random
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from retrieval.analysis import MAX_TERM, STOP_WORDS, analyse, analyser_hash, fold


@pytest.mark.parametrize(
    ("text", "terms"),
    [
        ("", []),
        ("The cat and the dogs", ["cat", "dog"]),
        ("Running, ran, RUNS", ["run", "ran", "run"]),
        ("what is it?", []),
        ("don't O'Brien Alzheimer's", ["o'brien", "alzheim"]),
        ("don’t", []),
        ("Café NAÏVE Straße Ångström Łódź", ["cafe", "naiv", "strass", "angstrom", "lodz"]),
        ("cafe\u0301", ["cafe"]),
        ("ﬁne ｆｕｌｌ", ["fine", "full"]),
        ("co\u00adoperate", ["cooper"]),
        ("5183 documents in 2026", ["5183", "document", "2026"]),
        ("- -- _ __ ' . @ ++ #", []),
        ("yes,no;maybe/never", ["yes", "mayb", "never"]),
    ],
)
def test_words(text: str, terms: list[str]) -> None:
    assert analyse(text) == terms


@pytest.mark.parametrize(
    ("text", "terms"),
    [
        ("ERR-4012", ["err-4012", "err", "4012"]),
        ("hnsw.iterative_scan", ["hnsw.iterative_scan", "hnsw", "iter", "scan"]),
        ("text-embedding-3-large", ["text-embedding-3-large", "text", "embed", "3", "larg"]),
        ("all-MiniLM-L6-v2", ["all-minilm-l6-v2", "minilm", "l6", "v2"]),
        ("v2.1.0.", ["v2.1.0", "v2", "1", "0"]),
        ("<jane.doe@example.org>", ["jane.doe@example.org", "jane", "doe", "exampl", "org"]),
        ("C++, C# and F#.", ["c++", "c", "c#", "c", "f#", "f"]),
        ("C++20", ["c", "20"]),
        ("std::vector<int>", ["std::vector", "std", "vector", "int"]),
        ("__init__", ["__init__", "init"]),
        ("MAX_TERM_LENGTH", ["max_term_length", "max", "term", "length"]),
        ("/usr/lib/libpq.so.5", ["usr", "lib", "libpq.so.5", "libpq", "5"]),
        ("ERR\u20114012", ["err-4012", "err", "4012"]),
        ("state-of-the-art", ["state", "art"]),
        ("e.g. the U.S.", ["e", "g", "u", "s"]),
    ],
)
def test_identifiers_whole_and_in_parts(text: str, terms: list[str]) -> None:
    assert analyse(text) == terms


@pytest.mark.parametrize(
    ("text", "terms"),
    [
        ("数据库", ["数据", "据库"]),
        ("東", ["東"]),
        ("PostgreSQL数据库16", ["postgresql", "数据", "据库", "16"]),
        ("テスト", ["テス", "スト"]),
        ("ﾃｽﾄ", ["テス", "スト"]),
        ("한국어 검색", ["한국", "국어", "검색"]),
        ("ภาษา", ["ภา", "าษ", "ษา"]),
        ("हिन्दी में", ["हिन्दी", "में"]),
        ("Μηχανή Поиск", ["μηχανη", "поиск"]),
        ("数据、向量。", ["数据", "向量"]),
    ],
)
def test_other_scripts(text: str, terms: list[str]) -> None:
    assert analyse(text) == terms


@given(st.text())
def test_terms_are_short_and_clean(text: str) -> None:
    for term in analyse(text):
        assert 0 < len(term) <= MAX_TERM
        assert not any(character.isspace() or character == "\0" for character in term)
        term.encode("utf-8")  # no lone surrogates


@given(st.text(st.characters(codec="ascii")))
def test_ascii_takes_no_other_way(text: str) -> None:
    # A letter beyond ASCII sends the whole text through the general expression.
    assert analyse(text + " ß") == [*analyse(text), "ss"]


@given(st.lists(st.text(), max_size=5))
def test_lines_are_analysed_one_by_one(lines: list[str]) -> None:
    assert analyse("\n".join(lines)) == [term for line in lines for term in analyse(line)]


def test_a_question_meets_its_document() -> None:
    assert set(analyse("Why do I get err-4012?")) & set(analyse("(Error: ERR-4012!)")) == {
        "err-4012",
        "err",
        "4012",
    }


def test_long_runs_are_cut() -> None:
    assert [len(term) for term in analyse("a" * 100_000)] == [MAX_TERM]
    assert max(map(len, analyse("x1." * 50_000))) <= MAX_TERM


def test_stop_words_are_what_fold_makes_of_them() -> None:
    assert all(fold(word) == word for word in STOP_WORDS)


def test_threads_agree() -> None:
    words = [
        f"{stem}{ending}{n}x" for n in range(300) for stem in ("comput", "relat") for ending in ("ing", "ed")
    ]
    expected = analyse(" ".join(words))
    results: list[list[str]] = []

    def work(seed: int) -> None:
        mine = [f"{word}s" for word in words]
        random.Random(seed).shuffle(mine)
        analyse(" ".join(mine))
        results.append(analyse(" ".join(words)))

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [expected] * 4


def test_the_hash_is_stable_within_a_version() -> None:
    assert analyser_hash() == analyser_hash()
    assert len(analyser_hash()) == 64
