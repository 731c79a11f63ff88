"""The life of index versions in the admin: all on a timeline, each with what was measured and what may be done now."""

from collections.abc import Sequence
from dataclasses import dataclass

from django.contrib import admin, messages
from django.db.models import Prefetch, QuerySet
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseNotAllowed
from django.shortcuts import get_object_or_404, redirect
from django.urls import URLPattern, path
from django.utils import timezone

from kb.core.admin.base import person
from kb.core.problems import Problem
from kb.indexes.admin.versions import STATE_COLOURS
from kb.indexes.building import Phase
from kb.indexes.estimates import Estimate
from kb.indexes.models import (
    CollectionMove,
    EmbeddingModel,
    Index,
    IndexTransition,
    IndexVersion,
    ValidationReport,
)
from kb.indexes.watching import LEFT, look
from kb.quality import shadow_report
from kb.quality.admin.making import MakingPages
from kb.quality.admin.pictures import chart, intervals, rails
from kb.quality.admin.steps import STEPS, Step, offered
from kb.quality.models import ValidationRequest
from kb.quality.shadow_report import Summary
from kb.quality.timeline import ENDED, WINDOWS, Timeline, stays, timeline
from kb.search import rollout
from kb.search.models import ShadowComparison

State = IndexVersion.State
MOST_REPORTS = 10
CHARTS = (("overlap", "rbo"), ("score_shift",), ("live_ms", "candidate_ms"))  # of a shadow's course


@dataclass(frozen=True)
class Card:
    """A version as it is now. `phase` of one that is not built, `left` what its build still takes, `canary` and
    `shadow` where it is in that state; `measuring`: a report was asked for and is not there yet."""

    version: IndexVersion
    colour: str
    steps: Sequence[Step]
    report: ValidationReport | None
    phase: Phase | None = None
    left: Estimate | None = None
    canary: rollout.Step | None = None
    shadow: Summary | None = None
    measuring: bool = False

    @property
    def percent(self) -> int:
        """How far it is built: its vectors, then its index."""
        if self.phase is None:
            return 100
        if self.phase.graph is not None:
            return round(100 * self.phase.graph)
        return round(100 * self.phase.done / self.phase.total) if self.phase.total else 100


@dataclass(frozen=True)
class Shelf:
    """An index, the picture of its versions' lives, those that there are, and those that are over; `coming` are
    collections on their way into it."""

    index: Index
    timeline: Timeline
    cards: Sequence[Card]
    ended: Sequence[IndexVersion]
    coming: Sequence[CollectionMove] = ()

    @property
    def moving(self) -> bool:
        """Whether the page changes by itself: it is read again then."""
        return bool(self.coming) or any(
            card.measuring or card.version.state in {State.BUILDING, State.VALIDATING} for card in self.cards
        )


def versions() -> "QuerySet[IndexVersion]":
    moves = Prefetch("transitions", IndexTransition.objects.select_related("actor"))
    reports = Prefetch("reports", ValidationReport.objects.select_related("against__index", "overridden_by"))
    related = IndexVersion.objects.select_related(
        "index__live_version", "model", "chunking", "derived_from__index"
    )
    return related.prefetch_related(moves, reports)


def shelf(index: Index, window: str, acting: bool) -> Shelf:
    found = list(versions().filter(index=index).order_by("-number"))
    there = [version for version in found if version.state not in ENDED]
    return Shelf(
        index,
        timeline(found, window, timezone.now()),
        [card(version, acting) for version in there],
        [version for version in found if version.state in ENDED],
        list(index.moves.select_related("collection", "actor").order_by("pk")) if acting else [],
    )


def card(version: IndexVersion, acting: bool) -> Card:
    """`acting` says whether the person may do anything here."""
    sight = look(version) if version.state in LEFT else None
    return Card(
        version,
        STATE_COLOURS.get(version.state, "default"),
        offered(version) if acting else [],
        next(iter(version.reports.all()), None),
        sight.phase if sight else None,
        sight.left if sight and version.state == State.BUILDING else None,
        rollout.measured(version) if version.state == State.CANARY else None,
        shadow_report.summary(version) if version.state == State.SHADOW else None,
        ValidationRequest.objects.filter(version=version).exists(),
    )


class LifeAdmin(MakingPages):
    """The versions, with pages of their lives. Whoever may see versions may look; all else is for administrators
    with all rights, since queries of everybody are shown and everybody's searches are changed."""

    change_form_before_template = "admin/indexes/life_link.html"
    list_before_template = "admin/indexes/life_link.html"

    def get_urls(self) -> list[URLPattern]:
        pages = (
            ("life/", self.life_view, "life"),
            ("<int:pk>/life/", self.version_view, "life_of"),
            ("<int:pk>/life/<slug:name>/", self.step_view, "step"),
            ("compared/<int:pk>/", self.judge_view, "judge"),
            ("life/index/", self.index_view, "index"),
            ("life/index/<int:pk>/build/", self.build_view, "build"),
            ("life/move/", self.move_view, "move"),
            ("life/model/", self.model_view, "model"),
            ("life/model/<int:pk>/try/", self.try_view, "try"),
        )
        own = [
            path(route, self.admin_site.admin_view(view), name=f"indexes_indexversion_{name}")
            for route, view, name in pages
        ]
        return [*own, *super().get_urls()]

    def life_view(self, request: HttpRequest) -> HttpResponse:
        """All indexes with their versions."""
        self.must(self.has_view_permission(request))
        indexes = Index.objects.order_by("-is_default", "name")
        window, acting = request.GET.get("window", ""), person(request).is_superuser
        context = {
            "opts": self.model._meta,
            "title": "Life of index versions",
            "windows": WINDOWS,
            "window": window,
            "shelves": [shelf(index, window, acting) for index in indexes],
            "acting": acting,
            "models": EmbeddingModel.objects.order_by("name", "pk") if acting else [],
        }
        return self.page(request, "admin/indexes/life.html", context)

    def version_view(self, request: HttpRequest, pk: int) -> HttpResponse:
        """One version: its report, its canary, its shadow with disagreements, and how it came here."""
        self.must(self.has_view_permission(request))
        version, all_rights = get_object_or_404(versions(), pk=pk), person(request).is_superuser
        beside, course = shadow_report.summary(version), shadow_report.course(version)
        shown = card(version, all_rights)
        context = {
            "opts": self.model._meta,
            "title": f"Life of {version}",
            "card": shown,
            "rails": rails(shown.canary.decision.guardrails) if shown.canary else [],
            "reports": [(report, intervals(report)) for report in version.reports.all()[:MOST_REPORTS]],
            "beside": beside if beside.count else None,
            "charts": [chart(course, *names) for names in CHARTS],
            "disagreements": shadow_report.disagreements(version, person(request)) if all_rights else [],
            "preferences": ShadowComparison.Preference.choices,
            "stays": list(reversed(stays(version.transitions.all()))),
        }
        return self.page(request, "admin/indexes/life_of_version.html", context)

    def step_view(self, request: HttpRequest, pk: int, name: str) -> HttpResponse:
        """Takes a step that is offered now; one with a form is asked for it first."""
        self.must(person(request).is_superuser)
        version, step = get_object_or_404(versions(), pk=pk), STEPS.get(name)
        if step is None:
            raise Http404
        if request.method != "POST" and step.form is None:
            return HttpResponseNotAllowed(["POST"])
        form = step.form(request.POST or None) if step.form else None
        if form is not None and not form.is_valid():
            return self.form_page(
                request, form, f"{step.label}: {version}", step.label, explanation=step.explanation
            )
        try:
            step.act(person(request), version, form.cleaned_data if form else {})
        except Problem as problem:
            messages.error(request, problem.message)
        else:
            messages.success(request, f"{step.label}: {version}.")
        return redirect("admin:indexes_indexversion_life")

    def judge_view(self, request: HttpRequest, pk: int) -> HttpResponse:
        """Which side of a disagreement is better."""
        self.must(person(request).is_superuser)
        if request.method != "POST":
            return HttpResponseNotAllowed(["POST"])
        comparison = get_object_or_404(ShadowComparison, pk=pk)
        try:
            shadow_report.judge(person(request), comparison, request.POST.get("preference", ""))
        except Problem as problem:
            messages.error(request, problem.message)
        return redirect("admin:indexes_indexversion_life_of", comparison.version_id)


if admin.site.is_registered(IndexVersion):
    admin.site.unregister(IndexVersion)
admin.site.register(IndexVersion, LifeAdmin)
