"""Measures versions that somebody asked to have measured: each request ends with a report, whatever happens."""

import logging
from datetime import timedelta

from django.db import OperationalError
from django.db.models import F
from django.utils import timezone

from kb.core.problems import Problem
from kb.indexes.building import alone
from kb.quality.models import ValidationRequest
from kb.quality.validating import unmeasured, validate

logger = logging.getLogger(__name__)

LEFT = timedelta(seconds=30)  # its own message has been taken by then, or is lost
ABANDONED = "the worker ended several times while it was at it. Look into its log, then validate again."


def carry_out(version_id: int) -> None:
    """Measures the version if that is asked for, and nobody else is at it."""
    with alone(version_id, "validate") as mine:
        requests = ValidationRequest.objects.select_related("actor", "version__index", "version__model")
        request = requests.filter(version=version_id).first()
        if mine and request is not None:
            answer(request)


def answer(request: ValidationRequest) -> None:
    """Raises OperationalError where the database went away: a sweep finds the request again."""
    began, version = timezone.now(), request.version
    ValidationRequest.objects.filter(pk=request.pk).update(tries=F("tries") + 1)
    try:
        if request.tries >= ValidationRequest.MOST_TRIES:
            unmeasured(request.actor, version, began, ABANDONED)
        else:
            validate(request.actor, version)
    except Problem as problem:  # it moved on meanwhile
        logger.info("Not validated: %s", problem.message)
    except OperationalError:
        raise
    except Exception as error:
        logger.exception("%s could not be measured", version)
        unmeasured(request.actor, version, began, str(error) or type(error).__name__)
    ValidationRequest.objects.filter(pk=request.pk).delete()


def left() -> list[int]:
    """Versions whose request waits longer than its message takes."""
    waiting = ValidationRequest.objects.filter(at__lt=timezone.now() - LEFT)
    return list(waiting.order_by("at").values_list("version", flat=True))
