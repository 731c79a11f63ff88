"""Adds, changes, pauses, removes and checks what a collection is fed from on the web."""

import re
from datetime import timedelta
from typing import Any

from django.db import transaction
from django.utils import timezone

from kb.core.auditing import record
from kb.core.models import Collection, User
from kb.core.problems import Problem, not_found
from kb.core.waking import wake_on_commit
from kb.documents import adding
from kb.documents.actions import delete_document, must_edit, open_upload
from kb.documents.models import Document, Source, Upload, WebPage
from kb.documents.tasks import fetch_page_task, fetch_source_task
from kb.documents.web.addresses import BadAddress, WebAddress, address, web_address, why_not_public

DAY = timedelta(days=1)
_SITEMAP = re.compile(r"sitemap[^/]*\.xml(\.gz)?$|/sitemap$", re.IGNORECASE)
_FEED = re.compile(r"\.(rss|atom|rdf)$|/(feed|rss|atom)(\.xml)?/?$|/index\.xml$", re.IGNORECASE)


def likely_kind(url: str) -> str:
    """What an address looks like it leads to."""
    path = url.partition("?")[0]
    if _SITEMAP.search(path):
        return Source.Kind.SITEMAP
    return Source.Kind.FEED if _FEED.search(path) else Source.Kind.PAGE


def add_source(
    actor: User,
    collection: Collection,
    url: str,
    *,
    kind: str = "",
    every: timedelta = DAY,
    when_vanished: str = Source.WhenVanished.KEEP,
    other_hosts: bool | None = None,
) -> Source:
    """Feeds the collection from this address from now on. Raises Problem for one that is never fetched.

    Without a kind it is what the address looks like. Feeds may lead to other hosts unless it is said that they
    may not, sitemaps only if it is said that they may.
    """
    must_edit(actor, collection)
    found = checked_address(url)
    kind = checked_choice("kind", kind or likely_kind(str(found)), Source.Kind.values)
    checked_choice("when_vanished", when_vanished, Source.WhenVanished.values)
    with transaction.atomic():
        adding.hold_collection(collection.pk)
        source, created = Source.objects.get_or_create(
            collection=collection,
            url=str(found),
            defaults={
                "kind": kind,
                "every": checked_interval(every),
                "when_vanished": when_vanished,
                "other_hosts": kind == Source.Kind.FEED if other_hosts is None else other_hosts,
                "created_by": actor,
            },
        )
        if not created:
            raise Problem("known", "The collection is fed from this address already.", 409)
        source.upload = open_upload(actor, collection, Upload.Origin.WEB, source.url)
        source.save(update_fields=["upload"])
        record(actor, "add", source, collection=collection.slug, kind=kind)
        begin(source, found)
    return source


def begin(source: Source, found: WebAddress) -> None:
    """Has the source looked at now."""
    if source.kind == Source.Kind.PAGE:
        page = WebPage.objects.create(source=source, url=str(found), origin=found.origin)
        wake_on_commit(fetch_page_task, page.pk)
    else:
        wake_on_commit(fetch_source_task, str(source.pk))


@transaction.atomic
def change_source(
    actor: User,
    source: Source,
    *,
    every: timedelta | None = None,
    when_vanished: str | None = None,
    other_hosts: bool | None = None,
) -> Source:
    """Changes what is given; a shorter interval counts from now."""
    found = governed(actor, source)
    given: dict[str, Any] = {}
    if every is not None:
        given["every"] = checked_interval(every)
        sooner(found, every)
    if when_vanished is not None:
        given["when_vanished"] = checked_choice("when_vanished", when_vanished, Source.WhenVanished.values)
    if other_hosts is not None:
        given["other_hosts"] = other_hosts
    if given:
        Source.objects.filter(pk=found.pk).update(**given)
        record(actor, "change", found, **{name: str(value) for name, value in given.items()})
    return reread(found)


def sooner(source: Source, every: timedelta) -> None:
    """No look at the source or its pages is further away than this."""
    latest = timezone.now() + every
    WebPage.objects.filter(source=source, next_at__gt=latest).update(next_at=latest)
    Source.objects.filter(pk=source.pk, next_at__gt=latest).update(next_at=latest)


def pause_source(actor: User, source: Source) -> Source:
    """Nothing of it is fetched until it is resumed; what was fetched stays searchable."""
    return set_paused(actor, source, paused=True)


def resume_source(actor: User, source: Source) -> Source:
    """Goes on; what became due meanwhile is fetched at once."""
    return set_paused(actor, source, paused=False)


@transaction.atomic
def set_paused(actor: User, source: Source, *, paused: bool) -> Source:
    found = governed(actor, source)
    Source.objects.filter(pk=found.pk).update(paused=paused)
    record(actor, "pause" if paused else "resume", found)
    return reread(found)


@transaction.atomic
def check_now(actor: User, source: Source) -> Source:
    """Has the source looked at now, and its pages that failed or were never reached; servers keep their pace.

    A single page whose document was deleted comes back by this.
    """
    found = governed(actor, source)
    if found.paused or found.collection.paused:
        what = "This source" if found.paused else "The work on this collection"
        raise Problem("paused", f"{what} is paused: resume it first.", 409)
    now = timezone.now()
    pages = WebPage.objects.filter(source=found)
    if found.kind == Source.Kind.PAGE:
        pages.filter(document=None).update(sha256="", same_as=None)
        pages.update(next_at=now, attempts=0)
        for page_id in pages.values_list("pk", flat=True):
            wake_on_commit(fetch_page_task, page_id)
    else:
        pages.exclude(error="").filter(next_at__gt=now).update(next_at=now, attempts=0)
        wake_on_commit(fetch_source_task, str(found.pk))
    Source.objects.filter(pk=found.pk).update(next_at=now, attempts=0, reading={})
    record(actor, "check", found)
    return reread(found)


def remove_source(actor: User, source: Source, *, documents: bool = False) -> None:
    """Feeds the collection from there no longer; its documents stay unless they are to go, too."""
    must_edit(actor, source.collection)
    keys = list(
        WebPage.objects.filter(source=source, document__isnull=False).values_list("document", flat=True)
    )
    with transaction.atomic():
        found = governed(actor, source)
        record(actor, "remove", found, collection=found.collection.slug, documents=documents)
        found.delete()
    # Each in a transaction of its own: thousands of documents in one would keep others waiting.
    for document in Document.objects.filter(pk__in=keys if documents else []).select_related("collection"):
        delete_document(actor, document)


# Checks ----------------------------------------------------------------------------------------------


def checked_address(url: str) -> WebAddress:
    """The address in its one spelling. Raises Problem for one that is refused whatever its name resolves to."""
    try:
        found = web_address(url.strip())
    except BadAddress as error:
        raise Problem("bad_address", str(error), 422, field="url") from error
    if reason := literal_reason(found.host):
        said = f"{found.host} leads to {reason}. Only public addresses are fetched."
        raise Problem("bad_address", said, 422, field="url")
    return found


def literal_reason(host: str) -> str | None:
    try:
        number = address(host)
    except BadAddress:
        return None  # a name, which is judged by what it leads to when it is fetched
    return why_not_public(number)


def checked_interval(every: timedelta) -> timedelta:
    if not Source.LEAST_EVERY <= every <= Source.MOST_EVERY:
        raise Problem(
            "interval", "Between two looks there is an hour at least and a year at most.", 422, field="every"
        )
    return every


def checked_choice(field: str, value: str, choices: list[str]) -> str:
    if value not in choices:
        raise Problem("invalid", f"Choose one of {', '.join(choices)}.", 422, field=field)
    return value


def governed(actor: User, source: Source) -> Source:
    """The row as it is now, for changes by UPDATE: pages before their source, as whoever fetches them does it.

    Raises Problem if it is gone or not the actor's to change.
    """
    must_edit(actor, source.collection)
    found = Source.objects.select_related("collection").filter(pk=source.pk).first()
    if found is None:
        raise not_found("source")
    return found


def reread(source: Source) -> Source:
    source.refresh_from_db()
    return source
