"""The language that a text is written in, told from a sample of it.

Told where the text arrives, not in the child that parses: there each page of the model that is looked at
would have to be mapped anew, which takes ten times as long as the looking.
"""

import re
from dataclasses import replace
from functools import cache
from pathlib import PurePath

import numpy as np
from py3langid.langid import (  # type: ignore[import-untyped]  # carries no types
    MODEL_FILE,
    LanguageIdentifier,
)

from retrieval.loading.source import DEFINITIONS
from retrieval.spans import LoadedText

_SLICES, _SLICE = 4, 250  # characters: telling takes a millisecond for each thousand
_FEWEST_LETTERS = 60
_FEWEST_SIGNS = 15  # where a character is a syllable or a word
_SURE = 0.8
_NO_LANGUAGE = "zxx"
_LETTERS = re.compile(r"[^\W\d_]")
_SIGNS = re.compile("[\u2e80-\u30ff\u3400-\u9fff\uac00-\ud7af]")
# Addresses and identifiers look like some small language or other.
_NO_WORD = re.compile(r"://|[@_/\\<>{}=\d]|\w\.\w")


@cache
def identifier() -> LanguageIdentifier:
    """The model, read at the first need (half a second): of the languages that have an ISO 639-1 code."""
    found = LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)
    found.set_languages([code for code in found.labels if len(code) == 2 or code == _NO_LANGUAGE])
    # Choosing columns leaves them one behind the other: a text's rows would be gathered number by number.
    found.nb_ptc = np.ascontiguousarray(found.nb_ptc)
    return found


def with_language(loaded: LoadedText, filename: str) -> LoadedText:
    """`loaded` with the language of its text; source code has none."""
    if PurePath(filename).suffix.lower() in DEFINITIONS:
        return loaded
    return replace(loaded, language=language_of(loaded.text))


def language_of(text: str) -> str:
    """The ISO 639-1 code of the language of `text`; empty if it is too short or the model not sure."""
    sample = " ".join(word for word in _sample(text).split() if not _NO_WORD.search(word))
    signs = len(_SIGNS.findall(sample))
    if signs < _FEWEST_SIGNS and len(_LETTERS.findall(sample)) < _FEWEST_LETTERS:
        return ""
    code, confidence = identifier().classify(sample)
    return str(code) if confidence >= _SURE and code != _NO_LANGUAGE else ""


def _sample(text: str) -> str:
    """Slices from all over the text: it may begin with a licence or a cover in another language."""
    if len(text) <= _SLICES * _SLICE:
        return text
    apart = (len(text) - _SLICE) // (_SLICES - 1)
    return " ".join(text[at : at + _SLICE] for at in range(0, _SLICES * apart, apart))
