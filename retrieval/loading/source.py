"""Source code and settings: the text as it stands, with what it defines as headings."""

import re
from collections.abc import Callable, Mapping
from types import MappingProxyType

from retrieval.loading.decoding import decode
from retrieval.loading.text import clean
from retrieval.spans import Heading, LoadedText

_FLAGS = re.MULTILINE
_TERMINAL = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
_LONGEST = 160  # characters of a line that is a definition; generated code has longer ones
_INDENT = 4  # columns a level
_MAX_LEVEL = 4

# `title` is the heading; what is indented stands a level below. Only where the first words of a line
# leave no doubt: a C function has no such words, a Java method hardly.
_WORD = r"[A-Za-z_$][\w$.]*"
_PYTHON = re.compile(rf"^(?P<indent>[ \t]*)(?P<title>(?:async +)?(?:def|class) +{_WORD})", _FLAGS)
_SCRIPT = re.compile(
    r"^(?P<indent>)(?:export +)?(?:default +)?(?:declare +)?(?:abstract +)?"
    rf"(?P<title>(?:async +)?(?:function\*?|class|interface|enum|namespace) +{_WORD})",
    _FLAGS,
)
_TYPES = re.compile(
    r"^(?P<indent>[ \t]*)(?:(?:public|protected|private|internal|static|final|abstract|sealed|partial|open|data) +)*"
    rf"(?P<title>(?:class|interface|enum|record|object|struct|trait|protocol|namespace) +{_WORD})",
    _FLAGS,
)
_C = re.compile(
    rf"^(?P<indent>)(?:typedef +)?(?P<title>(?:class|struct|enum|union|namespace) +{_WORD})[^;()]*$", _FLAGS
)
_GO = re.compile(rf"^(?P<indent>)(?P<title>func +(?:\([^)\n]*\) *)?{_WORD}|type +{_WORD})", _FLAGS)
_RUST = re.compile(
    r"^(?P<indent>[ \t]*)(?:pub(?:\([^)\n]*\))? +)?(?:(?:async|unsafe|const|extern \"C\") +)*"
    rf"(?P<title>(?:fn|struct|enum|trait|mod|union) +{_WORD}|impl\b[^{{\n]*[^{{\s])",
    _FLAGS,
)
_RUBY = re.compile(r"^(?P<indent>[ \t]*)(?P<title>(?:class|module|def) +[A-Za-z_][\w.:?!]*)", _FLAGS)
_SHELL = re.compile(r"^(?P<indent>)(?P<title>(?:function +)?[A-Za-z_][\w-]*) *\( *\)", _FLAGS)
_SQL = re.compile(
    r"^(?P<indent>)(?P<title>CREATE +(?:OR +REPLACE +)?(?:\w+ +)?"
    r"(?:TABLE|VIEW|FUNCTION|PROCEDURE|TRIGGER|INDEX|TYPE|SCHEMA)(?: +IF +NOT +EXISTS)? +[\w.\"`\[\]]+)",
    _FLAGS | re.IGNORECASE,
)
_SECTIONS = re.compile(r"^(?P<indent>)\[+(?P<title>[^\[\]\n]+)\]+[ \t]*$", _FLAGS)
_PHP = re.compile(
    rf"^(?P<indent>[ \t]*)(?:(?:public|protected|private|static|final|abstract) +)*"
    rf"(?P<title>(?:function|class|interface|trait|enum) +&?{_WORD})",
    _FLAGS,
)
_NOTHING = re.compile(r"(?!)(?P<indent>)(?P<title>)")

DEFINITIONS: Mapping[str, re.Pattern[str]] = MappingProxyType(
    dict.fromkeys((".py", ".pyi"), _PYTHON)
    | dict.fromkeys((".js", ".mjs", ".cjs", ".jsx", ".ts", ".tsx"), _SCRIPT)
    | dict.fromkeys((".java", ".kt", ".scala", ".cs", ".swift"), _TYPES)
    | dict.fromkeys((".c", ".h", ".cc", ".cpp", ".hpp"), _C)
    | {".go": _GO, ".rs": _RUST, ".rb": _RUBY, ".php": _PHP, ".sql": _SQL}
    | dict.fromkeys((".sh", ".bash"), _SHELL)
    | dict.fromkeys((".ini", ".cfg", ".toml"), _SECTIONS)
    | dict.fromkeys(
        (".css", ".scss", ".yaml", ".yml", ".xml", ".conf", ".log", ".ps1", ".lua", ".pl", ".r"), _NOTHING
    )
)
"""How each language that is read begins a definition."""


def loader(suffix: str) -> Callable[[bytes], LoadedText]:
    """What loads files of that suffix, one of `DEFINITIONS`."""
    definition = DEFINITIONS[suffix]

    def load(content: bytes) -> LoadedText:
        text = clean(_TERMINAL.sub("", decode(content))).strip("\n").rstrip()
        return LoadedText(text, "", "text/plain", headings=_headings(text, definition))

    return load


def _headings(text: str, definition: re.Pattern[str]) -> tuple[Heading, ...]:
    """The lines that begin a definition, each a level below the one that it is indented under."""
    found: list[Heading] = []
    for match in definition.finditer(text):
        end = text.find("\n", match.end())
        end = len(text) if end < 0 else end
        start = match.start()
        if end - start > _LONGEST or (found and start < found[-1].end):
            continue
        level = 1 + len(match["indent"].expandtabs(_INDENT)) // _INDENT
        if level <= _MAX_LEVEL:
            found.append(Heading(level, match["title"], start, end))
    return tuple(found)
