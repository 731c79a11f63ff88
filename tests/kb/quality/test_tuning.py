"""`tune-fusion`: learns where the questions bear it out, and leaves the profile alone where they do not."""

import json
from importlib import import_module
from io import StringIO
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command

from kb.core.models import AuditEntry, User
from kb.core.problems import Problem
from kb.quality.tuning import apply
from kb.search.models import RetrievalProfile
from kb.search.profiles import default_profile
from retrieval.tuning import Interval, Tuning

pytestmark = pytest.mark.django_db(transaction=True)

TOPICS = ["apples", "bridges", "comets", "dialects", "engines", "fungi", "glaciers", "harps"]


def beir(folder: Path, questions: int) -> Path:
    """Documents of a topic each, and questions that name one."""
    folder.mkdir()
    corpus = [
        {"_id": f"d{i}", "title": topic, "text": f"This tells of {topic}."} for i, topic in enumerate(TOPICS)
    ]
    queries = [
        {"_id": f"q{i}", "text": f"Question {i} about {TOPICS[i % len(TOPICS)]}"} for i in range(questions)
    ]
    for name, rows in (("corpus", corpus), ("queries", queries)):
        (folder / f"{name}.jsonl").write_text("\n".join(map(json.dumps, rows)))
    judged = "".join(f"q{i}\td{i % len(TOPICS)}\t1\n" for i in range(questions))
    (folder / "qrels.tsv").write_text(f"query-id\tcorpus-id\tscore\n{judged}")
    return folder


def tuned(*arguments: str) -> dict:
    out = StringIO()
    call_command("tune-fusion", *arguments, "--json", stdout=out, stderr=StringIO())
    return json.loads(out.getvalue())


def result(**changes: object) -> Tuning:
    gain = Interval(0.05, 0.02, 0.08)
    values = {
        "questions": 60, "current": 0.8, "best": 0.4, "by_weight": {0.4: gain}, "fold_weights": (0.4,) * 5,
        "gain": gain, "chance": 0.001, "refusal": "",
    }  # fmt: skip
    return Tuning(**(values | changes))


def test_too_few_questions_are_told_and_change_nothing(tmp_path: Path, settings: object, admin: User) -> None:
    settings.KB_HOME = tmp_path
    folder = beir(tmp_path / "few", 16)
    found = tuned("--beir", str(folder))
    assert (found["dataset"], found["questions"], found["profile"]) == ("few", 16, None)
    assert "16 judged questions are too few" in found["refusal"]
    assert found["by_weight"]["0.8"]["mean"] > 0.5
    assert RetrievalProfile.objects.count() == 1


def test_the_table_is_for_people() -> None:
    said = import_module("kb.quality.management.commands.tune-fusion").table("papers", result())
    assert "papers: 60 judged questions; nDCG@10, mean and 95 % interval" in said
    assert "  0.40  0.0500 (0.0200 to 0.0800)  best here" in said
    assert "gain +0.0500 (+0.0200 to +0.0800)" in said
    assert said.endswith("The weight 0.4 is better than 0.8; --apply takes it.")
    ranks = import_module("kb.quality.management.commands.tune-fusion").table("papers", result(current=None))
    assert ranks.endswith("The weight 0.4 is better than reciprocal rank fusion; --apply takes it.")


def test_a_learned_weight_is_the_next_version(admin: User) -> None:
    default_profile()
    made = apply(admin, "papers", result())
    assert (made.number, made.strategy, made.dense_weight) == (2, "learned", 0.4)
    assert made.learned_from["questions"] == "papers"
    assert made.learned_from["gain"] == {"mean": 0.05, "low": 0.02, "high": 0.08}
    assert default_profile() == made
    assert AuditEntry.objects.get(verb="revise profile").detail["dense_weight"] == 0.4


def test_what_is_in_doubt_is_never_applied(admin: User) -> None:
    default_profile()
    with pytest.raises(Problem, match="may be chance"):
        apply(admin, "papers", result(refusal="That may be chance."))
    assert RetrievalProfile.objects.count() == 1


def test_bad_input_is_told(tmp_path: Path) -> None:
    with pytest.raises(CommandError, match=r"corpus\.jsonl"):
        call_command("tune-fusion", "--beir", str(tmp_path))
