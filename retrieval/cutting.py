"""A long text to spans of about equal size, cut where it pauses, counted in a tokenizer's tokens."""

import re
from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

PIECE = 20_000  # characters that a tokenizer reads at a time
USUAL = 0.85  # of the most tokens: there is room on both sides of it to find a pause
BATCH = 64  # pieces that are tokenised together, which bounds memory

Span = tuple[int, int]

# From the strongest pause to the weakest. A line break counts for less than a sentence's end unless
# something shows that it was meant: text files are often wrapped.
_PAUSES = [
    re.compile(pattern)
    for pattern in (
        r"\n\s*\n",
        r"(?<=[.!?:;。！？])\s*\n|\n(?=[ \t]*(?:[-*+•|]|\d+[.)])\s)",
        r"[.!?][\"'”’)\]]*\s+|[。！？]+\s*",
        r"\n",
        r"\s+",
    )
]


class TokenOffsets:
    """Where the tokens of a text begin; the text is read once, in pieces cut at white space."""

    def __init__(self, text: str, tokenizer: Tokenizer) -> None:
        pieces = list(pieces_of(text, 0, len(text), PIECE))
        starts = [np.empty(0, np.int64)]
        for first in range(0, len(pieces), BATCH):
            some = pieces[first : first + BATCH]
            encodings = tokenizer.encode_batch([text[a:b] for a, b in some], add_special_tokens=False)
            for (start, _), encoding in zip(some, encodings, strict=True):
                starts.append(np.array([a for a, _ in encoding.offsets], np.int64) + start)
        # What a tokenizer adds by itself may claim to stand further back; searching needs order.
        self.starts: NDArray[np.int64] = np.maximum.accumulate(np.concatenate(starts))

    def between(self, start: int, end: int) -> int:
        low, high = np.searchsorted(self.starts, (start, end))
        return int(high - low)

    def after(self, start: int, tokens: int, end: int) -> int:
        """The offset at which `tokens` tokens have gone by since `start`, at most `end`."""
        index = int(np.searchsorted(self.starts, start)) + tokens
        return min(end, int(self.starts[index])) if index < len(self.starts) else end


def cut(text: str, span: Span, offsets: TokenOffsets, most: int, most_characters: int) -> Iterator[Span]:
    """Consecutive spans of at most `most` tokens, as `offsets` count them, and `most_characters`.

    Where the text is cut depends on what stands before, not on how much follows, so that an addition
    at the end leaves the chunks before it alone; only the last two share what is left between them,
    since a remainder of a few words would be a bad chunk.
    """
    start, end = span
    while (left := offsets.between(start, end)) > most or end - start > most_characters:
        shares = max(-(-left // most), -(-(end - start) // most_characters), 2)
        high = min(offsets.after(start, most, end), start + most_characters)
        ideal = min(offsets.after(start, -(-left // 2) if shares == 2 else round(USUAL * most), end), high)
        where = max(start + 1, pause(text, start + (ideal - start) // 2, ideal, high))
        yield start, where
        start = where
    yield start, end


def pause(text: str, low: int, ideal: int, high: int) -> int:
    """The strongest pause in `low`..`high`, of several the one nearest to `ideal`; else `ideal` itself."""
    for pattern in _PAUSES:
        ends = [match.end() for match in pattern.finditer(text, low, high)]
        if ends:
            return min(ends, key=lambda end: abs(end - ideal))
    return ideal


def pieces_of(text: str, start: int, end: int, size: int) -> Iterator[Span]:
    """`text[start:end]` in pieces of at most `size` characters, cut at white space where there is any."""
    while end - start > size:
        where = pause(text, start + size // 2, start + size, start + size)
        yield start, where
        start = where
    yield start, end


def count(tokenizer: Tokenizer, texts: Sequence[str]) -> list[int]:
    """Tokens of each text, special ones not counted."""
    return [len(encoding) for encoding in tokenizer.encode_batch_fast(list(texts), add_special_tokens=False)]
