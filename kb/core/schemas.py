"""What the API takes and gives about collections, members and the asker."""

from datetime import datetime
from typing import Annotated, Any, Literal

from ninja import Schema
from pydantic import ConfigDict, Field

from kb.core.models import Collection, Membership
from kb.core.pagination import MOST

Visibility = Literal["private", "members", "signed_in", "public"]
Role = Literal["reader", "editor"]
Cursor = Annotated[str | None, Field(max_length=2000, description="`next_cursor` of the reply before.")]
Limit = Annotated[int, Field(ge=1, le=MOST, description="How many items to send.")]


class Input(Schema):
    """A request body: fields that nobody reads are refused rather than ignored."""

    model_config = ConfigDict(extra="forbid")


class ProblemOut(Schema):
    """An error (RFC 9457). Decide by `status` and `code`; `detail` is a sentence for people."""

    type: str
    title: str
    status: int
    detail: str
    code: str


class CollectionIn(Input):
    name: str = Field(min_length=1, max_length=200)
    slug: str = Field("", max_length=80, description="In addresses; made of the name where it is left out.")
    description: str = Field("", max_length=10_000)
    visibility: Visibility = "private"


class CollectionPatch(Input):
    """Only what is sent is changed."""

    name: str | None = Field(None, min_length=1, max_length=200)
    description: str | None = Field(None, max_length=10_000)
    visibility: Visibility | None = None


class CollectionOut(Schema):
    slug: str
    name: str
    description: str
    visibility: Visibility
    owner: str | None = Field(description="The owner's user name; null for readers without an account.")
    created_at: datetime

    @staticmethod
    def resolve_owner(collection: Collection, context: dict[str, Any]) -> str | None:
        return collection.owner.username if context["request"].auth.is_authenticated else None


class CollectionsOut(Schema):
    items: list[CollectionOut]
    next_cursor: str | None


class MemberIn(Input):
    role: Role = "reader"


class MemberOut(Schema):
    username: str
    role: Role
    created_at: datetime

    @staticmethod
    def resolve_username(membership: Membership) -> str:
        return membership.user.username


class MembersOut(Schema):
    items: list[MemberOut]


class MeOut(Schema):
    """Who asks, and by what right."""

    username: str
    email: str
    is_staff: bool
    key: str | None = Field(description="The name of the API key in use; null with a session.")
    scopes: list[str] = Field(description="What this request's key allows; a session allows everything.")
