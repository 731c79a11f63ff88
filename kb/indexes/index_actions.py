"""What people do to indexes as a whole: make one, and bring a collection into it."""

from django.db import transaction
from django.utils.text import slugify

from kb.core.auditing import record
from kb.core.holding import held
from kb.core.models import Collection, User
from kb.core.problems import Problem
from kb.core.waking import wake_on_commit
from kb.documents.models import Chunking
from kb.indexes import placing, relocating
from kb.indexes.lifecycle import Actor
from kb.indexes.models import CollectionMove, Index, IndexVersion
from kb.indexes.tasks import build_leaving_task, build_move_task


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

    None where it is there already; a move that has begun to another index is given up. Of a move that has
    begun, what could not be done is tried anew.
    """
    index = Index.objects.select_related("live_version").get(pk=index.pk)  # as it is now
    if index.live_version is None:
        raise Problem(
            "no_live_version", f"{index} serves nothing yet: build and promote a version first.", 409
        )
    begun = CollectionMove.objects.select_for_update(of=["self"]).select_related("index")
    before = begun.filter(collection=collection).first()
    if before is not None and before.index_id != index.pk:
        give_up(actor, before)
    if placing.index_of(collection.pk) == index.pk:
        return None
    # Until the commit nobody deletes what the index still holds of it.
    held(Chunking, IndexVersion.objects.filter(index=index).values_list("chunking", flat=True))
    person = actor if isinstance(actor, User) else None
    move, _ = CollectionMove.objects.update_or_create(
        collection=collection, defaults={"index": index, "actor": person, "error": ""}
    )
    relocating.retry(move)
    record(actor, "begin to move", collection, to=index.slug)
    wake_on_commit(build_move_task, move.pk)
    return move


def give_up(actor: Actor, move: CollectionMove) -> None:
    """The collection stays where it is; what its new index was given of it goes again."""
    move.delete()
    relocating.begin_to_leave(move.collection_id, move.index_id)
    record(actor, "give up a move", move.collection, to=move.index.slug)
    wake_on_commit(build_leaving_task, move.collection_id, move.index_id)
