"""Embedding models, indexes and their versions, the embedding queue, and the packed postings."""

from datetime import timedelta
from typing import Self

from django.conf import settings
from django.db import models
from django.utils import timezone

from kb.core.models import Collection
from kb.documents.models import Chunk, Chunking, Document


class EmbeddingModel(models.Model):
    """What turns text into vectors: enough to make the same vectors again."""

    class Provider(models.TextChoices):
        LOCAL = "local", "sentence-transformers on this machine"
        OPENAI = "openai", "OpenAI-compatible endpoint"
        HASHING = "hashing", "Hashed words (a stand-in without a model)"

    provider = models.CharField(max_length=20, choices=Provider)
    name = models.CharField(max_length=200)
    revision = models.CharField(max_length=100, blank=True)
    weights_sha256 = models.CharField(max_length=64, blank=True)
    dimensions = models.PositiveIntegerField()
    max_tokens = models.PositiveIntegerField()
    query_prompt = models.TextField(blank=True)
    document_prompt = models.TextField(blank=True)
    pooling = models.CharField(max_length=40, blank=True)
    licence = models.CharField(max_length=100, blank=True)
    base_url = models.URLField(blank=True)
    price_per_million_tokens = models.DecimalField(max_digits=10, decimal_places=4, null=True, blank=True)
    asks_dimensions = models.BooleanField(
        default=False, help_text="the endpoint is told how many dimensions are wanted"
    )
    training = models.JSONField(
        default=dict,
        blank=True,
        help_text="training_set_sha256; matryoshka: the numbers of dimensions that stand alone",
    )
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["provider", "name", "revision", "weights_sha256", "base_url"],
                name="one_embedding_model",
            )
        ]

    def __str__(self) -> str:
        return self.name


class Index(models.Model):
    """A named set of collections that share embedding model and chunking.

    `live_version` is the only pointer that says what serves. Collections without an
    `IndexedCollection` row belong to the default index.
    """

    name = models.CharField(max_length=100)
    slug = models.SlugField(unique=True)
    is_default = models.BooleanField(default=False)
    live_version = models.ForeignKey(
        "IndexVersion", null=True, blank=True, on_delete=models.PROTECT, related_name="+"
    )
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        verbose_name_plural = "indexes"
        constraints = [
            models.UniqueConstraint(
                fields=["is_default"], condition=models.Q(is_default=True), name="one_default_index"
            )
        ]

    def __str__(self) -> str:
        return self.name


class IndexedCollection(models.Model):
    """Puts a collection into an index other than the default one."""

    collection = models.OneToOneField(Collection, on_delete=models.CASCADE, related_name="indexed")
    index = models.ForeignKey(Index, on_delete=models.PROTECT, related_name="indexed_collections")

    def __str__(self) -> str:
        return f"{self.collection} in {self.index}"


class CollectionMove(models.Model):
    """A collection that is on its way into `index`: its versions are given the collection's chunks, too.

    It is searched where it was until the live version there has all of them. `error` says what keeps it.
    """

    collection = models.OneToOneField(Collection, on_delete=models.CASCADE, related_name="move")
    index = models.ForeignKey(Index, on_delete=models.CASCADE, related_name="moves")
    actor = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.SET_NULL, related_name="+"
    )
    created_at = models.DateTimeField(default=timezone.now)
    error = models.TextField(blank=True, help_text="what only a person can help with")

    def __str__(self) -> str:
        return f"{self.collection} to {self.index}"


class CollectionLeaving(models.Model):
    """An index that a collection was in, or on its way into, and that still holds some of it."""

    collection = models.ForeignKey(Collection, on_delete=models.CASCADE, related_name="leavings")
    index = models.ForeignKey(Index, on_delete=models.CASCADE, related_name="leavings")
    begin_after = models.DateTimeField(help_text="until then searches may still come there")

    class Meta:
        constraints = [models.UniqueConstraint(fields=["collection", "index"], name="one_collection_leaving")]

    def __str__(self) -> str:
        return f"{self.collection} out of {self.index}"


class IndexVersionQuerySet(models.QuerySet["IndexVersion"]):
    def maintained(self) -> Self:
        """The versions that every new and changed chunk reaches."""
        return self.filter(state__in=IndexVersion.MAINTAINED)


class IndexVersion(models.Model):
    """One build of an index: a model, dimensions, storage, HNSW parameters and a chunking.

    Its vectors are in a table of its own, `embedding_<id>`. With fewer dimensions than the model has, they
    are its first ones, brought to unit length again. `state` is changed by kb.indexes.lifecycle alone.
    """

    class State(models.TextChoices):
        BUILDING = "building", "Building"
        VALIDATING = "validating", "Validating"
        SHADOW = "shadow", "Shadow"
        CANARY = "canary", "Canary"
        LIVE = "live", "Live"
        RETIRED = "retired", "Retired (warm)"
        DROPPED = "dropped", "Dropped"
        PAUSED = "paused", "Paused"
        CANCELLED = "cancelled", "Cancelled"
        FAILED = "failed", "Failed"

    MAINTAINED = (State.BUILDING, State.VALIDATING, State.SHADOW, State.CANARY, State.LIVE, State.RETIRED)

    class Storage(models.TextChoices):
        VECTOR = "vector", "vector (4 bytes a number)"
        HALFVEC = "halfvec", "halfvec (2 bytes a number)"
        BIT = "bit", "bit, rescored"

    index = models.ForeignKey(Index, on_delete=models.CASCADE, related_name="versions")
    number = models.PositiveIntegerField()
    model = models.ForeignKey(EmbeddingModel, on_delete=models.PROTECT, related_name="versions")
    chunking = models.ForeignKey(Chunking, on_delete=models.PROTECT, related_name="versions")
    dimensions = models.PositiveIntegerField()
    storage = models.CharField(max_length=10, choices=Storage, default=Storage.HALFVEC)
    hnsw_m = models.PositiveSmallIntegerField(default=16)
    hnsw_ef_construction = models.PositiveSmallIntegerField(default=64)
    hnsw_ef_search = models.PositiveSmallIntegerField(default=100)
    state = models.CharField(max_length=12, choices=State, default=State.BUILDING)
    held = models.CharField(
        max_length=12, choices=State, blank=True, help_text="the state that a paused one goes back to"
    )
    error = models.TextField(blank=True, help_text="why it failed, or does not get on")
    canary_percent = models.PositiveSmallIntegerField(default=0, help_text="of the readers whom it serves")
    shadow_share = models.FloatField(default=0.0, help_text="of the queries that it runs beside, from 0 to 1")
    index_tries = models.PositiveSmallIntegerField(
        default=0, help_text="at its HNSW index that failed since building began"
    )
    derived_from = models.ForeignKey(
        "self",
        null=True,
        blank=True,
        on_delete=models.SET_NULL,
        related_name="derived",
        help_text="the version whose stored vectors it is computed of",
    )
    started_at = models.DateTimeField(null=True, blank=True, help_text="when building began, or was resumed")
    built_at = models.DateTimeField(
        null=True, blank=True, help_text="when its HNSW index was there and valid"
    )
    drop_after = models.DateTimeField(null=True, blank=True, help_text="a retired one is kept until then")
    created_at = models.DateTimeField(auto_now_add=True)

    objects = IndexVersionQuerySet.as_manager()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["index", "number"], name="one_version_number"),
            models.UniqueConstraint(
                fields=["index"], condition=models.Q(state="live"), name="one_live_version"
            ),
            models.UniqueConstraint(
                fields=["index"], condition=models.Q(state="canary"), name="one_canary_version"
            ),
        ]
        ordering = ["index", "-number"]

    def __str__(self) -> str:
        return f"{self.index} v{self.number}"

    @property
    def table(self) -> str:
        return f"embedding_{self.pk}"


class IndexTransition(models.Model):
    """A version went from one state to another: who, when, why."""

    version = models.ForeignKey(IndexVersion, on_delete=models.CASCADE, related_name="transitions")
    before = models.CharField(max_length=12, choices=IndexVersion.State, blank=True)
    after = models.CharField(max_length=12, choices=IndexVersion.State)
    at = models.DateTimeField(auto_now_add=True)
    actor = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, on_delete=models.SET_NULL, related_name="+"
    )
    reason = models.TextField(blank=True)

    class Meta:
        ordering = ["at"]

    def __str__(self) -> str:
        return f"{self.version}: {self.before} → {self.after}"


class ValidationReport(models.Model):
    """What was measured of a version, beside the one that served then, and whether it may go on.

    A verdict of "fail" stands; whoever overrides it is named with the reason.
    """

    class Verdict(models.TextChoices):
        PASS = "pass", "Passed"
        FAIL = "fail", "Failed"

    version = models.ForeignKey(IndexVersion, on_delete=models.CASCADE, related_name="reports")
    against = models.ForeignKey(
        IndexVersion, null=True, blank=True, on_delete=models.SET_NULL, related_name="+"
    )
    at = models.DateTimeField(default=timezone.now)
    verdict = models.CharField(max_length=4, choices=Verdict)
    reasons = models.JSONField(default=list, blank=True)
    figures = models.JSONField(default=dict, blank=True)
    overridden_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.SET_NULL, related_name="+"
    )
    override_reason = models.TextField(blank=True)

    class Meta:
        ordering = ["-at"]

    def __str__(self) -> str:
        return f"{self.version}: {self.get_verdict_display()}"

    @property
    def lets_on(self) -> bool:
        """Whether the version may leave validation: it passed, or somebody said why it may all the same."""
        return self.verdict == self.Verdict.PASS or bool(self.override_reason)


class EmbeddingJob(models.Model):
    """A chunk that still needs its vector in a version; written with the chunk, deleted with the vector.

    The chunk has no database constraint: a trigger removes the jobs of deleted chunks.
    """

    LEASE = timedelta(seconds=60)
    MOST_ATTEMPTS = 5

    version = models.ForeignKey(IndexVersion, on_delete=models.CASCADE, related_name="jobs")
    chunk = models.ForeignKey(Chunk, on_delete=models.DO_NOTHING, db_constraint=False, related_name="jobs")
    collection = models.ForeignKey(
        Collection, on_delete=models.DO_NOTHING, db_constraint=False, related_name="+"
    )
    tokens = models.PositiveIntegerField(default=0, help_text="of the chunk: batches are made of alike ones")
    paused = models.BooleanField(default=False)
    lease_until = models.DateTimeField(null=True, blank=True)
    attempts = models.PositiveSmallIntegerField(default=0)
    error = models.TextField(blank=True)
    created_at = models.DateTimeField(default=timezone.now)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["version", "chunk"], name="one_embedding_job")]
        indexes = [
            # Whose turn it is, collection by collection.
            models.Index(
                fields=["version", "collection", "created_at", "id"],
                name="embedding_queue",
                condition=models.Q(paused=False, attempts__lt=5),
            )
        ]

    def __str__(self) -> str:
        return f"Chunk {self.chunk_id} for {self.version_id}"


class CuttingJob(models.Model):
    """A document that is still to be cut by another chunking than the one it is searched by."""

    LEASE = timedelta(seconds=120)
    MOST_ATTEMPTS = 3

    chunking = models.ForeignKey(Chunking, on_delete=models.CASCADE, related_name="cutting_jobs")
    document = models.ForeignKey(Document, on_delete=models.CASCADE, related_name="cutting_jobs")
    lease_until = models.DateTimeField(null=True, blank=True)
    attempts = models.PositiveSmallIntegerField(default=0)
    error = models.TextField(blank=True)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["chunking", "document"], name="one_cutting_job")]

    def __str__(self) -> str:
        return f"Document {self.document_id} for chunking {self.chunking_id}"


class Calibration(models.Model):
    """What a model's backends were measured to do on one kind of machine, and which was chosen."""

    model = models.ForeignKey(EmbeddingModel, on_delete=models.CASCADE, related_name="calibrations")
    machine = models.CharField(
        max_length=64, help_text="hash of processor, cores, accelerator and package versions"
    )
    described = models.TextField(help_text="the same in words")
    backend = models.CharField(max_length=40)
    number_format = models.CharField(max_length=20)
    batch_size = models.PositiveSmallIntegerField()
    measured = models.JSONField(help_text="each backend: chunks a second, cosine to float32, or why not")
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["model", "machine"], name="one_calibration")]

    def __str__(self) -> str:
        return f"{self.model} on {self.described}: {self.backend}, {self.number_format}"


class Segment(models.Model):
    """Postings of some chunks of one collection; immutable, until a merge puts another in its place.

    `count` chunks with `total_length` analysed terms together. Its blocks go with it, by a trigger.
    """

    chunking = models.ForeignKey(Chunking, on_delete=models.CASCADE, related_name="segments")
    collection = models.ForeignKey(Collection, on_delete=models.CASCADE, related_name="segments")
    count = models.PositiveIntegerField()
    total_length = models.PositiveBigIntegerField()
    analyser = models.CharField(
        max_length=64, blank=True, help_text="hash of the analyser that made its terms"
    )
    live = models.BooleanField(
        default=True, help_text="searched; one made by another analyser takes its place as it is complete"
    )
    created_at = models.DateTimeField(default=timezone.now)

    class Meta:
        indexes = [models.Index(fields=["chunking", "collection"], name="segment_scope")]

    def __str__(self) -> str:
        return f"Segment {self.pk}: {self.count} chunks"


class PostingBlock(models.Model):
    """The postings of one term in one segment, packed (see retrieval.bm25.pack)."""

    # No constraint, which would be checked for each of a segment's thousands of blocks: a trigger does its work.
    segment = models.ForeignKey(
        Segment, on_delete=models.DO_NOTHING, db_constraint=False, related_name="blocks"
    )
    term = models.TextField()
    postings = models.BinaryField()

    class Meta:
        indexes = [models.Index(fields=["term", "segment"], name="posting_by_term")]

    def __str__(self) -> str:
        return self.term


class Tombstone(models.Model):
    """A deleted chunk whose postings are still in a block; written by a trigger, removed by a merge."""

    chunk_id = models.IntegerField(primary_key=True)
    chunking_id = models.BigIntegerField()
    collection_id = models.BigIntegerField()
    length = models.PositiveIntegerField()

    class Meta:
        indexes = [models.Index(fields=["chunking_id", "collection_id"], name="tombstone_scope")]

    def __str__(self) -> str:
        return f"Chunk {self.chunk_id}"
