"""Directives of reStructuredText and Sphinx: what each leaves in the readable text."""

import csv
import re
from dataclasses import dataclass
from typing import Protocol

from retrieval.loading.text import join_lines

_OPTION = re.compile(r"^:(?P<name>[\w-]+):(?: +(?P<value>.*)|$)")
_SILENT = frozenset(
    {
        "toctree",
        "index",
        "contents",
        "currentmodule",
        "module",
        "highlight",
        "default-role",
        "raw",
        "image",
        "include",
        "literalinclude",
        "meta",
        "sectionauthor",
        "codeauthor",
        "moduleauthor",
        "program",
        "tabularcolumns",
        "role",
        "default-domain",
        "sectnum",
        "target-notes",
        "header",
        "footer",
        "date",
        "class-only",
        "automodule",
        "autoclass",
        "autofunction",
        "autosummary",
        "bibliography",
        "graphviz",
    }
)
_CODE = frozenset(
    {
        "code",
        "code-block",
        "sourcecode",
        "console",
        "parsed-literal",
        "math",
        "prompt",
        "doctest",
        "testcode",
        "testoutput",
        "testsetup",
        "productionlist",
        "ipython",
        "command-output",
        "shell",
        "bash",
    }
)
_LABELS = {
    "note": "Note",
    "warning": "Warning",
    "tip": "Tip",
    "hint": "Hint",
    "important": "Important",
    "caution": "Caution",
    "danger": "Danger",
    "attention": "Attention",
    "error": "Error",
    "seealso": "See also",
    "todo": "To do",
}
_VERSIONS = {
    "versionadded": "New in version",
    "versionchanged": "Changed in version",
    "deprecated": "Deprecated since version",
    "versionremoved": "Removed in version",
}
_SIGNATURES = frozenset(
    {
        "class",
        "method",
        "function",
        "attribute",
        "exception",
        "data",
        "classmethod",
        "staticmethod",
        "decorator",
        "decoratormethod",
        "property",
        "option",
        "cmdoption",
        "django-admin-option",
        "describe",
        "object",
        "envvar",
        "macro",
        "type",
        "var",
        "member",
        "enum",
        "enumerator",
        "struct",
        "union",
        "confval",
        "directive",
        "rubric",
        "admonition",
        "topic",
        "sidebar",
        "term",
        "glossary",
        "c",
        "cpp",
    }
)


@dataclass(frozen=True)
class Directive:
    """`.. name:: argument`, its options and the lines under it."""

    name: str
    argument: tuple[str, ...]
    options: dict[str, str]
    content: list[str]


class Reader(Protocol):
    """What rendering a directive needs from the body it stands in."""

    def read(self, lines: list[str]) -> list[str]: ...
    def inline(self, text: str) -> str: ...
    def table(self, rows: list[list[str]]) -> str: ...


def is_signature(name: str) -> bool:
    """Whether the directive's argument is something to read, not only a name to link to."""
    short = name.rsplit(":", 1)[-1].lower()
    return short in _SIGNATURES or short in _LABELS or short in _VERSIONS or short in _CODE


def split(name: str, argument: str, lines: list[str], blank: bool) -> Directive:
    """The parts of a directive; `blank` says that a blank line follows its first one."""
    arguments = [argument] if argument else []
    options: dict[str, str] = {}
    at = 0
    if not blank:
        while at < len(lines) and lines[at] and not _OPTION.match(lines[at]):
            arguments.append(lines[at])
            at += 1
        while at < len(lines) and lines[at]:
            if match := _OPTION.match(lines[at]):
                options[match["name"]] = match["value"] or ""
            at += 1
    while at < len(lines) and not lines[at]:
        at += 1
    return Directive(name.rsplit(":", 1)[-1].lower(), tuple(arguments), options, lines[at:])


def render(directive: Directive, reader: Reader) -> list[str]:
    """The blocks of text that the directive stands for."""
    name, arguments, content = directive.name, list(directive.argument), directive.content
    if name in _SILENT:
        return []
    if name in _CODE:  # the argument of the first three is the language
        return ["\n".join([*arguments[name in ("code", "code-block", "sourcecode") :], *content])]
    if name in _LABELS:
        return _labelled(f"{_LABELS[name]}: ", reader.read([*arguments, "", *content]))
    if name in _VERSIONS:
        return _versioned(directive, reader)
    # A figure's argument is the name of a picture file.
    head = [reader.inline(argument.strip()) for argument in arguments if name != "figure"]
    if name in ("csv-table", "list-table"):
        rows = _csv_rows(directive) if name == "csv-table" else _list_rows(content)
        return ["\n".join([*head, reader.table(rows)])]
    blocks = reader.read(content)
    return ["\n".join([*head, *blocks[:1]]), *blocks[1:]]


def _versioned(directive: Directive, reader: Reader) -> list[str]:
    version, _, text = " ".join(directive.argument).partition(" ")
    blocks = reader.read([text, "", *directive.content])
    label = f"{_VERSIONS[directive.name]} {version}"
    return _labelled(f"{label}: ", blocks) if blocks else [f"{label}."]


def _labelled(label: str, blocks: list[str]) -> list[str]:
    return [label + blocks[0], *blocks[1:]] if blocks else []


def _csv_rows(directive: Directive) -> list[list[str]]:
    header = directive.options.get("header")
    delimiter = directive.options.get("delim", ",")
    lines = [*([header] if header else []), *directive.content]
    rows = csv.reader(lines, delimiter=delimiter if len(delimiter) == 1 else ",", skipinitialspace=True)
    return [row for row in rows if row]


def _list_rows(content: list[str]) -> list[list[str]]:
    """A list of lists as rows: `* - a` begins a row, `  - b` is its next cell."""
    rows: list[list[list[str]]] = []
    for line in content:
        if line.startswith("* - "):
            rows.append([[line[4:]]])
        elif line.startswith("  - ") and rows:
            rows[-1].append([line[4:]])
        elif rows:
            rows[-1][-1].append(line)
    return [[join_lines(cell) for cell in row] for row in rows]
