"""What people do to indexes as a whole: make one, and bring a collection into it."""

from django.db import transaction
from django.utils.text import slugify

from kb.core.auditing import record
from kb.core.models import Collection, User
from kb.core.problems import Problem
from kb.core.waking import wake_on_commit
from kb.indexes import placing, rechunking
from kb.indexes.lifecycle import Actor
from kb.indexes.models import CollectionMove, Index
from kb.indexes.tasks import build_move_task


@transaction.atomic
def create_index(actor: Actor, slug: str, name: str = "") -> Index:
    """An index without versions yet: build one, promote it, then bring collections in."""
    if not slug or slug != slugify(slug) or len(slug) > 50:
        raise Problem(
            "invalid", f"{slug!r} is no short name: use letters, digits and hyphens.", 422, field="slug"
        )
    index, made = Index.objects.get_or_create(slug=slug, defaults={"name": (name or slug)[:100]})
    if not made:
        raise Problem("exists", f"There is an index {slug!r} already.", 409)
    record(actor, "create", index)
    return index


@transaction.atomic
def move_collection(actor: Actor, collection: Collection, index: Index) -> CollectionMove | None:
    """Brings the collection into the index, where it is searched once all its chunks are there.

    None where it is there already; a move that has begun to another index is given up.
    """
    index = Index.objects.select_related("live_version").get(pk=index.pk)  # as it is now
    if index.live_version is None:
        raise Problem(
            "no_live_version", f"{index} serves nothing yet: build and promote a version first.", 409
        )
    if placing.index_of(collection.pk) == index.pk:
        CollectionMove.objects.filter(collection=collection).delete()
        return None
    rechunking.forget(index.live_version)  # what could not be cut is tried anew
    person = actor if isinstance(actor, User) else None
    move, _ = CollectionMove.objects.update_or_create(
        collection=collection, defaults={"index": index, "actor": person}
    )
    record(actor, "begin to move", collection, to=index.slug)
    wake_on_commit(build_move_task, move.pk)
    return move
