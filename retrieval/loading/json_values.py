"""JSON to readable text: each value beside the keys that lead to it, one record a paragraph."""

import json
from collections.abc import Iterator

from retrieval.loading.decoding import decode
from retrieval.loading.errors import LoadError
from retrieval.loading.text import Block, assemble, clean, one_line
from retrieval.spans import LoadedText

_LONGEST_LINE = 300  # characters of a record on one line; a longer one gets a line for each value
_LONGEST_PARAGRAPH = 1_500

Path = tuple[str, ...]
Leaf = tuple[Path, str]


def load(content: bytes) -> LoadedText:
    """One value, or (as programs also name it) one on each line."""
    source = decode(content).strip().lstrip("\ufeff")
    try:
        value = _parsed(source)
    except json.JSONDecodeError as error:
        if not _are_values(source.split("\n")):
            raise _broken(error.lineno, error.colno, error.msg) from error
        return load_lines(content)
    text, headings = assemble(_document(value))
    return LoadedText(text, "", "application/json", headings=headings)


def load_lines(content: bytes) -> LoadedText:
    """One value on each line; a line that is none is kept as it stands."""
    lines = [line for line in decode(content).lstrip("\ufeff").splitlines() if line.strip()]
    if not _are_values(lines):
        raise _broken(1, 1, "Expecting value")
    text, headings = assemble(block for line in lines for block in _line(line))
    return LoadedText(text, "", "application/jsonl", headings=headings)


def _parsed(source: str) -> object:
    """The value, numbers as they are written."""
    try:
        return json.loads(source, parse_int=str, parse_float=str, parse_constant=str)
    except RecursionError as error:
        raise LoadError("broken", "The JSON is nested too deeply to be read. Flatten it.") from error


def _are_values(lines: list[str]) -> bool:
    """Whether at least half of the first lines are values by themselves."""
    some = [line for line in lines[:20] if line.strip()]
    if not some:
        return False
    return sum(_is_value(line) for line in some) >= len(some) / 2


def _is_value(line: str) -> bool:
    try:
        return isinstance(_parsed(line), dict | list)
    except json.JSONDecodeError:
        return False


def _line(line: str) -> Iterator[Block]:
    try:
        value = _parsed(line)
    except json.JSONDecodeError:
        yield Block(clean(line))
    else:
        yield from _record(value)


def _broken(line: int, column: int, why: str) -> LoadError:
    return LoadError(
        "broken", f"The file is no valid JSON: line {line}, column {column}: {why}. Correct it there."
    )


def _document(value: object) -> Iterator[Block]:
    """A list gives a paragraph for each of its records; of an object, each key that holds much a part."""
    if isinstance(value, list) and any(isinstance(entry, dict | list) for entry in value):
        for entry in value:
            yield from _record(entry)
    elif isinstance(value, dict):
        plain = {key: entry for key, entry in value.items() if not isinstance(entry, dict | list)}
        yield from _record(plain)
        for key, entry in value.items():
            if key in plain:
                continue
            if isinstance(entry, list) and any(isinstance(inner, dict) for inner in entry):
                if title := one_line(key):
                    yield Block(title, level=1)
                for inner in entry:
                    yield from _record(inner)
            else:
                yield from _record({key: entry})
    else:
        yield from _record(value)


def _record(value: object) -> Iterator[Block]:
    """The values of one record; in several paragraphs where they are more than one chunk holds."""
    found: list[str] = []
    length = 0
    for path, text in _leaves(value):
        line = f"{'.'.join(path)}: {text}" if path else text
        if found and length + len(line) > _LONGEST_PARAGRAPH:
            yield _paragraph(found)
            found, length = [], 0
        found.append(line)
        length += len(line)
    if found:
        yield _paragraph(found)


def _paragraph(lines: list[str]) -> Block:
    is_short = sum(map(len, lines)) <= _LONGEST_LINE and not any("\n" in line for line in lines)
    return Block(("; " if is_short else "\n").join(lines))


def _leaves(value: object) -> Iterator[Leaf]:
    """The values that hold no others, with their paths, in order; a list of such is one value."""
    pending: list[tuple[Path, object]] = [((), value)]
    while pending:
        path, entry = pending.pop()
        if isinstance(entry, dict):
            pending.extend((_longer(path, key), inner) for key, inner in reversed(entry.items()))
        elif isinstance(entry, list) and any(isinstance(inner, dict | list) for inner in entry):
            pending.extend((path, inner) for inner in reversed(entry))
        else:
            text = _shown(entry)
            if text:
                yield path, text


def _longer(path: Path, key: str) -> Path:
    name = one_line(key)
    return (*path, name) if name else path


def _shown(value: object) -> str:
    if isinstance(value, list):
        return ", ".join(filter(None, map(_shown, value)))
    if isinstance(value, bool):
        return "true" if value else "false"
    return "" if value is None else clean(str(value)).strip()
