"""Imports point one way: retrieval <- core <- documents <- indexes <- search <- quality <- kb.

Inside an app: models <- work <- tasks <- actions <- schemas, forms <- api, views, admin, … <- urls, apps.
A name in a string ("kb.core.urls", "core.Collection") counts as an import; none hides inside a function.
"""

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGES = ["retrieval", "kb.core", "kb.documents", "kb.indexes", "kb.search", "kb.quality", "kb"]
# The modules of each app that do its work, each by name: a new module is put into a layer by a decision.
WORK = {
    "core": {
        "arrays", "auditing", "authentication", "beating", "body_limit", "caching", "command_line", "embedded",
        "environment", "handler", "health", "holding", "keys", "lifespan", "middleware", "navigation", "pagination",
        "people", "pooling", "pools", "preparing", "problem_json", "problems", "supervising", "supervision",
        "visibility", "waking",
    },
    "documents": {
        "adding", "archives", "chunks", "downloads", "failures", "health", "originals", "parsing", "queueing",
        "reading", "signals", "sources", "stages", "web", "writing",
    },
    "indexes": {
        "auditing", "block_cache", "building", "calibrating", "dense", "deriving", "dropping", "embedding",
        "embedding_queue", "embedding_table", "estimates", "graph", "health", "lexical", "lifecycle", "lineage",
        "merging", "naming", "placing", "planning", "population", "progress", "providers", "rechunking",
        "portions", "relocating", "reposting", "settling", "spaces", "throttling", "watching",
    },
    "search": {
        "answers", "arranging", "async_bridge", "deadlines", "engine", "joining", "narrowing", "profiles",
        "query_vectors", "recording", "redaction", "rendering", "rollout", "serving", "shadowing", "snippets",
        "spelling", "timing", "warming",
    },
    "quality": {
        "comparing", "datasets", "declining", "evaluation", "progress", "question_sets", "requested", "scoring",
        "scratch", "shadow_report", "soundness", "timeline", "tuning", "validating", "vector_cache",
    },
}  # fmt: skip
LAYERS = [
    {"models"},
    set[str](),  # WORK
    {"tasks"},
    {"actions", "move_actions", "source_actions", "index_actions", "model_actions", "version_actions"},
    {"schemas", "version_schemas", "forms"},
    {"uploading"},  # files and folders from a browser or a command line, added by the actions
    {
        "api",
        "api_sources",
        "api_versions",
        "api_work",
        "commands",
        "index_commands",
        "model_commands",
        "views",
        "admin",
        "management",
        "receivers",
        "pausing",
        "templatetags",
    },
    {"urls", "apps"},
]
FORBIDDEN_IN_RETRIEVAL = {"celery", "django", "kb", "kombu", "ninja", "pgvector", "psycopg", "redis"}
BY_NAME = {"import_module", "import_string", "__import__"}
DOTTED = re.compile(r"(?:kb|retrieval)(?:\.\w+)+")
MODEL = re.compile(rf"({'|'.join(WORK)})\.[A-Z]\w*")


@dataclass(frozen=True)
class Use:
    """One mention of a module: its dotted name, the line, and whether it is an import inside a function."""

    target: str
    line: int
    inside: bool = False


def package(module: str) -> str | None:
    return max((p for p in PACKAGES if f"{module}.".startswith(f"{p}.")), key=len, default=None)


def layer(module: str) -> int | None:
    """The layer of a module of an app; None for the app itself and for what is in no app."""
    parts = module.split(".")
    if parts[0] != "kb" or len(parts) < 3 or parts[1] not in WORK:
        return None
    if parts[2] in WORK[parts[1]]:
        return 1
    return next((number for number, names in enumerate(LAYERS) if parts[2] in names), None)


def absolute(module: str, is_package: bool, node: ast.ImportFrom) -> str:
    """The full name of the module that a `from … import` names, relative ones included."""
    if not node.level:
        return node.module or ""
    parts = module.split(".")
    base = parts[: len(parts) - node.level + (1 if is_package else 0)]
    return ".".join([*base, *([node.module] if node.module else [])])


def uses(source: str, module: str, is_package: bool = False) -> Iterator[Use]:
    """Every module that the source mentions: imports wherever they stand, and names in strings."""
    tree = ast.parse(source)
    inside = {
        id(inner)
        for outer in ast.walk(tree)
        if isinstance(outer, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
        for inner in ast.walk(outer)
        if not (
            module.endswith(".apps") and getattr(outer, "name", "") == "ready"
        )  # Django's one place for it
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (Use(alias.name, node.lineno, id(node) in inside) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = absolute(module, is_package, node)
            yield from (Use(f"{base}.{alias.name}", node.lineno, id(node) in inside) for alias in node.names)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            if DOTTED.fullmatch(node.value):
                yield Use(node.value, node.lineno)
            elif match := MODEL.fullmatch(node.value):
                yield Use(f"kb.{match[1]}.models", node.lineno)


def violations(source: str, module: str, is_package: bool = False) -> Iterator[str]:
    """What in the source breaks the rules, as sentences."""
    for use in uses(source, module, is_package):
        where = f"{module}:{use.line}"
        if package(module) == "retrieval" and use.target.split(".")[0] in FORBIDDEN_IN_RETRIEVAL:
            yield f"{where} uses {use.target}, and retrieval does without"
        elif package(use.target) is not None:
            if use.inside:
                yield f"{where} imports {use.target} inside a function"
            if points_outwards(module, use.target):
                yield f"{where} uses {use.target}, which lies further out"
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call) and called(node) in BY_NAME:
            yield f"{module}:{node.lineno} imports by a name that cannot be checked"


def called(node: ast.Call) -> str:
    return node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")


def points_outwards(module: str, target: str) -> bool:
    here, there = package(module), package(target)
    if here is None or there is None:
        return False
    if here != there:
        return PACKAGES.index(there) > PACKAGES.index(here)
    inner, outer = layer(target), layer(module)
    return inner is not None and outer is not None and inner > outer


def modules() -> dict[str, Path]:
    """First-party modules by dotted name; migrations are history and import what they need."""
    found = {}
    for path in sorted([*ROOT.glob("retrieval/**/*.py"), *ROOT.glob("kb/**/*.py")]):
        if "migrations" not in path.parts:
            name = ".".join(path.relative_to(ROOT).with_suffix("").parts)
            found[name.removesuffix(".__init__")] = path
    return found


MODULES = modules()
EACH = pytest.mark.parametrize("module", MODULES)


@EACH
def test_imports_point_inwards(module: str) -> None:
    path = MODULES[module]
    assert not list(violations(path.read_text(), module, path.name == "__init__.py"))


@EACH
def test_every_module_has_a_layer(module: str) -> None:
    parts = module.split(".")
    if parts[0] == "kb" and len(parts) > 2:
        assert layer(module) is not None, f"say in LAYERS or WORK to which layer {module} belongs"


def test_every_named_work_module_is_there() -> None:
    named = {f"kb.{app}.{name}" for app, names in WORK.items() for name in names}
    assert named <= set(MODULES)


def test_nothing_imports_itself_by_way_of_others() -> None:
    graph = {
        module: {
            owner
            for use in uses(path.read_text(), module, path.name == "__init__.py")
            if (owner := owning(use.target)) and owner != module
        }
        for module, path in MODULES.items()
        if module != "kb.settings" and not module.endswith(".apps")  # they wire the others together
    }
    assert cycle(graph) is None


def owning(target: str) -> str | None:
    """The module that a dotted name is in: itself, or what it is an attribute of."""
    parts = target.split(".")
    names = (".".join(parts[:length]) for length in range(len(parts), 0, -1))
    return next((name for name in names if name in MODULES), None)


def cycle(graph: dict[str, set[str]]) -> list[str] | None:
    """Some cycle of the graph, or None."""
    done: set[str] = set()

    def visit(node: str, path: list[str]) -> list[str] | None:
        if node in path:
            return [*path[path.index(node) :], node]
        if node in done:
            return None
        found = next(filter(None, (visit(n, [*path, node]) for n in sorted(graph.get(node, ())))), None)
        done.add(node)
        return found

    return next(filter(None, (visit(node, []) for node in sorted(graph))), None)


@pytest.mark.parametrize(
    ("module", "source", "reason"),
    [
        ("kb.core.health", "from kb.documents import models", "further out"),
        ("kb.core.health", "import kb.search.engine", "further out"),
        ("kb.core.health", "from ..documents import models", "further out"),
        ("kb.documents.parsing", "from . import tasks", "further out"),
        ("kb.documents.parsing", "from .actions import add_document", "further out"),
        ("kb.documents.models", "from kb.documents.parsing import parse", "further out"),
        (
            "kb.documents.tasks",
            "if TYPE_CHECKING:\n    from kb.documents.actions import Added",
            "further out",
        ),
        ("kb.documents.tasks", "def go():\n    from kb.documents import parsing", "inside a function"),
        ("kb.documents.tasks", "async def go():\n    import kb.core.models", "inside a function"),
        ("kb.core.urls", "path('', include('kb.documents.urls'))", "further out"),
        ("kb.core.models", "models.ForeignKey('documents.Document', CASCADE)", "further out"),
        ("kb.core.health", "celery.send_task('kb.indexes.tasks.embed_task')", "further out"),
        ("kb.core.health", "import_string(name)", "cannot be checked"),
        ("kb.core.health", "importlib.import_module('kb.' + app)", "cannot be checked"),
        ("kb.core.health", "from kb import settings", "further out"),
        ("retrieval.bm25", "import django.db", "does without"),
        ("retrieval.bm25", "from psycopg import sql", "does without"),
        ("retrieval.bm25", "def go():\n    from kb.core import models", "does without"),
    ],
)
def test_rules_see_through(module: str, source: str, reason: str) -> None:
    assert any(reason in sentence for sentence in violations(source, module))


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("kb.documents.parsing", "from kb.core.models import Collection"),
        ("kb.documents.actions", "from .tasks import parse_task"),
        ("kb.documents.models", "models.ForeignKey('core.Collection', CASCADE)"),
        ("kb.indexes.apps", "class A:\n    def ready(self):\n        from kb.indexes import receivers"),
        ("kb.settings", "ROUTES = 'kb.documents.tasks.parse_task'"),
        ("retrieval.bm25", "import numpy\nfrom retrieval.protocols import Ranked"),
    ],
)
def test_rules_allow(module: str, source: str) -> None:
    assert not list(violations(source, module))


def test_a_package_resolves_its_own_relative_imports() -> None:
    assert [use.target for use in uses("from .local import x", "retrieval.embedders", True)] == [
        "retrieval.embedders.local.x"
    ]


def test_a_cycle_is_found() -> None:
    assert cycle({"a": {"b"}, "b": {"c"}, "c": {"a"}, "d": {"a"}}) == ["a", "b", "c", "a"]
    assert cycle({"a": {"b", "c"}, "b": {"c"}}) is None
