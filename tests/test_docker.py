"""The container files against the code: no engine runs here, so every name in them is checked instead."""

import importlib.util
import os
import re
import shlex
import socket
import subprocess
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml
from django.conf import settings
from django.core.management import get_commands
from django.db import connection
from django.utils import timezone

from kb.core import supervising
from kb.core.beating import beat
from kb.core.environment import VARIABLES
from kb.core.models import Heartbeat
from kb.core.tasks import QUEUES

ROOT = Path(__file__).parent.parent
DOCKER = ROOT / "docker"
COMPOSE: dict[str, Any] = yaml.safe_load((DOCKER / "compose.yaml").read_text())
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
OURS = {name: service for name, service in SERVICES.items() if "build" in service}
DOCKERFILE = (DOCKER / "Dockerfile").read_text()
ENTRYPOINT = (DOCKER / "entrypoint.sh").read_text()
REFERENCE = re.compile(r"\$\{(\w+)(?::?[-?]([^}]*))?\}")
ZERO = {"$PORT": "0", "${PARSE_WORKERS:-2}": "0", "${FETCH_THREADS:-8}": "0"}
# Read by compose and by the build, not by the site.
ONLY_OUTSIDE = {"POSTGRES_PASSWORD", "TORCH_INDEX_URL"}


def instructions() -> list[tuple[str, str]]:
    """The Dockerfile's instructions with their arguments, continued lines joined."""
    text = re.sub(r"\\\n", " ", re.sub(r"^#.*\n", "", DOCKERFILE, flags=re.MULTILINE))
    return [(line.split(None, 1)[0], line.split(None, 1)[1]) for line in text.splitlines() if line.strip()]


def arguments(name: str) -> list[str]:
    return [rest for instruction, rest in instructions() if instruction == name]


def example() -> dict[str, str]:
    lines = (DOCKER / ".env.example").read_text().splitlines()
    return dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))


def strings(node: Any) -> list[str]:
    if isinstance(node, dict):
        return [text for value in node.values() for text in strings(value)]
    if isinstance(node, list):
        return [text for value in node for text in strings(value)]
    return [node] if isinstance(node, str) else []


def references() -> dict[str, str]:
    """Each ${VARIABLE} of compose.yaml with its default, or with the words that demand it."""
    return {name: default for text in strings(COMPOSE) for name, default in REFERENCE.findall(text)}


def branches() -> dict[str, list[str]]:
    """The roles of the entrypoint with the command that each becomes."""
    found = re.findall(r"^([\w*-]+)\)\n\s+exec (.*?)\n\s+;;", ENTRYPOINT, re.MULTILINE | re.DOTALL)
    return {role: shlex.split(command.replace("\\\n", " ")) for role, command in found}


# The image ------------------------------------------------------------------------------------------


def test_every_copied_file_is_there_and_let_through() -> None:
    rules = (ROOT / ".dockerignore").read_text().split()
    assert rules[0] == "*"
    let_through = {rule.removeprefix("!") for rule in rules if rule.startswith("!")}
    for rest in arguments("COPY"):
        words = [word for word in rest.split() if not word.startswith("--")]
        if "--from=packages" in rest:
            continue
        for source in words[:-1]:
            assert (ROOT / source).exists(), source
            assert source in let_through or source.split("/")[0] in let_through, source


def test_all_of_the_site_is_copied() -> None:
    copied = {word for rest in arguments("COPY") for word in rest.split()}
    folders = {path.name for path in ROOT.iterdir() if (path / "__init__.py").exists()} - {"tests"}
    assert {*folders, "templates", "static", "manage.py"} <= copied


def test_base_images_are_pinned_and_run_a_supported_python() -> None:
    bases = {rest.split()[0] for rest in arguments("FROM")}
    assert len(bases) == 1
    version = re.fullmatch(r"python:3\.(\d+)\.\d+-slim-\w+", bases.pop())
    assert version
    assert 11 <= int(version[1]) < 14
    for name in ("db", "broker"):
        assert re.fullmatch(r"[\w./-]+:\d+\.\d+\.\d+[\w.-]*", SERVICES[name]["image"]), name


def test_the_image_installs_what_the_lock_says() -> None:
    runs = " ".join(arguments("RUN"))
    assert "-r /requirements/torch.txt" in runs
    assert "--no-deps --require-hashes -r /requirements/run.txt" in runs
    assert runs.index("torch.txt") < runs.index("run.txt")


def test_the_last_stage_runs_as_an_ordinary_user_who_owns_the_data() -> None:
    names = [name for name, _ in instructions()]
    last = len(names) - names[::-1].index("FROM")
    later = instructions()[last:]
    user = next(rest for name, rest in later if name == "USER")
    created = next(rest for name, rest in later if name == "RUN")
    assert user != "root"
    assert f"useradd --system --uid 10001 --home-dir /data --shell /usr/sbin/nologin {user}" in created
    assert f"--owner={user} --mode=0700 /data" in created
    assert [name for name, _ in later].index("USER") > [name for name, _ in later].index("COPY")


def test_the_environment_of_the_image_is_known_to_the_site() -> None:
    set_here = dict(pair.split("=", 1) for pair in shlex.split(arguments("ENV")[-1]))
    assert set_here["KB_HOME"] in arguments("VOLUME")
    assert set_here["PORT"] in arguments("EXPOSE")
    foreign = {name for name in set_here if name != "PATH" and not name.startswith("PYTHON")}
    assert foreign <= set(VARIABLES)


def test_entrypoint_and_health_check_are_there_and_can_be_run() -> None:
    assert arguments("ENTRYPOINT") == ['["docker/entrypoint.sh"]']
    assert 'CMD ["python", "docker/health.py", "web"]' in arguments("HEALTHCHECK")[0]
    assert os.access(DOCKER / "entrypoint.sh", os.X_OK)
    subprocess.run(["sh", "-n", str(DOCKER / "entrypoint.sh")], check=True)


# The roles ------------------------------------------------------------------------------------------


def test_each_role_is_what_the_one_machine_version_starts() -> None:
    """The same command lines as `manage.py up`, but for the interpreter and what the environment says."""
    site = supervising.Site(home=Path("/data"), host="$HOST", port=0, parse_workers=0, fetch_threads=0)
    rows = [supervising.web_child(site), *supervising.worker_children(site)]
    here = {child.name: child.command() for child in rows}
    roles = {name: name.removeprefix("worker-") for name in branches() if name != "*"}
    for role, child in roles.items():
        inside = [ZERO.get(word, word) for word in branches()[role]]
        assert inside[0] == "python"
        assert sorted(inside[1:]) == sorted([*here[child][1:], "$@"]), role


def test_what_is_no_role_is_a_management_command() -> None:
    assert branches()["*"] == ["python", "manage.py", "$role", "$@"]
    for name, service in OURS.items():
        role = service["command"][0]
        assert role in branches() or role in get_commands(), name


def test_the_workers_take_every_queue() -> None:
    taken = set()
    for words in branches().values():
        if "-Q" in words:
            taken |= set(words[words.index("-Q") + 1].split(","))
    routed = {route["queue"] for route in settings.CELERY_TASK_ROUTES.values()}
    assert taken == routed | {settings.CELERY_TASK_DEFAULT_QUEUE} == set(QUEUES)


def test_the_modules_that_the_roles_run_are_there() -> None:
    for words in branches().values():
        if "-m" in words:
            assert importlib.util.find_spec(words[words.index("-m") + 1])
    assert settings.ASGI_APPLICATION.replace(".application", ":application") in branches()["web"]


# The services ---------------------------------------------------------------------------------------


def test_compose_builds_from_the_project() -> None:
    for service in OURS.values():
        context = (DOCKER / service["build"]["context"]).resolve()
        assert context == ROOT.resolve()
        assert (context / service["build"]["dockerfile"]).samefile(DOCKER / "Dockerfile")
        assert set(service["build"]["args"]) <= {rest.split("=")[0] for rest in arguments("ARG")}


def test_compose_sets_only_variables_that_the_site_knows() -> None:
    for name, service in OURS.items():
        assert set(service["environment"]) <= set(VARIABLES), name
    assert set(references()) <= set(VARIABLES) | ONLY_OUTSIDE


def test_compose_passes_on_what_its_example_offers() -> None:
    assert set(example()) == set(references())
    asked = {name for name, text in references().items() if "set it in" in text}
    assert asked == {"POSTGRES_PASSWORD"}
    for name, default in references().items():
        if name not in asked:
            assert example()[name] == default, name


def test_defaults_agree_with_the_code() -> None:
    theirs = {"SITE_URL", "ALLOWED_HOSTS"}  # a container's own address is not the one that people use
    for name in set(references()) - ONLY_OUTSIDE - theirs:
        assert references()[name] == VARIABLES[name].default, name


def test_addresses_name_services_and_their_ports() -> None:
    environment = SERVICES["web"]["environment"]
    assert re.fullmatch(r"postgres://footnote:.*@db:5432/footnote", environment["DATABASE_URL"])
    assert environment["REDIS_URL"] == "redis://broker:6379/0"
    db = SERVICES["db"]["environment"]
    assert (db["POSTGRES_USER"], db["POSTGRES_DB"]) == ("footnote", "footnote")
    assert {*environment["DATABASE_URL"].split("@")[1].split(":")[:1], "broker"} <= set(SERVICES)
    assert SERVICES["web"]["ports"] == [f"${{PORT:-8000}}:{arguments('EXPOSE')[0]}"]


def test_every_service_waits_for_what_it_needs() -> None:
    for name, service in OURS.items():
        waits = service["depends_on"]
        assert set(waits) <= set(SERVICES)
        for other in ("db", "broker"):
            assert waits[other]["condition"] == "service_healthy"
            assert "test" in SERVICES[other]["healthcheck"]
        if name != "prepare":
            assert waits["prepare"]["condition"] == "service_completed_successfully"
            assert service["restart"] == "unless-stopped"
    assert SERVICES["prepare"]["restart"] == "no"


def test_every_volume_is_declared_and_data_is_shared() -> None:
    used = {volume.split(":")[0] for service in SERVICES.values() for volume in service.get("volumes", [])}
    assert used == set(COMPOSE["volumes"])
    assert all("data:/data" in service["volumes"] for service in OURS.values())


def test_health_checks_ask_for_queues_that_the_worker_takes() -> None:
    for name in ("worker-control", "worker-parse", "worker-embed", "worker-fetch"):
        test = SERVICES[name]["healthcheck"]["test"]
        assert test[:3] == ["CMD", "python", "docker/health.py"]
        words = branches()[name]
        assert test[3] in words[words.index("-Q") + 1].split(",")
        grace = int(SERVICES[name]["stop_grace_period"].removesuffix("s"))
        assert grace >= next(c for c in supervising.worker_children(site()) if c.name in name).stop_seconds


def site() -> supervising.Site:
    return supervising.Site(home=Path("/data"), host="0.0.0.0", port=8000)


# The health check -----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def health() -> Any:
    spec = importlib.util.spec_from_file_location("health", DOCKER / "health.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.django_db(transaction=True)
def test_a_worker_is_healthy_while_it_writes_heartbeats(health: Any) -> None:
    database = connection.settings_dict
    passfile = database.get("OPTIONS", {}).get("passfile", "")
    address = " ".join(
        f"{key}='{value}'"
        for key, value in {
            "host": database["HOST"], "port": database["PORT"], "user": database["USER"],
            "password": database["PASSWORD"], "dbname": database["NAME"], "passfile": passfile,
        }.items()
        if value
    )  # fmt: skip
    assert not health.worker("parse", address)
    beat("parse")
    assert health.worker("parse", address)
    assert not health.worker("embed", address)
    Heartbeat.objects.update(at=timezone.now() - timedelta(seconds=health.SILENT_SECONDS + 1))
    assert not health.worker("parse", address)
    Heartbeat.objects.update(worker="parse@elsewhere:1", at=timezone.now())
    assert not health.worker("parse", address)


def test_a_worker_without_a_database_is_not_healthy(health: Any, tmp_path: Path) -> None:
    assert not health.worker("parse", f"host={tmp_path} dbname=none")


def test_the_web_is_not_healthy_where_nothing_listens(health: Any, unused_port: int) -> None:
    assert not health.web(unused_port)


@pytest.fixture
def unused_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port
