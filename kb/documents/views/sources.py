"""What a collection is fed from on the web: a page on which sources are added and looked after."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

from django import forms
from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.core.exceptions import ValidationError
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render

from kb.core.forms import blame
from kb.core.models import Collection, User
from kb.core.pagination import paginate
from kb.core.problems import Problem
from kb.core.views import person
from kb.documents import source_actions
from kb.documents.models import Source
from kb.documents.sources import working_sources
from kb.documents.views.access import editable_collection, idle_workers
from kb.documents.web.addresses import MOST_CHARACTERS

A_PAGE = 30
MOST_FAILURES = 5
INTERVALS = {1: "every hour", 6: "every 6 hours", 24: "every day", 168: "every week", 720: "every 30 days"}


class SourceForm(forms.Form):
    """An address, what is there, and how often to look for changes."""

    url = forms.CharField(
        label="Address",
        max_length=MOST_CHARACTERS,
        help_text="A public address. It is read as its robots.txt allows, one request at a time from each host.",
        widget=forms.TextInput(
            attrs={"inputmode": "url", "autocapitalize": "none", "placeholder": "https://example.org/guide"}
        ),
    )
    kind = forms.ChoiceField(
        label="What is there?",
        choices=[("", "What it looks like"), *Source.Kind.choices],
        required=False,
        help_text="A sitemap or a feed brings in every page that it lists.",
    )
    hours = forms.TypedChoiceField(
        label="Look for changes", choices=list(INTERVALS.items()), coerce=int, initial=24
    )
    when_vanished = forms.ChoiceField(
        label="When a page is gone from there",
        choices=Source.WhenVanished.choices,
        initial=Source.WhenVanished.KEEP,
    )


ACTS: dict[str, tuple[Callable[[User, Source], object], str]] = {
    "pause": (source_actions.pause_source, "is paused. What was fetched stays searchable."),
    "resume": (source_actions.resume_source, "goes on."),
    "check": (source_actions.check_now, "is looked at now."),
    "remove": (source_actions.remove_source, "is removed. Its documents stay."),
    "remove-all": (
        lambda actor, source: source_actions.remove_source(actor, source, documents=True),
        "is removed, and its documents are deleted.",
    ),
}


@login_required
def sources(request: HttpRequest, slug: str) -> HttpResponse:
    """The list, a form for one more, and what may be done to each."""
    collection = editable_collection(request, slug)
    if request.POST.get("act") in ACTS:
        return act(request, collection)
    form = SourceForm(request.POST or None)
    if form.is_valid() and added(request, collection, form):
        return redirect("collection-sources", slug)
    try:
        page = paginate(
            collection.sources.with_counts(), ["-created_at", "id"], request.GET.get("cursor"), A_PAGE
        )
    except Problem as problem:
        raise Http404(problem.message) from problem
    context = {
        "section": "library",
        "collection": collection,
        "form": form,
        "page": page,
        "idle": idle_workers("fetch") if working_sources().filter(collection=collection).exists() else [],
        "working": any(under_way(source) for source in page.items),
        "rows": [(source, often(source), failures(source)) for source in page.items],
    }
    return render(request, "documents/sources.html", context, status=400 if form.errors else 200)


def added(request: HttpRequest, collection: Collection, form: SourceForm) -> bool:
    given = form.cleaned_data
    try:
        source = source_actions.add_source(
            person(request),
            collection,
            given["url"],
            kind=given["kind"],
            every=timedelta(hours=given["hours"]),
            when_vanished=given["when_vanished"],
        )
    except Problem as problem:
        blame(form, problem)
        return False
    messages.success(request, f"{source} is fetched now, and looked at {often(source)}.")
    return True


def act(request: HttpRequest, collection: Collection) -> HttpResponse:
    """Does to one source what its button says."""
    verb, said = ACTS[request.POST["act"]]
    source = chosen(collection, request.POST.get("source", ""))
    try:
        verb(person(request), source)
    except Problem as problem:
        messages.error(request, problem.message)
    else:
        messages.success(request, f"{source} {said}")
    return redirect("collection-sources", collection.slug)


def chosen(collection: Collection, key: str) -> Source:
    try:
        found = collection.sources.filter(pk=key).first()
    except ValidationError:
        found = None
    if found is None:
        raise Http404("There is no such source.")
    return found


def under_way(source: Source) -> bool:
    """Whether it is to change within moments: not looked at yet, or a sitemap in the middle of being read."""
    return not source.paused and (source.last_checked_at is None or bool(source.reading))


def often(source: Source) -> str:
    """The interval in words."""
    hours = source.every / timedelta(hours=1)
    return INTERVALS.get(round(hours), f"every {hours:g} hours")


def failures(source: Any) -> list[Any]:
    """Some of its pages that could not be fetched, and why."""
    if not source.failed or source.kind == Source.Kind.PAGE:
        return []
    return list(source.pages.filter(vanished_at=None).exclude(error="").order_by("pk")[:MOST_FAILURES])
