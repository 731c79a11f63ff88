"""The admin actions on documents that belong together: an upload's or a collection's."""

from typing import TypeVar

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest

from kb.core.admin.base import Admin, person
from kb.core.models import Collection
from kb.documents import actions
from kb.documents.models import Upload

S = TypeVar("S", Upload, Collection)


class Steering(Admin[S]):
    """For rows that the person may see; the actions refuse where they may not edit."""

    actions = ["pause", "resume", "cancel", "retry", "reparse"]

    def has_edit_permission(self, request: HttpRequest) -> bool:
        return person(request).has_perm("documents.change_document")

    @admin.action(description="Pause", permissions=["edit"])
    def pause(self, request: HttpRequest, rows: QuerySet[S]) -> None:
        self.each(request, rows, actions.pause, "Paused")

    @admin.action(description="Resume", permissions=["edit"])
    def resume(self, request: HttpRequest, rows: QuerySet[S]) -> None:
        self.each(request, rows, actions.resume, "Goes on")

    @admin.action(description="Cancel what is unfinished", permissions=["edit"])
    def cancel(self, request: HttpRequest, rows: QuerySet[S]) -> None:
        self.each(request, rows, actions.cancel, "Cancelled")

    @admin.action(description="Retry what failed or was cancelled", permissions=["edit"])
    def retry(self, request: HttpRequest, rows: QuerySet[S]) -> None:
        self.each(request, rows, actions.retry_failed, "Taken up again")

    @admin.action(description="Re-parse what is ready from the stored files", permissions=["edit"])
    def reparse(self, request: HttpRequest, rows: QuerySet[S]) -> None:
        self.each(request, rows, actions.reparse, "To be parsed again")
