"""Cuts a text into sentences without changing a character of it."""

import re
from collections.abc import Iterator

Span = tuple[int, int]

FENCE = re.compile(r"[ \t]*(`{3,}|~{3,})")
LIST_ITEM = re.compile(r"[ \t]*(?:[-*+•‣–]|\(?\d{1,3}[.)]|\(?[A-Za-z][.)]|#\.)[ \t]+(?=\S)")
HEADING = re.compile(r"[ \t]*#{1,6}[ \t]")
UNDERLINE = re.compile(r"[ \t]*([=\-~^\"'`#*+:.])\1{2,}[ \t]*$")
TABLE = re.compile(r"[ \t]*\||[ \t]*\+[-=+]{3,}|[^|\n]*\S[ \t]+\|[ \t]+\S")
INDENTED = re.compile(r"(?: {2,}|\t)[ \t]*\S")
INLINE_CODE = re.compile(r"(?<!`)(`{1,2})(?!`)[^`\n]+\1(?!`)")
CLOSERS = "\"'”’»)]}*_）」』】》"
TERMINATOR = re.compile(rf"(?<![.!?…])[.!?…]+[{re.escape(CLOSERS)}]*(?=\s)|[。！？｡]+[{re.escape(CLOSERS)}]*")

_ABBREVIATIONS = """
    e.g i.e eg ie cf viz vs v etc al approx ca resp incl excl esp est ed eds dept univ assn bros
    dr mr mrs ms mx prof rev hon st jr sr gen col capt sgt lt inc ltd co corp plc
    fig figs eq eqs sect chap vol refs nos pp ff ibid op cit
    jan feb apr jun jul aug sep sept oct nov a.m p.m a.k.a b.c a.d u.s u.k
    z.b d.h u.a bzw usw vgl evtl ggf nr s.o s.u p.ex
"""
ABBREVIATIONS = frozenset(_ABBREVIATIONS.split())
# These end sentences as words of their own, and abbreviate only before a number.
BEFORE_NUMBERS = frozenset({"no", "p", "art", "ch", "sec", "tab", "ref", "mar", "dec", "app"})
# After these, a capital letter begins a new sentence.
MAY_END = frozenset({"etc", "al", "inc", "ltd", "co", "corp", "jr", "sr", "a.m", "p.m"})


def sentence_spans(text: str) -> list[Span]:
    """(start, end) of each sentence, in order, apart from each other, trimmed of white space.

    Together they cover every character that is not white space. A fenced or indented code block,
    a line of a table, a heading and its underline are one unit each; a list item begins a new one.
    """
    spans: list[Span] = []
    for start, end, prose in _blocks(text):
        if prose:
            spans.extend(_sentences(text, start, end))
        else:
            spans.extend(_trimmed(text, start, end))
    return spans


def _blocks(text: str) -> Iterator[tuple[int, int, bool]]:
    """(start, end, is prose) of each run of lines that belong together."""
    lines = _lines(text)
    at = 0
    while at < len(lines):
        following, prose = _block(text, lines, at)
        yield lines[at][0], lines[following - 1][1], prose
        at = following


def _lines(text: str) -> list[Span]:
    """Every line without its newline."""
    lines: list[Span] = []
    start = 0
    for line in text.split("\n"):
        lines.append((start, start + len(line)))
        start += len(line) + 1
    return lines


def _block(text: str, lines: list[Span], at: int) -> tuple[int, bool]:
    """The number of the first line after the block that begins at line `at`, and if it is prose."""
    fence = FENCE.match(text, *lines[at])
    if fence:
        return _after_fence(text, lines, at, fence[1]), False
    if HEADING.match(text, *lines[at]) or _is_table(text, lines[at]) or _is_blank(text, lines[at]):
        return at + 1, False
    if _follows_literal_mark(text, lines, at):
        return _after_indented(text, lines, at), False
    following = at + 1
    while following < len(lines) and not _begins_block(text, lines[following]):
        if UNDERLINE.match(text, *lines[following]):
            return following + 1, following > at + 1
        following += 1
    return following, True


def _begins_block(text: str, line: Span) -> bool:
    return (
        _is_blank(text, line)
        or _is_table(text, line)
        or any(pattern.match(text, *line) for pattern in (FENCE, HEADING, LIST_ITEM))
    )


def _is_blank(text: str, line: Span) -> bool:
    return not text[line[0] : line[1]].strip()


def _is_table(text: str, line: Span) -> bool:
    return TABLE.match(text, *line) is not None


def _after_fence(text: str, lines: list[Span], at: int, opening: str) -> int:
    """A fence that is never closed reaches to the end of the text."""
    closing = re.compile(rf"[ \t]*{re.escape(opening[0])}{{{len(opening)},}}[ \t]*$")
    for number in range(at + 1, len(lines)):
        if closing.match(text, *lines[number]):
            return number + 1
    return len(lines)


def _follows_literal_mark(text: str, lines: list[Span], at: int) -> bool:
    """Whether line `at` begins reStructuredText's literal block: indented, after a line ending in "::"."""
    if not INDENTED.match(text, *lines[at]):
        return False
    before = at - 1
    while before >= 0 and _is_blank(text, lines[before]):
        before -= 1
    return 0 <= before < at - 1 and text[lines[before][0] : lines[before][1]].rstrip().endswith("::")


def _after_indented(text: str, lines: list[Span], at: int) -> int:
    """Blank lines between indented ones belong to the block, those after it do not."""
    last = at
    for number in range(at + 1, len(lines)):
        if INDENTED.match(text, *lines[number]):
            last = number
        elif not _is_blank(text, lines[number]):
            break
    return last + 1


def _sentences(text: str, start: int, end: int) -> Iterator[Span]:
    item = LIST_ITEM.match(text, start, end)
    body = item.end() if item else start
    code = [match.span() for match in INLINE_CODE.finditer(text, body, end)]
    begin = start
    for match in TERMINATOR.finditer(text, body, end):
        while code and code[0][1] <= match.start():
            code.pop(0)
        if code and code[0][0] < match.start():
            continue
        if _ends_sentence(text, body, match, end):
            yield from _trimmed(text, begin, match.end())
            begin = match.end()
    yield from _trimmed(text, begin, end)


def _trimmed(text: str, start: int, end: int) -> Iterator[Span]:
    part = text[start:end]
    if part.strip():
        yield start + len(part) - len(part.lstrip()), start + len(part.rstrip())


def _ends_sentence(text: str, start: int, match: re.Match[str], end: int) -> bool:
    mark = match[0].rstrip(CLOSERS)
    if mark[0] in "。！？｡":
        return True
    following = text[match.end() : min(end, match.end() + 80)].split(maxsplit=1)
    upcoming = following[0] if following else ""
    if not upcoming:
        return True
    if mark != ".":
        return not upcoming[0].islower()
    word = _word_before(text, start, match.start())
    if _abbreviates(word, upcoming):
        return False
    # A sentence may begin with a lower-case name; a cut after an unknown abbreviation would be worse.
    return not upcoming[0].islower() or len(word) >= 5 or any(not c.isalpha() for c in upcoming[:-1])


def _word_before(text: str, start: int, end: int) -> str:
    words = text[max(start, end - 40) : end].rsplit(maxsplit=1)
    return words[-1].lstrip("([{\"'“‘«*_") if words and not text[end - 1].isspace() else ""


def _abbreviates(word: str, upcoming: str) -> bool:
    if len(word) == 1 and word.isalpha() and word.isupper() and word != "I":
        return True  # an initial
    known = word.lower()
    if known in BEFORE_NUMBERS:
        return upcoming[0].isdigit()
    return known in ABBREVIATIONS and not (known in MAY_END and upcoming[0].isupper())
