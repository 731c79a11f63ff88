"""The language that a text is written in, told from a sample of it."""

import mmap
import re
import tempfile
from functools import cache
from pathlib import Path

import numpy as np
from py3langid.langid import (  # type: ignore[import-untyped]  # carries no types
    MODEL_DIR,
    MODEL_FILE,
    LanguageIdentifier,
)
from py3langid.modelio import load_model  # type: ignore[import-untyped]  # carries no types
from typing_extensions import Buffer

_SLICES, _SLICE = 4, 500  # characters: what a sample takes costs a quarter of a millisecond
_FEWEST_LETTERS = 60
_FEWEST_SIGNS = 15  # where a character is a syllable or a word
_SURE = 0.8
_LETTERS = re.compile(r"[^\W\d_]")
_SIGNS = re.compile("[\u2e80-\u30ff\u3400-\u9fff\uac00-\ud7af]")
# Addresses and identifiers look like some small language or other.
_NO_WORDS = re.compile(r"\S*(?:://|@|[_/\\<>{}=]|\w\.\w|\d)\S*")


@cache
def identifier() -> LanguageIdentifier:
    """The model, read at the first need (half a second).

    Its two large tables lie in a mapped file: a fork then has nothing to copy of them.
    """
    log_probabilities, priors, languages, moves, rows, output = load_model(MODEL_DIR / MODEL_FILE)
    return LanguageIdentifier(
        np.frombuffer(_mapped(log_probabilities), log_probabilities.dtype).reshape(log_probabilities.shape),
        priors,
        languages,
        memoryview(_mapped(moves)).cast(moves.typecode),
        output,
        norm_probs=True,
        tk_row=rows,
    )


def _mapped(content: Buffer) -> mmap.mmap:
    """A copy of `content` that is shared with forked processes and that none of them can write to."""
    with tempfile.NamedTemporaryFile() as file:
        file.write(content)
        file.flush()
        with Path(file.name).open("rb") as reading:
            return mmap.mmap(reading.fileno(), 0, access=mmap.ACCESS_READ)


def language_of(text: str) -> str:
    """The ISO 639-1 code of the language of `text`; empty if it is too short or the model not sure."""
    sample = _NO_WORDS.sub(" ", _sample(text))
    signs = len(_SIGNS.findall(sample))
    if signs < _FEWEST_SIGNS and len(_LETTERS.findall(sample)) < _FEWEST_LETTERS:
        return ""
    code, confidence = identifier().classify(sample)
    return str(code) if confidence >= _SURE and len(code) == 2 else ""


def _sample(text: str) -> str:
    """Slices from all over the text: it may begin with a licence or a cover in another language."""
    if len(text) <= _SLICES * _SLICE:
        return text
    apart = (len(text) - _SLICE) // (_SLICES - 1)
    return " ".join(text[at : at + _SLICE] for at in range(0, _SLICES * apart, apart))
