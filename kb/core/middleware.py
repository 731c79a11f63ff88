"""The Content-Security-Policy, strict everywhere and the admin's own where the admin is; and one thread for all."""

from collections.abc import Callable

from csp.constants import SELF, UNSAFE_EVAL, UNSAFE_INLINE
from csp.middleware import CSPMiddleware, PolicyParts
from django.http import HttpRequest, HttpResponseBase
from django.urls import reverse
from django.utils.decorators import sync_only_middleware

ADMIN_POLICY = {
    # Alpine evaluates the expressions in its attributes, and the admin's pages carry inline styles and scripts.
    "script-src": [SELF, UNSAFE_EVAL, UNSAFE_INLINE],
    "style-src": [SELF, UNSAFE_INLINE],
}


class ContentSecurityPolicy(CSPMiddleware):
    """Replaces two directives on the admin's pages; nothing else differs."""

    def get_policy_parts(
        self, request: HttpRequest, response: HttpResponseBase, report_only: bool = False
    ) -> PolicyParts:
        parts = super().get_policy_parts(request, response, report_only)
        if request.path.startswith(reverse("admin:index")):
            parts.replace = ADMIN_POLICY
        return parts


@sync_only_middleware
def in_one_thread(
    get_response: Callable[[HttpRequest], HttpResponseBase],
) -> Callable[[HttpRequest], HttpResponseBase]:
    """Stands behind all others, and has them run in the request's thread, one after the other.

    Django would go there and back for each of them: fifteen times a request, which took milliseconds.
    """
    return get_response
