"""Checks that a version's vectors are of its model's space: some are made again, and lie where they are stored.

Invariant 6: no two vector spaces are mixed. Vectors of another model with as many dimensions have the same
type and length; only the model can tell.
"""

import hashlib
import logging
from collections.abc import Iterator

import numpy as np
from django.db import connection
from numpy.typing import NDArray
from psycopg import sql

from kb.documents.models import Chunk
from kb.indexes import embedding_table, lineage, providers
from kb.indexes.auditing import Finding
from kb.indexes.embedding_queue import content_hash
from kb.indexes.models import IndexVersion
from retrieval.chunking import render

logger = logging.getLogger(__name__)

SAMPLE = 20
LEAST_COSINE = 0.99  # backends and number formats differ less

# Spread evenly over the chunks' ids, without reading the whole table.
SOME = """
WITH ends AS (SELECT min(chunk_id) AS low, max(chunk_id) AS high FROM {table})
SELECT DISTINCT ON (found.chunk_id) found.chunk_id, found.content_hash, found.vector
FROM ends CROSS JOIN generate_series(0, %(sample)s - 1) number CROSS JOIN LATERAL (
    SELECT chunk_id, content_hash, vector::vector::text AS vector FROM {table}
    WHERE chunk_id >= low + (high - low)::bigint * number / (%(sample)s - 1)
    ORDER BY chunk_id LIMIT 1
) found
ORDER BY found.chunk_id
"""


def audit() -> Iterator[Finding]:
    """What is wrong with the spaces of all versions that hold vectors."""
    for version in IndexVersion.objects.select_related("index", "model").order_by("pk"):
        if version.state != IndexVersion.State.DROPPED and embedding_table.exists(version):
            yield from foreign(version)
            yield from mixed(version)


def foreign(version: IndexVersion) -> Iterator[Finding]:
    """Vectors that the version's model makes otherwise, of a sample."""
    texts, stored = sample(version)
    if not texts:
        return
    try:
        made = providers.embedder_for(version).embed(texts, "document")
    except Exception as error:  # the rim: whatever keeps a model from answering
        logger.exception("%s does not answer", version.model)
        said = f"Not compared with what the model makes, which is not available: {error}"
        yield Finding(6, "model", str(version), len(texts), said, unknown=True)
        return
    if made.shape != stored.shape:
        far = len(texts)
    else:
        lengths = np.linalg.norm(made, axis=1) * np.linalg.norm(stored, axis=1)
        near = (made * stored).sum(axis=1) >= LEAST_COSINE * lengths
        far = int((~near).sum())
    if far:
        said = f"Of {len(texts)} vectors so many are not what the model makes of their chunks: build it anew."
        yield Finding(6, "space", str(version), far, said)


def sample(version: IndexVersion) -> tuple[list[str], NDArray[np.float32]]:
    """What the model read of some chunks, and their stored vectors. Those of older words are not among them."""
    statement = sql.SQL(SOME).format(table=sql.Identifier(version.table))
    with connection.cursor() as cursor:
        cursor.execute(statement, {"sample": SAMPLE})
        rows = {chunk: (bytes(content), vector) for chunk, content, vector in cursor.fetchall()}
    texts, vectors = [], []
    for chunk in Chunk.objects.filter(pk__in=rows).select_related("document").order_by("pk"):
        text = render(chunk.document.title, chunk.heading_path, chunk.text)
        rendered_hash = hashlib.sha256(text.encode()).digest()
        content, vector = rows[chunk.pk]
        if content == content_hash(version.model, rendered_hash):
            texts.append(text)
            vectors.append([float(number) for number in vector.strip("[]").split(",")])
    return texts, np.array(vectors, dtype=np.float32)


def mixed(version: IndexVersion) -> Iterator[Finding]:
    """Vectors of several backends or number formats that may not be comparable."""
    found = lineage.formats(version)
    if why := lineage.mixed(found):
        yield Finding(6, "mixed", str(version), sum(one.vectors for one in found[1:]), why)
