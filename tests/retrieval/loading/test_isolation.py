"""Real processes: what becomes of a load when something dies, hangs or takes too much."""

import os
import select
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pytest

from retrieval.loading import LoadError
from retrieval.loading.errors import ReaderStopped
from retrieval.loading.isolation import IsolatedLoader, Limits
from retrieval.loading.loaders import load

pytestmark = [
    pytest.mark.skipif(sys.platform != "linux", reason="reads /proc, and sets limits as Linux keeps them"),
    pytest.mark.timeout(60),
]
MEGABYTE = 1024 * 1024


@pytest.fixture
def loader() -> Iterator[IsolatedLoader]:
    made = IsolatedLoader(Limits(memory_bytes=256 * MEGABYTE, cpu_seconds=20, wall_seconds=30))
    yield made
    made.close()


@pytest.fixture
def note(tmp_path: Path) -> Path:
    path = tmp_path / "blob"
    path.write_bytes(b"# Notes\n\nOn retrieval.")
    return path


@pytest.fixture
def stuck(tmp_path: Path) -> Iterator[Callable[[IsolatedLoader], tuple[Future, int]]]:
    """Starts a load that cannot end by itself, of a pipe that nobody fills, and gives the child's pid."""
    path = tmp_path / "pipe"
    os.mkfifo(path)
    with ThreadPoolExecutor(1) as pool:
        held: list[int] = []

        def start(loader: IsolatedLoader, name: str = "a.txt") -> tuple[Future, int]:
            future = pool.submit(loader.load, path, name)
            held.append(os.open(path, os.O_WRONLY))  # returns once the child has opened it, too
            return future, only_child(loader.zygote_pid)

        yield start
        for descriptor in held:
            os.close(descriptor)


def only_child(pid: int | None) -> int:
    """The child that waits for work, once the one that did the last is gone."""
    deadline = time.monotonic() + 30
    while len(children := Path(f"/proc/{pid}/task/{pid}/children").read_text().split()) != 1:
        assert time.monotonic() < deadline, children
        time.sleep(0.01)
    return int(children[0])


def wait_until_gone(pid: int) -> None:
    """Returns when the process has ended; a zombie has, too."""
    try:
        os.waitpid(pid, 0)
    except ChildProcessError:  # not ours to wait for: the kernel tells through its descriptor
        try:
            descriptor = os.pidfd_open(pid)
        except ProcessLookupError:
            return
        assert select.select([descriptor], [], [], 20)[0], f"process {pid} goes on"
        os.close(descriptor)


def code_of(loader: IsolatedLoader, path: Path, name: str) -> str:
    with pytest.raises(LoadError) as caught:
        loader.load(path, name)
    assert caught.value.message
    return caught.value.code


def test_gives_what_load_gives(loader, files, tmp_path):
    for name, content in files.items():
        (tmp_path / "stored").write_bytes(content)
        assert loader.load(tmp_path / "stored", name) == load(content, name)


def test_load_errors_come_across(loader, tmp_path, encrypted_pdf):
    (tmp_path / "stored").write_bytes(encrypted_pdf)
    assert code_of(loader, tmp_path / "stored", "a.pdf") == "encrypted"
    assert code_of(loader, tmp_path / "stored", "a.txt") == "mismatch"


def test_no_such_file(loader, tmp_path):
    with pytest.raises(FileNotFoundError):
        loader.load(tmp_path / "nothing", "a.txt")


def test_a_killed_child_was_stopped_by_somebody(loader, stuck, note):
    future, child = stuck(loader)
    os.kill(child, signal.SIGKILL)
    with pytest.raises(ReaderStopped):
        future.result()
    assert loader.load(note, "a.md").title == "Notes"


def test_a_child_that_hangs_is_ended(stuck, note):
    loader = IsolatedLoader(Limits(wall_seconds=2.0))
    future, child = stuck(loader)
    os.kill(child, signal.SIGSTOP)
    with pytest.raises(LoadError) as caught:
        future.result()
    assert caught.value.code == "timeout"
    wait_until_gone(child)
    assert loader.load(note, "a.md").title == "Notes"
    loader.close()


def test_too_little_wall_time(tmp_path):
    (tmp_path / "big").write_bytes(b"* [a](b) *c* `d`\n" * 50_000)
    loader = IsolatedLoader(Limits(wall_seconds=0.05))
    assert code_of(loader, tmp_path / "big", "a.md") == "timeout"
    loader.close()


def test_too_much_computing(tmp_path):
    (tmp_path / "big").write_bytes(b"* [a](b) *c* `d`\n" * 500_000)
    loader = IsolatedLoader(Limits(cpu_seconds=1, wall_seconds=50, memory_bytes=4096 * MEGABYTE))
    assert code_of(loader, tmp_path / "big", "a.md") == "timeout"
    loader.close()


def test_too_much_memory(tmp_path, note):
    (tmp_path / "big").write_bytes(b"word " * (8 * MEGABYTE))
    loader = IsolatedLoader(Limits(memory_bytes=24 * MEGABYTE))
    assert code_of(loader, tmp_path / "big", "a.txt") == "memory"
    assert loader.load(note, "a.md").title == "Notes"
    loader.close()


def test_too_much_text(tmp_path, note):
    loader = IsolatedLoader(Limits(max_text_chars=5))
    assert code_of(loader, note, "a.md") == "too_large"
    loader.close()


def test_a_zygote_killed_between_loads_is_replaced(loader, note):
    loader.load(note, "a.md")
    before = loader.zygote_pid
    assert before
    os.kill(before, signal.SIGKILL)
    os.waitid(os.P_PID, before, os.WEXITED | os.WNOWAIT)
    assert loader.load(note, "a.md").title == "Notes"
    assert loader.zygote_pid not in (None, before)


def test_a_zygote_killed_during_a_load_is_replaced(loader, stuck, note):
    future, child = stuck(loader)
    os.kill(loader.zygote_pid or 0, signal.SIGKILL)
    with pytest.raises(LoadError) as caught:
        future.result()
    assert caught.value.code == "crashed"
    wait_until_gone(child)
    assert loader.load(note, "a.md").title == "Notes"


def test_a_child_killed_while_it_waited_costs_no_document(loader, note):
    loader.load(note, "a.md")
    child = only_child(loader.zygote_pid)
    os.kill(child, signal.SIGKILL)
    wait_until_gone(child)
    assert loader.load(note, "a.md").title == "Notes"


def child_of(loader: IsolatedLoader) -> int:
    return only_child(loader.zygote_pid)


def wait_for_another_child(loader: IsolatedLoader, before: int) -> None:
    """It comes while who asked has the answer."""
    deadline = time.monotonic() + 30
    while child_of(loader) == before:
        assert time.monotonic() < deadline, f"process {before} goes on reading"
        time.sleep(0.01)


def test_a_child_reads_several_simple_documents(loader, note):
    loader.load(note, "a.md")
    child = child_of(loader)
    for name in ("b.md", "c.txt", "d.py"):
        loader.load(note, name)
        assert child_of(loader) == child


@pytest.mark.parametrize("name", ["a.html", "a.pdf", "a.docx", "tags.md"])
def test_what_a_native_parser_reads_has_a_child_of_its_own(loader, note, files, tmp_path, name):
    (tmp_path / "stored").write_bytes(files.get(name, b"# Notes\n\n<div>On retrieval.</div>\n"))
    loader.load(note, "a.md")
    for _ in range(2):
        before = child_of(loader)
        loader.load(tmp_path / "stored", name)
        wait_for_another_child(loader, before)


def test_the_child_that_was_forked_ahead_reads_the_next_document(loader, note, stuck):
    loader.load(note, "a.md")
    read = []
    for _ in range(2):
        future, reading = stuck(loader, "a.html")
        read.append(reading)
        os.kill(reading, signal.SIGKILL)
        with pytest.raises(LoadError):
            future.result()
        read.append(child_of(loader))  # forked before the answer
    assert read[1] == read[2]


def test_after_a_document_that_cannot_be_read_there_is_a_new_child(loader, note, tmp_path):
    (tmp_path / "broken").write_bytes(b'{"a": ')
    loader.load(note, "a.md")
    before = child_of(loader)
    assert code_of(loader, tmp_path / "broken", "a.json") == "broken"
    assert child_of(loader) != before
    assert loader.load(note, "a.md").title == "Notes"


def test_what_a_used_child_does_not_survive_a_new_one_reads_again(loader, note, stuck):
    """Were the earlier documents to blame, this one would be none the worse."""
    loader.load(note, "a.md")
    before = child_of(loader)
    future, child = stuck(loader)
    assert child == before
    os.kill(child, signal.SIGKILL)
    deadline = time.monotonic() + 30
    while child_of(loader) == child:
        assert time.monotonic() < deadline
    os.kill(child_of(loader), signal.SIGKILL)
    with pytest.raises(LoadError) as caught:
        future.result()
    assert caught.value.code == "crashed"


def test_a_child_serves_for_a_while_only(note):
    loader = IsolatedLoader(Limits(cpu_seconds=1))
    loader.load(note, "a.md")
    before = child_of(loader)
    time.sleep(0.11)  # a tenth of what it may compute for one document
    loader.load(note, "a.md")
    assert child_of(loader) != before
    loader.close()


def test_close_ends_the_zygote_and_a_load_starts_another(loader, note):
    loader.load(note, "a.md")
    before = loader.zygote_pid
    loader.close()
    assert loader.zygote_pid is None
    wait_until_gone(before)
    assert loader.load(note, "a.md").title == "Notes"


def test_threads_take_turns(loader, tmp_path):
    paths = [tmp_path / str(number) for number in range(12)]
    for path in paths:
        path.write_text(f"# Number {path.name}")
    barrier = threading.Barrier(4)

    def work(path: Path) -> str:
        if path.name in "0123":
            barrier.wait()
        return loader.load(path, "a.md").title

    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(work, paths)) == [f"Number {path.name}" for path in paths]


PARENT = """
import sys, time
from pathlib import Path
from retrieval.loading.isolation import IsolatedLoader
loader = IsolatedLoader()
loader.load(Path(sys.argv[1]), "a.md")
print(loader.zygote_pid, flush=True)
sys.stdin.read()
"""


def test_the_zygote_ends_with_its_parent(note):
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT, str(note)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    with parent:
        zygote = int(parent.stdout.readline())
        assert Path(f"/proc/{zygote}").exists()
        parent.kill()
    wait_until_gone(zygote)


def test_a_forked_process_gets_a_zygote_of_its_own(loader, note):
    loader.load(note, "a.md")
    receiving, sending = os.pipe()
    child = os.fork()
    if child == 0:  # as a Celery worker that was forked after a first load
        title = loader.load(note, "a.md").title
        os.write(sending, f"{title} {loader.zygote_pid}".encode())
        loader.close()
        os._exit(0)
    os.waitpid(child, 0)
    title, pid = os.read(receiving, 100).decode().split()
    os.close(receiving)
    os.close(sending)
    assert title == "Notes"
    assert int(pid) != loader.zygote_pid
    assert loader.load(note, "a.md").title == "Notes"


def test_works_in_a_daemonic_process(note):
    code = (
        "import multiprocessing, sys\n"
        "from pathlib import Path\n"
        "from retrieval.loading.isolation import IsolatedLoader\n"
        "def work():\n"
        "    loader = IsolatedLoader()\n"
        f"    print(loader.load(Path({str(note)!r}), 'a.md').title)\n"
        "    loader.close()\n"
        "worker = multiprocessing.get_context('fork').Process(target=work, daemon=True)\n"
        "worker.start(); worker.join(); sys.exit(worker.exitcode)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=50, check=True
    )
    assert done.stdout.strip() == "Notes"


def test_the_zygote_imports_neither_torch_nor_django():
    code = "import sys, retrieval.loading.zygote; print(*sys.modules)"
    modules = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout.split()
    roots = {name.split(".")[0] for name in modules}
    assert {"pypdfium2", "docx", "pptx", "openpyxl", "selectolax", "markdown_it", "py3langid"} <= roots
    assert not roots & {"torch", "django", "transformers", "kb", "celery"}


def test_secrets_stay_out_of_the_zygote(loader, note, monkeypatch):
    monkeypatch.setenv("LLM_API_KEY", "secret")
    loader.load(note, "a.md")
    environment = Path(f"/proc/{loader.zygote_pid}/environ").read_bytes()
    assert b"secret" not in environment
    assert b"PYTHONPATH" in environment
