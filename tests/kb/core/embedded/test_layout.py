"""Names of the embedded services' files: short enough for a socket, and one home apart from another."""

from pathlib import Path

import pytest

from kb.core.embedded import layout


@pytest.mark.parametrize("home", [Path("/srv/kb"), Path("/srv") / ("k" * 200), Path("/srv") / ("é" * 60)])
def test_socket_paths_fit(home: Path) -> None:
    for socket in (layout.sockets(home) / ".s.PGSQL.5432", layout.valkey_socket(home)):
        assert len(str(socket).encode()) <= 107


def test_long_homes_have_sockets_of_their_own() -> None:
    one, two = (layout.sockets(Path("/srv") / (name * 200)) for name in "ab")
    assert one != two


def test_short_homes_keep_their_sockets_inside() -> None:
    assert layout.sockets(Path("/srv/kb")) == Path("/srv/kb/run")
    assert layout.broker_url(Path("/srv/kb")) == "redis+socket:///srv/kb/run/valkey.sock"
    assert layout.cache_url(Path("/srv/kb")) == "unix:///srv/kb/run/valkey.sock?db=1"
