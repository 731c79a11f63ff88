"""What the admin's pages have in common: looks, refusals as messages, pages for reading, and forms of one's own."""
# ruff: noqa: ARG002 (Django calls these methods with all their arguments)

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, TypeVar, cast

from django import forms
from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.db.models import Model
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.template.response import TemplateResponse
from unfold.decorators import display as unfold_display

from kb.core.models import User
from kb.core.problems import Problem

if TYPE_CHECKING:  # the same classes with types, which django-unfold has not
    from django.contrib.admin import ModelAdmin, TabularInline
    from django.contrib.admin.views.main import ChangeList
else:
    from unfold.admin import ModelAdmin, TabularInline
    from unfold.views import ChangeList

__all__ = [
    "Admin",
    "ChangeList",
    "ReadOnly",
    "ReadOnlyInline",
    "SuperuserOnly",
    "TabularInline",
    "display",
    "person",
]

M = TypeVar("M", bound=Model)
Child = TypeVar("Child", bound=Model)
Shown = TypeVar("Shown", bound=Callable[..., Any])


def display(**settings: Any) -> Callable[[Shown], Shown]:
    """django-unfold's decorator of a column (description, ordering, label, boolean, header), with its type."""
    return cast(Callable[[Shown], Shown], unfold_display(**settings))


class Admin(ModelAdmin[M]):
    """A refusal by an action becomes a message instead of an error page."""

    warn_unsaved_form = True
    list_filter_submit = False
    list_per_page = 50
    show_full_result_count = False

    class Media:
        css = {"all": ["css/admin.css"]}

    def changeform_view(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        return self.refusing(super().changeform_view, request, *args, **kwargs)

    def delete_view(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        return self.refusing(super().delete_view, request, *args, **kwargs)

    def refusing(
        self, view: Callable[..., HttpResponse], request: HttpRequest, *args: Any, **kwargs: Any
    ) -> HttpResponse:
        """Runs the view; what it had done is undone by then, as Problem leaves its transaction."""
        try:
            return view(request, *args, **kwargs)
        except Problem as problem:
            messages.error(request, problem.message)
            return redirect(request.get_full_path())

    def each(
        self, request: HttpRequest, rows: Iterable[M], action: Callable[[User, M], object], done: str
    ) -> None:
        """Runs an action on each row; those that refuse are named with their reason, the others counted."""
        count = 0
        for row in rows:
            try:
                action(person(request), row)
            except Problem as problem:
                messages.error(request, f"{row}: {problem.message}")
            else:
                count += 1
        if count:
            messages.success(request, f"{done}: {count}.")

    @staticmethod
    def must(allowed: bool) -> None:
        """For pages of one's own, which the admin does not guard."""
        if not allowed:
            raise PermissionDenied("You may not do this.")

    def form_page(
        self, request: HttpRequest, form: forms.Form, title: str, submit: str, **context: Any
    ) -> TemplateResponse:
        """A page with a form of one's own, set like the admin's."""
        page = {"opts": self.model._meta, "title": title, "form": form, "submit_label": submit, **context}
        status = 400 if form.errors else 200
        return self.page(request, "admin/form_page.html", page, status)

    def page(
        self, request: HttpRequest, template: str, context: dict[str, Any], status: int = 200
    ) -> TemplateResponse:
        whole = {**self.admin_site.each_context(request), **context, "media": self.media}
        return TemplateResponse(request, template, whole, status=status)

    def shown_once(self, request: HttpRequest, title: str, secret: str, explanation: str) -> HttpResponse:
        """A page with a secret that nobody can see again, kept nowhere."""
        context = {"opts": self.model._meta, "title": title, "secret": secret, "explanation": explanation}
        response = self.page(request, "admin/shown_once.html", context)
        response["Cache-Control"] = "no-store"
        return response


class ReadOnly(Admin[M]):
    """Rows that other parts write: to be looked at."""

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: M | None = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: M | None = None) -> bool:
        return False


class ReadOnlyInline(TabularInline[Child, M]):
    """Rows of another table, to be looked at."""

    extra = 0
    can_delete = False
    show_change_link = True
    hide_title = True

    def has_add_permission(self, request: HttpRequest, obj: M | None = None) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


class SuperuserOnly(Admin[M]):
    """What only administrators with all rights may see: whoever manages accounts could make one of those."""

    def has_module_permission(self, request: HttpRequest) -> bool:
        return self.allowed(request)

    def has_view_permission(self, request: HttpRequest, obj: M | None = None) -> bool:
        return self.allowed(request)

    def has_add_permission(self, request: HttpRequest) -> bool:
        return self.allowed(request)

    def has_change_permission(self, request: HttpRequest, obj: M | None = None) -> bool:
        return self.allowed(request)

    def has_delete_permission(self, request: HttpRequest, obj: M | None = None) -> bool:
        return self.allowed(request)

    def allowed(self, request: HttpRequest) -> bool:
        return request.user.is_active and person(request).is_superuser


def person(request: HttpRequest) -> User:
    """Who is signed in; the admin lets nobody else in."""
    if not isinstance(request.user, User):
        raise PermissionDenied("Sign in first.")
    return request.user
