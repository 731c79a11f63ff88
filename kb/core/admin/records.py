"""The admin of what the site writes down: the audit log and the workers' signs of life."""
# ruff: noqa: ARG002 (Django calls these methods with all their arguments)

from django.contrib import admin
from django.http import HttpRequest
from django.utils import timezone

from kb.core.admin.base import ReadOnly, display, person
from kb.core.models import AuditEntry, Heartbeat


@admin.register(AuditEntry)
class AuditEntryAdmin(ReadOnly[AuditEntry]):
    """Who did what. It names what others keep to themselves, so only administrators with all rights read it."""

    list_display = ["at", "actor", "verb", "subject"]
    list_filter = ["verb"]
    list_select_related = ["actor"]
    search_fields = ["subject", "actor__username"]
    date_hierarchy = "at"

    def has_module_permission(self, request: HttpRequest) -> bool:
        return self.has_view_permission(request)

    def has_view_permission(self, request: HttpRequest, obj: AuditEntry | None = None) -> bool:
        return request.user.is_active and person(request).is_superuser


@admin.register(Heartbeat)
class HeartbeatAdmin(ReadOnly[Heartbeat]):
    """Which workers live."""

    list_display = ["worker", "queue", "pid", "at", "alive"]
    list_filter = ["queue"]
    ordering = ["-at"]

    @display(description="State", label={"Alive": "success", "Silent": "danger"})
    def alive(self, heartbeat: Heartbeat) -> str:
        return "Alive" if heartbeat.at > timezone.now() - Heartbeat.objects.all().FRESH else "Silent"
