"""Stored answers: the permanent page, the way from a footnote to its passage, the reader's verdict."""

from uuid import UUID

from django.contrib import messages
from django.db.models import Q, QuerySet
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_POST, require_safe

from kb.core.models import Reader
from kb.core.problems import Problem
from kb.search import actions
from kb.search.answers import shown_to
from kb.search.forms import QuestionForm
from kb.search.models import Answer, Interaction, Query
from kb.search.views.setting import passage_url, reply


def readable(user: Reader) -> QuerySet[Answer]:
    """The reader's own answers; those asked without signing in belong to whoever has their address."""
    own = Query.objects.visible_to(user).values("pk")
    return Answer.objects.select_related("query").filter(Q(query__in=own) | Q(query__user=None))


@never_cache
@require_safe
def answer(request: HttpRequest, pk: UUID) -> HttpResponse:
    stored = get_object_or_404(readable(request.user), pk=pk)
    form = QuestionForm(request.user)
    context = {
        "section": "ask",
        "reply": reply(request.user, stored),
        "form": form,
        "collections": form.collections,
    }
    return render(request, "search/answer.html", context)


@require_safe
def citation(request: HttpRequest, pk: UUID, marker: int) -> HttpResponse:
    """Leads to the quoted passage in the revision that was quoted, and notes that it was opened."""
    stored = get_object_or_404(readable(request.user), pk=pk)
    cited = next(
        (c for c in shown_to(request.user, stored).citations if c.marker == marker and c.visible), None
    )
    if cited is None:
        raise Http404("There is no such footnote.")
    actions.note_opened(request.user, stored, marker)
    return redirect(passage_url(cited.document_id, cited.start, cited.end, cited.revision))


@require_POST
def feedback(request: HttpRequest, pk: UUID) -> HttpResponse:
    """The verdict; a fragment for the page's script, the answer's page otherwise."""
    stored = get_object_or_404(readable(request.user), pk=pk)
    kind = request.POST.get("kind", "")
    try:
        actions.judge(request.user, stored, kind)
    except Problem as problem:
        return HttpResponse(problem.message, status=problem.status, content_type="text/plain")
    if request.headers.get("HX-Request"):
        return render(request, "search/_thanks.html", {"helpful": kind == Interaction.Kind.HELPFUL})
    messages.success(request, "Thank you: noted.")
    return redirect("answer", stored.pk)
