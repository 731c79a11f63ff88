"""Terms of the lexical index: words, identifiers, and scripts without spaces."""

import random
import threading
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from retrieval.analysis import (
    MAX_TERM,
    STOP_WORDS,
    analyse,
    analyser_hash,
    fold,
    needed,
    opening,
    spelled,
    stands_in,
    variants,
)
from retrieval.languages import RULES, rules_of


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
        ("John 3:16", ["john", "3:16", "3", "16"]),
        ("at 10:30: a ratio:", ["10:30", "10", "30", "ratio"]),
        ("jane+news@example.org a+b", ["jane+news@example.org", "jane", "news", "exampl", "org", "b"]),
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
        ("ພາສາ ភាសា ꦧꦱ", ["ພາ", "າສ", "ສາ", "ភា", "ាស", "សា", "ꦧꦱ"]),
        ("شُكْرًا أحمد שָׁלוֹם", ["شكرا", "احمد", "שלום"]),
        ("Ёлка Йод Їжак", ["елка", "йод", "їжак"]),
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


@pytest.mark.parametrize(
    ("language", "text", "terms"),
    [
        ("de", "Die Häuser, das Haus und Übergrößen", ["haus", "haus", "ubergross"]),
        ("fr", "L’homme et les nationalités, aujourd'hui", ["homm", "national", "aujourd'hui"]),
        ("es", "las canciones: ¿qué canción?", ["cancion", "cancion"]),
        ("it", "dell'università perché", ["univers"]),
        ("pt", "informações e a informação", ["inform", "inform"]),
        ("ru", "новый и новая книги, книга", ["нов", "нов", "книг", "книг"]),
        ("tr", "KITAPLAR kitap, IŞIK ışık", ["kitap", "kitap", "isik", "isik"]),
        ("pl", "kotów i kot", ["kot", "kot"]),
        ("hu", "a házból ház", ["haz", "haz"]),
        ("el", "Οι άνθρωποι, άνθρωπος", ["ανθρωπ", "ανθρωπ"]),
        ("ar", "كِتَاب كتاب", ["كتاب", "كتاب"]),
        ("nb", "husene hus", ["hus", "hus"]),
        ("zh", "数据库 of containers", ["数据", "据库", "contain"]),
        ("sk", "the running dogs", ["run", "dog"]),
        ("xx", "the running dogs", ["run", "dog"]),
    ],
)
def test_languages(language: str, text: str, terms: list[str]) -> None:
    assert analyse(text, language) == terms


@pytest.mark.parametrize("language", RULES)
def test_identifiers_are_the_same_in_every_language(language: str) -> None:
    assert {"err-4012", "3:16", "v2.1.0", "c++", "jane@example.org"} <= set(
        analyse("ERR-4012 3:16 v2.1.0 C++ jane@example.org", language)
    )


@given(st.sampled_from(sorted(RULES)), st.text())
def test_terms_of_every_language_are_short_and_clean(language: str, text: str) -> None:
    for term in analyse(text, language):
        assert 0 < len(term) <= MAX_TERM
        assert not any(character.isspace() or character == "\0" for character in term)
        term.encode("utf-8")


def test_function_words_are_in_lower_case_and_found_as_they_stand() -> None:
    for rules in RULES.values():
        assert analyse(" ".join(rules.stop_words), rules.language) == []
    assert rules_of("nn") is rules_of("no")
    assert rules_of("") is rules_of("ja") is RULES["en"]


@given(st.text())
def test_in_one_language_a_question_has_the_terms_of_a_text(text: str) -> None:
    for languages in ([], [""], ["en", ""], ["ja", "en"]):
        assert variants(text, languages) == [(term,) for term in analyse(text)]
    assert variants(text, ["de"]) == [(term,) for term in analyse(text, "de")]


@given(st.text(), st.lists(st.sampled_from(sorted(RULES)), max_size=4))
def test_variants_are_terms_of_one_of_the_languages(text: str, languages: list[str]) -> None:
    terms = {term for language in languages or [""] for term in analyse(text, language)}
    assert {term for group in variants(text, languages) for term in group} <= terms


@pytest.mark.parametrize(
    ("question", "found"),
    [
        ("how did Napoleon die in the wars", [("napoleon",), ("die",), ("war",)]),
        ("was ist die Hauptstadt der Häuser", [("hauptstadt",), ("haus", "hauser")]),
        ("war poetry", [("war",), ("poetri", "potry")]),
        ("war", [("war",)]),
        ("die", [("die",)]),
        ("the ERR-4012 of 東京都", [("err-4012",), ("err",), ("4012",), ("東京",), ("京都",)]),
        ("running run", [("run", "running"), ("run",)]),
        ("the of was", []),
    ],
)
def test_a_question_is_asked_in_each_language_that_occurs(
    question: str, found: list[tuple[str, ...]]
) -> None:
    assert variants(question, ["en", "de"]) == found
    assert variants(question, ["de", "", "en"]) == found


@pytest.mark.parametrize(
    ("words", "text"),
    [
        ("l'homme libre", "De L’Homme\n  libre!"),
        ("ERR-4012", "x ERR 4012."),
        ("to be or not to be", "To be, or not to be: that"),
        ("cafe", "Café"),
        ("foo bar", "foo_bar"),
        ("京都", "東京都"),
        ("数据库 PostgreSQL", "数据库PostgreSQL"),
        ("C++", "in C++."),
        ("a.*b", "A  *B"),
    ],
)
def test_phrases_are_found_whatever_stands_between_their_words(words: str, text: str) -> None:
    assert stands_in(spelled(words), spelled(text))


@pytest.mark.parametrize(
    ("words", "text"),
    [("to be", "to become"), ("running", "run runnings"), ("C", "C++ C#"), ("big cat", "big black cat")],
)
def test_phrases_are_exact(words: str, text: str) -> None:
    assert not stands_in(spelled(words), spelled(text))


@pytest.mark.parametrize(
    ("words", "text", "found"),
    [
        ("京都", "東京都市", True), ("東 京", "東京", True), ("京都 a", "東京都 a", True),
        ("京都 a", "京都東 a", False), ("a 京都", "a 京都東", True), ("a 京都", "a 東京都", False),
        ("a 京 b", "a 京 b", True), ("a 京 b", "a 京都 b", False),
        ("a b", "a", False), ("a b a", "a b b a b a", True),
    ],
)  # fmt: skip
def test_signs_without_spaces_are_found_within_longer_runs(words: str, text: str, found: bool) -> None:
    assert stands_in(spelled(words), spelled(text)) is found


def test_a_long_phrase_takes_no_longer_than_its_words() -> None:
    """No pattern is compiled of it: one of 900 words took five seconds."""
    phrase, text = ["z", "b"] * 450, ["z", "b"] * 5000
    began = time.process_time()
    assert stands_in(phrase, text)
    assert not stands_in([*phrase, "c"], text[:2000])
    assert time.process_time() - began < 1


PIECES = st.sampled_from(
    [
        "a",
        "b",
        "ab",
        "c++",
        "c#",
        "_",
        "-",
        " ",
        "  \n",
        "'",
        ".",
        "+",
        "京",
        "京都",
        "é",
        "e\u0301",
        "ß",
        "İ",
        "ไทย",
        "\u0940",
        "1",
        "ﬁ",
    ]
)
TEXTS = st.lists(PIECES, max_size=14).map("".join) | st.text(max_size=30)


@given(TEXTS, TEXTS)
def test_the_opening_of_a_phrase_is_wherever_the_phrase_stands(words: str, text: str) -> None:
    phrase = spelled(words)
    pattern = opening(phrase)
    for each in (text, words, text + words, f"{words} {text}", f"{text}, {words}. {text}"):
        if pattern is not None and stands_in(phrase, spelled(each)):
            assert pattern.search(fold(each))


@pytest.mark.parametrize(
    ("words", "text", "found"),
    [
        ("as well as", "As well\n as, that.", True), ("as well as", "as swell as well", False),
        ("foo bar", "foo_-bar", True),
        ("in c++ now", "In C++, now", True), ("of the", "of all the", False),
    ],
)  # fmt: skip
def test_texts_that_hold_the_words_of_a_phrase_apart_have_no_opening_of_it(
    words: str, text: str, found: bool
) -> None:
    pattern = opening(spelled(words))
    assert pattern is not None
    assert (pattern.search(fold(text)) is not None) is found
    assert opening(spelled("東京 of the")) is opening([]) is None


def test_punctuation_is_no_phrase() -> None:
    assert spelled("-- ?! _") == []


@given(st.sampled_from(["", "de", "fr", "ru", "tr"]), st.text(), st.text(), st.text())
def test_texts_that_hold_a_phrase_have_the_terms_that_it_needs(
    language: str, before: str, words: str, behind: str
) -> None:
    assert set(needed(words, language)) <= set(analyse(f"{before} {words} {behind}", language))
