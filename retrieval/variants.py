"""A word of a question that has several terms, one for each language, counts as one word.

Its postings are put together before BM25 sees them: a chunk's frequencies are summed, and the document frequency is
of all chunks that hold any of the terms (as Lucene's SynonymQuery does). So the statistics stay exact, and where every
word has one term nothing changes.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from retrieval.analysis import Variants
from retrieval.protocols import Postings, TermPostings

_MOST = np.iinfo(np.uint16).max


def terms_of(words: Sequence[Variants]) -> list[str]:
    """All terms, each once: what a store of postings is to be asked for."""
    return list(dict.fromkeys(term for word in words for term in word))


def merged(postings: Postings, words: Sequence[Variants]) -> tuple[Postings, list[str]]:
    """The postings with one entry for each distinct word, and the words by the names of their entries.

    The name of a word with a single term is that term.
    """
    if all(len(word) == 1 for word in words):
        return postings, [word[0] for word in words]
    held = {entry.term: entry for entry in postings.terms}
    entries = [
        _together(name(word), [held[term] for term in word if term in held]) for word in dict.fromkeys(words)
    ]
    return replace(postings, terms=tuple(entries)), [name(word) for word in words]


def name(word: Variants) -> str:
    """Of the word's entry among merged postings."""
    return " ".join(word)  # no term holds a blank


def _together(name: str, entries: Sequence[TermPostings]) -> TermPostings:
    if len(entries) == 1:
        return replace(entries[0], term=name)
    if not entries:
        return TermPostings(name, np.empty(0, np.int32), np.empty(0, np.uint16), np.empty(0, np.int32))
    ids, first, place = np.unique(
        np.concatenate([entry.ids for entry in entries]), return_index=True, return_inverse=True
    )
    frequencies = np.bincount(place, np.concatenate([entry.frequencies for entry in entries]))
    lengths = np.concatenate([entry.lengths for entry in entries])[first]
    return TermPostings(name, ids, np.minimum(frequencies, _MOST).astype(np.uint16), lengths)
