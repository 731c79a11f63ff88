"""Who asks through the API: a program with a key, a person with a session, or nobody."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any, cast

from django.conf import settings
from django.contrib.auth.models import AnonymousUser
from django.db.models import Q
from django.http import HttpRequest, HttpResponse
from django.middleware.csrf import CsrfViewMiddleware
from django.utils import timezone
from ninja.errors import AuthenticationError
from ninja.security import APIKeyCookie, HttpBearer

from kb.core import keys
from kb.core.models import APIKey, Reader, User
from kb.core.problems import Problem

# A busy program must not cost a write per request.
USE_NOTED_EVERY = timedelta(minutes=1)


class Request(HttpRequest):
    """A request that passed one of the ways in below: `auth` is who asks, `api_key` the key it came with."""

    auth: Reader
    api_key: APIKey | None


class Key(HttpBearer):
    """`Authorization: Bearer fn_…`: acts as the key's owner. An unusable key is refused, never ignored."""

    openapi_description = "An API key: `fn_…`. It sees what its owner sees, within its scopes."

    def __init__(self, *scopes: str) -> None:
        super().__init__()
        self.scopes = scopes

    def __call__(self, request: HttpRequest) -> Reader | None:
        header = request.headers.get("Authorization")
        if header is None:
            return None
        scheme, _, secret = header.partition(" ")
        if scheme.lower() != "bearer":
            raise AuthenticationError(message="Send the API key as `Authorization: Bearer fn_…`.")
        return self.authenticate(request, secret.strip())

    def authenticate(self, request: HttpRequest, token: str) -> Reader:
        key = keys.usable(token)
        if key is None:
            raise AuthenticationError(message="This API key is unknown, has expired or was revoked.")
        if not set(self.scopes) & set(key.scopes):
            wanted = " or ".join(self.scopes)
            raise Problem("missing_scope", f"This API key lacks the scope {wanted}.", 403)
        note_use(key)
        cast(Request, request).api_key = key
        request.user = key.owner
        return key.owner


def note_use(key: APIKey) -> None:
    """Writes `last_used_at`, at most once a minute."""
    now = timezone.now()
    if key.last_used_at is None or key.last_used_at < now - USE_NOTED_EVERY:
        stale = Q(last_used_at=None) | Q(last_used_at__lt=now - USE_NOTED_EVERY)
        APIKey.objects.filter(stale, pk=key.pk).update(last_used_at=now)


class Csrf(CsrfViewMiddleware):
    """Django's check, giving its reason instead of a page."""

    def _reject(self, request: HttpRequest, reason: str) -> str:  # noqa: ARG002
        return reason


def csrf_refusal(request: HttpRequest) -> object | None:
    """Why the request may come from a foreign page, or None; keys need no token."""
    check = Csrf(lambda _request: HttpResponse())
    request.csrf_processing_done = False  # type: ignore[attr-defined]  # set by the middleware itself
    check.process_request(request)
    return check.process_view(request, lambda _request: HttpResponse(), (), {})


class Session(APIKeyCookie):
    """The browser's session. Methods that change something also need the CSRF token."""

    param_name = settings.SESSION_COOKIE_NAME
    openapi_description = "The browser's session; send `X-CSRFToken` with methods other than GET."

    def __call__(self, request: HttpRequest) -> Reader | None:
        return self.authenticate(request, None)

    def authenticate(self, request: HttpRequest, key: str | None) -> Reader | None:  # noqa: ARG002
        if not request.user.is_authenticated:
            return None
        if csrf_refusal(request):
            raise Problem("csrf", "The CSRF token is missing or wrong: reload the page.", 403)
        return request.user


def nobody(_request: HttpRequest) -> Reader:
    """Anonymous readers see what is public."""
    return AnonymousUser()


def reading(*scopes: str) -> Sequence[Any]:
    """The ways in to what everybody may try: key, session, or nothing."""
    return [Key(*scopes), Session(), nobody]


def signed_in(*scopes: str) -> Sequence[Any]:
    """The ways in to what needs an account: key or session."""
    return [Key(*scopes), Session()]


def account(request: Request) -> User:
    """The asker, where the way in lets nobody but an account through."""
    return cast(User, request.auth)


READ = reading(APIKey.Scope.READ)
ASK = reading(APIKey.Scope.ASK)
READ_OR_ASK = reading(APIKey.Scope.READ, APIKey.Scope.ASK)
WRITE = signed_in(APIKey.Scope.WRITE)
MANAGE = signed_in(APIKey.Scope.MANAGE)
ANY = signed_in(*APIKey.Scope.values)
