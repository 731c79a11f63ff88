"""Notes what readers do with answers, and changes how to retrieve."""

from django.db import transaction
from django.db.models import Max

from kb.core.auditing import record
from kb.core.models import Reader, User
from kb.core.problems import Problem
from kb.search.models import Answer, Interaction, RetrievalProfile

VERDICTS = (Interaction.Kind.HELPFUL, Interaction.Kind.UNHELPFUL)


def note_opened(reader: Reader, answer: Answer, marker: int) -> None:
    """The reader followed a footnote."""
    Interaction.objects.create(answer=answer, user=known(reader), kind=Interaction.Kind.OPENED, marker=marker)


@transaction.atomic
def judge(reader: Reader, answer: Answer, kind: str) -> None:
    """The reader's verdict on an answer; a second one replaces the first."""
    if kind not in VERDICTS:
        raise Problem("invalid", f"The verdict is one of {', '.join(VERDICTS)}.", field="kind")
    user = known(reader)
    if user is not None:
        Interaction.objects.filter(answer=answer, user=user, kind__in=VERDICTS).delete()
    Interaction.objects.create(answer=answer, user=user, kind=kind)


def known(reader: Reader) -> User | None:
    return reader if isinstance(reader, User) else None


@transaction.atomic
def revise_profile(actor: User, draft: RetrievalProfile) -> RetrievalProfile:
    """Stores `draft`'s settings as the next number of its name, since every query says which row it used.

    What was the default under this name stays it; there is always one.
    """
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
