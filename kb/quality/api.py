"""Measuring index versions and giving them a part of the traffic, through the API: for administrators."""

from ninja import Router, Status

from kb.core.authentication import MANAGE, Request
from kb.core.problems import Problem, not_found
from kb.indexes import version_actions
from kb.indexes.api_versions import VERSION, administrator
from kb.indexes.models import IndexVersion, ValidationReport
from kb.indexes.naming import named
from kb.indexes.version_schemas import VersionDetailOut
from kb.quality import actions, shadow_report
from kb.quality.schemas import CanaryIn, CanaryOut, OverrideIn, ReportOut, ShadowIn, ShadowOut
from kb.quality.shadow_report import Summary
from kb.search import rollout

router = Router(tags=["Index versions"])


@router.get(VERSION + "/report", auth=MANAGE, response=ReportOut, operation_id="get_report")
def get_report(request: Request, slug: str, number: int) -> ValidationReport:
    """The last report on the version."""
    administrator(request)
    report = named(f"{slug}/{number}").reports.select_related("against").first()
    if report is None:
        raise not_found("report")
    return report


@router.post(
    VERSION + "/report", auth=MANAGE, response={202: VersionDetailOut}, operation_id="validate_version"
)
def validate_version(request: Request, slug: str, number: int) -> Status[IndexVersion]:
    """Has the version measured beside the live one; its report is there some minutes later."""
    actor, version = administrator(request), named(f"{slug}/{number}")
    actions.request_validation(actor, version)
    return Status(202, version)


@router.post(VERSION + "/override", auth=MANAGE, response=ReportOut, operation_id="override_report")
def override_report(request: Request, slug: str, number: int, given: OverrideIn) -> ValidationReport:
    """Lets the version go on although its last report failed, in the asker's name."""
    return version_actions.override(administrator(request), named(f"{slug}/{number}"), given.reason)


@router.post(VERSION + "/shadow", auth=MANAGE, response=VersionDetailOut, operation_id="shadow_version")
def shadow_version(request: Request, slug: str, number: int, given: ShadowIn) -> IndexVersion:
    """Runs a share of the live queries on the version as well, beside the readers."""
    actions.shadow(administrator(request), named(f"{slug}/{number}"), given.share, given.reason)
    return named(f"{slug}/{number}")


@router.get(VERSION + "/shadow", auth=MANAGE, response=ShadowOut, operation_id="get_shadow")
def get_shadow(request: Request, slug: str, number: int) -> Summary:
    """What the queries that ran beside showed."""
    administrator(request)
    return shadow_report.summary(named(f"{slug}/{number}"))


@router.post(VERSION + "/canary", auth=MANAGE, response=VersionDetailOut, operation_id="canary_version")
def canary_version(request: Request, slug: str, number: int, given: CanaryIn) -> IndexVersion:
    """Serves a share of the readers by the version."""
    actions.canary(administrator(request), named(f"{slug}/{number}"), given.percent, given.reason)
    return named(f"{slug}/{number}")


@router.get(VERSION + "/canary", auth=MANAGE, response=CanaryOut, operation_id="get_canary")
def get_canary(request: Request, slug: str, number: int) -> rollout.Step:
    """Both sides of a canary; 409 where the version is none."""
    administrator(request)
    version = named(f"{slug}/{number}")
    if version.state != IndexVersion.State.CANARY:
        raise Problem("not_a_canary", f"{version} is {version.state}, no canary.", 409, state=version.state)
    return rollout.measured(version)
