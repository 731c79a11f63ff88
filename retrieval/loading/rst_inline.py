"""Inline markup of reStructuredText: roles, references and emphasis become the words they show."""

import re
from collections.abc import Mapping

_INLINE = re.compile(
    r"""
      ``(?P<literal>\S(?:.*?\S)??)``(?!`)
    | (?<![\w:])(?P<role>:[\w.+-]+(?::[\w.+-]+)*:)`(?P<text>(?:\\.|[^`\\])+)`
    | _?`(?P<phrase>(?:\\.|[^`\\])+)`(?::[\w.+-]+(?::[\w.+-]+)*:|__?(?!\w))?
    | \*\*(?P<strong>[^\s*](?:.*?\S)??)\*\*
    | (?<![\w*])\*(?P<emphasis>[^*\s](?:[^*]*[^*\s\\])?)\*(?![\w*])
    | (?<!\w)\|(?P<substitution>[^|\s](?:[^|]*[^|\s])?)\|_{0,2}(?!\w)
    | \[(?P<note>\#[\w.-]*|\*|[\w.-]+)\]_(?!\w)
    | (?<!\w)(?P<reference>[^\W_]+(?:[-._+:][^\W_]+)*)__?(?![\w`])
    | \\(?P<escaped>.)
    """,
    re.VERBOSE | re.DOTALL,
)
_TITLE_AND_TARGET = re.compile(r"^(?P<title>.*?)\s*<(?P<target>[^<>]+)>$", re.DOTALL)
_ESCAPE = re.compile(r"\\(.)", re.DOTALL)
# Roles that write something before their text.
_PREFIXES = {"pep": "PEP ", "rfc": "RFC ", "cve": "CVE-", "cwe": "CWE-"}


def plain(text: str, substitutions: Mapping[str, str]) -> str:
    """`text` (one paragraph) as it would be read, without markup."""

    def shown(match: re.Match[str]) -> str:
        kind = match.lastgroup
        value = match[kind] if kind else ""
        if kind == "text":
            return _role(match["role"].strip(":").split(":")[-1].lower(), value)
        if kind == "phrase":
            return _phrase(value)
        if kind == "substitution":
            return substitutions.get(value.lower(), value)
        if kind == "note":
            return f"[{value.lstrip('#')}]" if value.strip("#*") else ""
        if kind == "escaped":
            return "" if value.isspace() else value
        return value if kind == "literal" else _ESCAPE.sub(r"\1", value)

    return _INLINE.sub(shown, text)


def _role(name: str, text: str) -> str:
    if match := _TITLE_AND_TARGET.match(text):
        return _ESCAPE.sub(r"\1", match["title"] or match["target"])
    text = _ESCAPE.sub(r"\1", text.removeprefix("!"))
    if text.startswith("~"):  # ~package.module.Name shows only the name
        return text[1:].rsplit(".", 1)[-1]
    return _PREFIXES.get(name, "") + text


def _phrase(text: str) -> str:
    match = _TITLE_AND_TARGET.match(text)
    return _ESCAPE.sub(r"\1", (match["title"] or match["target"]) if match else text)
