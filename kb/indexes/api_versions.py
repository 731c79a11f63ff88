"""The life of index versions through the API: for administrators, who see what all collections hold together."""

from collections.abc import Callable, Mapping

from ninja import Router, Status

from kb.core.authentication import MANAGE, Request, account
from kb.core.models import Collection, User
from kb.core.problems import Problem, not_found
from kb.indexes import index_actions, model_actions, version_actions
from kb.indexes.api import router as indexes_router
from kb.indexes.estimates import Estimate
from kb.indexes.model_actions import NewModel, Trial
from kb.indexes.models import CollectionMove, EmbeddingModel, Index, IndexVersion
from kb.indexes.naming import index_named, model_named, named
from kb.indexes.schemas import IndexOut
from kb.indexes.version_actions import Wanted
from kb.indexes.version_schemas import (
    Action,
    EstimateOut,
    IndexIn,
    ModelIn,
    ModelNamedIn,
    ModelOut,
    ModelsOut,
    MoveIn,
    MoveOut,
    ReasonIn,
    RollbackIn,
    TrialOut,
    VersionDetailOut,
    WantedIn,
)

router = Router(tags=["Index versions"])

INDEX = "/indexes/{slug}"
VERSION = INDEX + "/versions/{int:number}"
ACTIONS: Mapping[str, Callable[[User, IndexVersion, str], IndexVersion]] = {
    "pause": version_actions.pause,
    "resume": version_actions.resume,
    "cancel": version_actions.cancel,
    "promote": version_actions.promote,
    "retire": version_actions.retire,
}


def administrator(request: Request) -> User:
    """The asker; a version's counts tell of all collections, so others are refused."""
    user = account(request)
    if not user.is_superuser:
        raise Problem("forbidden", "Index versions are for administrators.", 403)
    return user


def wanted(given: WantedIn) -> Wanted:
    fields = given.dict(exclude={"reason", "model"})
    return Wanted(model=model_named(given.model) if given.model else None, **fields)


@router.get("/models", auth=MANAGE, response=ModelsOut, operation_id="list_models")
def list_models(request: Request) -> dict[str, list[EmbeddingModel]]:
    """The embedding models that are registered."""
    administrator(request)
    return {"items": list(EmbeddingModel.objects.order_by("pk"))}


@router.post("/models", auth=MANAGE, response={201: ModelOut}, operation_id="register_model")
def register_model(request: Request, given: ModelIn) -> Status[EmbeddingModel]:
    """Registers an embedding model: it is loaded, or asked, to see what it is."""
    fields = given.dict(exclude={"matryoshka"})
    new = NewModel(**fields, matryoshka=tuple(given.matryoshka))
    return Status(201, model_actions.register(administrator(request), new))


@router.post("/models/try", auth=MANAGE, response=TrialOut, operation_id="try_model")
def try_model(request: Request, given: ModelNamedIn) -> Trial:
    """Has a model embed two texts. What goes wrong is in the answer."""
    administrator(request)
    return model_actions.try_out(model_named(given.name))


# On the router whose other method shares the address.
@indexes_router.post("/indexes", auth=MANAGE, response={201: IndexOut}, operation_id="create_index")
def create_index(request: Request, given: IndexIn) -> Status[Index]:
    """Makes an index without versions: build one and promote it, then bring collections in."""
    return Status(201, index_actions.create_index(administrator(request), given.slug, given.name))


@router.post("/collections/{slug}/move", auth=MANAGE, response={202: MoveOut}, operation_id="move_collection")
def move_collection(request: Request, slug: str, given: MoveIn) -> Status[dict[str, object]]:
    """Sends a collection on its way into an index; it is searched where it is until it is all there."""
    actor, index = administrator(request), index_named(given.index)
    collection = Collection.objects.filter(slug=slug).first()
    if collection is None:
        raise not_found("collection")
    move = index_actions.move_collection(actor, collection, index)
    since = move.created_at if move else None
    return Status(202, {"collection": slug, "index": index.slug, "there": move is None, "since": since})


@router.get("/moves", auth=MANAGE, response=list[MoveOut], operation_id="list_moves")
def list_moves(request: Request) -> list[dict[str, object]]:
    """The collections that are on their way into another index."""
    administrator(request)
    return [
        {
            "collection": move.collection.slug,
            "index": move.index.slug,
            "there": False,
            "since": move.created_at,
        }
        for move in CollectionMove.objects.select_related("collection", "index").order_by("pk")
    ]


@router.post(INDEX + "/versions", auth=MANAGE, response={201: VersionDetailOut}, operation_id="build_version")
def build_version(request: Request, slug: str, given: WantedIn) -> Status[IndexVersion]:
    """Begins a new version beside the one that serves."""
    actor = administrator(request)
    made = version_actions.build(actor, index_named(slug), wanted(given), given.reason)
    return Status(201, named(f"{slug}/{made.number}"))


@router.post(INDEX + "/estimate", auth=MANAGE, response=EstimateOut, operation_id="estimate_version")
def estimate_version(request: Request, slug: str, given: WantedIn) -> Estimate:
    """What building a version would take. Nothing is begun."""
    administrator(request)
    return version_actions.estimated(index_named(slug), wanted(given))


@router.get(VERSION, auth=MANAGE, response=VersionDetailOut, operation_id="get_version")
def get_version(request: Request, slug: str, number: int) -> IndexVersion:
    """One version: how far it is, what it still takes, its history, and what may become of it."""
    administrator(request)
    return named(f"{slug}/{number}")


@router.post(INDEX + "/rollback", auth=MANAGE, response=VersionDetailOut, operation_id="roll_back")
def roll_back(request: Request, slug: str, given: RollbackIn) -> IndexVersion:
    """Has the version serve again that came before the one that serves; 409 where somebody was first."""
    index = index_named(slug)
    moved = version_actions.rollback(administrator(request), index, given.reason, given.serving)
    return named(f"{slug}/{moved.number}")


@router.post(VERSION + "/{action}", auth=MANAGE, response=VersionDetailOut, operation_id="steer_version")
def steer_version(request: Request, slug: str, number: int, action: Action, given: ReasonIn) -> IndexVersion:
    """Pauses, resumes, cancels, promotes or retires (drops) a version; 409 where that is not possible now."""
    ACTIONS[action](administrator(request), named(f"{slug}/{number}"), given.reason)
    return named(f"{slug}/{number}")
