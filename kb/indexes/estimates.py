"""What a version still takes: chunks and tokens, time, money and energy."""

from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from django.conf import settings
from django.db import connection
from django.utils import timezone
from psycopg import sql

from kb.core.models import Heartbeat
from kb.indexes import calibrating, deriving, embedding_table, placing, rechunking
from kb.indexes.models import EmbeddingJob, EmbeddingModel, IndexVersion

DERIVED_A_SECOND = 7_500.0  # vectors: 256 of 384 dimensions, measured on two busy cores

ALL = """
SELECT count(*), coalesce(sum(chunk.tokens), 0) FROM documents_chunk chunk
WHERE chunk.chunking_id = %(chunking)s AND {belongs}
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


def estimate(version: IndexVersion, done: int | None = None) -> Estimate:
    """Of a version that is there, or of one that is only thought of (not saved). `done` vectors it has: counted
    where they are not given."""
    derived = version.derived_from_id is not None
    rough = version.pk is None and rechunking.needed(version)
    chunks, tokens = left(version, done, rough=rough)
    rate = DERIVED_A_SECOND if derived else rate_of(version)
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


def left(version: IndexVersion, done: int | None, *, rough: bool) -> tuple[int, int]:
    """Chunks, and their tokens as counted by the chunker: of those that lack their vector as many as of all."""
    live = version.index.live_version
    given: dict[str, Any] = {
        "chunking": live.chunking_id if rough and live else version.chunking_id,
        **placing.given(version.index),
    }
    with connection.cursor() as cursor:
        cursor.execute(sql.SQL(ALL).format(belongs=sql.SQL(placing.belongs("chunk"))), given)
        chunks, tokens = (int(count) for count in cursor.fetchone())
    if version.pk is None or not chunks:
        return chunks, tokens
    if done is None:
        done = embedding_table.count(version) if embedding_table.exists(version) else 0
    missing = max(chunks - done, 0)
    return missing, round(tokens * missing / chunks)


def rate_of(version: IndexVersion) -> float | None:
    """Chunks a second that the build has: as its workers do of late, else as its model was calibrated here, less what
    is rested."""
    if embeds_now(version):
        return share_of(of_late())
    calibrated = share_of(calibrated_rate(version.model))
    if calibrated is None and not IndexVersion.objects.maintained().exclude(model=version.model_id).exists():
        return share_of(of_late())  # workers have no other model
    return calibrated


def share_of(rate: float | None) -> float | None:
    return rate * settings.INDEX_BUILD_PERCENT / 100 if rate else None


def embeds_now(version: IndexVersion) -> bool:
    """Whether workers are at this version: what they do of late says nothing of another model."""
    if version.pk is None:
        return False
    return EmbeddingJob.objects.filter(
        version=version, attempts__lt=EmbeddingJob.MOST_ATTEMPTS, lease_until__gt=timezone.now()
    ).exists()


def of_late() -> float:
    embed = Heartbeat.objects.all().fresh().filter(queue="embed", rate__gt=0)
    return float(sum(embed.values_list("rate", flat=True)))


def calibrated_rate(model: EmbeddingModel) -> float | None:
    if model.provider != EmbeddingModel.Provider.LOCAL:
        return None
    known = calibrating.calibration(model)
    chosen = [row for row in known.measured if row["backend"] == known.backend] if known else []
    return max((float(rate) for row in chosen for rate in row["rates"].values()), default=None)


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
