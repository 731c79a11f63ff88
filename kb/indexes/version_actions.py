"""What people and programs do to index versions: the same for command line, API and admin."""

from collections.abc import Mapping
from dataclasses import dataclass

from django.db import transaction
from django.db.models import Max
from django.utils import timezone

from kb.core.auditing import record
from kb.core.models import User
from kb.core.problems import Problem
from kb.core.waking import wake_on_commit
from kb.documents.models import Chunking
from kb.indexes import building, deriving, embedding_table, estimates, graph, lifecycle
from kb.indexes.actions import chunking_with, current_chunking
from kb.indexes.estimates import Estimate
from kb.indexes.lifecycle import Actor
from kb.indexes.models import EmbeddingModel, Index, IndexTransition, IndexVersion, ValidationReport
from kb.indexes.tasks import build_version_task, end_versions_task, wake_embedding_on_commit
from retrieval.chunking import ChunkSettings

State = IndexVersion.State
HEADER_TOKENS = 56  # for title and headings before the text, where the model's limit is not known
# pgvector's limits of an HNSW index.
BOUNDS: Mapping[str, tuple[int, int]] = {
    "hnsw_m": (2, 100),
    "hnsw_ef_construction": (4, 1000),
    "hnsw_ef_search": (1, 1000),
}


@dataclass(frozen=True)
class Wanted:
    """What a new version is to be; None is as the live version is."""

    model: EmbeddingModel | None = None
    chunk_tokens: int | None = None
    dimensions: int | None = None
    storage: str | None = None
    hnsw_m: int | None = None
    hnsw_ef_construction: int | None = None
    hnsw_ef_search: int | None = None
    derive: bool = True


@transaction.atomic
def build(actor: Actor, index: Index, wanted: Wanted, reason: str = "") -> IndexVersion:
    """Begins a new version beside what serves; its vectors are computed from stored ones where that is exact.

    Raises Problem where the version could not be searched, or the model cannot be cut to so few dimensions.
    """
    index = Index.objects.select_for_update(no_key=True).get(pk=index.pk)  # as it is now
    version = described(index, wanted)
    check(version)
    version.derived_from = deriving.source_for(index, version) if wanted.derive else None
    version.save()
    embedding_table.create(version, with_graph=False)
    person = actor if isinstance(actor, User) else None
    IndexTransition.objects.create(version=version, after=version.state, actor=person, reason=reason)
    derived = str(version.derived_from) if version.derived_from else ""
    record(actor, "build", version, reason=reason, derived_from=derived)
    wake_on_commit(build_version_task, version.pk)
    return version


def estimated(index: Index, wanted: Wanted) -> Estimate:
    """What building it would take; Problem where it cannot be built. Nothing is begun."""
    index = Index.objects.get(pk=index.pk)
    with transaction.atomic():
        version = described(index, wanted)
        check(version)
        found = estimates.planned(version) if wanted.derive else estimates.estimate(version)
        transaction.set_rollback(True)  # a chunking that nobody wants yet
    return found


def described(index: Index, wanted: Wanted) -> IndexVersion:
    """The version, not saved yet."""
    live = index.live_version
    model = wanted.model or (live.model if live else None)
    chunking = live.chunking if live else current_chunking()
    if model is not None and wanted.chunk_tokens is not None:
        chunking = chunking_of(model, wanted.chunk_tokens)
    if model is None:
        raise Problem("invalid", f"{index} has no live version yet: say with which model to build.", 422)
    same_model = live is not None and live.model_id == model.pk
    last = IndexVersion.objects.filter(index=index).aggregate(last=Max("number"))["last"] or 0
    made = IndexVersion(
        index=index, number=last + 1, model=model, chunking=chunking, started_at=timezone.now()
    )
    made.dimensions = wanted.dimensions or (live.dimensions if live and same_model else model.dimensions)
    for name in ("storage", *BOUNDS):
        value = getattr(wanted, name)
        if value is None and live is not None:
            value = getattr(live, name)
        if value is not None:
            setattr(made, name, value)
    return made


def chunking_of(model: EmbeddingModel, tokens: int) -> Chunking:
    """Chunks of up to so many tokens, within what the model reads."""
    limit = model.max_tokens or max(tokens + HEADER_TOKENS, ChunkSettings().model_limit)
    try:
        settings = ChunkSettings(max_tokens=tokens, model_limit=limit)
    except ValueError as error:
        raise Problem(
            "invalid", f"{model} reads {limit} tokens: {error}.", 422, field="chunk_tokens"
        ) from error
    return chunking_with(settings)


def check(version: IndexVersion) -> None:
    """Raises Problem for what cannot be built."""
    if version.storage not in graph.INDEXED:
        names = ", ".join(graph.INDEXED)
        raise Problem("invalid", f"Vectors are stored as one of: {names}.", 422, field="storage")
    most = graph.MOST_DIMENSIONS[version.storage]
    if not 1 <= version.dimensions <= min(most, version.model.dimensions):
        raise Problem(
            "invalid",
            f"{version.model} has {version.model.dimensions} dimensions, and an index of {version.storage} "
            f"takes at most {most}: {version.dimensions} is not possible.",
            422,
            field="dimensions",
        )
    if version.dimensions < version.model.dimensions and not cuttable(version.model, version.dimensions):
        raise Problem(
            "not_matryoshka",
            f"{version.model} was not trained to be cut to {version.dimensions} dimensions: register it with "
            "the numbers that it was trained for.",
            422,
            field="dimensions",
        )
    longest = int(version.chunking.settings.get("max_tokens", 0))
    if 0 < version.model.max_tokens < longest:
        raise Problem(
            "too_long",
            f"{version.model} reads {version.model.max_tokens} tokens, and chunks have up to {longest}: what is "
            "beyond would be found by words alone. Build with smaller chunks.",
            422,
            field="max_tokens",
        )
    for name, (least, greatest) in BOUNDS.items():
        if not least <= getattr(version, name) <= greatest:
            raise Problem("invalid", f"{name} is from {least} to {greatest}.", 422, field=name)
    if version.hnsw_ef_construction < 2 * version.hnsw_m:
        raise Problem("invalid", "ef_construction is at least twice m.", 422, field="hnsw_ef_construction")


def cuttable(model: EmbeddingModel, dimensions: int) -> bool:
    """Whether the model was trained so that its first `dimensions` stand alone: its row says so."""
    return dimensions in model.training.get("matryoshka", ())


def pause(actor: Actor, version: IndexVersion, reason: str = "") -> IndexVersion:
    """Stops a build where it is. What changes meanwhile is caught up with when it is resumed."""
    moved = lifecycle.move(version.pk, State.PAUSED, actor, reason)
    graph.stop(moved)
    return moved


@transaction.atomic
def resume(actor: Actor, version: IndexVersion, reason: str = "") -> IndexVersion:
    """Goes on with a paused build, or takes up a failed one: what was given up is tried anew."""
    moved = lifecycle.move(version.pk, State.BUILDING, actor, reason)
    building.retry_given_up(moved)
    wake_on_commit(build_version_task, moved.pk)
    wake_embedding_on_commit(moved.pk)
    return moved


def cancel(actor: Actor, version: IndexVersion, reason: str = "") -> IndexVersion:
    """Gives the version up; its table goes soon."""
    moved = lifecycle.move(version.pk, State.CANCELLED, actor, reason)
    graph.stop(moved)
    wake_on_commit(end_versions_task)
    return moved


@transaction.atomic
def promote(actor: Actor, version: IndexVersion, reason: str = "") -> IndexVersion:
    """Has the version serve everybody, from the next search on; what served is kept warm.

    A version that is validated may skip shadow and canary. Raises Problem for one that no report beside
    what serves now lets on.
    """
    retired = IndexVersion.objects.filter(index=version.index_id, state=State.LIVE)
    old = list(retired.values_list("pk", flat=True))
    moved = lifecycle.move(version.pk, State.LIVE, actor, reason)
    for pk in (moved.pk, *old):
        wake_embedding_on_commit(pk)
    return moved


@transaction.atomic
def rollback(actor: Actor, index: Index, reason: str = "", serving: int | None = None) -> IndexVersion:
    """Has the version serve again that came before what serves; Problem where none is kept warm.

    What serves is the version with the number `serving`, or what did when `index` was read; Problem where
    another one does by now, so that of two people at once one goes back. Doing it again goes further back.
    What was taken back is passed over; it is warm as well, and is promoted by its name.
    """
    now = Index.objects.select_for_update(of=["self"], no_key=True).select_related("live_version")
    live = now.get(pk=index.pk).live_version
    same = live == index.live_version if serving is None else live is not None and live.number == serving
    if not same:
        raise Problem("moved", f"By now {live or 'nothing'} serves: look again before you go back.", 409)
    warm = {one.pk: one for one in IndexVersion.objects.filter(index=index, state=State.RETIRED)}
    before = next((warm[key] for key in reversed(served_before(index)) if key in warm), None)
    if before is None:
        raise Problem("nothing_to_go_back_to", f"No earlier version of {index} is kept: build one anew.", 409)
    return promote(actor, before, reason or "Rolled back")


def served_before(index: Index) -> list[int]:
    """The ids of the versions that came before what serves, oldest first, without what was taken back meanwhile."""
    began = IndexTransition.objects.filter(version__index=index, after=State.LIVE).order_by("at", "pk")
    course: list[int] = []
    for key in began.values_list("version", flat=True):
        if key in course:  # gone back to
            del course[course.index(key) :]
        course.append(key)
    return course[:-1]


def retire(actor: Actor, version: IndexVersion, reason: str = "") -> IndexVersion:
    """Drops a retired version before its soak time is over: nobody can go back to it any more."""
    if version.state != State.RETIRED:
        raise Problem(
            "transition_refused", f"{version} is {version.state}: only a retired version is dropped.", 409
        )
    return drop(actor, version, reason)


def drop(actor: Actor, version: IndexVersion, reason: str = "") -> IndexVersion:
    """Ends a retired or cancelled version for good; its table goes as soon as nobody can be using it."""
    moved = lifecycle.move(version.pk, State.DROPPED, actor, reason)
    wake_on_commit(end_versions_task)
    return moved


@transaction.atomic
def override(actor: User, version: IndexVersion, reason: str) -> ValidationReport:
    """Lets a version on although its last report failed, or is of what serves no more, in the person's name."""
    lifecycle.locked(version.pk)
    report = ValidationReport.objects.filter(version=version).first()
    if report is None:
        raise Problem("not_validated", f"{version} has no report: validate it first.", 409)
    if not reason.strip():
        raise Problem("invalid", "Say why the report is overridden.", 422, field="reason")
    report.overridden_by, report.override_reason = actor, reason.strip()
    report.save(update_fields=["overridden_by", "override_reason"])
    record(actor, "override", report, version=str(version), reason=report.override_reason)
    return report
