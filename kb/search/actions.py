"""Notes what readers do with answers and results."""

from django.db import transaction

from kb.core.models import Reader, User
from kb.core.problems import Problem
from kb.search.models import Answer, Interaction, Query

VERDICTS = (Interaction.Kind.HELPFUL, Interaction.Kind.UNHELPFUL)


def note_opened(reader: Reader, answer: Answer, marker: int) -> None:
    """The reader followed a footnote."""
    Interaction.objects.create(answer=answer, user=known(reader), kind=Interaction.Kind.OPENED, marker=marker)


def note_result_opened(reader: Reader, query: Query, place: int) -> None:
    """The reader followed a result of a search, the one at this place."""
    Interaction.objects.create(query=query, user=known(reader), kind=Interaction.Kind.OPENED, marker=place)


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
