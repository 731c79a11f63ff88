"""Where the embedded services keep their data and listen; pure names, nothing is started here."""

import hashlib
import tempfile
from pathlib import Path
from typing import Any

# A Unix socket's path may have 107 bytes; ".s.PGSQL.5432" and a separator take 14 of them.
LONGEST_SOCKET_FOLDER = 90
DATABASE = USER = "footnote"


def make_private(folder: Path) -> None:
    """A folder that only this account looks into: logs may hold the words of mails, keys of a cache are secrets."""
    folder.mkdir(parents=True, exist_ok=True)
    folder.chmod(0o700)


def postgres_data(home: Path) -> Path:
    return home / "postgres"


def password_file(home: Path) -> Path:
    """The database password in libpq's passfile form, readable by its owner alone."""
    return home / "postgres.pass"


def sockets(home: Path) -> Path:
    """The folder of both services' sockets: in `home`, or under /tmp where that path is too long."""
    folder = home / "run"
    if len(str(folder).encode()) <= LONGEST_SOCKET_FOLDER:
        return folder
    return Path(tempfile.gettempdir()) / f"footnote-{hashlib.sha256(str(home).encode()).hexdigest()[:12]}"


def valkey_socket(home: Path) -> Path:
    return sockets(home) / "valkey.sock"


def database(home: Path) -> dict[str, Any]:
    """Django's settings for the embedded database."""
    return {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": DATABASE,
        "USER": USER,
        "HOST": str(sockets(home)),
        "OPTIONS": {"passfile": str(password_file(home))},
    }


def broker_url(home: Path) -> str:
    return f"redis+socket://{valkey_socket(home)}"


def cache_url(home: Path) -> str:
    return f"unix://{valkey_socket(home)}?db=1"
