"""The judged questions of an index: what its versions are measured with."""

from django.conf import settings
from django.core.validators import MaxValueValidator
from django.db import models
from django.utils import timezone

from kb.documents.models import Document
from kb.indexes.models import Index, IndexVersion


class QuestionSet(models.Model):
    """Questions about the documents of one index."""

    index = models.ForeignKey(Index, on_delete=models.CASCADE, related_name="question_sets")
    name = models.CharField(max_length=100)
    description = models.TextField(blank=True)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["index", "name"]
        constraints = [models.UniqueConstraint(fields=["index", "name"], name="one_question_set")]

    def __str__(self) -> str:
        return f"{self.name} ({self.index})"


class Question(models.Model):
    """A question as readers ask it; one that no document answers has no judgement."""

    question_set = models.ForeignKey(QuestionSet, on_delete=models.CASCADE, related_name="questions")
    key = models.CharField(
        max_length=100, blank=True, help_text="its name where it came from; a second import finds it by that"
    )
    text = models.TextField()

    class Meta:
        ordering = ["pk"]
        constraints = [
            models.UniqueConstraint(
                fields=["question_set", "key"], condition=~models.Q(key=""), name="one_question_key"
            )
        ]

    def __str__(self) -> str:
        return self.text[:80]


class Judgement(models.Model):
    """How well a document answers a question; one without a judgement counts as not relevant."""

    question = models.ForeignKey(Question, on_delete=models.CASCADE, related_name="judgements")
    document = models.ForeignKey(Document, on_delete=models.CASCADE, related_name="judgements")
    grade = models.PositiveSmallIntegerField(
        default=1,
        validators=[MaxValueValidator(10)],
        help_text="0: judged and not relevant; higher is better",
    )

    class Meta:
        ordering = ["-grade", "pk"]
        constraints = [models.UniqueConstraint(fields=["question", "document"], name="one_judgement")]

    def __str__(self) -> str:
        return f"{self.grade}: {self.document}"


class ValidationRequest(models.Model):
    """A version that somebody wants measured; it goes once the report is written."""

    MOST_TRIES = 3

    version = models.OneToOneField(IndexVersion, on_delete=models.CASCADE, related_name="validation_request")
    actor = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.SET_NULL, related_name="+"
    )
    at = models.DateTimeField(default=timezone.now)
    tries = models.PositiveSmallIntegerField(default=0, help_text="that were begun")

    def __str__(self) -> str:
        return f"{self.version}, to be measured"
