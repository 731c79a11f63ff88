"""Which line breaks of a plain text its writer meant, and which only wrap a paragraph."""

import re
from itertools import pairwise

LONGEST_TERM = 60
MOST_WORDS = 8

ITEM = re.compile(r"[ \t]*(?:[-*+•]|\d{1,3}[.)])[ \t]")
"""What a line of a list begins with."""


def is_term(line: str, after: str, width: int) -> bool:
    """Whether `line` stands alone above `after`, as a term does above its definition.

    Such a line is short, ends no sentence, and had room for the next word: `width` is the length of
    the longest line around.
    """
    term, words = line.strip(), after.split()
    if not term or not words or term[-1] in ".,;!?…":
        return False
    is_short = len(term) <= LONGEST_TERM and len(term.split()) <= MOST_WORDS
    return is_short and len(line.rstrip()) + 1 + len(words[0]) <= width


def are_meant(paragraph: str) -> bool:
    """Whether the breaks of a paragraph are its own: list items, or terms with their definitions."""
    lines = paragraph.split("\n")
    width = max(map(len, lines))
    return len(lines) > 1 and (
        any(ITEM.match(line) for line in lines)
        or any(is_term(line, after, width) for line, after in pairwise(lines))
    )
