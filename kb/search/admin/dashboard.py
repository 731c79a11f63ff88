"""The admin's first page: what the corpus holds, whether the site can work, what is asked."""

from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

from django.db.models import Count, F, QuerySet, Sum
from django.db.models.functions import TruncDate
from django.http import HttpRequest
from django.utils import timezone

from kb.core.admin.base import person
from kb.core.models import Heartbeat
from kb.documents.models import Document
from kb.indexes.health import readiness
from kb.indexes.models import EmbeddingJob, IndexVersion
from kb.search.models import Query

DAYS = 14


@dataclass(frozen=True)
class Day:
    """How often was searched and asked; `height` is the share of the busiest day, in percent."""

    day: date
    count: int
    height: int


def dashboard(request: HttpRequest, context: dict[str, Any]) -> dict[str, Any]:
    """Adds what the page shows; documents and queries are those that the person may know of."""
    documents = Document.objects.visible_to(person(request))
    workers = Heartbeat.objects.all().fresh().order_by("queue", "worker")
    jobs = EmbeddingJob.objects.filter(version=F("version__index__live_version"))
    return context | {
        "title": "Overview",
        "states": states(documents),
        "checks": readiness(),
        "workers": workers,
        "rates": workers.filter(rate__gt=0).values_list("queue").annotate(Sum("rate")).order_by("queue"),
        "live_versions": IndexVersion.objects.filter(state=IndexVersion.State.LIVE).select_related(
            "index", "model"
        ),
        "jobs_left": jobs.filter(paused=False).count(),
        "jobs_paused": jobs.filter(paused=True).count(),
        "days": days(request),
        "failed": documents.filter(state=Document.State.FAILED).order_by("-updated_at")[:5],
    }


def states(documents: QuerySet[Document]) -> list[tuple[str, str, str, int]]:
    """Key, label, filter of the list, and number of documents, of each state; those paused stand apart, too."""
    counts = dict(documents.order_by().values_list("state").annotate(Count("pk")))
    paused = documents.filter(paused=True, state__in=Document.WORK).count()
    each = [
        (state, label, f"state__exact={state}", counts.get(state, 0))
        for state, label in Document.State.choices
    ]
    return [*each, ("paused", "Of them paused", "paused__exact=1", paused)]


def days(request: HttpRequest) -> list[Day]:
    """The queries of the last days, oldest first, days without any included."""
    today = timezone.localdate()
    first = today - timedelta(days=DAYS - 1)
    asked = Query.objects.visible_to(person(request)).filter(created_at__date__gte=first)
    counted = asked.order_by().annotate(day=TruncDate("created_at")).values_list("day").annotate(Count("pk"))
    counts = dict(counted)
    most = max(counts.values(), default=1)
    series = [first + timedelta(days=offset) for offset in range(DAYS)]
    return [Day(day, counts.get(day, 0), round(100 * counts.get(day, 0) / most)) for day in series]
