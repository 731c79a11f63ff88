"""Accounts, collections and who may see them, API keys, invitations, audit log, worker heartbeats."""

import hashlib
import secrets
from datetime import timedelta
from typing import Any, Self, TypeAlias

from django.conf import settings
from django.contrib.auth.models import AbstractUser, AnonymousUser
from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models import Q
from django.utils import timezone


class User(AbstractUser):
    """An account; the e-mail address is where invitations and password resets go."""

    class Meta(AbstractUser.Meta):
        pass


Reader: TypeAlias = User | AnonymousUser


class CollectionQuerySet(models.QuerySet["Collection"]):
    def visible_to(self, user: Reader) -> Self:
        """The collections that this reader may know of; every read of the product starts here."""
        if not user.is_authenticated:
            return self.filter(visibility=Collection.Visibility.PUBLIC)
        if user.is_superuser:
            return self
        return self.filter(
            Q(visibility__in=[Collection.Visibility.PUBLIC, Collection.Visibility.SIGNED_IN])
            | Q(owner=user)
            | Q(
                visibility=Collection.Visibility.MEMBERS,
                pk__in=Membership.objects.filter(user=user).values("collection"),
            )
        )

    def editable_by(self, user: Reader) -> Self:
        """The collections whose documents this reader may add, replace and delete."""
        if not user.is_authenticated:
            return self.none()
        if user.is_superuser:
            return self
        editor = Membership.objects.filter(user=user, role=Membership.Role.EDITOR)
        return self.filter(
            Q(owner=user)
            | (Q(pk__in=editor.values("collection")) & ~Q(visibility=Collection.Visibility.PRIVATE))
        )

    def owned_by(self, user: Reader) -> Self:
        """The collections whose members and settings this reader may change."""
        if not user.is_authenticated:
            return self.none()
        return self if user.is_superuser else self.filter(owner=user)


class Collection(models.Model):
    """Documents that share their readers."""

    class Visibility(models.TextChoices):
        PRIVATE = "private", "Only the owner"
        MEMBERS = "members", "The owner and the members"
        SIGNED_IN = "signed_in", "Everyone who is signed in"
        PUBLIC = "public", "Everyone, without signing in"

    name = models.CharField(max_length=200)
    slug = models.SlugField(max_length=80, unique=True)
    description = models.TextField(blank=True)
    owner = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="collections")
    members = models.ManyToManyField(
        settings.AUTH_USER_MODEL, through="Membership", related_name="shared_collections", blank=True
    )
    visibility = models.CharField(max_length=20, choices=Visibility, default=Visibility.PRIVATE)
    paused = models.BooleanField(
        default=False, help_text="nothing new is read or embedded until it is resumed"
    )
    created_at = models.DateTimeField(auto_now_add=True)

    objects = CollectionQuerySet.as_manager()

    class Meta:
        ordering = ["name"]

    def __str__(self) -> str:
        return self.name


class Membership(models.Model):
    """A person who may read a collection, or also change its documents."""

    class Role(models.TextChoices):
        READER = "reader", "Reader"
        EDITOR = "editor", "Editor"

    collection = models.ForeignKey(Collection, on_delete=models.CASCADE, related_name="memberships")
    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="memberships")
    role = models.CharField(max_length=10, choices=Role, default=Role.READER)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["collection", "user"], name="one_membership")]

    def __str__(self) -> str:
        return f"{self.user} in {self.collection}"


def hashed(secret: str) -> str:
    """SHA-256 of a random secret: those are long enough to need no slow hash."""
    return hashlib.sha256(secret.encode()).hexdigest()


class APIKey(models.Model):
    """A program's key: it acts as its owner, within its scopes. Only prefix and hash are kept."""

    class Scope(models.TextChoices):
        READ = "read", "Read collections and documents, search"
        ASK = "ask", "Ask questions"
        WRITE = "write", "Upload, replace and delete documents"
        MANAGE = "manage", "Create, change and delete collections, and their members"

    PREFIX_LENGTH = 11

    owner = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="api_keys")
    name = models.CharField(max_length=100)
    prefix = models.CharField(max_length=PREFIX_LENGTH, editable=False)
    hash = models.CharField(max_length=64, unique=True, editable=False)
    scopes = ArrayField(models.CharField(max_length=10, choices=Scope))
    created_at = models.DateTimeField(auto_now_add=True)
    expires_at = models.DateTimeField(null=True, blank=True)
    revoked_at = models.DateTimeField(null=True, blank=True)
    last_used_at = models.DateTimeField(null=True, blank=True, editable=False)

    class Meta:
        verbose_name = "API key"
        ordering = ["-created_at"]

    def __str__(self) -> str:
        return f"{self.name} ({self.prefix}…)"

    @staticmethod
    def new_secret() -> str:
        return f"fn_{secrets.token_urlsafe(32)}"

    def set_secret(self, secret: str) -> None:
        self.prefix, self.hash = secret[: self.PREFIX_LENGTH], hashed(secret)


def invitation_end() -> Any:
    return timezone.now() + timedelta(days=settings.INVITATION_DAYS)


class InvitationQuerySet(models.QuerySet["Invitation"]):
    def open(self) -> Self:
        return self.filter(accepted_at=None, expires_at__gt=timezone.now())


class Invitation(models.Model):
    """A link by which one person makes an account; only the hash of its token is kept."""

    email = models.EmailField()
    token_hash = models.CharField(max_length=64, unique=True, editable=False)
    invited_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="invitations"
    )
    created_at = models.DateTimeField(auto_now_add=True)
    expires_at = models.DateTimeField(default=invitation_end)
    accepted_at = models.DateTimeField(null=True, blank=True, editable=False)

    objects = InvitationQuerySet.as_manager()

    def __str__(self) -> str:
        return self.email


class AuditEntry(models.Model):
    """Who did what to what, and when; never changed."""

    at = models.DateTimeField(auto_now_add=True, db_index=True)
    actor = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, on_delete=models.SET_NULL, related_name="+"
    )
    verb = models.CharField(max_length=60)
    subject = models.CharField(max_length=200)
    detail = models.JSONField(default=dict, blank=True)

    class Meta:
        verbose_name_plural = "audit entries"
        ordering = ["-at"]

    def __str__(self) -> str:
        return f"{self.verb} {self.subject}"


class HeartbeatQuerySet(models.QuerySet["Heartbeat"]):
    FRESH = timedelta(seconds=150)

    def fresh(self) -> Self:
        return self.filter(at__gt=timezone.now() - self.FRESH)


class Heartbeat(models.Model):
    """The last sign of life of one worker process, which it writes itself while it works."""

    worker = models.CharField(max_length=200, primary_key=True)
    queue = models.CharField(max_length=40, db_index=True)
    pid = models.IntegerField()
    at = models.DateTimeField()
    rate = models.FloatField(default=0, help_text="units a second of late: documents parsed, chunks embedded")

    objects = HeartbeatQuerySet.as_manager()

    def __str__(self) -> str:
        return self.worker
