"""Converted graphs on disk, each with its tokenizer and facts: whoever finds one needs no torch."""

import fcntl
import hashlib
import json
import logging
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from tokenizers import Tokenizer

from retrieval.embedders.backends import OPENVINO, BackendUnavailable, openvino_network
from retrieval.embedders.backends.openvino_network import OpenVinoNetwork
from retrieval.embedders.backends.tokenised import Tokenised
from retrieval.embedders.sentence_model import (
    PROBES,
    Facts,
    facts,
    has_token_types,
    loaded,
    ready,
    tokenizer,
)

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

logger = logging.getLogger(__name__)

MAKERS = ("openvino", "sentence-transformers", "torch", "transformers", "tokenizers")
LAYOUT = "1"
SAME = 0.9999  # cosine between what the model and its graph, both in float32, make of a text
GRAPH, TOKENIZER, FACTS = "graph.xml", "tokenizer.json", "facts.json"


@dataclass(frozen=True)
class Converted:
    """A graph of OpenVINO's, and what one needs to use it."""

    graph: Any
    tokenizer: Tokenizer
    facts: Facts


def graph_of(directory: Path, weights_sha256: str, cache: Path | None) -> Converted:
    """The graph of the model in `directory`, from the cache or converted now; BackendUnavailable if it cannot be.

    One process converts, and others that want the same graph wait for it: each would take the processors from
    the other. Where the folder cannot be locked all of them convert, and what one of them kept stays.
    """
    if cache is None:
        return convert(directory)
    place = cache / key(directory, weights_sha256)
    if known := kept(directory, place):
        return known
    with alone(cache):
        return kept(directory, place) or make(directory, place)


def kept(directory: Path, place: Path) -> Converted | None:
    """The graph that is there; one that cannot be read is removed."""
    if not place.is_dir():
        return None
    try:
        return read(place)
    except (BackendUnavailable, OSError, ValueError, TypeError) as error:
        logger.warning("Converting %s anew: %s", directory.name, error)
        shutil.rmtree(place, ignore_errors=True)
        return None


@contextmanager
def alone(cache: Path) -> Iterator[None]:
    """Waits until nobody else converts for the folder; a process that dies lets go."""
    try:
        cache.mkdir(parents=True, exist_ok=True)
        folder = os.open(cache, os.O_RDONLY)
    except OSError:
        yield  # nothing can be kept there either
        return
    try:
        try:
            fcntl.flock(folder, fcntl.LOCK_EX)
        except OSError as error:
            logger.warning("%s cannot be locked: %s", cache, error)
        yield
    finally:
        os.close(folder)


def make(directory: Path, place: Path) -> Converted:
    """Converts the model and keeps the graph at `place`, where that can be."""
    made = convert(directory)
    try:
        keep(made, place)
        return read(place)  # as others will: to the last bit, what was written may differ from what was made
    except (BackendUnavailable, OSError) as error:
        logger.warning("The converted graph of %s could not be kept: %s", directory.name, error)
    return made


def key(directory: Path, weights_sha256: str) -> str:
    """Weights, settings and the packages that convert: what the graph depends on."""
    digest = hashlib.sha256(LAYOUT.encode())
    for package in MAKERS:
        digest.update(f"{package} {version(package)}\n".encode())
    for path in sorted(directory.glob("**/*.json")):
        digest.update(path.relative_to(directory).as_posix().encode() + b"\n" + path.read_bytes())
    return f"{weights_sha256[:16]}-{digest.hexdigest()[:16]}"


def version(package: str) -> str:
    """The installed version, or nothing."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return ""


def convert(directory: Path) -> Converted:
    model = loaded(directory)
    own = tokenizer(model)
    if own is None:
        raise BackendUnavailable("this model reads more than tokens")
    try:
        graph = openvino_network.converted(model, has_token_types(model))
    except BackendUnavailable:
        raise
    except Exception as error:  # whatever a converter of any model's code may raise
        raise BackendUnavailable(f"OpenVINO cannot convert this model: {error}") from error
    made = Converted(graph, own, facts(model))
    refuse_other_vectors(model, made)
    return made


def refuse_other_vectors(model: "SentenceTransformer", made: Converted) -> None:
    """Raises BackendUnavailable if the graph is not the model: a converter may leave out what it cannot follow."""
    expected = np.asarray(model.encode(PROBES, normalize_embeddings=True, show_progress_bar=False))
    network = OpenVinoNetwork(made.graph, OPENVINO)
    encoder = Tokenised(network, made.tokenizer, made.facts.pad_token, made.facts.dimensions)
    cosine = float((encoder.encode(PROBES, "", len(PROBES)) * expected).sum(axis=1).min())
    if not cosine > SAME:
        raise BackendUnavailable(f"OpenVINO converts this model to another one: cosine {cosine:.4f}")


def keep(made: Converted, place: Path) -> None:
    """Writes the folder under another name first: whoever finds `place` finds all of it."""
    place.parent.mkdir(parents=True, exist_ok=True)
    draft = Path(tempfile.mkdtemp(prefix=".making-", dir=place.parent))
    try:
        openvino_network.save(made.graph, draft / GRAPH)
        (draft / TOKENIZER).write_text(made.tokenizer.to_str(), "utf-8")
        (draft / FACTS).write_text(json.dumps(asdict(made.facts)), "utf-8")
        if not place.exists():
            draft.rename(place)
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    forget_others(place)


def forget_others(place: Path) -> None:
    """Removes the graphs of the same weights that other packages made; running processes keep theirs open."""
    weights = place.name.partition("-")[0]
    for other in place.parent.glob(f"{weights}-*"):
        if other != place:
            shutil.rmtree(other, ignore_errors=True)


def read(place: Path) -> Converted:
    known = Facts(**json.loads((place / FACTS).read_text("utf-8")))
    own = ready((place / TOKENIZER).read_text("utf-8"), known.max_tokens)
    return Converted(openvino_network.read(place / GRAPH), own, known)
