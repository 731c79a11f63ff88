"""What a deployment may set: one table in code, the same in the README, and nothing beside it."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from kb.core import environment
from kb.core.environment import VARIABLES, BadConfiguration, Variable

ROOT = Path(__file__).parent.parent
TABLE = ROOT / "kb/core/environment.py"
OF_OTHERS = {
    "CELERY_SKIP_CHECKS",
    "DJANGO_SETTINGS_MODULE",
    "PYTHONPATH",
}  # Celery's, Django's and Python's own
SOURCES = [ROOT / "manage.py", *sorted(ROOT.glob("kb/**/*.py")), *sorted(ROOT.glob("retrieval/**/*.py"))]
READERS = {"choice", "flag", "number", "text", "words"}


def readme_table(variables: list[Variable]) -> list[str]:
    """The lines of the README's Configuration table."""
    rows = [f"| `{v.name}` | {f'`{v.default}`' if v.default else ''} | {v.meaning} |" for v in variables]
    return [
        "| Variable | Default | Meaning |",
        "| --- | --- | --- |",
        *(row.replace("|  |", "| |") for row in rows),
    ]


def test_the_readme_lists_every_variable() -> None:
    text = (ROOT / "README.md").read_text()
    section = re.search(r"^## Configuration$(.*?)(?=^## |\Z)", text, re.MULTILINE | re.DOTALL)
    assert section, "README.md has no section Configuration"
    written = [line.rstrip() for line in section[1].splitlines() if line.startswith("|")]
    wanted = readme_table(list(VARIABLES.values()))
    assert written == wanted, "the table should read:\n" + "\n".join(wanted)


def environment_accesses(source: str) -> Iterator[tuple[int, str | None]]:
    """Line and name of each access to the process's environment; None where the name is computed."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Subscript) and is_environment(node.value):
            yield node.lineno, constant(node.slice)
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            of_environment = is_environment(node.func.value) and node.func.attr not in {"copy", "items"}
            if of_environment or node.func.attr in {"getenv", "putenv"}:
                yield node.lineno, constant(node.args[0]) if node.args else None
        elif isinstance(node, ast.Compare) and any(is_environment(other) for other in node.comparators):
            yield node.lineno, constant(node.left)


def is_environment(node: ast.expr) -> bool:
    return isinstance(node, ast.Attribute) and node.attr in {"environ", "environb"}


def constant(node: ast.expr) -> str | None:
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else None


@pytest.mark.parametrize("path", [p for p in SOURCES if p != TABLE], ids=lambda p: str(p.relative_to(ROOT)))
def test_nothing_reads_a_variable_that_is_not_listed(path: Path) -> None:
    for line, name in environment_accesses(path.read_text()):
        assert name in {*VARIABLES, *OF_OTHERS}, f"{path}:{line} uses {name or 'a computed name'}"


def test_the_guard_sees_each_way_to_read_a_variable() -> None:
    ways = [
        'os.environ["A"]', 'os.environ.get("A")', 'os.getenv("A")', '"A" in os.environ',
        'os.environ.pop("A")', 'os.environ.setdefault("A", "1")', 'os.environ["A"] = "1"',
    ]  # fmt: skip
    assert [name for way in ways for _, name in environment_accesses(way)] == ["A"] * len(ways)
    assert [name for _, name in environment_accesses("os.environ[name]")] == [None]


def variables_read(source: str) -> set[str]:
    """The names that the source asks the table for."""
    return {
        name
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Call) and node.args and (name := constant(node.args[0]))
        if (node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", ""))
        in READERS
    }


def test_every_variable_is_read_and_every_read_one_is_listed() -> None:
    read = variables_read((ROOT / "kb/settings.py").read_text()) | variables_read(TABLE.read_text())
    assert read == set(VARIABLES)


@pytest.mark.parametrize(
    ("reader", "name", "value", "says"),
    [
        (environment.flag, "DEBUG", "maybe", "set it to 1 or 0"),
        (environment.number, "PORT", "eighty", "whole number"),
        (environment.number, "PORT", "-1", "whole number"),
        (lambda name: environment.number(name, 1, 65535), "PORT", "65536", "from 1 to 65535"),
        (lambda name: environment.choice(name, "local", "hashing"), "EMBEDDER", "magic", "local, hashing"),
        (lambda _: environment.mail_server(), "EMAIL_URL", "mail.example.org", "smtp://"),
    ],
)
def test_a_bad_value_says_what_to_do(reader, name, value, says, monkeypatch) -> None:  # type: ignore[no-untyped-def]
    monkeypatch.setenv(name, value)
    with pytest.raises(BadConfiguration, match=re.escape(says)):
        reader(name)


def test_an_empty_variable_means_its_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PORT", "")
    assert environment.number("PORT") == int(VARIABLES["PORT"].default)


def test_the_secret_is_made_once_and_kept_from_others(tmp_path: Path) -> None:
    first = environment.kept_secret(tmp_path / "home" / "secret_key")
    assert environment.kept_secret(tmp_path / "home" / "secret_key") == first
    assert len(first) >= 50
    assert (tmp_path / "home" / "secret_key").stat().st_mode & 0o777 == 0o600
    assert [path.name for path in (tmp_path / "home").iterdir()] == ["secret_key"]


def test_a_home_that_cannot_be_written_says_so(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(BadConfiguration, match="set KB_HOME"):
        environment.kept_secret(tmp_path / "file" / "secret_key")
