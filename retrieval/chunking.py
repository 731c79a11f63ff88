"""Documents to chunks: spans of the text that fit the embedder, each within its section."""

import hashlib
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise

from tokenizers import Tokenizer
from tokenizers.pre_tokenizers import BertPreTokenizer

from retrieval.cutting import PIECE, Span, TokenOffsets, count, cut
from retrieval.spans import Heading, LoadedText

VERSION = "chunker-1"
SLACK = 2  # tokens: a tokenizer may join or part what stands at the seam of header and text
LEAST = 16  # tokens of text a chunk may have, whatever stands before it
TITLE_COST, PATH_COST = 200, 120  # in halves of a token, see _shortened
PARTING = " \n\r\t"  # no tokenizer of words joins what stands on both sides of these
LONGEST_HEADING = 300  # characters: every chunk below a heading repeats it


@dataclass(frozen=True)
class ChunkSettings:
    """How large chunks may be.

    `max_tokens` is for a chunk's text; `model_limit` is what the embedder reads, its special tokens
    included and its document prompt already taken off; where it is below 192, an absurdly long title
    may still push the end of a chunk out of the model's sight. Sections below `tiny_tokens` are joined.
    `max_characters` bounds what a tokenizer counts as next to nothing: white space, unknown words.
    """

    max_tokens: int = 200
    model_limit: int = 256
    tiny_tokens: int = 50
    max_characters: int = 3_000

    def __post_init__(self) -> None:
        if not LEAST <= self.max_tokens <= self.model_limit:
            raise ValueError(f"max_tokens must lie between {LEAST} and model_limit, not {self.max_tokens}")
        if not 1 <= self.max_characters <= PIECE:
            raise ValueError(f"max_characters must lie in 1..{PIECE}, not {self.max_characters}")

    def fingerprint(self) -> str:
        """Changes when the same text may give other chunks; the tokenizer has a hash of its own."""
        return hashlib.sha256(repr((VERSION, sorted(asdict(self).items()))).encode()).hexdigest()


DEFAULT_SETTINGS = ChunkSettings()


@dataclass(frozen=True)
class ChunkSpan:
    """`document.text[start:end]`, with the headings and the page in force at its start.

    `tokens` counts the text alone: no special tokens, nothing that `render` puts before it.
    """

    start: int
    end: int
    heading_path: tuple[str, ...]
    page: int | None
    tokens: int


@dataclass(frozen=True)
class _Section:
    start: int
    end: int
    path: tuple[str, ...]
    tokens: int
    bare: bool  # a heading with nothing below it


def chunk(
    document: LoadedText, tokenizer: Tokenizer, settings: ChunkSettings = DEFAULT_SETTINGS
) -> list[ChunkSpan]:
    """Ordered, non-overlapping spans without surrounding white space that together hold everything else.

    A chunk keeps to one section, except that tiny neighbours under one parent share a chunk and a
    heading without a text of its own goes with the first section below it; of an absurdly long one
    (a tag that was never closed) the paths name the beginning. `tokenizer` must have
    truncation and padding switched off. `render`ed, each chunk fits `settings.model_limit`.
    """
    offsets = TokenOffsets(document.text, tokenizer)
    sections = _sections(document, offsets)
    spans: list[tuple[Span, int]] = []
    for group in _groups(sections, settings):
        most = min(_capacity(document.title, section.path, tokenizer, settings) for section in group)
        whole = group[0].start, group[-1].end
        spans += [(span, most) for span in cut(document.text, whole, offsets, most, settings.max_characters)]
    starts, pages = [section.start for section in sections], [page.start for page in document.pages]
    return [
        ChunkSpan(
            start,
            end,
            sections[bisect_right(starts, start) - 1].path,
            document.pages[max(0, bisect_right(pages, start) - 1)].number if pages else None,
            tokens,
        )
        for (start, end), tokens in _fitted(document.text, spans, offsets, tokenizer, settings.max_characters)
    ]


def render(title: str, heading_path: Sequence[str], text: str) -> str:
    """What both indexes read: title, heading path, text, without saying the same heading twice.

    An absurdly long title or path is shortened, so that the text keeps its place in the model.
    """
    title, first = _plain(title), _plain(text.lstrip().partition("\n")[0].strip("#=* ")).casefold()
    path = [_plain(heading) for heading in heading_path]
    if path and path[0].casefold() == title.casefold():
        path = path[1:]
    if path and path[-1].casefold() == first:
        path = path[:-1]
    if title.casefold() == first:
        title = ""
    header = [_shortened(title, TITLE_COST), _shortened(" > ".join(path), PATH_COST)]
    return "\n".join([line for line in header if line] + [text])


def _plain(line: str) -> str:
    return " ".join(line.split())


def _shortened(line: str, cost: int) -> str:
    """As much of `line` as takes few tokens in any tokenizer: half a one is reckoned for an ASCII letter."""
    for index, character in enumerate(line):
        cost -= 0 if character == " " else 1 if character.isascii() and character.isalpha() else 2
        if cost < 0:
            return line[:index].rpartition(" ")[0] or line[:index]
    return line


def _sections(document: LoadedText, offsets: TokenOffsets) -> list[_Section]:
    """The text before the first heading, if any, then what each heading has under it; `[0]` starts at 0."""
    headings = [heading for heading in document.headings if heading.title.strip()]
    paths, ends = dict(_paths(headings)), {heading.start: heading.end for heading in headings}
    bounds = pairwise([*sorted({0, *paths}), len(document.text)])
    return [
        _Section(
            start,
            end,
            paths.get(start, ()),
            offsets.between(start, end),
            bare=not document.text[ends.get(start, start) : end].strip(),
        )
        for start, end in bounds
    ]


def _paths(headings: Sequence[Heading]) -> Iterator[tuple[int, tuple[str, ...]]]:
    above: list[Heading] = []
    for heading in headings:
        while above and above[-1].level >= heading.level:
            above.pop()
        above.append(heading)
        yield heading.start, tuple(_plain(h.title[: 2 * LONGEST_HEADING])[:LONGEST_HEADING] for h in above)


def _groups(sections: Sequence[_Section], settings: ChunkSettings) -> list[list[_Section]]:
    """Sections that are cut together."""
    groups: list[list[_Section]] = []
    for section in sections:
        if groups and _belongs(groups[-1], section, settings):
            groups[-1].append(section)
        else:
            groups.append([section])
    return groups


def _belongs(group: Sequence[_Section], section: _Section, settings: ChunkSettings) -> bool:
    first = group[0].path
    below = section.path[: len(first)] == first
    if below and all(member.bare for member in group):
        return True
    sizes = [section.tokens, *(member.tokens for member in group)]
    beside = section.path[:-1] == first[:-1]
    # What belongs below may join a longer text, for its heading's sense is within that of the first
    # one. Among equals the later ones would go under a heading that is not theirs: only tiny ones do.
    tiny = max(sizes) if beside and not below else min(section.tokens, sum(sizes) - section.tokens)
    return (below or beside) and tiny < settings.tiny_tokens and sum(sizes) <= settings.max_tokens


def _capacity(title: str, path: tuple[str, ...], tokenizer: Tokenizer, settings: ChunkSettings) -> int:
    """Tokens that are left for the text below this header."""
    header = len(tokenizer.encode(render(title, path, ""), add_special_tokens=False))
    room = settings.model_limit - tokenizer.num_special_tokens_to_add(False) - header - SLACK
    return max(LEAST, min(settings.max_tokens, room))


def _fitted(
    text: str,
    spans: Sequence[tuple[Span, int]],
    offsets: TokenOffsets,
    tokenizer: Tokenizer,
    most_characters: int,
) -> Iterator[tuple[Span, int]]:
    """The spans, stripped, with their tokens; cut again where a cut inside a word has made more of them."""
    stripped = [(_stripped(text, *span), most) for span, most in spans]
    kept = [((start, end), most) for (start, end), most in stripped if start < end]
    for (start, end), most, size in _sized(text, kept, offsets, tokenizer):
        if size <= most or end - start == 1:
            yield (start, end), size
            continue
        part = text[start:end]
        again = cut(part, (0, len(part)), TokenOffsets(part, tokenizer), most, most_characters)
        shifted = [((start + low, start + high), most) for low, high in again]
        yield from _fitted(text, shifted, offsets, tokenizer, most_characters)


def _sized(
    text: str, spans: Sequence[tuple[Span, int]], offsets: TokenOffsets, tokenizer: Tokenizer
) -> Iterator[tuple[Span, int, int]]:
    """Each span with its most and its tokens: those of the whole text where none reaches beyond it, else counted."""
    parted = type(tokenizer.pre_tokenizer) is BertPreTokenizer  # others have white space in their tokens
    whole = [parted and _stands_alone(text, *span) for span, _ in spans]
    parts = [text[start:end] for ((start, end), _), alone in zip(spans, whole, strict=True) if not alone]
    counted = iter(count(tokenizer, parts) if parts else [])
    for (span, most), alone in zip(spans, whole, strict=True):
        yield span, most, offsets.between(*span) if alone else next(counted)


def _stands_alone(text: str, start: int, end: int) -> bool:
    return (start == 0 or text[start - 1] in PARTING) and (end == len(text) or text[end] in PARTING)


def _stripped(text: str, start: int, end: int) -> Span:
    span = text[start:end]
    return start + len(span) - len(span.lstrip()), start + len(span.rstrip())
