"""Changes to collections, members, invitations and API keys."""

import secrets
from collections.abc import Sequence
from datetime import datetime

from django.contrib.auth.password_validation import validate_password
from django.contrib.auth.validators import UnicodeUsernameValidator
from django.core.exceptions import ValidationError
from django.db import IntegrityError, transaction
from django.urls import reverse
from django.utils import timezone
from django.utils.text import slugify

from kb.core.auditing import record
from kb.core.models import APIKey, Collection, Invitation, Membership, User, hashed
from kb.core.problems import Problem, not_found

# Pages stand at these addresses, where a collection's would be.
RESERVED_SLUGS = {"failures"}


@transaction.atomic
def create_collection(
    actor: User,
    name: str,
    slug: str = "",
    description: str = "",
    visibility: str = Collection.Visibility.PRIVATE,
) -> Collection:
    """A new collection of `actor`'s. Raises Problem for a bad name, slug or visibility, or a slug that is taken."""
    collection = Collection(
        name=name.strip(),
        slug=slug or free_slug(name),
        description=description,
        visibility=visibility,
        owner=actor,
    )
    if collection.slug in RESERVED_SLUGS:
        raise Problem("slug_taken", "That slug is taken: choose another.", 409, field="slug")
    save_checked(collection)
    record(actor, "create", collection, visibility=visibility)
    return collection


def free_slug(name: str) -> str:
    """A slug made of the name; numbered only against collections with the very same base."""
    base = slugify(name)[:60] or "collection"
    if base not in RESERVED_SLUGS and not Collection.objects.filter(slug=base).exists():
        return base
    # A random tail, not a count: a number would tell how many of that name others have.
    return f"{base}-{secrets.token_hex(3)}"


def save_checked(collection: Collection, fields: Sequence[str] | None = None) -> None:
    if not any(letter.isalnum() for letter in collection.name):
        raise Problem("invalid", "name: Give a name with letters or digits in it.", field="name")
    if not any(letter.isalnum() for letter in collection.slug):
        raise Problem("invalid", "slug: Give a slug with letters or digits in it.", field="slug")
    try:
        collection.full_clean(validate_unique=False)
        with transaction.atomic():
            collection.save(update_fields=fields)
    except ValidationError as error:
        field, messages = next(iter(error.message_dict.items()))
        raise Problem("invalid", f"{field}: {' '.join(messages)}", field=field) from error
    except IntegrityError as error:
        raise Problem("slug_taken", "That slug is taken: choose another.", 409, field="slug") from error


@transaction.atomic
def change_collection(actor: User, collection: Collection, **fields: str) -> Collection:
    """Changes name, description or visibility of a collection that `actor` owns; leaves the others alone."""
    must_own(actor, collection)
    if unknown := set(fields) - {"name", "description", "visibility"}:
        raise Problem("invalid", f"These cannot be changed: {', '.join(sorted(unknown))}.")
    for field, value in fields.items():
        setattr(collection, field, value.strip() if field == "name" else value)
    # Not the whole row: `collection` may have been read before somebody withdrew its visibility.
    save_checked(collection, list(fields))
    record(actor, "change", collection, **fields)
    return collection


@transaction.atomic
def delete_collection(actor: User, collection: Collection) -> None:
    """Deletes a collection that `actor` owns, with everything in it."""
    must_own(actor, collection)
    # Who writes into the collection holds it (kb.core.holding): they end first, or find it gone.
    locked = Collection.objects.select_for_update().filter(pk=collection.pk).first()
    if locked is None:
        raise not_found("collection")
    record(actor, "delete", locked)
    locked.delete()


def must_own(actor: User, collection: Collection) -> None:
    """Who may see the collection learns that they may not change it; others learn nothing."""
    if Collection.objects.owned_by(actor).filter(pk=collection.pk).exists():
        return
    if Collection.objects.visible_to(actor).filter(pk=collection.pk).exists():
        raise Problem("not_owner", "Only the owner of a collection may do this.", 403)
    raise not_found("collection")


@transaction.atomic
def set_member(actor: User, collection: Collection, user: User, role: str) -> Membership:
    """Makes `user` a member with `role`, or changes the role."""
    must_own(actor, collection)
    if role not in Membership.Role.values:
        raise Problem("invalid", f"The role is one of {', '.join(Membership.Role.values)}.", field="role")
    if user == collection.owner:
        raise Problem("invalid", "The owner needs no membership.", field="user")
    membership, _ = Membership.objects.update_or_create(
        collection=collection, user=user, defaults={"role": role}
    )
    record(actor, "set member", collection, user=user.username, role=role)
    return membership


@transaction.atomic
def remove_member(actor: User, collection: Collection, user: User) -> None:
    """Ends a membership; effective with the next request of that person."""
    must_own(actor, collection)
    Membership.objects.filter(collection=collection, user=user).delete()
    record(actor, "remove member", collection, user=user.username)


@transaction.atomic
def invite(actor: User, email: str) -> tuple[Invitation, str]:
    """An invitation for `email` and the path of its link, which cannot be shown again."""
    if not actor.is_staff:
        raise Problem("forbidden", "Only administrators invite people.", 403)
    token = secrets.token_urlsafe(32)
    invitation = Invitation(email=email.strip(), token_hash=hashed(token), invited_by=actor)
    try:
        invitation.full_clean()
    except ValidationError as error:
        raise Problem("invalid", f"{email!r} is not an e-mail address.", field="email") from error
    invitation.save()
    record(actor, "invite", invitation)
    return invitation, reverse("invitation", args=[token])


@transaction.atomic
def accept_invitation(token: str, username: str, password: str) -> User:
    """Makes the invited person's account; a link works once and for a limited time."""
    invitation = Invitation.objects.open().select_for_update().filter(token_hash=hashed(token)).first()
    if invitation is None:
        raise Problem("not_found", "This invitation was used or has expired: ask for a new one.", 404)
    user = User(username=username.strip(), email=invitation.email)
    try:
        UnicodeUsernameValidator()(user.username)
        validate_password(password, user)
    except ValidationError as error:
        raise Problem("invalid", " ".join(error.messages)) from error
    if User.objects.filter(username__iexact=user.username).exists():
        raise Problem("username_taken", "That user name is taken: choose another.", 409, field="username")
    user.set_password(password)
    user.save()
    invitation.accepted_at = timezone.now()
    invitation.save(update_fields=["accepted_at"])
    record(user, "accept invitation", invitation)
    return user


@transaction.atomic
def create_api_key(
    owner: User,
    name: str,
    scopes: Sequence[str],
    expires_at: datetime | None = None,
    actor: User | None = None,
) -> tuple[APIKey, str]:
    """A key and its secret, which is shown once and never kept.

    `actor` makes it, the owner themselves unless given; only a superuser makes one for somebody else.
    """
    actor = actor or owner
    if actor != owner and not actor.is_superuser:
        raise Problem("forbidden", "Only administrators with all rights make keys for others.", 403)
    if not name.strip() or len(name) > 100:
        raise Problem("invalid", "Give the key a name of up to 100 characters.", field="name")
    if not scopes or set(scopes) - set(APIKey.Scope.values):
        raise Problem("invalid", f"Choose scopes out of {', '.join(APIKey.Scope.values)}.", field="scopes")
    if expires_at is not None and expires_at <= timezone.now():
        raise Problem(
            "invalid", "The key would have expired already: choose a later time.", field="expires_at"
        )
    secret = APIKey.new_secret()
    key = APIKey(owner=owner, name=name.strip(), scopes=sorted(set(scopes)), expires_at=expires_at)
    key.set_secret(secret)
    key.save()
    record(actor, "create key", key, owner=owner.username, scopes=key.scopes)
    return key, secret


@transaction.atomic
def revoke_api_key(actor: User, key: APIKey) -> None:
    """Ends a key at once; its owner and administrators may."""
    if not (actor.is_superuser or key.owner_id == actor.pk):
        raise not_found("API key")
    if key.revoked_at is None:
        key.revoked_at = timezone.now()
        key.save(update_fields=["revoked_at"])
        record(actor, "revoke key", key)
