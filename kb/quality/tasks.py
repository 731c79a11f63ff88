"""Celery's side of validation: in a worker that has the models in memory."""

import logging

from celery import shared_task

from kb.core.problems import Problem
from kb.indexes.models import IndexVersion
from kb.quality.validating import validate

logger = logging.getLogger(__name__)


@shared_task(soft_time_limit=1800, time_limit=1860)
def validate_version_task(version_id: int) -> None:
    """Writes a report. A second one writes another; a version that is gone or moved on is left alone."""
    version = IndexVersion.objects.select_related("index", "model", "chunking").filter(pk=version_id).first()
    if version is None:
        return
    try:
        validate(None, version)
    except Problem as problem:
        logger.info("Not validated: %s", problem.message)
