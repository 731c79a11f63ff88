"""The subcommands of `manage.py index` that measure a version and give it a part of the traffic."""

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeAlias

from django.core.management.base import CommandError

from kb.core.people import acting
from kb.core.problems import Problem, not_found
from kb.indexes.models import Index, IndexVersion, ValidationReport
from kb.indexes.naming import named
from kb.indexes.version_actions import override
from kb.quality import actions, shadow_report
from kb.quality.datasets import demo_dataset
from kb.quality.question_sets import Imported, import_beir
from kb.quality.validating import validate
from kb.search import rollout
from retrieval.beir import DatasetError, read_beir
from retrieval.rollout import STEPS

State = IndexVersion.State
LOOK_SECONDS = 1.0
Options: TypeAlias = Mapping[str, Any]
Say: TypeAlias = Callable[[Any, str], None]


def add(subparsers: Any) -> None:
    """Adds validate, shadow, canary and questions."""
    measured = subparsers.add_parser(
        "validate", help="measure a built version beside the live one; status 1 if it fails"
    )
    measured.add_argument("--override", metavar="REASON", help="let it go on although its last report failed")
    measured.set_defaults(run=run_validate)
    beside = subparsers.add_parser(
        "shadow", help="run a share of the queries on a version, beside the readers"
    )
    beside.add_argument(
        "--share", type=float, default=0.1, metavar="SHARE", help="over 0, up to 1; default: 0.1"
    )
    beside.add_argument(
        "--wait", type=int, default=0, metavar="QUERIES", help="until so many queries ran on both"
    )
    beside.set_defaults(run=run_shadow)
    served = subparsers.add_parser("canary", help="serve a share of the readers by a version")
    served.add_argument("--percent", type=int, default=STEPS[0], choices=STEPS, help=f"default: {STEPS[0]}")
    served.add_argument(
        "--wait", action="store_true", help="until it may be promoted; status 1 if it went back"
    )
    served.set_defaults(run=run_canary)
    for parser in (measured, beside, served):
        parser.add_argument("version", help="its number in the default index, or INDEX/NUMBER")
    for parser in (beside, served):
        parser.add_argument("--reason", default="", help="why, for the audit log")
    judged = subparsers.add_parser("questions", help="give an index judged questions to be measured by")
    what = judged.add_mutually_exclusive_group(required=True)
    what.add_argument("--beir", type=Path, metavar="DIR", help="queries.jsonl, qrels.tsv and corpus.jsonl")
    what.add_argument("--demo", action="store_true", help="those about the demo corpus")
    judged.add_argument("--index", metavar="SLUG", help="default: the default index")
    judged.add_argument("--name", default="", help="of the question set; default: the collection's")
    judged.set_defaults(run=run_questions)
    for parser in (measured, beside, served, judged):
        parser.add_argument("--as", dest="username", metavar="USER", help="who; default: the administrator")


def run_validate(options: Options, say: Say) -> None:
    version, actor = named(options["version"]), acting(options["username"])
    if options["override"] is not None:
        report = override(actor, version, options["override"])
    else:
        report = validate(actor, version)
    say(as_json(report), as_text(report))
    if not report.lets_on:
        raise CommandError(f"{version} may not go on.")


def run_shadow(options: Options, say: Say) -> None:
    actor = acting(options["username"])
    version = actions.shadow(actor, named(options["version"]), options["share"], options["reason"])
    wanted = options["wait"]
    stay(version, State.SHADOW, lambda: shadow_report.summary(version).count >= wanted)
    say(standing(version), f"{version} runs {version.shadow_share:.0%} of the queries, beside the readers.")


def run_canary(options: Options, say: Say) -> None:
    actor = acting(options["username"])
    version = actions.canary(actor, named(options["version"]), options["percent"], options["reason"])
    if options["wait"]:
        stay(version, State.CANARY, lambda: rollout.measured(version).decision.action == "ready")
    say(standing(version), f"{version} serves {version.canary_percent} % of the readers.")


def stay(version: IndexVersion, state: str, enough: Callable[[], bool]) -> None:
    """Waits for `enough`, which is asked with the version as it is then; Problem once it is in another state."""
    while not enough():
        time.sleep(LOOK_SECONDS)
        version.refresh_from_db()
        if version.state != state:
            raise Problem(
                "moved", f"{version} is {version.get_state_display().lower()} now. {version.error}".strip()
            )


def run_questions(options: Options, say: Say) -> None:
    index = Index.objects.filter(
        **{"slug": options["index"]} if options["index"] else {"is_default": True}
    ).first()
    if index is None:
        raise not_found("index")
    try:
        dataset = demo_dataset() if options["demo"] else read_beir(options["beir"])
    except DatasetError as error:
        raise Problem("bad_dataset", f"{error}.") from error
    done = import_beir(acting(options["username"]), index, dataset, options["name"])
    say(imported(done), in_words(done))


def standing(version: IndexVersion) -> dict[str, Any]:
    return {
        "index": version.index.slug,
        "number": version.number,
        "state": version.state,
        "shadow_share": version.shadow_share,
        "canary_percent": version.canary_percent,
    }


def as_json(report: ValidationReport) -> dict[str, Any]:
    return standing(report.version) | {
        "verdict": report.verdict,
        "lets_on": report.lets_on,
        "against": report.against and report.against.number,
        "reasons": report.reasons,
        "override_reason": report.override_reason,
        "figures": report.figures,
    }


def as_text(report: ValidationReport) -> str:
    lines = [
        f"{report.version} against {report.against or 'nothing'}: {report.get_verdict_display().lower()}"
    ]
    lines += [
        f"  {'passed' if check['passed'] else 'FAILED':8}{check['name']:9}{check['reason']}"
        for check in report.figures["checks"]
    ]
    if report.override_reason:
        lines.append(f"Overridden by {report.overridden_by or 'the system'}: {report.override_reason}")
    return "\n".join(lines)


def imported(done: Imported) -> dict[str, Any]:
    return {
        "question_set": done.question_set.name,
        "index": done.question_set.index.slug,
        "questions": done.questions,
        "judgements": done.judgements,
        "unknown": done.unknown,
    }


def in_words(done: Imported) -> str:
    said = f"{done.question_set}: {done.questions:,} questions with {done.judgements:,} judgements."
    return f"{said} {len(done.unknown):,} judged documents are not in the index." if done.unknown else said
