"""Retrieval profiles, the questions asked, the answers given, their citations, and what readers did."""

import uuid
from typing import Any, Self, cast

from django.conf import settings
from django.contrib.postgres.fields import ArrayField
from django.contrib.postgres.indexes import GinIndex
from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models

from kb.core.models import Collection, Reader
from kb.documents.models import Document, DocumentRevision
from kb.indexes.models import IndexVersion
from retrieval.fusion import Strategy


def between(least: float, most: float) -> list[Any]:
    return [MinValueValidator(least), MaxValueValidator(most)]


class RetrievalProfile(models.Model):
    """How to retrieve. A row never changes, since past queries refer to it: kb.search.profiles makes the next one."""

    class Fusing(models.TextChoices):
        CONVEX = "convex", "Convex combination of normalised scores"
        RECIPROCAL_RANK = "reciprocal_rank", "Reciprocal rank fusion"
        LEARNED = "learned", "Convex combination with a learned weight"

    name = models.CharField(max_length=100)
    number = models.PositiveIntegerField(default=1)
    strategy = models.CharField(
        max_length=20, choices=Fusing, default=Fusing.CONVEX, help_text="how both arms become one ranking"
    )
    dense_weight = models.FloatField(
        validators=between(0, 1), default=0.8, help_text="1: by meaning alone; 0: by words alone"
    )
    learned_from = models.JSONField(
        default=dict, blank=True, help_text="the judged questions that the weight was learned from"
    )
    candidates = models.PositiveIntegerField(
        validators=between(1, 1000), default=100, help_text="passages taken from each arm"
    )
    reranker = models.CharField(
        max_length=300,
        blank=True,
        help_text="a sentence-transformers CrossEncoder, by name or folder; none where empty",
    )
    rerank_candidates = models.PositiveIntegerField(
        validators=between(1, 200), default=30, help_text="passages given to the reranker"
    )
    rerank_milliseconds = models.PositiveIntegerField(
        validators=between(1, 10000), default=200, help_text="how long it may take"
    )
    diversity = models.FloatField(
        validators=between(0, 1),
        default=1.0,
        help_text="lambda of maximal marginal relevance; 1: relevance alone counts",
    )
    collapse_duplicates = models.BooleanField(default=True, help_text="show near-identical passages once")
    merge_adjacent = models.BooleanField(default=True, help_text="join hits that follow each other")
    widen_to_section = models.BooleanField(default=False, help_text="show what stands around a hit, too")
    group_by_document = models.BooleanField(default=False, help_text="keep a document's passages together")
    title_boost = models.FloatField(
        validators=between(0, 10),
        default=0.0,
        help_text="how much more a hit counts whose title has all words of the question",
    )
    recency_boost = models.FloatField(
        validators=between(0, 10), default=0.0, help_text="how much more a hit of today counts"
    )
    recency_days = models.PositiveIntegerField(
        validators=between(1, 36500), default=180, help_text="after so many days half of that is left"
    )
    passages = models.PositiveIntegerField(
        validators=between(1, 100), default=8, help_text="passages given to the answer"
    )
    context_tokens = models.PositiveIntegerField(
        validators=between(100, 200000), default=3000, help_text="tokens that they may have together"
    )
    is_default = models.BooleanField(default=False)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["name", "number"], name="one_profile_number"),
            models.UniqueConstraint(
                fields=["is_default"], condition=models.Q(is_default=True), name="one_default_profile"
            ),
            models.CheckConstraint(
                condition=models.Q(dense_weight__gte=0, dense_weight__lte=1), name="profile_weight_in_range"
            ),
            models.CheckConstraint(
                condition=models.Q(diversity__gte=0, diversity__lte=1), name="profile_diversity_in_range"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.name} {self.number}"

    def save(self, *args: Any, **kwargs: Any) -> None:
        """Only a new row; what is the default is moved by an update of that alone."""
        if not self._state.adding:
            raise TypeError(f"The retrieval profile {self} never changes: make the next one.")
        super().save(*args, **kwargs)

    @property
    def fusion_strategy(self) -> Strategy:
        return cast(Strategy, self.strategy)


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
    versions = ArrayField(
        models.BigIntegerField(),
        default=list,
        blank=True,
        help_text="all that served it, one for each index that its collections are in",
    )
    results = models.PositiveIntegerField(default=0)
    degraded = models.TextField(blank=True, help_text="why one arm was missing, if one was")
    failed = models.BooleanField(
        default=False, db_default=False, help_text="the search ended with an error, and nobody got results"
    )
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
    """What a reader did with an answer, or with the results of a search."""

    class Kind(models.TextChoices):
        OPENED = "opened", "Opened a footnote or a result"
        HELPFUL = "helpful", "Found it helpful"
        UNHELPFUL = "unhelpful", "Found it unhelpful"

    answer = models.ForeignKey(
        Answer, null=True, blank=True, on_delete=models.CASCADE, related_name="interactions"
    )
    query = models.ForeignKey(
        Query,
        null=True,
        blank=True,
        on_delete=models.CASCADE,
        related_name="interactions",
        help_text="a search, of which a result was opened",
    )
    user = models.ForeignKey(settings.AUTH_USER_MODEL, null=True, on_delete=models.SET_NULL, related_name="+")
    kind = models.CharField(max_length=10, choices=Kind)
    marker = models.PositiveIntegerField(
        null=True, blank=True, help_text="the footnote, or the place of the result"
    )
    at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=models.Q(answer__isnull=True) ^ models.Q(query__isnull=True),
                name="interaction_with_one",
            )
        ]

    def __str__(self) -> str:
        return self.kind


class ShadowComparison(models.Model):
    """A query that also ran on a version in shadow: what the live one and the candidate found, chunks alone.

    `live` and `candidate` are lists of [chunk id, fused score], best first; `by_document` says that the versions
    cut texts differently, so that documents were compared. Texts are read when it is shown, by who may see them.
    """

    class Preference(models.TextChoices):
        LIVE = "live", "The live version's are better"
        CANDIDATE = "candidate", "The candidate's are better"
        EQUAL = "equal", "Both are as good"

    query = models.ForeignKey(Query, on_delete=models.CASCADE, related_name="comparisons")
    against = models.ForeignKey(IndexVersion, on_delete=models.CASCADE, related_name="+")
    version = models.ForeignKey(IndexVersion, on_delete=models.CASCADE, related_name="comparisons")
    live = models.JSONField(default=list)
    candidate = models.JSONField(default=list)
    by_document = models.BooleanField(default=False)
    overlap = models.FloatField(help_text="of the first ten, the share that both found")
    rbo = models.FloatField("rank-biased overlap")
    score_shift = models.FloatField(null=True, help_text="of what both found; none where that is nothing")
    live_ms = models.FloatField()
    candidate_ms = models.FloatField()
    error = models.TextField(blank=True, help_text="what the candidate lacked, if it did")
    preference = models.CharField(max_length=10, choices=Preference, blank=True)
    judged_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.SET_NULL, related_name="+"
    )
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["-created_at"]
        indexes = [models.Index(fields=["version", "created_at"], name="shadow_course")]
        constraints = [models.UniqueConstraint(fields=["query", "version"], name="one_shadow_comparison")]

    def __str__(self) -> str:
        return f"{self.query}: {self.against} and {self.version}"
