"""Changes how to retrieve: each change is a new row, since every query says by which row it was answered."""

from django.db import transaction
from django.db.models import Max

from kb.core.auditing import record
from kb.core.models import User
from kb.search.models import RetrievalProfile


@transaction.atomic
def revise(actor: User, draft: RetrievalProfile) -> RetrievalProfile:
    """Stores `draft`'s settings as the next number of its name; there is always one default."""
    same = RetrievalProfile.objects.select_for_update().filter(name=draft.name)
    was_default = any(profile.is_default for profile in same)
    last = RetrievalProfile.objects.filter(name=draft.name).aggregate(last=Max("number"))["last"]
    serves = draft.is_default or was_default
    if serves:
        RetrievalProfile.objects.filter(is_default=True).update(is_default=False)
    made = RetrievalProfile.objects.create(
        name=draft.name,
        number=(last or 0) + 1,
        dense_weight=draft.dense_weight,
        candidates=draft.candidates,
        passages=draft.passages,
        is_default=serves,
    )
    record(actor, "revise profile", made, dense_weight=made.dense_weight, candidates=made.candidates)
    return made
