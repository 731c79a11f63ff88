"""The subcommands of `manage.py index` about indexes as a whole, and the collections in them."""

import time
from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

from kb.core.models import Collection
from kb.core.people import acting
from kb.core.problems import Problem, not_found
from kb.indexes import index_actions, placing
from kb.indexes.models import CollectionMove
from kb.indexes.naming import index_named

Options: TypeAlias = Mapping[str, Any]
Say: TypeAlias = Callable[[Any, str], None]

LOOK_SECONDS = 0.5


def add(subparsers: Any) -> None:
    """Adds this module's subcommands."""
    making = subparsers.add_parser("create", help="make an index; then build and promote its first version")
    making.add_argument("slug")
    making.add_argument("--name", default="")
    making.set_defaults(run=create)
    moving = subparsers.add_parser("move", help="bring a collection into an index")
    moving.add_argument("collection", metavar="COLLECTION")
    moving.add_argument("--index", metavar="SLUG", help="default: the default index")
    moving.add_argument("--wait", action="store_true", help="until it is searched there")
    moving.set_defaults(run=move)
    for parser in (making, moving):
        parser.add_argument("--as", dest="username", metavar="USER", help="default: the first administrator")


def create(options: Options, say: Say) -> None:
    index = index_actions.create_index(acting(options["username"]), options["slug"], options["name"])
    say({"index": index.slug, "name": index.name}, f"Made the index {index.slug}.")


def move(options: Options, say: Say) -> None:
    collection = Collection.objects.filter(slug=options["collection"]).first()
    if collection is None:
        raise not_found("collection")
    index = index_named(options["index"])
    begun = index_actions.move_collection(acting(options["username"]), collection, index)
    if options["wait"] and begun:
        wait(begun)
    there = begun is None or options["wait"]
    say(
        {"collection": collection.slug, "index": index.slug, "there": there},
        f"{collection} is in {index}." if there else f"{collection} is on its way into {index}.",
    )


def wait(move: CollectionMove) -> None:
    """Until the collection is there; Problem where the move waits for a person, or was given up meanwhile."""
    while found := CollectionMove.objects.filter(pk=move.pk, index=move.index).first():
        if found.error:
            raise Problem("move_waits", f"{found} waits: {found.error}")
        time.sleep(LOOK_SECONDS)
    if placing.index_of(move.collection_id) != move.index_id:
        raise Problem("moved", f"{move} was given up.")
