"""What a version still takes: chunks and tokens, time, money and energy."""

from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from django.conf import settings
from django.db import connection
from psycopg import sql

from kb.core.models import Heartbeat
from kb.indexes import calibrating, deriving, embedding_table, placing, rechunking
from kb.indexes.models import EmbeddingModel, IndexVersion

DERIVED_A_SECOND = 7_500.0  # vectors: 256 of 384 dimensions, measured on two busy cores

# Left are the chunks of the version that have neither the right vector of their own, nor one of the same input.
LEFT = """
SELECT count(*), coalesce(sum(chunk.tokens), 0) FROM documents_chunk chunk
WHERE chunk.chunking_id = %(chunking)s AND {belongs}
"""
MISSING = """
    AND NOT EXISTS (
        SELECT FROM {table} made WHERE made.chunk_id = chunk.id
            AND made.content_hash = sha256(%(prompt)s::bytea || chunk.rendered_hash)
    )
"""


@dataclass(frozen=True)
class Estimate:
    """`chunks` with `tokens` are left; `seconds` are None where no rate is known, `cost` where no price is.

    `rate` is chunks a second. `derived`: they are computed of stored vectors. `rough`: documents are still
    to be cut, and the chunks are those of the chunking that serves.
    """

    chunks: int
    tokens: int
    rate: float | None
    seconds: float | None
    cost: Decimal | None
    watt_hours: float | None
    derived: bool
    rough: bool


def estimate(version: IndexVersion) -> Estimate:
    """Of a version that is there, or of one that is only thought of (not saved)."""
    derived = version.derived_from_id is not None
    rough = version.pk is None and rechunking.needed(version)
    chunks, tokens = left(version, rough=rough)
    rate = DERIVED_A_SECOND if derived else rate_of(version.model)
    seconds = chunks / rate if rate else None
    return Estimate(
        chunks=chunks,
        tokens=tokens,
        rate=rate,
        seconds=seconds,
        cost=None if derived else cost(version.model, tokens),
        watt_hours=watt_hours(version.model, seconds, derived=derived),
        derived=derived,
        rough=rough,
    )


def left(version: IndexVersion, *, rough: bool) -> tuple[int, int]:
    """Chunks, and their tokens as counted by the chunker."""
    live = version.index.live_version
    given: dict[str, Any] = {
        "chunking": live.chunking_id if rough and live else version.chunking_id,
        **placing.given(version.index),
        "prompt": version.model.document_prompt.encode(),
    }
    statement: sql.Composable = sql.SQL(LEFT).format(belongs=sql.SQL(placing.belongs("chunk")))
    if version.pk is not None and embedding_table.exists(version):
        statement = statement + sql.SQL(MISSING).format(table=sql.Identifier(version.table))
    with connection.cursor() as cursor:
        cursor.execute(statement, given)
        chunks, tokens = cursor.fetchone()
    return int(chunks), int(tokens)


def rate_of(model: EmbeddingModel) -> float | None:
    """Chunks a second that a build has of it: as workers do of late, else as calibrated here, less what is rested."""
    share = settings.INDEX_BUILD_PERCENT / 100
    embed = Heartbeat.objects.all().fresh().filter(queue="embed", rate__gt=0)
    of_late = sum(embed.values_list("rate", flat=True))
    if of_late:
        return share * of_late
    if model.provider != EmbeddingModel.Provider.LOCAL:
        return None
    known = calibrating.calibration(model)
    chosen = [row for row in known.measured if row["backend"] == known.backend] if known else []
    return max((share * rate for row in chosen for rate in row["rates"].values()), default=None)


def cost(model: EmbeddingModel, tokens: int) -> Decimal | None:
    """In the currency of the price; a model on this machine costs energy alone."""
    if model.price_per_million_tokens is None:
        return None
    return (model.price_per_million_tokens * tokens / 1_000_000).quantize(Decimal("0.0001"))


def watt_hours(model: EmbeddingModel, seconds: float | None, *, derived: bool) -> float | None:
    """What this machine takes at work; None for an endpoint, whose energy nobody here knows."""
    if seconds is None or (model.provider == EmbeddingModel.Provider.OPENAI and not derived):
        return None
    working = seconds if derived else seconds * settings.INDEX_BUILD_PERCENT / 100
    return working * settings.WATTS / 3600


def planned(version: IndexVersion) -> Estimate:
    """Of a version that is only thought of; what it would be derived of is looked up."""
    version.derived_from = deriving.source_for(version.index, version)
    return estimate(version)
