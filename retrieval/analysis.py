"""Text to the terms of the lexical index, the same for chunks and for questions."""

import hashlib
import re
import sys
import threading
import unicodedata
from functools import lru_cache

import Stemmer

MAX_TERM = 64  # characters; what is longer is cut, or a database could not index it

_FUNCTION_WORDS = """
a about above after again against all also am an and any are aren't as at be because been before
being below between both but by can can't cannot could couldn't did didn't do does doesn't doing
don't down during each few for from further had hadn't has hasn't have haven't having he he'd
he'll her here hers herself him himself his how i i'd i'll i'm i've if in into is isn't it itself
let's me more most my myself no nor not of off on once only or other our ours ourselves out over
own same she she'd she'll should shouldn't so some such than that the their theirs them themselves
then there these they they'd they'll they're they've this those through to too under until up
very was wasn't we we'd we'll we're we've were weren't what when where which while who whom why
will with won't would wouldn't you you'd you'll you're you've your yours yourself yourselves
"""
STOP_WORDS = frozenset(_FUNCTION_WORDS.split())

ANALYSER = (
    "english-1: NFKC, casefold, diacritics folded; words, identifiers whole and in parts; "
    f"Snowball English after stop words; bigrams where no spaces are written; terms cut at {MAX_TERM}"
)

_LETTERS = str.maketrans(
    {"ø": "o", "ł": "l", "đ": "d", "ð": "d", "þ": "th", "æ": "ae", "œ": "oe", "ı": "i"}
    | {
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
_DIACRITIC = re.compile("[\u0300-\u036f]+")

# Scripts that write no spaces between words (and Hangul, whose words carry their particles):
# Thai, Lao, Myanmar, Khmer, Hangul Jamo, CJK with kana, Hangul syllables, the CJK extensions.
_UNSPACED = "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u1100-\u11ff\u3005-\u3007\u3040-\u30ff\u3130-\u318f"
_UNSPACED += "\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7af\uf900-\ufaff\U00020000-\U0003ffff"
_UNSPACED_RUN = re.compile(f"[{_UNSPACED}]+")

# `\w` lacks the vowel signs that stand inside the words of Devanagari, Arabic, Hebrew and others.
_MARKS = "".join(
    re.escape(chr(c)) for c in range(0x370, 0x10000) if unicodedata.category(chr(c)) in ("Mn", "Mc")
)
_W = rf"[\w{_MARKS}]"
_TOKEN = re.compile(rf"{_W}+(?:(?:[-.@']|::){_W}+)*(?:\+\+(?!\w)|\#(?!\w))?")
_ASCII_TOKEN = re.compile(r"\w+(?:(?:[-.@']|::)\w+)*(?:\+\+(?!\w)|\#(?!\w))?")
_PART = re.compile(rf"(?:(?!_){_W})+(?:'(?:(?!_){_W})+)?")

# What makes several parts one name. Words that are joined by hyphens alone are left as words: kept
# whole as well, they count twice in a question, which cost 0.011 nDCG@10 on one labelled collection.
_IDENTIFIER = re.compile(r"[\d_@+#]|::|\w\w\.\w\w")

_stemmers = threading.local()


def analyse(text: str) -> list[str]:
    """The terms of `text`, in order, repeated as often as they occur.

    An identifier gives itself and then its parts: `ERR-4012` is `err-4012`, `err`, `4012`. Words with
    hyphens give their parts.
    """
    terms: list[str] = []
    for token in _tokens(text):
        terms += _terms(token) if len(token) <= MAX_TERM else _terms.__wrapped__(token)
    return terms


def analyser_hash() -> str:
    """Changes when the same text may give other terms."""
    return hashlib.sha256("\n".join([ANALYSER, *sorted(STOP_WORDS)]).encode()).hexdigest()


def fold(text: str) -> str:
    """Lower case, without diacritics and compatibility forms."""
    if text.isascii():
        return text.lower()
    text = unicodedata.normalize("NFKC", text).casefold().translate(_LETTERS)
    # Only the diacritics of alphabets: a vowel sign elsewhere makes another word.
    return unicodedata.normalize("NFC", _DIACRITIC.sub("", unicodedata.normalize("NFD", text)))


def _tokens(text: str) -> list[str]:
    text = fold(text)
    if text.isascii():
        return _ASCII_TOKEN.findall(text)
    return _TOKEN.findall(_UNSPACED_RUN.sub(r" \g<0> ", text))


@lru_cache(maxsize=50_000)
def _terms(token: str) -> tuple[str, ...]:
    if _UNSPACED_RUN.match(token):
        return (token,) if len(token) == 1 else tuple(token[i : i + 2] for i in range(len(token) - 1))
    parts = _PART.findall(token)
    terms = tuple(_stem(part)[:MAX_TERM] for part in parts if part not in STOP_WORDS)
    whole = (token[:MAX_TERM],) if parts and parts != [token] and _IDENTIFIER.search(token) else ()
    return tuple(map(sys.intern, whole + terms))


def _stem(word: str) -> str:
    if not hasattr(_stemmers, "english"):  # a stemmer keeps state and must not be shared
        _stemmers.english = Stemmer.Stemmer("english")
    return str(_stemmers.english.stemWord(word))
