"""Documents, their immutable revisions, and the chunks of a chunking."""

import hashlib
import uuid
from datetime import timedelta
from typing import Self

from django.conf import settings
from django.contrib.postgres.fields import ArrayField
from django.contrib.postgres.indexes import GinIndex
from django.db import models
from django.utils import timezone

from kb.core.models import Collection, Reader

# Where `db_index=False` stands, an index that begins with the column serves for it, or nobody looks up by it:
# each index of these tables is written several times for every document.


class UploadQuerySet(models.QuerySet["Upload"]):
    def visible_to(self, user: Reader) -> Self:
        return self.filter(collection__in=Collection.objects.visible_to(user))

    def editable_by(self, user: Reader) -> Self:
        return self.filter(collection__in=Collection.objects.editable_by(user))


class Upload(models.Model):
    """Documents that were put in together, to be watched, paused and cancelled together."""

    class Origin(models.TextChoices):
        PAGE = "page", "The upload page"
        API = "api", "The API"
        COMMAND = "command", "manage.py ingest"
        ADMIN = "admin", "The admin"
        ARCHIVE = "archive", "An archive"
        WEB = "web", "The web"

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    collection = models.ForeignKey(Collection, on_delete=models.CASCADE, related_name="uploads")
    origin = models.CharField(max_length=10, choices=Origin)
    name = models.CharField(max_length=255, blank=True)
    paused = models.BooleanField(default=False)
    created_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.SET_NULL, related_name="+"
    )
    created_at = models.DateTimeField(auto_now_add=True)

    objects = UploadQuerySet.as_manager()

    class Meta:
        ordering = ["-created_at", "id"]
        indexes = [models.Index(fields=["collection", "-created_at", "id"], name="upload_listing")]

    def __str__(self) -> str:
        return self.name or f"Upload of {self.created_at:%d %B %Y, %H:%M}"


class DocumentQuerySet(models.QuerySet["Document"]):
    def visible_to(self, user: Reader) -> Self:
        return self.filter(collection__in=Collection.objects.visible_to(user))

    def editable_by(self, user: Reader) -> Self:
        return self.filter(collection__in=Collection.objects.editable_by(user))


class Document(models.Model):
    """One document: its newest revision is `current`; `incoming` is a revision still being worked on.

    While a replacement is parsed, `current` goes on serving; it changes in the transaction that
    writes the new chunks.
    """

    class State(models.TextChoices):
        QUEUED = "queued", "Queued"
        PARSING = "parsing", "Parsing"
        EMBEDDING = "embedding", "Embedding"
        READY = "ready", "Ready"
        FAILED = "failed", "Failed"
        CANCELLED = "cancelled", "Cancelled"

    WORK = (State.QUEUED, State.PARSING, State.EMBEDDING)

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    collection = models.ForeignKey(
        Collection, on_delete=models.CASCADE, related_name="documents", db_index=False
    )
    title = models.CharField(max_length=500)
    tags = ArrayField(
        models.CharField(max_length=50),
        default=list,
        db_default=[],
        blank=True,
        help_text="in lower case, one word each",
    )
    filename = models.CharField(max_length=255)
    state = models.CharField(max_length=12, choices=State, default=State.QUEUED)
    error_code = models.CharField(max_length=30, blank=True)
    error = models.TextField(blank=True)
    attempts = models.PositiveSmallIntegerField(default=0)
    claimed_until = models.DateTimeField(null=True, blank=True)
    current = models.ForeignKey(
        "DocumentRevision", null=True, blank=True, on_delete=models.SET_NULL, related_name="+"
    )
    incoming = models.ForeignKey(
        "DocumentRevision", null=True, blank=True, on_delete=models.SET_NULL, related_name="+"
    )
    paused = models.BooleanField(default=False)
    queued_at = models.DateTimeField(default=timezone.now)
    upload = models.ForeignKey(
        Upload, null=True, blank=True, on_delete=models.SET_NULL, related_name="documents"
    )
    archive = models.ForeignKey(
        "self",
        null=True,
        blank=True,
        on_delete=models.CASCADE,
        related_name="entries",
        help_text="the archive that it came out of, and goes with",
    )
    same_as = models.ForeignKey(
        "self",
        null=True,
        blank=True,
        on_delete=models.SET_NULL,
        related_name="copies",
        help_text="a document with the very same file that the uploader could see",
    )
    created_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.SET_NULL, related_name="+"
    )
    created_at = models.DateTimeField(auto_now_add=True)
    updated_at = models.DateTimeField(auto_now=True)

    objects = DocumentQuerySet.as_manager()

    class Meta:
        ordering = ["-created_at", "id"]
        indexes = [
            models.Index(fields=["collection", "-created_at", "id"], name="document_listing"),
            models.Index(fields=["state"], name="document_state"),
            # Who is next, collection by collection: only what is at work is in it.
            models.Index(
                fields=["collection", "queued_at", "id"],
                name="document_queue",
                condition=models.Q(state__in=["queued", "parsing"], paused=False),
            ),
            GinIndex(fields=["tags"], name="document_tags"),
        ]

    def __str__(self) -> str:
        return self.title


ORIGINALS = "originals"


def original_path(content_hash: str) -> str:
    """Originals are stored by what they hold: equal files take one place."""
    return f"{ORIGINALS}/{content_hash[:2]}/{content_hash[2:]}"


def content_path(revision: "DocumentRevision", _filename: str) -> str:
    return original_path(revision.sha256)


class DocumentRevision(models.Model):
    """One version of a document: the original file and the canonical text that was extracted from it.

    `text` never changes once it is written. `pages` are `[number, start, end]`, `headings` are
    `[level, title, start, end]`; offsets count characters of `text`.
    """

    document = models.ForeignKey(Document, on_delete=models.CASCADE, related_name="revisions", db_index=False)
    number = models.PositiveIntegerField()
    sha256 = models.CharField(max_length=64)
    file = models.FileField(upload_to=content_path, max_length=200)
    filename = models.CharField(max_length=255)
    size = models.PositiveBigIntegerField()
    media_type = models.CharField(max_length=120, blank=True)
    title = models.CharField(max_length=500, blank=True)
    author = models.CharField(max_length=500, blank=True)
    language = models.CharField(max_length=10, blank=True, help_text="ISO 639-1, such as en")
    written_at = models.DateTimeField(null=True, blank=True, help_text="as the file says")
    text = models.TextField(blank=True)
    pages = models.JSONField(default=list)
    headings = models.JSONField(default=list)
    parsed_at = models.DateTimeField(null=True, blank=True)
    parser = models.CharField(max_length=40, blank=True, help_text="the version of the loaders that read it")
    created_at = models.DateTimeField(auto_now_add=True)
    created_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.SET_NULL, related_name="+"
    )

    class Meta:
        ordering = ["number"]
        constraints = [models.UniqueConstraint(fields=["document", "number"], name="one_revision_number")]
        indexes = [models.Index(fields=["sha256"], name="revision_content")]

    def __str__(self) -> str:
        return f"{self.document} (revision {self.number})"


class CollectionLanguage(models.Model):
    """A language that some text of the collection was analysed in; it stays when that text goes.

    A question is analysed in each of them, which is asked for with every search: so few rows are read
    instead of all documents.
    """

    collection = models.ForeignKey(Collection, on_delete=models.CASCADE, related_name="languages")
    language = models.CharField(max_length=10, blank=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["collection", "language"], name="one_collection_language")
        ]

    def __str__(self) -> str:
        return f"{self.collection}: {self.language or 'unknown'}"


class DocumentStage(models.Model):
    """One stage of a document's way, as its newest attempt left it.

    `done` of `total` are units of the stage: bytes fetched, pages parsed, chunks cut, indexed or embedded;
    `reused` of them cost no work, because their text or vector was there already. `content_hash` is
    the hash of what went in.
    """

    class Stage(models.TextChoices):
        FETCH = "fetch", "Fetch"
        PARSE = "parse", "Parse"
        CHUNK = "chunk", "Chunk"
        INDEX = "index", "Index"
        EMBED = "embed", "Embed"

    class State(models.TextChoices):
        RUNNING = "running", "Running"
        DONE = "done", "Done"
        FAILED = "failed", "Failed"
        CANCELLED = "cancelled", "Cancelled"

    document = models.ForeignKey(Document, on_delete=models.CASCADE, related_name="stages", db_index=False)
    stage = models.CharField(max_length=6, choices=Stage)
    state = models.CharField(max_length=10, choices=State, default=State.RUNNING)
    attempt = models.PositiveSmallIntegerField(default=1)
    content_hash = models.CharField(max_length=64, blank=True)
    done = models.PositiveBigIntegerField(default=0)
    total = models.PositiveBigIntegerField(default=0)
    reused = models.PositiveBigIntegerField(default=0)
    worker = models.CharField(max_length=200, blank=True)
    error = models.TextField(blank=True)
    started_at = models.DateTimeField(default=timezone.now)
    heartbeat_at = models.DateTimeField(default=timezone.now)
    finished_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["document", "stage"], name="one_document_stage")]
        # The rate of the last minutes is read off what has finished.
        indexes = [models.Index(fields=["stage", "-finished_at"], name="stage_rate")]

    def __str__(self) -> str:
        return f"{self.stage} of {self.document_id}: {self.state}"

    @property
    def seconds(self) -> float:
        """How long it took, or has taken so far."""
        return ((self.finished_at or timezone.now()) - self.started_at).total_seconds()


class Chunking(models.Model):
    """One way to cut texts: chunker settings, tokenizer and analyser. It owns its chunks and postings."""

    settings = models.JSONField()
    tokenizer_hash = models.CharField(max_length=64)
    analyser_hash = models.CharField(max_length=64)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["settings", "tokenizer_hash", "analyser_hash"], name="one_chunking"
            )
        ]

    def __str__(self) -> str:
        return f"Chunking {self.pk}: {self.settings.get('max_tokens')} tokens"


def text_hash(text: str) -> bytes:
    return hashlib.sha256(text.encode()).digest()


class ChunkQuerySet(models.QuerySet["Chunk"]):
    def visible_to(self, user: Reader) -> Self:
        return self.filter(collection_id__in=Collection.objects.visible_to(user).values("pk"))


class Chunk(models.Model):
    """A span of a revision: `revision.text[start:end] == text`, always.

    Chunk ids are 32-bit, as the packed postings hold them. `collection_id` repeats the document's,
    so that permission filters need no join. `rendered_hash` is the hash of what both indexes read:
    title, heading path and text.
    """

    id = models.AutoField(primary_key=True)
    document = models.ForeignKey(Document, on_delete=models.CASCADE, related_name="chunks", db_index=False)
    revision = models.ForeignKey(DocumentRevision, on_delete=models.CASCADE, related_name="chunks")
    chunking = models.ForeignKey(Chunking, on_delete=models.PROTECT, related_name="chunks", db_index=False)
    collection = models.ForeignKey(Collection, on_delete=models.CASCADE, related_name="chunks")
    ordinal = models.PositiveIntegerField()
    start = models.PositiveIntegerField()
    end = models.PositiveIntegerField()
    text = models.TextField()
    text_hash = models.BinaryField(max_length=32)
    occurrence = models.PositiveIntegerField(default=0)
    rendered_hash = models.BinaryField(max_length=32)
    heading_path = ArrayField(models.TextField(), default=list)
    page = models.PositiveIntegerField(null=True, blank=True)
    tokens = models.PositiveIntegerField()
    length = models.PositiveIntegerField(
        default=0, help_text="analysed terms, title and heading path included"
    )
    created_at = models.DateTimeField(default=timezone.now)

    objects = ChunkQuerySet.as_manager()

    class Meta:
        ordering = ["document", "ordinal"]
        constraints = [
            models.UniqueConstraint(
                fields=["document", "chunking", "text_hash", "occurrence"], name="one_chunk_identity"
            )
        ]
        indexes = [models.Index(fields=["document", "chunking", "ordinal"], name="chunk_order")]

    def __str__(self) -> str:
        return f"Chunk {self.pk}"


class SourceQuerySet(models.QuerySet["Source"]):
    def visible_to(self, user: Reader) -> Self:
        """Where a collection is fed from is for those to know who may feed it."""
        return self.filter(collection__in=Collection.objects.editable_by(user))

    def with_counts(self) -> Self:
        """Each with `page_count`, `failed` pages and `vanished` ones."""
        vanished = models.Q(pages__vanished_at__isnull=False)
        return self.annotate(
            page_count=models.Count("pages"),
            failed=models.Count("pages", filter=~models.Q(pages__error="") & ~vanished),
            vanished=models.Count("pages", filter=vanished),
        )


class Source(models.Model):
    """Something on the web that a collection is fed from, again and again: a page, a sitemap or a feed.

    A page is asked for by its own schedule, which is shown here as well; sitemaps and feeds are read when
    `next_at` comes, and `reading` is what is left of a sitemap that consists of several. A claim moves
    `next_at` into the future and says by `claimed_by` who has it, so that a dead worker's is due again.
    """

    class Kind(models.TextChoices):
        PAGE = "page", "A page"
        SITEMAP = "sitemap", "A sitemap"
        FEED = "feed", "A feed"

    class State(models.TextChoices):
        WAITING = "waiting", "Not looked at yet"
        READ = "read", "Up to date"
        FAILED = "failed", "Failed"

    class WhenVanished(models.TextChoices):
        KEEP = "keep", "Keep the document and mark it"
        DELETE = "delete", "Delete the document"

    LEAST_EVERY = timedelta(hours=1)
    MOST_EVERY = timedelta(days=365)

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    collection = models.ForeignKey(Collection, on_delete=models.CASCADE, related_name="sources")
    url = models.CharField(max_length=2000)
    kind = models.CharField(max_length=7, choices=Kind)
    every = models.DurationField(default=timedelta(days=1), help_text="at least an hour")
    when_vanished = models.CharField(max_length=6, choices=WhenVanished, default=WhenVanished.KEEP)
    other_hosts = models.BooleanField(default=False, help_text="also pages on other hosts than its own")
    paused = models.BooleanField(default=False)
    state = models.CharField(max_length=7, choices=State, default=State.WAITING)
    error = models.TextField(blank=True)
    attempts = models.PositiveSmallIntegerField(default=0)
    next_at = models.DateTimeField(null=True, blank=True, default=timezone.now)
    claimed_by = models.CharField(
        max_length=200, blank=True, help_text="the worker that has it, as its heartbeat says"
    )
    last_checked_at = models.DateTimeField(null=True, blank=True)
    listed_at = models.DateTimeField(null=True, blank=True, help_text="when it was last read to its end")
    reading = models.JSONField(default=dict, blank=True)
    etag = models.CharField(max_length=500, blank=True)
    last_modified = models.CharField(max_length=500, blank=True)
    upload = models.OneToOneField(
        Upload, null=True, blank=True, on_delete=models.SET_NULL, related_name="source"
    )
    created_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.SET_NULL, related_name="+"
    )
    created_at = models.DateTimeField(auto_now_add=True)

    objects = SourceQuerySet.as_manager()

    class Meta:
        ordering = ["-created_at", "id"]
        constraints = [
            models.UniqueConstraint(fields=["collection", "url"], name="one_source_url"),
            models.CheckConstraint(
                condition=models.Q(every__gte=timedelta(hours=1)), name="source_not_too_often"
            ),
        ]
        indexes = [models.Index(fields=["next_at"], name="source_due", condition=models.Q(paused=False))]

    def __str__(self) -> str:
        return self.url


class WebPage(models.Model):
    """One page of a source, and the document that was made of it.

    `sha256` is of what was stored last; empty until something was. `next_at` is also the claim of whoever
    fetches it; without one the page is not asked for any more. `same_as` is a page of the source
    with the very same content, whose document stands for both.
    """

    source = models.ForeignKey(Source, on_delete=models.CASCADE, related_name="pages")
    document = models.OneToOneField(
        Document, null=True, blank=True, on_delete=models.SET_NULL, related_name="web_page"
    )
    same_as = models.ForeignKey(
        "self", null=True, blank=True, on_delete=models.SET_NULL, related_name="aliases"
    )
    url = models.CharField(max_length=2000)
    origin = models.CharField(max_length=300)
    final_url = models.CharField(max_length=2000, blank=True)
    etag = models.CharField(max_length=500, blank=True)
    last_modified = models.CharField(max_length=500, blank=True)
    sha256 = models.CharField(max_length=64, blank=True)
    attempts = models.PositiveSmallIntegerField(default=0)
    error = models.TextField(blank=True)
    next_at = models.DateTimeField(null=True, blank=True, default=timezone.now)
    claimed_by = models.CharField(
        max_length=200, blank=True, help_text="the worker that has it, as its heartbeat says"
    )
    listed_at = models.DateTimeField(default=timezone.now)
    checked_at = models.DateTimeField(null=True, blank=True)
    changed_at = models.DateTimeField(null=True, blank=True)
    vanished_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ["url"]
        constraints = [models.UniqueConstraint(fields=["source", "url"], name="one_web_page")]
        indexes = [
            models.Index(fields=["origin", "next_at"], name="web_page_due"),
            models.Index(fields=["source", "sha256"], name="web_page_content"),
            models.Index(fields=["claimed_by"], name="web_page_claimed", condition=~models.Q(claimed_by="")),
        ]

    def __str__(self) -> str:
        return self.url


class WebHost(models.Model):
    """What one web server wants of us: when we may ask next, and its robots.txt as it was read last.

    Whoever asks it moves `not_before` first, by one UPDATE: so all workers together keep the pace.
    """

    origin = models.CharField(max_length=300, unique=True)
    not_before = models.DateTimeField(default=timezone.now)
    claimed_by = models.CharField(
        max_length=200, blank=True, help_text="the worker that has it, as its heartbeat says"
    )
    robots = models.TextField(blank=True)
    robots_until = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ["origin"]

    def __str__(self) -> str:
        return self.origin
