"""The admin of queries and answers, as the person may see them: stage times, citations, what readers did."""

from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.template.loader import render_to_string
from django.urls import URLPattern, path

from kb.core.admin.base import ReadOnly, ReadOnlyInline, display, person
from kb.search.admin import timing
from kb.search.answers import shown_to
from kb.search.models import Answer, Interaction, Query
from kb.search.timing import place

ANSWER_COLOURS = {"answered": "success", "declined": "info", "failed": "danger", "cancelled": "warning"}


@admin.register(Query)
class QueryAdmin(ReadOnly[Query]):
    """Questions and searches: one's own, or all for administrators with all rights."""

    list_display = [
        "text_start",
        "kind",
        "user",
        "results",
        "milliseconds",
        "version",
        "degraded",
        "failed",
        "created_at",
    ]
    list_filter = ["kind", "failed", "version"]
    list_select_related = ["user", "version__index"]
    search_fields = ["text"]
    date_hierarchy = "created_at"
    readonly_fields = ("stage_times", "answer_link")
    fields = (
        "text", "kind", "user", "stage_times", "results", "degraded", "failed", "answer_link", "profile", "version",
        "created_at",
    )  # fmt: skip

    def get_queryset(self, request: HttpRequest) -> QuerySet[Query]:
        return Query.objects.visible_to(person(request))

    def get_urls(self) -> list[URLPattern]:
        view = self.admin_site.admin_view(self.timing_view)
        return [path("timing/", view, name="search_query_timing"), *super().get_urls()]

    def timing_view(self, request: HttpRequest) -> HttpResponse:
        context = timing.page(request) | {"opts": self.model._meta}
        return self.page(request, "admin/search/timing.html", context)

    @display(description="Text", ordering="text")
    def text_start(self, query: Query) -> str:
        return query.text[:100]

    @display(description="Took")
    def milliseconds(self, query: Query) -> str:
        return f"{query.stages['total']:.0f} ms" if "total" in query.stages else "–"

    @display(description="Stages")
    def stage_times(self, query: Query) -> str:
        total = query.stages.get("total")
        names = [name for name in sorted(query.stages, key=place) if name != "total"]
        # The arms run side by side: the shares may add up to more than the whole.
        stages = [
            (name, query.stages[name], min(100, 100 * query.stages[name] / total)) for name in names if total
        ]
        return render_to_string("admin/search/stages.html", {"stages": stages, "total": total})

    @display(description="Answer")
    def answer_link(self, query: Query) -> str:
        return render_to_string(
            "admin/search/answer_link.html", {"answer": Answer.objects.filter(query=query).first()}
        )


class InteractionInline(ReadOnlyInline[Interaction, Answer]):
    model = Interaction
    fields = readonly_fields = ("kind", "marker", "user", "at")
    show_change_link = False


@admin.register(Answer)
class AnswerAdmin(ReadOnly[Answer]):
    """Answers with their footnotes; what a person may not see is taken out here as everywhere."""

    list_display = ["question", "state_badge", "model", "confidence_share", "removed_markers", "created_at"]
    list_filter = ["state", "model"]
    list_select_related = ["query"]
    search_fields = ["query__text"]
    date_hierarchy = "created_at"
    inlines = [InteractionInline]
    readonly_fields = ("question", "shown", "confidence_share")
    fields = (
        "question", "shown", "state", "error", "model", "confidence_share", "removed_markers",
        ("prompt_tokens", "completion_tokens"), "query", "created_at",
    )  # fmt: skip

    def get_queryset(self, request: HttpRequest) -> QuerySet[Answer]:
        answers = super().get_queryset(request).select_related("query")
        return answers.filter(query__in=Query.objects.visible_to(person(request)))

    def get_object(
        self, request: HttpRequest, object_id: str, from_field: str | None = None
    ) -> Answer | None:
        answer = super().get_object(request, object_id, from_field)
        if answer is not None:
            shown: Any = answer
            shown.as_shown = shown_to(person(request), answer)
            # The page's title begins with the text.
            answer.text = shown.as_shown.text
        return answer

    @display(description="Question", ordering="query__text")
    def question(self, answer: Answer) -> str:
        return answer.query.text[:200]

    @display(description="State", ordering="state", label=ANSWER_COLOURS)
    def state_badge(self, answer: Answer) -> tuple[str, str]:
        return answer.state, answer.get_state_display()

    @display(description="Confidence", ordering="confidence")
    def confidence_share(self, answer: Answer) -> str:
        return "–" if answer.confidence is None else f"{answer.confidence:.2f}"

    @display(description="Answer")
    def shown(self, answer: Any) -> str:
        return render_to_string("admin/search/answer.html", {"answer": answer.as_shown})
