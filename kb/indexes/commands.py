"""The subcommands of `manage.py index` that make and end versions."""

import sys
import time
from argparse import ArgumentParser
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict
from datetime import timedelta
from typing import Any, TypeAlias

from tqdm import tqdm

from kb.core.health import workers_alive
from kb.core.people import acting
from kb.core.problems import Problem
from kb.indexes import auditing, building, embedding, embedding_table, rechunking, spaces, version_actions
from kb.indexes.building import Step
from kb.indexes.estimates import Estimate
from kb.indexes.lifecycle import legal_moves
from kb.indexes.models import EmbeddingJob, IndexVersion
from kb.indexes.naming import index_named, model_named, named
from kb.indexes.version_actions import Wanted
from kb.indexes.watching import look

Options: TypeAlias = Mapping[str, Any]
Say: TypeAlias = Callable[[Any, str], None]
State = IndexVersion.State

LOOK_SECONDS = 0.5
REST_SECONDS = 0.1
PATIENCE_SECONDS = 30.0  # so long no worker may be seen


def add(subparsers: Any) -> None:
    """Adds this module's subcommands."""
    listing = subparsers.add_parser("list", help="the versions of every index, and how far they are")
    listing.set_defaults(run=list_versions)
    making = subparsers.add_parser("build", help="begin a new version beside the one that serves")
    add_wanted(making)
    making.set_defaults(run=build)
    for name, action, text, waiting in (
        ("pause", version_actions.pause, "stop a build where it is", None),
        ("resume", version_actions.resume, "go on with a paused build, or take up a failed one", wait),
        ("cancel", version_actions.cancel, "give a version up; its table goes", wait_until_gone),
        ("promote", version_actions.promote, "have a validated version serve everybody", wait_for_jobs),
        (
            "retire",
            version_actions.retire,
            "drop a retired version before its soak time is over",
            wait_until_gone,
        ),
    ):
        parser = subparsers.add_parser(name, help=text)
        parser.add_argument("version", help="2, or papers/2 for version 2 of the index papers")
        add_reason(parser)
        if name == "resume":
            add_waiting(parser)
        elif waiting is not None:
            parser.add_argument("--wait", action="store_true", help=UNTIL[waiting])
        parser.set_defaults(run=acted(action, waiting or wait))
    back = subparsers.add_parser("rollback", help="have the version before serve again")
    back.add_argument("--index", metavar="SLUG", help="default: the default index")
    back.add_argument(
        "--from", type=int, dest="serving", metavar="N", help="only if version N serves; default: what does"
    )
    add_reason(back)
    back.set_defaults(run=rollback)
    checking = subparsers.add_parser(
        "audit", help="check all vectors of all versions; exit status 1 if something stays wrong"
    )
    checking.add_argument("--repair", action="store_true", help="repair what can be repaired")
    checking.add_argument("--as", dest="username", metavar="USER", help="default: the first administrator")
    checking.set_defaults(run=audit)


def add_wanted(parser: ArgumentParser) -> None:
    parser.add_argument("--index", metavar="SLUG", help="default: the default index")
    parser.add_argument("--model", metavar="NAME", help="a registered model; default: the live version's")
    parser.add_argument("--dimensions", type=int, metavar="N", help="the first N, where the model allows it")
    parser.add_argument(
        "--chunk-tokens", type=int, metavar="N", help="cut all documents anew, into chunks of up to N tokens"
    )
    parser.add_argument("--storage", choices=IndexVersion.Storage.values)
    parser.add_argument("--m", type=int, dest="hnsw_m", help="links of a vector in the HNSW graph")
    parser.add_argument("--ef-construction", type=int, dest="hnsw_ef_construction")
    parser.add_argument("--ef-search", type=int, dest="hnsw_ef_search")
    parser.add_argument(
        "--embed", action="store_true", help="embed everything, also what could be computed of stored vectors"
    )
    parser.add_argument("--dry-run", action="store_true", help="only say what it would take")
    add_reason(parser)
    add_waiting(parser)


def add_reason(parser: ArgumentParser) -> None:
    parser.add_argument("--reason", default="", help="why, for the audit log")
    parser.add_argument("--as", dest="username", metavar="USER", help="default: the first administrator")


def add_waiting(parser: ArgumentParser) -> None:
    parser.add_argument("--wait", action="store_true", help=UNTIL[wait])
    parser.add_argument("--here", action="store_true", help="build in this process, without workers")


def list_versions(options: Options, say: Say) -> None:  # noqa: ARG001 (called like the others)
    versions = IndexVersion.objects.select_related("index", "model", "chunking", "derived_from__index")
    rows = [told(version) for version in versions.order_by("index", "number")]
    say(rows, "\n".join(line(row) for row in rows) or "There is no index yet: run `manage.py prepare`.")


def build(options: Options, say: Say) -> None:
    wanted = Wanted(
        model=model_named(options["model"]) if options["model"] else None,
        chunk_tokens=options["chunk_tokens"],
        dimensions=options["dimensions"],
        storage=options["storage"],
        hnsw_m=options["hnsw_m"],
        hnsw_ef_construction=options["hnsw_ef_construction"],
        hnsw_ef_search=options["hnsw_ef_search"],
        derive=not options["embed"],
    )
    index = index_named(options["index"])
    if options["dry_run"]:
        row = costs(version_actions.estimated(index, wanted))
        say(row, cost_line(row))
        return
    version = version_actions.build(acting(options["username"]), index, wanted, options["reason"])
    ended(version, options, say)


def acted(
    action: Callable[..., IndexVersion], waiting: Callable[[IndexVersion], None]
) -> Callable[[Options, Say], None]:
    def run(options: Options, say: Say) -> None:
        version = action(acting(options["username"]), named(options["version"]), options["reason"])
        ended(version, options, say, waiting)

    return run


def rollback(options: Options, say: Say) -> None:
    index = index_named(options["index"])
    actor = acting(options["username"])
    moved = version_actions.rollback(actor, index, options["reason"], options["serving"])
    ended(moved, options, say)


def audit(options: Options, say: Say) -> None:
    actor = acting(options["username"]) if options["repair"] else None
    findings = [*auditing.audit(actor, repair=options["repair"]), *spaces.audit()]
    lines = [
        f"{finding.version or 'Database'}: {finding.count:,} {finding.kind}: {finding.message}"
        + (" Repaired." if finding.repaired else "")
        for finding in findings
    ]
    wrong = [finding for finding in findings if not (finding.repaired or finding.unknown)]
    found = {"ok": not wrong, "findings": [asdict(finding) for finding in findings]}
    say(found, "\n".join(lines) or "Every chunk has its vector or a job, in every version; nothing is mixed.")
    if wrong:
        sys.exit(1)


def ended(
    version: IndexVersion,
    options: Options,
    say: Say,
    waiting: Callable[[IndexVersion], None] | None = None,
) -> None:
    """Says what became of it, after the work where that was asked for."""
    if options.get("here"):
        build_here(version)
    elif options.get("wait"):
        (waiting or wait)(version)
    version = IndexVersion.objects.select_related("index", "model", "derived_from__index").get(pk=version.pk)
    row = told(version)
    say(row, line(row))
    if (options.get("here") or options.get("wait")) and version.state == State.FAILED:
        sys.exit(1)


def build_here(version: IndexVersion) -> None:
    """Does what the workers would do."""
    with bar_of(version) as bar:
        while (step := building.advance(version.pk)) is not Step.OVER:
            show(bar, version)
            if step is Step.CUT:
                rechunking.cut_for(version, LOOK_SECONDS)
            if step is Step.EMBED and not embedding.embed_for(version, LOOK_SECONDS):
                time.sleep(REST_SECONDS)  # what is left is postponed, held back or another worker's
        show(bar, version)


def wait(version: IndexVersion) -> None:
    """Until the build is over; Problem where no worker shows itself."""
    with bar_of(version) as bar:
        for _ in looks("embed", ", or build with --here"):
            show(bar, version)
            if not IndexVersion.objects.filter(pk=version.pk, state=State.BUILDING).exists():
                return


def wait_until_gone(version: IndexVersion) -> None:
    """Until its table is seen to be gone."""
    for _ in looks("parse"):
        if not embedding_table.exists(version):
            return


def wait_for_jobs(version: IndexVersion) -> None:
    """Until what came last has its vectors, too; what people hold back and what was given up is not waited for."""
    waiting = EmbeddingJob.objects.filter(
        version=version, paused=False, attempts__lt=EmbeddingJob.MOST_ATTEMPTS
    )
    for _ in looks("embed"):
        if not waiting.exists():
            return


UNTIL = {
    wait: "until it is built; exit status 1 if it fails",
    wait_until_gone: "until its table is gone",
    wait_for_jobs: "until all that came last has its vectors in it",
}


def looks(queue: str, otherwise: str = "") -> Iterator[None]:
    """Now and then, for ever; Problem where no worker of the queue shows itself for a while."""
    seen = time.monotonic()
    while True:
        yield
        if workers_alive(queue):
            seen = time.monotonic()
        elif time.monotonic() - seen > PATIENCE_SECONDS:
            raise Problem("no_worker", f"No worker is running: start one with `manage.py up`{otherwise}.")
        time.sleep(LOOK_SECONDS)


def bar_of(version: IndexVersion) -> "tqdm[Any]":
    total = look(version).phase.total
    return tqdm(total=total, desc=str(version), unit="chunk", file=sys.stderr, disable=None)


def show(bar: "tqdm[Any]", version: IndexVersion) -> None:
    if not bar.disable:
        bar.update(look(version).phase.done - bar.n)


def costs(found: Estimate) -> dict[str, Any]:
    """An estimate for programs."""
    return asdict(found) | {"cost": None if found.cost is None else float(found.cost)}


def cost_line(row: Mapping[str, Any]) -> str:
    """An estimate for people."""
    parts = [f"{'about ' if row['rough'] else ''}{row['chunks']:,} chunks with {row['tokens']:,} tokens left"]
    if row["derived"]:
        parts.append("computed of stored vectors")
    if row["seconds"] is not None:
        parts.append(f"about {timedelta(seconds=round(row['seconds']))}")
    if row["cost"] is not None:
        parts.append(f"costs {row['cost']:,.4f}")
    if row["watt_hours"] is not None:
        parts.append(f"{row['watt_hours']:,.1f} Wh")
    return ", ".join(parts)


def told(version: IndexVersion) -> dict[str, Any]:
    """A version for programs."""
    sight = look(version)
    phase, left = sight.phase, sight.left
    return {
        "version": f"{version.index.slug}/{version.number}",
        "state": version.state,
        "model": version.model.name,
        "dimensions": version.dimensions,
        "storage": version.storage,
        "chunking": version.chunking_id,
        "done": phase.done,
        "total": phase.total,
        "given_up": phase.given_up,
        "paused": phase.paused,
        "uncut": phase.uncut,
        "indexed": phase.graph,
        "bytes": embedding_table.size_bytes(version),
        "derived_from": str(version.derived_from) if version.derived_from else None,
        "canary_percent": version.canary_percent,
        "drop_after": version.drop_after,
        "left": costs(left) if left else None,
        "error": version.error,
        "moves": legal_moves(version),
    }


def line(row: Mapping[str, Any]) -> str:
    """A version for people."""
    parts = [
        f"{row['version']:14} {row['state']:10} {row['model']}, {row['dimensions']} × {row['storage']}",
        f"{row['done']:,} of {row['total']:,} chunks, {row['bytes'] / 2**20:,.0f} MB",
    ]
    if row["uncut"]:
        parts.append(f"{row['uncut']:,} documents to be cut")
    if row["indexed"] is not None:
        parts.append(f"index {100 * row['indexed']:.0f} %")
    if row["derived_from"]:
        parts.append(f"computed of {row['derived_from']}")
    if row["drop_after"]:
        parts.append(f"kept until {row['drop_after']:%Y-%m-%d %H:%M} UTC")
    if row["left"]:
        parts.append(cost_line(row["left"]))
    if row["error"]:
        parts.append(row["error"])
    return "; ".join(parts)
