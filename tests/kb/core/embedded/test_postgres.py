"""The embedded PostgreSQL: made once, adopted, shared, stopped by the last, and clear about what is wrong."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from kb.core.embedded import layout, lease, postgres
from kb.core.embedded.postgres import EmbeddedServiceError
from kb.core.supervision.guardian import alive


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cluster of this module's own; each test starts and stops its server."""
    return tmp_path_factory.mktemp("postgres")


@pytest.fixture(autouse=True)
def nothing_left(home: Path) -> Iterator[None]:
    yield
    assert postgres.running_pid(home) is None


def value(home: Path, query: str) -> object:
    with psycopg.connect(postgres.conninfo(home, layout.DATABASE)) as connection:
        row = connection.execute(query).fetchone()  # type: ignore[arg-type]
    return row[0] if row else None


def test_a_lease_gives_a_database_with_vectors(home: Path) -> None:
    with lease.postgres_lease(home):
        assert value(home, "SELECT current_setting('server_version_num')::int / 10000") == postgres.VERSION
        available = "SELECT count(*) FROM pg_available_extensions WHERE name = 'vector'"
        assert value(home, available) == 1
        assert value(home, "SELECT current_setting('listen_addresses')") == ""


LEASE = """
import sys
from pathlib import Path
from kb.core.embedded.lease import postgres_lease
with postgres_lease(Path(sys.argv[1])):
    print("ready", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def user(home: Path) -> Iterator[subprocess.Popen[str]]:
    """Another process with a lease, until its standard input is closed."""
    command = [sys.executable, "-c", LEASE, str(home)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        assert process.stdout.readline() == "ready\n"
        yield process


def test_the_server_is_shared_and_the_last_user_stops_it(home: Path, user: subprocess.Popen[str]) -> None:
    pid = postgres.running_pid(home)
    with lease.postgres_lease(home):
        user.communicate("")
        assert postgres.running_pid(home) == pid
        assert value(home, "SELECT 1") == 1
    assert postgres.running_pid(home) is None


def test_a_user_that_ends_leaves_the_server_to_the_others(home: Path, user: subprocess.Popen[str]) -> None:
    with lease.postgres_lease(home):
        pass
    assert value(home, "SELECT 1") == 1


def test_a_killed_user_lets_go(home: Path, user: subprocess.Popen[str]) -> None:
    """The next one to end stops the server, although the killed one never did."""
    user.kill()
    user.wait()
    assert postgres.running_pid(home) is not None
    with lease.postgres_lease(home):
        assert value(home, "SELECT 1") == 1


def test_a_server_that_was_left_over_is_adopted(home: Path) -> None:
    left = lease.start(home)
    postgres.wait_until_ready(home, lambda: left.poll() is None)
    with lease.postgres_lease(home):
        assert postgres.running_pid(home) == left.pid
    assert left.wait(10) == 0


def test_what_was_committed_survives_a_killed_server(home: Path) -> None:
    with lease.postgres_lease(home):
        pid = postgres.running_pid(home)
        assert pid
        with psycopg.connect(postgres.conninfo(home, layout.DATABASE)) as connection:
            connection.execute("CREATE TABLE kept AS SELECT 42 AS answer")
        os.kill(pid, signal.SIGKILL)
        while alive(pid):
            pass
    with lease.postgres_lease(home):
        assert value(home, "SELECT answer FROM kept") == 42


@pytest.mark.parametrize(
    "written",
    ["", "not a number\n", f"{2**22 + 1}\n", f"{os.getpid()}\n", "1\n"],
    ids=["empty", "words", "nobody", "ourselves", "init"],
)
def test_a_stale_pid_file_is_nobody(tmp_path: Path, written: str) -> None:
    layout.postgres_data(tmp_path).mkdir()
    (layout.postgres_data(tmp_path) / "postmaster.pid").write_text(written)
    assert postgres.running_pid(tmp_path) is None


def test_the_server_of_another_folder_is_not_ours(home: Path, tmp_path: Path) -> None:
    layout.postgres_data(tmp_path).mkdir()
    with lease.postgres_lease(home):
        (layout.postgres_data(tmp_path) / "postmaster.pid").write_text(f"{postgres.running_pid(home)}\n")
        assert postgres.running_pid(tmp_path) is None


def test_the_password_is_needed_and_kept_from_others(home: Path) -> None:
    file = layout.password_file(home)
    with lease.postgres_lease(home):
        assert file.stat().st_mode & 0o777 == 0o600
        good = file.read_text()
        file.write_text(good.rsplit(":", 1)[0] + ":wrong\n")
        try:
            with pytest.raises(EmbeddedServiceError, match="does not fit the database"):
                postgres.ready(home)
        finally:
            file.write_text(good)
        assert postgres.ready(home)


def test_not_ready_where_nothing_runs(home: Path) -> None:
    assert not postgres.ready(home)
    with pytest.raises(EmbeddedServiceError, match="stopped while starting"):
        postgres.wait_until_ready(home, lambda: False)
    with pytest.raises(EmbeddedServiceError, match="did not get ready"):
        postgres.wait_until_ready(home, lambda: True, seconds=0)


def test_data_of_another_version_is_refused(tmp_path: Path) -> None:
    layout.postgres_data(tmp_path).mkdir()
    (layout.postgres_data(tmp_path) / "PG_VERSION").write_text("17\n")
    with pytest.raises(EmbeddedServiceError, match="holds PostgreSQL 17 data"):
        postgres.prepare(tmp_path)


def test_a_half_made_cluster_is_made_again(tmp_path: Path) -> None:
    draft = tmp_path / "postgres.draft"
    draft.mkdir()
    (draft / "rest").write_text("of a start that was cut short")
    postgres.prepare(tmp_path)
    assert (layout.postgres_data(tmp_path) / "PG_VERSION").exists()
    assert not draft.exists()
    assert not (layout.sockets(tmp_path) / "password").exists()


def test_folders_are_closed_to_others(home: Path) -> None:
    with lease.postgres_lease(home):
        assert layout.postgres_data(home).stat().st_mode & 0o077 == 0
        assert layout.sockets(home).stat().st_mode & 0o066 == 0
