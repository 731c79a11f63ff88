"""Retrieval profiles: which one serves, who may choose another, and how a changed one is made.

A row is never changed, because every query says which one it used.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from django.core.exceptions import ValidationError
from django.db import transaction
from django.db.models import Avg, Count, FloatField, Q
from django.db.models.fields.json import KT
from django.db.models.functions import Cast

from kb.core import pools
from kb.core.auditing import record
from kb.core.models import Reader, User
from kb.core.problems import Problem, not_found
from kb.search import arranging
from kb.search.models import Query, RetrievalProfile
from retrieval.reranking import NotReranked

SETTINGS = (
    "strategy", "dense_weight", "learned_from", "candidates", "reranker", "rerank_candidates", "rerank_milliseconds",
    "diversity", "collapse_duplicates", "merge_adjacent", "widen_to_section", "group_by_document", "title_boost",
    "recency_boost", "recency_days", "passages", "context_tokens",
)  # fmt: skip

NUMBERED = re.compile(r"\s\d+\s*$")


def default_profile() -> RetrievalProfile:
    return RetrievalProfile.objects.get_or_create(is_default=True, defaults={"name": "Default"})[0]


def may_choose(reader: Reader) -> bool:
    """Whoever may look at the profiles may also try them."""
    return reader.has_perm("search.view_retrievalprofile")


@lru_cache(maxsize=16)
def stamped(database: str, stamp: str) -> RetrievalProfile:  # noqa: ARG001  # other databases have other stamps
    """The profile whose id `stamp` begins with, read once while the stamp, and so the row, is the same.

    Raises RetrievalProfile.DoesNotExist.
    """
    return RetrievalProfile.objects.get(pk=stamp.partition(" ")[0])


def chosen(reader: Reader, name: str, default: str = "") -> RetrievalProfile:
    """Without a name the default one, whose stamp is `default` where it is known; else the one with that name and
    number, or the newest of that name.

    Raises Problem where the reader may not choose, or there is none.
    """
    if not name:
        try:
            return stamped(pools.database(), default) if default else default_profile()
        except RetrievalProfile.DoesNotExist:  # gone since its stamp was read
            return default_profile()
    if not may_choose(reader):
        raise Problem("forbidden", "You may not choose a retrieval profile: leave it out.", 403)
    default_profile()  # is made at the first need
    base, _, number = name.rpartition(" ")
    if "\0" in name:  # which PostgreSQL has no text for
        raise not_found("retrieval profile")
    named = None
    if base and number.isdecimal() and number.isascii() and len(number) < 10:
        named = RetrievalProfile.objects.filter(name=base, number=int(number)).first()
    named = named or RetrievalProfile.objects.filter(name=name).order_by("-number").first()
    if named is None:
        raise not_found("retrieval profile")
    return named


def settings_of(profile: RetrievalProfile) -> dict[str, Any]:
    return {name: getattr(profile, name) for name in SETTINGS}


def revise_profile(actor: User | None, draft: RetrievalProfile) -> RetrievalProfile:
    """Stores `draft`'s settings as the next number of its name.

    What was the default under this name stays it, and `is_default` makes it so; there is always one.
    Raises Problem for settings that no search can follow, and where one is to serve whose reranker does not work.
    """
    if draft.is_default or RetrievalProfile.objects.filter(name=draft.name, is_default=True).exists():
        try_reranker(draft)
    return store(actor, draft)


def try_reranker(profile: RetrievalProfile) -> None:
    """Before it serves, and before anything is locked: it may have to be fetched. Raises Problem if it fails."""
    if not profile.reranker:
        return
    try:
        arranging.try_reranker(profile.reranker)
    except NotReranked as reason:
        raise Problem(
            "invalid", f"The reranker {profile.reranker!r} cannot serve. {reason}", field="reranker"
        ) from reason


def locked() -> list[RetrievalProfile]:
    """All of them, in one order: whoever else makes one, or another default, comes before or after.

    Their keys stay free, so that a query which refers to one is recorded meanwhile.
    """
    return list(RetrievalProfile.objects.select_for_update(no_key=True).order_by("pk"))


@transaction.atomic
def store(actor: User | None, draft: RetrievalProfile) -> RetrievalProfile:
    rows = locked()
    same = [row for row in rows if row.name == draft.name]
    serves = draft.is_default or any(row.is_default for row in same)
    number = max((row.number for row in same), default=0) + 1
    made = RetrievalProfile(name=draft.name, number=number, is_default=serves, **settings_of(draft))
    check(made)
    if not same and NUMBERED.search(made.name):
        raise Problem(
            "invalid",
            "name: a name that ends in a number reads like the version of another profile.",
            field="name",
        )
    if serves:
        RetrievalProfile.objects.filter(is_default=True).update(is_default=False)
    made.save()
    before = max(same, key=lambda row: row.number, default=None)
    changed = {label: after for label, _, after in differences(before, made)} if before else settings_of(made)
    record(actor, "revise profile", made, **changed)
    return made


def check(draft: RetrievalProfile) -> None:
    """Raises Problem with the first thing that is wrong."""
    try:
        draft.full_clean(validate_constraints=False)
    except ValidationError as error:
        field, messages = next(iter(error.message_dict.items()))
        raise Problem("invalid", f"{field}: {messages[0]}", field=field) from error
    learned = draft.strategy == RetrievalProfile.Fusing.LEARNED
    if learned and draft.learned_from.get("weight") != draft.dense_weight:
        raise Problem(
            "invalid",
            "This weight was not learned: choose the convex combination, or learn one with "
            "`manage.py tune-fusion --apply`.",
            field="strategy",
        )


def make_default(actor: User, profile: RetrievalProfile) -> None:
    """Searches use it from now on. Raises Problem where its reranker does not work."""
    try_reranker(profile)
    with transaction.atomic():
        switch_default(actor, profile)


def switch_default(actor: User, profile: RetrievalProfile) -> None:
    locked()
    RetrievalProfile.objects.filter(is_default=True).update(is_default=False)
    RetrievalProfile.objects.filter(pk=profile.pk).update(is_default=True)
    record(actor, "make profile default", profile)


def differences(one: RetrievalProfile, other: RetrievalProfile) -> list[tuple[str, Any, Any]]:
    """Field, value in the one, value in the other, of each setting in which they differ."""
    return [
        (name, getattr(one, name), getattr(other, name))
        for name in SETTINGS
        if getattr(one, name) != getattr(other, name)
    ]


@dataclass(frozen=True)
class Use:
    """What the queries tell that used a profile; milliseconds are a mean, None where there are none."""

    profile: RetrievalProfile
    queries: int
    without_result: int
    degraded: int
    failed: int
    milliseconds: float | None


def uses(profiles: Sequence[RetrievalProfile]) -> list[Use]:
    """What became of the queries with each, over all readers: nothing of what was asked is in it."""
    counted = (
        Query.objects.filter(profile__in=profiles)
        .order_by()
        .values("profile")
        .annotate(
            queries=Count("pk"),
            without_result=Count("pk", filter=Q(results=0, failed=False)),
            degraded=Count("pk", filter=~Q(degraded="")),
            failed=Count("pk", filter=Q(failed=True)),
            milliseconds=Avg(Cast(KT("stages__total"), FloatField())),
        )
    )
    names = ("queries", "without_result", "degraded", "failed", "milliseconds")
    numbers = {pk: found for pk, *found in counted.values_list("profile", *names)}
    return [Use(profile, *numbers.get(profile.pk, (0, 0, 0, 0, None))) for profile in profiles]
