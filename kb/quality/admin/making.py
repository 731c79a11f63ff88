"""Pages that begin something new: a version of an index, an index, a collection's way into one, a model."""

from django.contrib import messages
from django.http import HttpRequest, HttpResponse, HttpResponseNotAllowed
from django.shortcuts import get_object_or_404, redirect
from django.template.defaultfilters import pluralize

from kb.core.admin.base import person
from kb.core.problems import Problem
from kb.indexes import index_actions, model_actions, version_actions
from kb.indexes.admin.versions import IndexVersionAdmin
from kb.indexes.estimates import Estimate
from kb.indexes.models import EmbeddingModel, Index
from kb.quality.forms import BuildForm, IndexForm, ModelForm, MoveForm

LIFE = "admin:indexes_indexversion_life"


class MakingPages(IndexVersionAdmin):
    """For administrators with all rights, as every step of a version is."""

    def build_view(self, request: HttpRequest, pk: int) -> HttpResponse:
        """Says what a version would take; with the second button it is begun."""
        self.must(person(request).is_superuser)
        index = get_object_or_404(Index.objects.select_related("live_version__model"), pk=pk)
        form, found = BuildForm(request.POST or None), None
        if request.method == "POST" and form.is_valid():
            try:
                if "begin" in request.POST:
                    made = version_actions.build(
                        person(request), index, form.wanted(), form.cleaned_data["reason"]
                    )
                    messages.success(request, f"{made} is being built.")
                    return redirect(LIFE)
                found = version_actions.estimated(index, form.wanted())
            except Problem as problem:
                refuse(form, problem)
        return self.build_page(request, index, form, found)

    def build_page(
        self, request: HttpRequest, index: Index, form: BuildForm, found: Estimate | None
    ) -> HttpResponse:
        live = index.live_version
        context = {
            "opts": self.model._meta,
            "title": f"A new version of {index}",
            "form": form,
            "found": found,
            "explanation": "It is built beside what serves. What you leave out is as in "
            f"{live}: {live.model}, {live.dimensions} dimensions as {live.storage}."
            if live
            else "It serves nobody until it is promoted. Say with which model.",
        }
        return self.page(request, "admin/indexes/build.html", context, 400 if form.errors else 200)

    def index_view(self, request: HttpRequest) -> HttpResponse:
        """Makes an index."""
        self.must(person(request).is_superuser)
        form = IndexForm(request.POST or None)
        if form.is_valid():
            try:
                made = index_actions.create_index(
                    person(request), form.cleaned_data["slug"], form.cleaned_data["name"]
                )
            except Problem as problem:
                refuse(form, problem)
            else:
                messages.success(request, f"{made} is made: build its first version.")
                return redirect(LIFE)
        return self.form_page(
            request, form, "A new index", "Make",
            explanation="Collections in an index of their own have a model and a chunking of their own. Build and "
            "promote its first version, then move collections in.",
        )  # fmt: skip

    def move_view(self, request: HttpRequest) -> HttpResponse:
        """Sends a collection on its way into an index."""
        self.must(person(request).is_superuser)
        form = MoveForm(request.POST or None)
        if form.is_valid():
            collection, index = form.cleaned_data["collection"], form.cleaned_data["index"]
            try:
                move = index_actions.move_collection(person(request), collection, index)
            except Problem as problem:
                refuse(form, problem)
            else:
                is_there = f"{collection} is in {index}."
                messages.success(request, f"{collection} is on its way into {index}." if move else is_there)
                return redirect(LIFE)
        return self.form_page(
            request, form, "Move a collection", "Move",
            explanation="It is searched where it is until all its passages are in the other index.",
        )  # fmt: skip

    def model_view(self, request: HttpRequest) -> HttpResponse:
        """Registers a model: it is loaded, or asked, to see what it is."""
        self.must(person(request).is_superuser)
        form = ModelForm(request.POST or None)
        if form.is_valid():
            try:
                model = model_actions.register(person(request), form.new())
            except Problem as problem:
                refuse(form, problem)
            else:
                messages.success(request, f"{model} is registered: {model.dimensions} dimensions.")
                return redirect(LIFE)
        return self.form_page(
            request, form, "Register a model", "Register",
            explanation="A directory of this machine, a name on the Hugging Face Hub, or a model behind an "
            "OpenAI-compatible endpoint. What it says of itself is taken from it.",
        )  # fmt: skip

    def try_view(self, request: HttpRequest, pk: int) -> HttpResponse:
        """Has a model embed two texts."""
        self.must(person(request).is_superuser)
        if request.method != "POST":
            return HttpResponseNotAllowed(["POST"])
        model = get_object_or_404(EmbeddingModel, pk=pk)
        trial = model_actions.try_out(model)
        if trial.ok:
            took = f"{1000 * trial.seconds:,.0f} ms a text"
            messages.success(
                request,
                f"{model} works: {trial.dimensions} dimension{pluralize(trial.dimensions)}, {took}.",
            )
        else:
            messages.error(request, f"{model}: {' '.join(trial.problems)}")
        return redirect(LIFE)


def refuse(form: BuildForm | IndexForm | MoveForm | ModelForm, problem: Problem) -> None:
    """The refusal at its field, or above the form where it is of none."""
    field = problem.extra.get("field")
    form.add_error(field if field in form.fields else None, problem.message)
