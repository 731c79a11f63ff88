"""Text to the terms of the lexical index, by the language of the text; and a question to the terms that find it.

A term is a folded stem. English, and what is in a language unknown, is folded before it is stemmed; the other
stemmers know endings by their accents, so there the stem is folded.
"""

import hashlib
import re
import sys
import threading
import unicodedata
from collections.abc import Callable, Iterable, Sequence
from functools import cache, lru_cache
from typing import TypeAlias

import Stemmer

from retrieval.languages import ENGLISH, RULES, Rules, rules_of

MAX_TERM = 64  # characters; what is longer is cut, or a database could not index it
STOP_WORDS = RULES[ENGLISH].stop_words

ANALYSER = (
    "languages-1: NFKC, casefold, diacritics folded; words, identifiers whole and in parts; "
    "Snowball stemmer of the text's language after its stop words; bigrams where no spaces are written; "
    f"terms cut at {MAX_TERM}"
)

Variants: TypeAlias = tuple[str, ...]
"""The terms that one word of a question has in one language or another."""

_LETTERS = str.maketrans(
    {"ø": "o", "ł": "l", "đ": "d", "ð": "d", "þ": "th", "æ": "ae", "œ": "oe", "ı": "i"}
    | dict.fromkeys("أإآٱ", "ا")
    | dict.fromkeys("\u0640\u0670", "")
    | {chr(point): "" for point in range(0x64B, 0x653)}  # vowel signs of Arabic,
    | {chr(point): "" for point in range(0x591, 0x5C8) if unicodedata.combining(chr(point))}  # of Hebrew
)
_SIGNS = str.maketrans(
    {
        "’": "'",
        "ʼ": "'",
        "‐": "-",
        "‑": "-",
        "\u00ad": "",
        "\u200c": "",
        "\u200d": "",
        "\u2060": "",
        "\ufeff": "",
    }
)
# Not of й, ї and ў, which are letters of their own: endings are told by them.
_DIACRITIC = re.compile("(?<![иу])\u0306|(?<!і)\u0308|[\u0300-\u0305\u0307\u0309-\u036f]")

# Scripts that write no spaces between words (and Hangul, whose words carry their particles):
# Thai, Lao, Myanmar, Khmer, Hangul Jamo, Tai Le, New Tai Lue, Tai Tham, Balinese, CJK with kana, Javanese,
# Cham, Tai Viet, Hangul syllables, the CJK extensions.
_UNSPACED = "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u1100-\u11ff\u1950-\u19df\u1a20-\u1aaf\u1b00-\u1b7f"
_UNSPACED += "\u3005-\u3007\u3040-\u30ff\u3130-\u318f\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff\ua980-\ua9ff"
_UNSPACED += "\uaa00-\uaadf\uac00-\ud7af\uf900-\ufaff\U00020000-\U0003ffff"
_UNSPACED_RUN = re.compile(f"[{_UNSPACED}]+")

# `\w` lacks accents that no letter took, and the vowel signs that stand inside the words of Devanagari,
# Arabic, Hebrew and others.
_MARKS = "".join(
    re.escape(chr(c)) for c in range(0x300, 0x10000) if unicodedata.category(chr(c)) in ("Mn", "Mc")
)
_W = rf"[\w{_MARKS}]"
# What holds the pieces of one name together: `3:16` but no other single colon, and the plus of an address.
_JOINTS = r"(?:[-.@']|:(?::|(?<=\d:)(?=\d))|\+(?=[\w.-]+@))"
_END = r"(?:\+\+(?!\w)|\#(?!\w))?"
_TOKEN = re.compile(rf"{_W}+(?:{_JOINTS}{_W}+)*{_END}")
_ASCII_TOKEN = re.compile(rf"\w+(?:{_JOINTS}\w+)*{_END}")
_PART = re.compile(rf"(?:(?!_){_W})+(?:'(?:(?!_){_W})+)?")

# What makes several parts one name. Words that are joined by hyphens alone are left as words: kept
# whole as well, they count twice in a question, which cost 0.011 nDCG@10 on one labelled collection.
_IDENTIFIER = re.compile(r"[\d_@+#]|::|\w\w\.\w\w")

# One word of a phrase, and what may stand between two of them (and some more).
_SPELLED = re.compile(rf"(?:(?!_){_W})+{_END}")
_BETWEEN = r"[\W_]*"
_MOST_OPENING = 8  # words: a pattern of hundreds takes seconds to compile

_stemmers = threading.local()


def analyse(text: str, language: str = "") -> list[str]:
    """The terms of a text in `language` (ISO 639-1), in order, repeated as often as they occur.

    An identifier gives itself and then its parts: `ERR-4012` is `err-4012`, `err`, `4012`. Words with
    hyphens give their parts.
    """
    rules = rules_of(language)
    known = _known_terms(rules.language)
    terms: list[str] = []
    for token in _tokens(text, rules):
        terms += known(token) if len(token) <= MAX_TERM else _terms(token, rules)
    return terms


def variants(text: str, languages: Iterable[str] = ()) -> list[Variants]:
    """What finds each word of a question among texts in `languages`: its terms there, each only once.

    In order, and repeated as the words are. With one language the terms are those of `analyse`. With several a
    word is left out where it is a function word of all of them, or of the one that the question seems to be in.
    """
    codes = sorted({rules_of(language).language for language in languages}) or [ENGLISH]
    if len(codes) == 1:
        return [(term,) for term in analyse(text, codes[0])]
    every = [RULES[code] for code in codes]
    tokens = _TOKEN.findall(_UNSPACED_RUN.sub(r" \g<0> ", _lower(text)))
    spoken = _spoken(tokens, every)
    return [group for token in tokens for group in _groups(token, every, spoken)]


@cache
def analyser_hash() -> str:
    """Changes when the same text may give other terms."""
    rules = [f"{r.language} {r.stemmer} {sorted(r.stop_words)} {sorted(r.elided)}" for r in RULES.values()]
    return hashlib.sha256("\n".join([ANALYSER, Stemmer.version(), *rules]).encode()).hexdigest()


def is_unspaced(word: str) -> bool:
    """Whether the word is in a script that writes no spaces."""
    return _UNSPACED_RUN.search(word) is not None


def fold(text: str) -> str:
    """Lower case, without diacritics and compatibility forms."""
    if text.isascii():
        return text.lower()
    text = unicodedata.normalize("NFKC", text).casefold().translate(_SIGNS).translate(_LETTERS)
    # Only the diacritics of alphabets: a vowel sign elsewhere makes another word.
    return unicodedata.normalize("NFC", _DIACRITIC.sub("", unicodedata.normalize("NFD", text)))


def _lower(text: str) -> str:
    """Lower case in composed letters, with the diacritics that stemmers go by."""
    if text.isascii():
        return text.lower()
    return unicodedata.normalize("NFC", unicodedata.normalize("NFKC", text).casefold().translate(_SIGNS))


def _tokens(text: str, rules: Rules) -> list[str]:
    if rules.language == "tr":
        text = text.replace("I", "ı").replace("İ", "i")
    text = fold(text) if rules.language == ENGLISH else _lower(text)
    if text.isascii():
        return _ASCII_TOKEN.findall(text)
    return _TOKEN.findall(_UNSPACED_RUN.sub(r" \g<0> ", text))


@cache
def _known_terms(language: str) -> Callable[[str], Sequence[str]]:
    """`_terms` in one language, which remembers what it has seen."""
    rules = RULES[language]
    return lru_cache(maxsize=50_000)(lambda token: _terms(token, rules))


def _terms(token: str, rules: Rules) -> Sequence[str]:
    if _UNSPACED_RUN.match(token):
        return _bigrams(token)
    parts = _PART.findall(token)
    terms = tuple(term for part in parts if (term := _term(part, rules)))
    return tuple(map(sys.intern, _whole(token, parts) + terms))


def _bigrams(run: str) -> tuple[str, ...]:
    return (run,) if len(run) == 1 else tuple(run[i : i + 2] for i in range(len(run) - 1))


def _whole(token: str, parts: Sequence[str]) -> tuple[str, ...]:
    """An identifier's own term; none of what is merely words."""
    is_name = parts and parts != [token] and _IDENTIFIER.search(token)
    return (fold(token)[:MAX_TERM],) if is_name else ()


def _term(part: str, rules: Rules) -> str:
    """The term of one word in lower case; empty for a function word."""
    if rules.language == ENGLISH:
        part = fold(part)
        return "" if part in rules.stop_words else _stem(part, rules)[:MAX_TERM]
    part = _without_elision(part, rules)
    return "" if part in rules.stop_words else fold(_stem(part, rules))[:MAX_TERM]


def _without_elision(part: str, rules: Rules) -> str:
    before, apostrophe, rest = part.partition("'")
    return rest if apostrophe and rest and before in rules.elided else part


def _groups(token: str, every: Sequence[Rules], spoken: Rules | None) -> list[Variants]:
    if _UNSPACED_RUN.match(token):
        return [(bigram,) for bigram in _bigrams(token)]
    parts = _PART.findall(token)
    words = [part for part in parts if spoken is None or not _is_function_word(part, spoken)]
    groups = [tuple(sorted({_term(part, rules) for rules in every} - {""})) for part in words]
    whole = _whole(token, parts)
    return [group for group in ([whole] if whole else []) + groups if group]


def _spoken(tokens: Iterable[str], every: Sequence[Rules]) -> Rules | None:
    """The language that most function words of the question are of; English among equals.

    Another one must show by two: `war` is one in German, but not alone.
    """
    parts = {part for token in tokens for part in _PART.findall(token)}
    counts = {rules.language: sum(_is_function_word(part, rules) for part in parts) for rules in every}
    best = max(every, key=lambda rules: (counts[rules.language], rules.language == ENGLISH))
    return best if counts[best.language] >= (1 if best.language == ENGLISH else 2) else None


def _is_function_word(part: str, rules: Rules) -> bool:
    return _without_elision(part, rules) in rules.stop_words


def _stem(word: str, rules: Rules) -> str:
    if not hasattr(_stemmers, rules.stemmer):  # a stemmer keeps state and must not be shared
        setattr(_stemmers, rules.stemmer, Stemmer.Stemmer(rules.stemmer))
    return str(getattr(_stemmers, rules.stemmer).stemWord(word))


def needed(text: str, language: str = "") -> list[str]:
    """Terms that whatever text in `language` holds the words of `text` one after the other has among its own.

    None of whole identifiers, which may be written otherwise there, and of a single sign of a script without
    spaces, which stands in longer runs.
    """
    rules = rules_of(language)
    terms: list[str] = []
    for token in _tokens(text, rules):
        if _UNSPACED_RUN.match(token):
            terms += _bigrams(token) if len(token) > 1 else ()
        else:
            terms += [term for part in _PART.findall(token) if (term := _term(part, rules))]
    return list(dict.fromkeys(terms))


def spelled(text: str) -> list[str]:
    """The words of a text as they are written, in order: case and diacritics do not count.

    Signs of a script without spaces that follow each other are one, whatever else stands between them.
    """
    return spelled_in(fold(text))


def spelled_in(folded: str) -> list[str]:
    """`spelled` of a text that is folded already."""
    words: list[str] = []
    for word in _SPELLED.findall(_UNSPACED_RUN.sub(r" \g<0> ", folded)):
        if words and _UNSPACED_RUN.match(word) and _UNSPACED_RUN.match(words[-1]):
            words[-1] += word
        else:
            words.append(word)
    return words


def opening(phrase: Sequence[str]) -> re.Pattern[str] | None:
    """A pattern that is in the folded text wherever the phrase stands in it, and hardly anywhere else; it is found
    in a fraction of the time that `spelled` takes. None where signs of a script without spaces may be parted."""
    if not phrase or any(map(is_unspaced, phrase)):
        return None
    return re.compile(_BETWEEN.join(map(re.escape, phrase[:_MOST_OPENING])))


def stands_in(phrase: Sequence[str], words: Sequence[str]) -> bool:
    """Whether the words of a phrase follow each other somewhere among `words`; both as `spelled` gives them.

    A word is found whole; signs of a script without spaces are also found within a longer run of them.
    """
    return any(_begins(phrase, words, at) for at in range(len(words) - len(phrase) + 1)) if phrase else True


def _begins(phrase: Sequence[str], words: Sequence[str], at: int) -> bool:
    last = len(phrase) - 1
    for place, wanted in enumerate(phrase):
        found = words[at + place]
        if wanted == found:
            continue
        if not _UNSPACED_RUN.match(wanted) or 0 < place < last:
            return False
        fits = (place > 0 or found.endswith(wanted)) and (place < last or found.startswith(wanted))
        if not (fits if last else wanted in found):
            return False
    return True
