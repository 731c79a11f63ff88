"""Retrieval profiles, the questions asked, the answers given, their citations, and what readers did."""

import uuid
from typing import Self

from django.conf import settings
from django.contrib.postgres.fields import ArrayField
from django.contrib.postgres.indexes import GinIndex
from django.db import models

from kb.core.models import Collection, Reader
from kb.documents.models import Document, DocumentRevision
from kb.indexes.models import IndexVersion


class RetrievalProfile(models.Model):
    """How to retrieve; changing one makes a new row, and every query records which it used."""

    name = models.CharField(max_length=100)
    number = models.PositiveIntegerField(default=1)
    dense_weight = models.FloatField(default=0.8)
    candidates = models.PositiveIntegerField(default=100, help_text="passages taken from each arm")
    passages = models.PositiveIntegerField(default=8, help_text="passages given to the answer")
    is_default = models.BooleanField(default=False)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["name", "number"], name="one_profile_number"),
            models.UniqueConstraint(
                fields=["is_default"], condition=models.Q(is_default=True), name="one_default_profile"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.name} {self.number}"


class QueryQuerySet(models.QuerySet["Query"]):
    def visible_to(self, user: Reader) -> Self:
        """A reader sees their own questions; an administrator sees all."""
        if not user.is_authenticated:
            return self.none()
        return self if user.is_superuser else self.filter(user=user)


class Query(models.Model):
    """One question or search: what was asked, over what, with which index version, and how long each stage took."""

    class Kind(models.TextChoices):
        SEARCH = "search", "Search"
        ASK = "ask", "Question"

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    kind = models.CharField(max_length=10, choices=Kind)
    user = models.ForeignKey(
        # A deleted person's questions go along: without an owner anybody with the address could read them.
        settings.AUTH_USER_MODEL,
        null=True,
        blank=True,
        on_delete=models.CASCADE,
        related_name="queries",
    )
    text = models.TextField()
    profile = models.ForeignKey(RetrievalProfile, null=True, on_delete=models.SET_NULL, related_name="+")
    version = models.ForeignKey(IndexVersion, null=True, on_delete=models.SET_NULL, related_name="+")
    results = models.PositiveIntegerField(default=0)
    degraded = models.TextField(blank=True, help_text="why one arm was missing, if one was")
    stages = models.JSONField(default=dict, help_text="milliseconds by stage")
    created_at = models.DateTimeField(auto_now_add=True, db_index=True)

    objects = QueryQuerySet.as_manager()

    class Meta:
        verbose_name_plural = "queries"
        ordering = ["-created_at"]

    def __str__(self) -> str:
        return self.text[:80]


class Answer(models.Model):
    """What was answered; shown through `kb.search.answers.shown_to`, which hides what the reader may not see."""

    class State(models.TextChoices):
        ANSWERED = "answered", "Answered"
        DECLINED = "declined", "The documents do not answer"
        FAILED = "failed", "Failed"
        CANCELLED = "cancelled", "The reader left"

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    query = models.OneToOneField(Query, on_delete=models.CASCADE, related_name="answer")
    state = models.CharField(max_length=12, choices=State)
    text = models.TextField(blank=True)
    model = models.CharField(max_length=200, blank=True)
    confidence = models.FloatField(null=True, blank=True)
    given = ArrayField(
        models.UUIDField(),
        default=list,
        blank=True,
        help_text="the documents that the answer was made from, cited or not",
    )
    removed_markers = models.PositiveIntegerField(default=0)
    prompt_tokens = models.PositiveIntegerField(null=True, blank=True)
    completion_tokens = models.PositiveIntegerField(null=True, blank=True)
    error = models.TextField(blank=True)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["-created_at"]
        indexes = [GinIndex(fields=["given"], name="answer_given")]

    def __str__(self) -> str:
        return self.text[:80]


class Citation(models.Model):
    """One footnote: `revision.text[start:end] == quote`, whatever becomes of the chunk it came from.

    When the document is deleted, the quote and the words built on it are erased (kb.search.redaction).
    """

    answer = models.ForeignKey(Answer, on_delete=models.CASCADE, related_name="citations")
    marker = models.PositiveIntegerField()
    document = models.ForeignKey(Document, null=True, on_delete=models.SET_NULL, related_name="citations")
    revision = models.ForeignKey(
        DocumentRevision, null=True, on_delete=models.SET_NULL, related_name="citations"
    )
    collection = models.ForeignKey(Collection, null=True, on_delete=models.SET_NULL, related_name="+")
    chunk_id = models.IntegerField(help_text="the chunk that was given; it may be gone by now")
    start = models.PositiveIntegerField()
    end = models.PositiveIntegerField()
    quote = models.TextField()
    page = models.PositiveIntegerField(null=True)

    class Meta:
        ordering = ["marker"]
        constraints = [models.UniqueConstraint(fields=["answer", "marker"], name="one_marker")]

    def __str__(self) -> str:
        return f"[{self.marker}]"


class Interaction(models.Model):
    """What a reader did with an answer."""

    class Kind(models.TextChoices):
        OPENED = "opened", "Opened a footnote"
        HELPFUL = "helpful", "Found it helpful"
        UNHELPFUL = "unhelpful", "Found it unhelpful"

    answer = models.ForeignKey(Answer, on_delete=models.CASCADE, related_name="interactions")
    user = models.ForeignKey(settings.AUTH_USER_MODEL, null=True, on_delete=models.SET_NULL, related_name="+")
    kind = models.CharField(max_length=10, choices=Kind)
    marker = models.PositiveIntegerField(null=True, blank=True)
    at = models.DateTimeField(auto_now_add=True)

    def __str__(self) -> str:
        return self.kind
