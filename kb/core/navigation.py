"""The admin's sidebar: which lists stand where, and who is shown them."""

from collections.abc import Callable
from typing import Any, TypeAlias

from django.http import HttpRequest
from django.urls import reverse, reverse_lazy

Link: TypeAlias = tuple[str, str, str]
"""Title, icon (of Material Symbols), and `app_model` or, for another page than its list, `app_model_page`."""

SECTIONS: dict[str, list[Link]] = {
    "Corpus": [
        ("Collections", "folder_open", "core_collection"),
        ("Documents", "description", "documents_document"),
        ("Uploads", "upload_file", "documents_upload"),
        ("Web sources", "public", "documents_source"),
        ("Web pages", "language", "documents_webpage"),
        ("Chunks", "notes", "documents_chunk"),
    ],
    "Indexes": [
        ("Indexes", "stacks", "indexes_index"),
        ("Versions", "history", "indexes_indexversion"),
        ("Life of versions", "timeline", "indexes_indexversion_life"),
        ("Embedding models", "neurology", "indexes_embeddingmodel"),
        ("Calibrations", "speed", "indexes_calibration"),
        ("Embedding queue", "pending_actions", "indexes_embeddingjob"),
        ("Question sets", "quiz", "quality_questionset"),
    ],
    "Questions": [
        ("Queries", "search", "search_query"),
        ("Search times", "timer", "search_query_timing"),
        ("Answers", "format_quote", "search_answer"),
        ("Retrieval profiles", "tune", "search_retrievalprofile"),
    ],
    "Access": [
        ("People", "group", "core_user"),
        ("Invitations", "mail", "core_invitation"),
        ("API keys", "key", "core_apikey"),
        ("Audit log", "receipt_long", "core_auditentry"),
        ("Workers", "monitor_heart", "core_heartbeat"),
    ],
}
SUPERUSERS_ONLY = {
    "core_user", "core_invitation", "core_auditentry", "search_query_timing", "indexes_indexversion_life",
    "quality_questionset",
}  # fmt: skip


def sidebar() -> dict[str, Any]:
    """The sidebar as unfold's settings have it."""
    overview = {"title": "Overview", "icon": "dashboard", "link": reverse_lazy("admin:index")}
    sections = [
        {"title": title, "separator": True, "items": [item(*link) for link in links]}
        for title, links in SECTIONS.items()
    ]
    return {"show_search": False, "navigation": [{"items": [overview]}, *sections]}


def item(title: str, icon: str, model: str) -> dict[str, Any]:
    return {
        "title": title,
        "icon": icon,
        "link": reverse_lazy(page(model)),
        "permission": shown(model),
        "active": standing_in(model),
    }


def page(model: str) -> str:
    """The name of its address."""
    return f"admin:{model}" if model.count("_") > 1 else f"admin:{model}_changelist"


def standing_in(model: str) -> Callable[[HttpRequest], bool]:
    """Whether a page belongs to this entry: of all whose address its own begins with, to the longest."""

    def stands(request: HttpRequest) -> bool:
        addresses = {other: reverse(page(other)) for links in SECTIONS.values() for _, _, other in links}
        above = [address for address in addresses.values() if request.path.startswith(address)]
        return max(above, key=len, default=None) == addresses[model]

    return stands


def shown(model: str) -> Callable[[HttpRequest], bool]:
    app, _, name = model.partition("_")
    if model in SUPERUSERS_ONLY:
        return lambda request: bool(request.user.is_superuser)
    return lambda request: request.user.has_perm(f"{app}.view_{name}")
