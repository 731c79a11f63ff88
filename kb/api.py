"""The JSON API at /api/v1: one NinjaAPI made of each app's router, with problem+json for every error."""

from collections.abc import Callable
from functools import wraps
from inspect import iscoroutinefunction
from typing import Any

from django.http import HttpRequest, HttpResponseBase
from django.urls import URLPattern, URLResolver, path, re_path
from django.views.generic import RedirectView
from ninja import NinjaAPI
from ninja.openapi.docs import Swagger
from ninja.openapi.schema import OpenAPISchema

from kb.core import api as core
from kb.core import problem_json
from kb.core.problems import Problem
from kb.core.schemas import ProblemOut
from kb.documents import api as documents
from kb.documents import api_sources as sources
from kb.documents import api_work
from kb.indexes import api as indexes
from kb.indexes import api_versions
from kb.quality import api as quality
from kb.search import api as search

DESCRIPTION = """\
Put documents in, search them, and ask questions whose answers cite their sources.

Programs send an API key, `Authorization: Bearer fn_…`; in the browser the session counts. Without either you
see what is public. Errors are `application/problem+json`; what you may not know of is answered like what does
not exist: 404.
"""


def method_problem(response: HttpResponseBase) -> HttpResponseBase:
    """The response, or a problem in its place if it says that the method is not allowed here."""
    if response.status_code != 405:
        return response
    allowed = ", ".join(sorted(response["Allow"].split(", ")))
    refusal = problem_json.respond(Problem("method_not_allowed", f"Only {allowed} can be used here.", 405))
    refusal["Allow"] = allowed
    return refusal


def with_method_problems(view: Callable[..., Any]) -> Callable[..., Any]:
    if iscoroutinefunction(view):

        @wraps(view)
        async def wrapped_async(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
            return method_problem(await view(request, *args, **kwargs))

        return wrapped_async

    @wraps(view)
    def wrapped(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        return method_problem(view(request, *args, **kwargs))

    return wrapped


def nothing_here(_request: HttpRequest) -> HttpResponseBase:
    return problem_json.respond(Problem("not_found", "There is nothing at this address of the API.", 404))


nothing_here.csrf_exempt = True  # type: ignore[attr-defined]


class FootnoteAPI(NinjaAPI):
    """Answers with problems where ninja would not, and says so in the OpenAPI description."""

    def get_openapi_schema(
        self, *, path_prefix: str | None = None, path_params: dict[str, Any] | None = None
    ) -> OpenAPISchema:
        schema = super().get_openapi_schema(path_prefix=path_prefix, path_params=path_params)
        schema["components"]["schemas"]["Problem"] = ProblemOut.json_schema() | {"title": "Problem"}
        content = {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}}
        for operations in schema["paths"].values():
            for operation in operations.values():
                operation["responses"]["default"] = {"description": "A problem", "content": content}
        return schema

    @property
    def urls(self) -> tuple[list[URLResolver | URLPattern], str, str]:
        """The operations' addresses, with the documentation at their root and problems everywhere else."""
        patterns, app_name, namespace = super().urls
        for pattern in patterns:
            if isinstance(pattern, URLPattern):
                pattern.callback = with_method_problems(pattern.callback)
        start = path("", RedirectView.as_view(pattern_name="api:openapi-view"))
        return [start, *patterns, re_path("", nothing_here)], app_name, namespace


api = FootnoteAPI(
    title="Footnote",
    version="1",
    description=DESCRIPTION,
    urls_namespace="api",
    docs=Swagger(settings={"docExpansion": "list", "defaultModelsExpandDepth": 0, "tryItOutEnabled": True}),
)
problem_json.install(api)
api.add_router("/collections", core.router)
api.add_router("", documents.router)
api.add_router("", sources.router)
api.add_router("", api_work.router)
api.add_router("", search.router)
api.add_router("", indexes.router)
api.add_router("", quality.router)  # whose addresses the next one's last method would take for an action
api.add_router("", api_versions.router)
api.add_router("", core.account_router)
