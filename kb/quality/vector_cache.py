"""Vectors of earlier evaluations, on disk, by what made them: weights, number format, rendered input."""

import hashlib
import sqlite3
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from retrieval.embedders import DescribedEmbedder, Kind, ModelCard

MOST_PARAMETERS = 500


class CachedEmbedder:
    """Embeds what the cache does not hold, and keeps it. Safe to use from several threads."""

    def __init__(self, inner: DescribedEmbedder, path: Path) -> None:
        self.inner, self.path = inner, path
        path.parent.mkdir(parents=True, exist_ok=True)
        with closing(self.connect()) as cache, cache:
            cache.execute("CREATE TABLE IF NOT EXISTS vectors (key BLOB PRIMARY KEY, vector BLOB NOT NULL)")

    def describe(self) -> ModelCard:
        return self.inner.describe()

    def embed(self, texts: Sequence[str], kind: Kind) -> NDArray[np.float32]:
        keys = [self.key(text, kind) for text in texts]
        with closing(self.connect()) as cache, cache:
            known = self.read(cache, keys)
            missing = [place for place, key in enumerate(keys) if key not in known]
            if missing:
                made = self.inner.embed([texts[place] for place in missing], kind)
                new = {keys[place]: vector for place, vector in zip(missing, made, strict=True)}
                rows = [(key, vector.astype("<f4").tobytes()) for key, vector in new.items()]
                cache.executemany("INSERT OR REPLACE INTO vectors VALUES (?, ?)", rows)
                known |= new
        return np.array([known[key] for key in keys], np.float32)

    def connect(self) -> sqlite3.Connection:
        return sqlite3.connect(self.path, timeout=60)

    def key(self, text: str, kind: Kind) -> bytes:
        card = self.describe()
        prompt = card.query_prompt if kind == "query" else card.document_prompt
        made_by = (
            f"{card.name}\0{card.weights_sha256}\0{card.backend}\0{card.number_format}\0{kind}\0{prompt}\0"
        )
        return hashlib.sha256((made_by + text).encode()).digest()

    def read(self, cache: sqlite3.Connection, keys: Sequence[bytes]) -> dict[bytes, NDArray[np.float32]]:
        found: dict[bytes, NDArray[np.float32]] = {}
        for first in range(0, len(keys), MOST_PARAMETERS):
            part = list(set(keys[first : first + MOST_PARAMETERS]))
            marks = ",".join("?" * len(part))
            rows = cache.execute(f"SELECT key, vector FROM vectors WHERE key IN ({marks})", part)  # noqa: S608  # only marks
            found |= {key: np.frombuffer(vector, "<f4") for key, vector in rows}
        return found
