"""The admin of collections and their members; every change goes through the actions."""
# ruff: noqa: ARG002 (Django calls these methods with all their arguments)

from collections.abc import Iterable, Sequence
from typing import Any

from django.db.models import Count, QuerySet
from django.http import HttpRequest

from kb.core import actions
from kb.core.admin.base import Admin, TabularInline, display, person
from kb.core.models import Collection, Membership


class MembershipInline(TabularInline[Membership, Collection]):
    """Members. Only administrators with all rights look people up here; owners do so on the collection's page."""

    model = Membership
    extra = 0
    autocomplete_fields = ["user"]
    verbose_name_plural = "members"

    def has_add_permission(self, request: HttpRequest, obj: Collection | None = None) -> bool:
        return person(request).is_superuser

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return person(request).is_superuser

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return person(request).is_superuser

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return person(request).is_superuser


class CollectionAdmin(Admin[Collection]):
    """Staff see and change here what they see and own elsewhere.

    It is registered where documents are known, whose work a collection's actions are about.
    """

    list_display = [
        "name",
        "slug",
        "owner",
        "visibility_badge",
        "member_count",
        "document_count",
        "created_at",
    ]
    list_filter = ["visibility"]
    list_select_related = ["owner"]
    search_fields = ["name", "slug"]
    inlines = [MembershipInline]

    def get_queryset(self, request: HttpRequest) -> QuerySet[Collection]:
        visible = super().get_queryset(request).filter(pk__in=Collection.objects.visible_to(person(request)))
        return visible.annotate(
            members_counted=Count("memberships", distinct=True),
            documents_counted=Count("documents", distinct=True),
        )

    def get_fields(self, request: HttpRequest, obj: Collection | None = None) -> list[Any]:
        fields: list[Any] = ["name", "slug", "description", "visibility"]
        return fields if obj is None else [*fields, "owner", "created_at"]

    def get_readonly_fields(self, request: HttpRequest, obj: Collection | None = None) -> list[str]:
        # The slug is in addresses that people keep.
        return [] if obj is None else ["slug", "owner", "created_at"]

    def get_prepopulated_fields(
        self, request: HttpRequest, obj: Collection | None = None
    ) -> dict[str, Sequence[str]]:
        return {"slug": ["name"]} if obj is None else {}

    def get_inlines(self, request: HttpRequest, obj: Collection | None) -> list[Any]:
        return [] if obj is None else self.inlines

    def owned(self, request: HttpRequest, obj: Collection | None) -> bool:
        return obj is None or Collection.objects.owned_by(person(request)).filter(pk=obj.pk).exists()

    def has_change_permission(self, request: HttpRequest, obj: Collection | None = None) -> bool:
        return super().has_change_permission(request, obj) and self.owned(request, obj)

    def has_delete_permission(self, request: HttpRequest, obj: Collection | None = None) -> bool:
        return super().has_delete_permission(request, obj) and self.owned(request, obj)

    @display(
        description="Visibility",
        ordering="visibility",
        label={"private": "info", "members": "info", "signed_in": "warning", "public": "danger"},
    )
    def visibility_badge(self, collection: Collection) -> tuple[str, str]:
        return collection.visibility, collection.get_visibility_display()

    @display(description="Members", ordering="members_counted")
    def member_count(self, collection: Any) -> int:
        return int(collection.members_counted)

    @display(description="Documents", ordering="documents_counted")
    def document_count(self, collection: Any) -> int:
        return int(collection.documents_counted)

    def save_model(self, request: HttpRequest, obj: Collection, form: Any, change: bool) -> None:
        if change:
            changed = {name: getattr(obj, name) for name in form.changed_data}
            actions.change_collection(person(request), obj, **changed)
            return
        made = actions.create_collection(person(request), obj.name, obj.slug, obj.description, obj.visibility)
        obj.__dict__.update(made.__dict__)

    def save_formset(self, request: HttpRequest, form: Any, formset: Any, change: bool) -> None:
        """Members, one by one; a row whose person was exchanged ends the membership of the one before."""
        actor, collection = person(request), form.instance
        rows = formset.save(commit=False)
        for row in formset.deleted_objects:
            actions.remove_member(actor, collection, row.user)
        for row in rows:
            before = (
                Membership.objects.select_related("user").filter(pk=row.pk).exclude(user=row.user).first()
            )
            if before is not None:
                actions.remove_member(actor, collection, before.user)
            actions.set_member(actor, collection, row.user, row.role)

    def delete_model(self, request: HttpRequest, obj: Collection) -> None:
        actions.delete_collection(person(request), obj)

    def delete_queryset(self, request: HttpRequest, queryset: QuerySet[Collection]) -> None:
        self.each(request, queryset, actions.delete_collection, "Deleted")

    def get_deleted_objects(
        self, objs: QuerySet[Collection] | Sequence[Any], request: HttpRequest
    ) -> tuple[list[str], dict[str, int], set[str], list[str]]:
        """In one line each: the rows below may be thousands, and are the actions' business."""
        collections: Iterable[Collection] = objs
        lines = [f"{collection}, with all its documents" for collection in collections]
        return lines, {"collections": len(lines)}, set(), []
