"""What a deployment may set by environment variables: names, defaults and meanings in one table."""

import os
import secrets
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit

ROOT = Path(__file__).resolve().parent.parent.parent


class BadConfiguration(Exception):
    """An environment variable has a value that cannot be used; the message says what to do."""


@dataclass(frozen=True)
class Variable:
    """One environment variable; `default` is what the README's table shows."""

    name: str
    default: str
    meaning: str


VARIABLES = {
    variable.name: variable
    for variable in (
        Variable("KB_HOME", "var", "where data, logs and the embedded services live"),
        Variable("HOST", "127.0.0.1", "the address that `manage.py up` listens on"),
        Variable("PORT", "8000", "the port that `manage.py up` listens on"),
        Variable("SITE_URL", "", "the address people use, for links in invitations; default: host and port"),
        Variable("ALLOWED_HOSTS", "localhost,127.0.0.1,[::1]", "host names to answer to, with commas"),
        Variable("CSRF_TRUSTED_ORIGINS", "", "origins behind a proxy, such as https://kb.example.org"),
        Variable("HTTPS", "0", "1 behind a TLS proxy: secure cookies, HSTS, X-Forwarded-Proto trusted"),
        Variable("DEBUG", "0", "1 shows error pages with code; never in production"),
        Variable("SECRET_KEY", "", "signs sessions; default: generated once in KB_HOME"),
        Variable("TIME_ZONE", "UTC", "the time zone of pages and logs"),
        Variable("LOG_LEVEL", "INFO", "DEBUG, INFO, WARNING or ERROR"),
        Variable("DATABASE_URL", "", "a PostgreSQL with pgvector; default: the embedded one"),
        Variable(
            "DATABASE_POOL", "48", "connections that the web process keeps at most; 0: one for each request"
        ),
        Variable("REDIS_URL", "", "a Redis or Valkey for broker and cache; default: the embedded one"),
        Variable("EMAIL_URL", "", "smtp://user:password@host:port; default: mails go to the log"),
        Variable("EMAIL_FROM", "footnote@localhost", "the sender of mails"),
        Variable(
            "LLM_BASE_URL", "", "an OpenAI-compatible endpoint that writes answers; default: extractive"
        ),
        Variable("LLM_MODEL", "", "the language model's name at LLM_BASE_URL"),
        Variable("LLM_API_KEY", "", "the key for LLM_BASE_URL"),
        Variable("LLM_TIMEOUT_SECONDS", "60", "how long to wait for the language model"),
        Variable("MAX_UPLOAD_MB", "50", "the largest file that is taken"),
        Variable(
            "MOST_WAITING",
            "50000",
            "documents of one collection that wait at most: more are refused until there are fewer",
        ),
        Variable("PARSE_MEMORY_MB", "1024", "memory for parsing one file"),
        Variable("PARSE_SECONDS", "60", "processor time for parsing one file; twice that by the clock"),
        Variable("PARSE_MAX_CHARACTERS", "20000000", "the longest text that is taken out of one file"),
        Variable("PARSE_WORKERS", "2", "files parsed at once"),
        Variable("FETCH_THREADS", "8", "web servers asked at once"),
        Variable("EMBED_THREADS", "0", "threads of the embedding model; 0: as many as cores"),
        Variable("WORKER_NICE", "10", "how far workers give way to searches on the same machine: 0 to 19"),
        Variable(
            "EMBEDDER", "local", "local: all-MiniLM-L6-v2; hashing: a tiny stand-in for trying things out"
        ),
        Variable(
            "EMBED_BACKEND",
            "auto",
            "what runs a local model; auto: the fastest, measured at the first start; or one such as torch-float32",
        ),
        Variable(
            "SEARCH_DEADLINE_MS",
            "10000",
            "the longest that a search may take, in milliseconds; then it is refused, or answered by one arm",
        ),
        Variable(
            "EMBED_DEADLINE_MS",
            "2000",
            "how long a question waits for its vector before its words alone are searched",
        ),
        Variable("QUERY_VECTOR_HOURS", "24", "how long the vector of a question is kept in the cache"),
        Variable("EMBEDDINGS_API_KEY", "", "the key for embedding models behind an endpoint"),
        Variable("EMBEDDINGS_TIMEOUT_SECONDS", "30", "how long to wait for one answer of such an endpoint"),
        Variable(
            "WATTS", "65", "what the machine draws at work, for the energy that a build is said to take"
        ),
        Variable(
            "INDEX_BUILD_PERCENT",
            "60",
            "how much of a worker's time a new index version, or a collection that moves into one, takes while people "
            "search",
        ),
        Variable(
            "CANARY_STEP_HOURS", "24", "how long a canary keeps a share of the readers before it has more"
        ),
        Variable(
            "CANARY_STEP_QUERIES",
            "100",
            "how many queries it and the live version answer at least in that time",
        ),
        Variable(
            "INDEX_SOAK_HOURS", "72", "how long a retired index version is kept warm, to go back to at once"
        ),
    )
}


def text(name: str) -> str:
    """The variable's value, or its default."""
    return os.environ.get(name) or VARIABLES[name].default


def flag(name: str) -> bool:
    value = text(name).lower()
    if value not in {"0", "1", "true", "false", "yes", "no"}:
        raise BadConfiguration(f"{name} is {value!r}: set it to 1 or 0.")
    return value in {"1", "true", "yes"}


def number(name: str, minimum: int = 0, maximum: int = 2**31) -> int:
    value = text(name)
    if not value.isdecimal() or not minimum <= int(value) <= maximum:
        raise BadConfiguration(f"{name} is {value!r}: set it to a whole number from {minimum} to {maximum}.")
    return int(value)


def words(name: str) -> list[str]:
    return [word.strip() for word in text(name).split(",") if word.strip()]


def home() -> Path:
    """KB_HOME as an absolute path; a relative one starts at the project's folder."""
    return (ROOT / Path(text("KB_HOME")).expanduser()).resolve()


def kept_secret(path: Path) -> str:
    """The secret in `path`, made on first use: readable by its owner alone, never half-written."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.exists():
            draft = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
            with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
                file.write(secrets.token_urlsafe(50))
            try:
                os.link(draft, path)
            except FileExistsError:
                pass  # another process was first; its secret is the one to use
            finally:
                draft.unlink()
        return path.read_text()
    except OSError as error:
        raise BadConfiguration(
            f"cannot use {path} ({error.strerror}): set KB_HOME to a folder of yours."
        ) from error


def kept_folder(path: Path) -> Path:
    """The folder, made on first use, for its owner alone: Django checks that it is there."""
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise BadConfiguration(
            f"cannot use {path} ({error.strerror}): set KB_HOME to a folder of yours."
        ) from error
    return path


def secret_key() -> str:
    """SECRET_KEY, or one generated once and kept in KB_HOME."""
    return text("SECRET_KEY") or kept_secret(home() / "secret_key")


def choice(name: str, *options: str) -> str:
    value = text(name)
    if value not in options:
        raise BadConfiguration(f"{name} is {value!r}: set it to one of {', '.join(options)}.")
    return value


def mail_server() -> tuple[str, int, str, str, bool]:
    """EMAIL_URL as host, port, user, password and whether to speak TLS."""
    url = urlsplit(text("EMAIL_URL"))
    if url.scheme not in {"smtp", "smtps"} or not url.hostname:
        raise BadConfiguration(
            "EMAIL_URL is not a mail server: write smtp://user:password@host:port (smtps for TLS)."
        )
    secure = url.scheme == "smtps"
    return (
        url.hostname,
        url.port or (465 if secure else 25),
        unquote(url.username or ""),
        unquote(url.password or ""),
        secure,
    )
