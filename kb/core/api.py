"""Collections, their members, and who is asking."""

from ninja import Router, Status

from kb.core import actions
from kb.core.authentication import ANY, MANAGE, READ, Request, account
from kb.core.models import APIKey, Collection, Membership, Reader, User
from kb.core.pagination import Slice, paginate
from kb.core.problems import not_found
from kb.core.schemas import (
    CollectionIn,
    CollectionOut,
    CollectionPatch,
    CollectionsOut,
    Cursor,
    Limit,
    MemberIn,
    MemberOut,
    MembersOut,
    MeOut,
)

router = Router(tags=["Collections"])
account_router = Router(tags=["Account"])


def visible_collection(reader: Reader, slug: str) -> Collection:
    """The collection, if this reader may know of it. Raises Problem otherwise."""
    found = Collection.objects.visible_to(reader).select_related("owner").filter(slug=slug).first()
    if found is None:
        raise not_found("collection")
    return found


def named_user(username: str) -> User:
    found = User.objects.filter(username=username, is_active=True).first()
    if found is None:
        raise not_found("user")
    return found


@router.get("", auth=READ, response=CollectionsOut, operation_id="list_collections")
def list_collections(request: Request, cursor: Cursor = None, limit: Limit = 50) -> Slice[Collection]:
    """The collections that you may see, by name."""
    visible = Collection.objects.visible_to(request.auth).select_related("owner")
    return paginate(visible, ["name", "id"], cursor, limit)


@router.post("", auth=MANAGE, response={201: CollectionOut}, operation_id="create_collection")
def create_collection(request: Request, body: CollectionIn) -> Status[Collection]:
    """A new collection, of which you are the owner."""
    return Status(201, actions.create_collection(account(request), **body.model_dump()))


@router.get("/{slug}", auth=READ, response=CollectionOut, operation_id="get_collection")
def get_collection(request: Request, slug: str) -> Collection:
    """One collection."""
    return visible_collection(request.auth, slug)


@router.patch("/{slug}", auth=MANAGE, response=CollectionOut, operation_id="change_collection")
def change_collection(request: Request, slug: str, body: CollectionPatch) -> Collection:
    """Changes name, description or visibility; only the owner may."""
    fields = {name: value for name, value in body.model_dump(exclude_unset=True).items() if value is not None}
    return actions.change_collection(account(request), visible_collection(request.auth, slug), **fields)


@router.delete("/{slug}", auth=MANAGE, response={204: None}, operation_id="delete_collection")
def delete_collection(request: Request, slug: str) -> Status[None]:
    """Deletes the collection with all its documents; only the owner may."""
    actions.delete_collection(account(request), visible_collection(request.auth, slug))
    return Status(204, None)


@router.get("/{slug}/members", auth=MANAGE, response=MembersOut, operation_id="list_members")
def list_members(request: Request, slug: str) -> dict[str, list[Membership]]:
    """The people with whom the collection is shared; only the owner may ask."""
    collection = visible_collection(request.auth, slug)
    actions.must_own(account(request), collection)
    return {"items": list(collection.memberships.select_related("user").order_by("user__username"))}


@router.put("/{slug}/members/{username}", auth=MANAGE, response=MemberOut, operation_id="set_member")
def set_member(request: Request, slug: str, username: str, body: MemberIn) -> Membership:
    """Shares the collection with a person, or changes their role; only the owner may."""
    collection = visible_collection(request.auth, slug)
    # Before the name is looked up: who does not own the collection cannot try out user names here.
    actions.must_own(account(request), collection)
    return actions.set_member(account(request), collection, named_user(username), body.role)


@router.delete("/{slug}/members/{username}", auth=MANAGE, response={204: None}, operation_id="remove_member")
def remove_member(request: Request, slug: str, username: str) -> Status[None]:
    """Ends a person's membership; only the owner may."""
    collection = visible_collection(request.auth, slug)
    actions.must_own(account(request), collection)
    actions.remove_member(account(request), collection, named_user(username))
    return Status(204, None)


@account_router.get("/me", auth=ANY, response=MeOut, operation_id="me")
def me(request: Request) -> dict[str, object]:
    """Who you are to this site, and what your key allows."""
    user, key = account(request), getattr(request, "api_key", None)
    return {
        "username": user.username,
        "email": user.email,
        "is_staff": user.is_staff,
        "key": key.name if key else None,
        "scopes": key.scopes if key else APIKey.Scope.values,
    }
