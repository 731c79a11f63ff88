"""`manage.py ingest`, `search` and `ask` tell what happened, to people and to programs."""

import json
from io import StringIO
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command
from django.utils import timezone

from kb.core.models import Collection, Heartbeat, User
from kb.documents.actions import add_documents
from kb.documents.management.commands import ingest as command
from kb.documents.models import Document, Upload
from kb.indexes.models import Index
from tests.conftest import work_off

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "below").mkdir()
    (tmp_path / ".git").mkdir()
    (tmp_path / "a.txt").write_text("Bread is baked from flour.")
    (tmp_path / "below" / "b.md").write_text("# Wine\n\nWine is pressed from grapes.")
    (tmp_path / "photo.raw").write_bytes(b"\x00")
    (tmp_path / ".git" / "c.txt").write_text("hidden")
    return tmp_path


def run(name: str, *arguments: str) -> dict:
    out = StringIO()
    call_command(name, *arguments, "--json", stdout=out, stderr=StringIO())
    return json.loads(out.getvalue())


def test_a_directory_goes_in_once(admin: User, index: Index, folder: Path) -> None:
    report = run("ingest", str(folder))
    assert (report["collection"], report["documents"], report["skipped"], report["known"]) == (
        "library",
        2,
        1,
        0,
    )
    assert run("ingest", str(folder))["known"] == 2
    assert set(Document.objects.values_list("filename", flat=True)) == {"a.txt", "b.md"}
    assert Collection.objects.get().owner == admin


def test_the_default_collection_is_ones_own_and_private(
    admin: User, alice: User, index: Index, folder: Path
) -> None:
    Collection.objects.create(name="Library", slug="library", owner=alice)
    report = run("ingest", str(folder))
    made = Collection.objects.get(slug=report["collection"])
    assert (made.owner, made.visibility, made.documents.count()) == (admin, "private", 2)
    assert run("ingest", str(folder))["known"] == 2


def test_replacing_by_name(admin: User, index: Index, folder: Path) -> None:
    run("ingest", str(folder))
    work_off()
    assert run("ingest", "--replace", str(folder))["known"] == 2
    (folder / "a.txt").write_text("Cake is baked from eggs.")
    report = run("ingest", "--replace", str(folder))
    work_off()
    assert (report["known"], Document.objects.count()) == (1, 2)
    document = Document.objects.select_related("current").get(filename="a.txt")
    assert (document.current.number, document.current.text) == (2, "Cake is baked from eggs.")
    (folder / "below" / "a.txt").write_text("Another of that name.")
    run("ingest", str(folder / "below" / "a.txt"))
    with pytest.raises(SystemExit):
        call_command("ingest", "--replace", str(folder / "a.txt"), stdout=StringIO(), stderr=StringIO())


def test_failures_are_listed_and_end_with_status_1(admin: User, index: Index, folder: Path) -> None:
    out = StringIO()
    with pytest.raises(SystemExit) as ended:
        call_command(
            "ingest",
            str(folder / "photo.raw"),
            str(folder / "a.txt"),
            "gone.txt",
            stdout=out,
            stderr=StringIO(),
        )
    assert ended.value.code == 1
    assert "photo.raw: Files of the type .raw cannot be read" in out.getvalue()
    assert "gone.txt cannot be read: No such file" in out.getvalue()
    assert "1 queued" in out.getvalue()


def test_waiting_without_a_worker_says_so(
    admin: User, index: Index, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(command, "PATIENCE_SECONDS", 0)
    with pytest.raises(CommandError, match="No worker is running; 1 documents stay in the queue"):
        call_command("ingest", str(folder / "a.txt"), "--wait", stdout=StringIO(), stderr=StringIO())


def test_waiting_ends_with_the_work(
    admin: User, index: Index, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for queue in ("parse", "embed"):
        Heartbeat.objects.create(worker=queue, queue=queue, pid=1, at=timezone.now())
    monkeypatch.setattr(command.time, "sleep", lambda seconds: work_off())
    report = run("ingest", str(folder / "a.txt"), "--wait")
    assert (report["states"], report["failed"]) == ({"ready": 1}, [])


def states(report: dict) -> tuple[int, int]:
    return report["documents"], report["known"]


def test_what_is_put_in_is_one_upload_and_what_is_known_none(admin: User, index: Index, folder: Path) -> None:
    report = run("ingest", str(folder))
    upload = Upload.objects.get()
    assert (report["upload"], upload.origin, upload.name) == (str(upload.pk), "command", str(folder))
    assert upload.documents.count() == 2
    work_off()
    assert (states(run("ingest", str(folder))), Upload.objects.count()) == ((2, 2), 1)
    assert (states(run("ingest", "--replace", str(folder))), Upload.objects.count()) == ((2, 2), 1)


class Stopping:
    """`add_documents` until Ctrl-C is pressed after some files."""

    def __init__(self, at: int) -> None:
        self.left = at

    def __call__(
        self, actor: User, collection: Collection, files: list[object], *rest: object, **named: object
    ) -> object:
        if not self.left:
            raise KeyboardInterrupt
        self.left -= min(len(files), self.left)
        return add_documents(actor, collection, files, *rest, **named)


@pytest.fixture
def three_hundred(tmp_path: Path) -> Path:
    for number in range(300):
        below = tmp_path / "many" / str(number % 7)
        below.mkdir(parents=True, exist_ok=True)
        (below / f"{number}.txt").write_text(f"Text number {number}.")
    return tmp_path / "many"


def test_ctrl_c_says_how_to_go_on_and_the_next_run_does(
    admin: User, index: Index, three_hundred: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, errors = StringIO(), StringIO()
    monkeypatch.setattr(command, "add_documents", Stopping(100))
    with pytest.raises(SystemExit) as ended:
        call_command("ingest", str(three_hundred), stdout=out, stderr=errors)
    assert ended.value.code == 130
    assert "100 of 300 files are through. Run the same command again" in errors.getvalue()
    assert "100 queued" in out.getvalue()
    counting = Stopping(1000)
    monkeypatch.setattr(command, "add_documents", counting)
    report = run("ingest", str(three_hundred))
    assert (report["documents"], report["known"], report["states"]) == (300, 100, {"queued": 300})
    assert 1000 - counting.left == 200, "what was in was not even offered"
    assert Upload.objects.get().documents.count() == 300


def test_ctrl_c_while_waiting_leaves_the_work_to_the_workers(
    admin: User, index: Index, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(seconds: float) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(command.time, "sleep", stop)
    errors = StringIO()
    with pytest.raises(SystemExit) as ended:
        call_command("ingest", str(folder), "--wait", stdout=StringIO(), stderr=errors)
    assert ended.value.code == 130
    assert "All 2 files are put in; the workers go on" in errors.getvalue()


def test_no_more_wait_than_may(
    admin: User, index: Index, three_hundred: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    most = []

    def work(seconds: float) -> None:
        most.append(Document.objects.filter(state="queued").count())
        Document.objects.update(state="ready")

    monkeypatch.setattr(command, "MOST_WAITING", 100)
    monkeypatch.setattr(command.time, "sleep", work)
    report = run("ingest", str(three_hundred))
    assert report["documents"] == 300
    assert most == [100, 100, 100]


def test_what_is_not_put_in_for_want_of_workers_is_told(
    admin: User, index: Index, three_hundred: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(command, "MOST_WAITING", 100)
    monkeypatch.setattr(command, "PATIENCE_SECONDS", 0)
    with pytest.raises(CommandError, match="100 documents wait, and the other files are not put in yet"):
        call_command("ingest", str(three_hundred), stdout=StringIO(), stderr=StringIO())


def test_a_failed_file_is_taken_up_again_and_told_again(admin: User, index: Index, tmp_path: Path) -> None:
    (tmp_path / "blank.txt").write_text("  \n")
    for _ in range(2):
        run("ingest", str(tmp_path))
        work_off()
    document = Document.objects.get()
    assert (document.state, document.upload) == ("failed", Upload.objects.order_by("-created_at").first())


def test_the_database_is_asked_a_bounded_number_of_times_about_known_files(
    admin: User, index: Index, three_hundred: Path, django_assert_max_num_queries: object
) -> None:
    run("ingest", str(three_hundred))
    with django_assert_max_num_queries(20):
        assert run("ingest", str(three_hundred))["known"] == 300


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--collection", "nowhere"], "There is no collection 'nowhere'"),
        (["--as", "nobody"], "no active user 'nobody'"),
    ],
)
def test_bad_arguments_are_told(
    admin: User, index: Index, folder: Path, arguments: list[str], message: str
) -> None:
    with pytest.raises(CommandError, match=message):
        call_command("ingest", str(folder / "a.txt"), *arguments, stderr=StringIO())


def test_search_and_ask_answer_as_json(admin: User, index: Index, folder: Path) -> None:
    run("ingest", str(folder))
    work_off()
    found = run("search", "What is bread baked from?")
    assert found["passages"][0]["title"] == "a"
    answer = run("ask", "What is bread baked from?")
    assert answer["state"] == "answered"
    assert "flour" in answer["citations"][0]["quote"]


def test_search_and_ask_answer_in_words(admin: User, index: Index, folder: Path) -> None:
    run("ingest", str(folder))
    work_off()
    for name, expected in (("search", "1. a"), ("ask", "[1] a: “")):
        out = StringIO()
        call_command(name, "What is bread baked from?", stdout=out)
        assert expected in out.getvalue()


@pytest.mark.parametrize("name", ["search", "ask"])
def test_bad_questions_are_told(admin: User, index: Index, name: str) -> None:
    with pytest.raises(CommandError, match="There is no question"):
        call_command(name, "  ")
    with pytest.raises(CommandError, match="100,000 characters"):
        call_command(name, "x" * 100_000)


def test_search_says_how_to_begin(admin: User, index: Index) -> None:
    Collection.objects.create(name="Empty", slug="empty", owner=admin)
    out = StringIO()
    call_command("search", "bread", stdout=out)
    assert "manage.py ingest" in out.getvalue()
