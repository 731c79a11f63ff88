"""The search page: ranked passages, with the words that were searched for."""

from uuid import UUID

from django.db.models import Q
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from kb.core.models import Reader
from kb.core.problems import Problem
from kb.documents.models import Document
from kb.search import actions
from kb.search.engine import Results, search
from kb.search.forms import PlaceForm, QuestionForm
from kb.search.models import Query, RetrievalProfile
from kb.search.profiles import may_choose
from kb.search.views.setting import found, passage_url

RESULTS = 20
MOST_PROFILES = 20


@never_cache
@require_safe
def searching(request: HttpRequest) -> HttpResponse:
    form = QuestionForm(request.user, request.GET)
    results: Results | None = None
    problem: Problem | None = None
    if form.is_valid() and "q" in request.GET:
        try:
            results = search(
                request.user,
                form.cleaned_data["q"],
                form.slugs(),
                limit=RESULTS,
                profile=form.cleaned_data["profile"],
                explain=True,
                as_typed=form.cleaned_data["as_typed"],
            )
        except Problem as refused:
            problem = refused
    context = {
        "section": "search",
        "form": form,
        "collections": form.collections,
        "problem": problem,
        "results": results,
        "found": found(results.passages, results.sources.values(), results.words, results.query)
        if results
        else [],
        "empty": empty_because(form),
        "as_typed": f"{request.GET.urlencode()}&as_typed=on",
        "profiles": profile_names(request.user),
        "grouped": bool(results and results.query.profile and results.query.profile.group_by_document),
    }
    status = problem.status if problem else 404 if form.errors else 200
    return render(request, "search/search.html", context, status=status)


@require_safe
def result(request: HttpRequest, pk: UUID, rank: int) -> HttpResponse:
    """Leads to a result of one's own search, and notes that it was opened. The document's page says who may see it."""
    own = Query.objects.visible_to(request.user).values("pk")
    query = get_object_or_404(
        Query.objects.filter(Q(pk__in=own) | Q(user=None)), pk=pk, kind=Query.Kind.SEARCH
    )
    form = PlaceForm(request.GET)
    if not form.is_valid() or not 1 <= rank <= max(query.results, RESULTS):
        raise Http404("There is no such result.")
    actions.note_result_opened(request.user, query, rank)
    place = form.cleaned_data
    return redirect(passage_url(place["document"], place["start"], place["end"], place["revision"]))


def profile_names(reader: Reader) -> list[str]:
    """Those to choose from, newest first: none where the reader may not, or where there is but one."""
    if not may_choose(reader):
        return []
    names = [str(profile) for profile in RetrievalProfile.objects.order_by("-pk")[:MOST_PROFILES]]
    return names if len(names) > 1 else []


def empty_because(form: QuestionForm) -> str:
    """Why nothing could be found at all, if so."""
    if not form.collections.exists():
        return "no_collections"
    return "" if Document.objects.filter(collection__in=form.collections).exists() else "no_documents"
