"""The admin of judged questions: made by hand, or looked at after an import.

They name documents of any collection, so only administrators with all rights see them.
"""

from typing import Any

from django.contrib import admin
from django.db.models import Count, QuerySet
from django.http import HttpRequest

from kb.core.admin.base import SuperuserOnly, TabularInline, display
from kb.quality.models import Judgement, Question, QuestionSet


class JudgementInline(TabularInline[Judgement, Question]):
    """Which documents answer it, and how well."""

    model = Judgement
    autocomplete_fields = ("document",)
    extra = 1


@admin.register(QuestionSet)
class QuestionSetAdmin(SuperuserOnly[QuestionSet]):
    """Sets of questions, each about the documents of one index."""

    list_display = ["name", "index", "questions_counted", "created_at"]
    list_filter = ["index"]
    list_select_related = ["index"]
    search_fields = ["name"]
    fields = ("index", "name", "description")

    def get_queryset(self, request: HttpRequest) -> QuerySet[QuestionSet]:
        return super().get_queryset(request).annotate(counted=Count("questions"))

    @display(description="Questions", ordering="counted")
    def questions_counted(self, question_set: Any) -> str:
        return f"{question_set.counted:,}"


@admin.register(Question)
class QuestionAdmin(SuperuserOnly[Question]):
    """A question and the documents that answer it."""

    list_display = ["text", "question_set", "judgements_counted"]
    list_filter = ["question_set"]
    list_select_related = ["question_set__index"]
    search_fields = ["text"]
    fields = ("question_set", "text")
    inlines = [JudgementInline]

    def get_queryset(self, request: HttpRequest) -> QuerySet[Question]:
        return super().get_queryset(request).annotate(counted=Count("judgements"))

    @display(description="Documents", ordering="counted")
    def judgements_counted(self, question: Any) -> str:
        return f"{question.counted:,}"
