"""ZIP archives: only what can be unpacked without harm is."""

import contextlib
import io
import re
import stat
import struct
import zipfile
from pathlib import Path, PurePosixPath

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from retrieval.loading import LoadError
from retrieval.loading.archives import Bounds, Entry, Unfit, unpack
from tests.retrieval.loading.conftest import make_epub, zipped

CONTROL = re.compile("[\x00-\x1f\x7f-\x9f]")
FEW = Bounds(entries=20, entry_bytes=4_000, total_bytes=8_000, ratio=50, depth=2)
FUZZED = settings(
    max_examples=150,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "a.zip"


def code_of(path: Path, content: bytes, bounds: Bounds | None = None) -> str:
    """Why the whole archive is not unpacked."""
    path.write_bytes(content)
    with pytest.raises(LoadError) as caught:
        list(unpack(path, bounds))
    assert caught.value.message.endswith(".")
    return caught.value.code


def unfit(path: Path, content: bytes, bounds: Bounds | None = None) -> dict[str, str]:
    """The files that are not unpacked, each with the code of its reason, beside at least one that is."""
    path.write_bytes(content)
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("fit.txt", b"fit")
    found = list(unpack(path, bounds))
    assert Entry("fit.txt", b"fit") in found
    reasons = {entry.name: entry.reason for entry in found if isinstance(entry, Unfit)}
    assert all(reason.message.endswith(".") for reason in reasons.values())
    return {name: reason.code for name, reason in reasons.items()}


def written(*entries: tuple[zipfile.ZipInfo | str, bytes], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w", method) as archive:
        for name, content in entries:
            archive.writestr(name, content)
    return target.getvalue()


def test_files_come_one_at_a_time_with_their_paths(path):
    path.write_bytes(
        zipped({"a.txt": b"one", "b/": b"", "b/ü.md": b"two", "__MACOSX/x": b"", "b/.DS_Store": b""})
    )
    assert [tuple(entry) for entry in unpack(path)] == [("a.txt", b"one"), ("b/ü.md", b"two")]


def test_archives_in_archives(path):
    path.write_bytes(zipped({"in.zip": zipped({"deep.zip": zipped({"a.txt": b"x"})}), "b.txt": b"y"}))
    assert [entry.name for entry in unpack(path)] == ["in.zip/deep.zip/a.txt", "b.txt"]


def test_of_two_files_of_one_name_the_later_counts(path):
    with pytest.warns(UserWarning, match="Duplicate"):
        content = written(("a.txt", b"old"), ("b.txt", b"x"), ("a.txt", b"new"))
    path.write_bytes(content)
    assert dict(unpack(path)) == {"b.txt": b"x", "a.txt": b"new"}


def test_links_are_passed_over(path):
    link = zipfile.ZipInfo("passwd")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    path.write_bytes(written((link, b"/etc/passwd"), ("a.txt", b"x")))
    assert [entry.name for entry in unpack(path)] == ["a.txt"]


def test_backslashes_and_control_characters_in_names(path):
    path.write_bytes(written(("b\\a\x07.txt", b"x")))
    assert [entry.name for entry in unpack(path)] == ["b/a.txt"]


@pytest.mark.parametrize("name", ["/etc/passwd", "../x", "a/../../x", "..\\x", "C:\\x"])
def test_names_that_lead_outside_are_refused(path, name):
    assert unfit(path, written((name, b"x"))) == {name.replace("\\", "/"): "broken"}


FILES = {"a": bytes(2_001), "b": b"b" * 900}


@pytest.mark.parametrize("bounds", [Bounds(entries=2), Bounds(total_bytes=2_500)])
def test_bounds_of_the_whole(path, bounds):
    assert code_of(path, zipped(FILES | {"c": b"c"}), bounds) == "too_large"


def test_bounds_hold_across_nested_archives(path):
    inner = zipped({"c.txt": bytes(range(256)) * 4})
    assert code_of(path, zipped(FILES | {"in.zip": inner}), Bounds(total_bytes=3_500)) == "too_large"
    assert code_of(path, zipped(FILES | {"in.zip": inner}), Bounds(entries=3)) == "too_large"


def test_bounds_of_one_file(path):
    assert unfit(path, zipped(FILES), Bounds(entry_bytes=2_000)) == {"a": "too_large"}
    assert unfit(path, zipped({"in.zip": zipped(FILES)}), Bounds(depth=1)) == {"in.zip": "too_large"}


def test_a_bomb_is_passed_over_before_it_is_unpacked(path):
    assert unfit(path, zipped({"a.txt": bytes(30_000_000)})) == {"a.txt": "too_large"}


def test_a_nested_bomb_is_passed_over(path):
    bomb = zipped({"a.txt": bytes(30_000_000)})
    found = unfit(path, zipped({f"{number}.zip": bomb for number in range(10)}))
    assert found == {f"{number}.zip/a.txt": "too_large" for number in range(10)}


def test_an_archive_that_holds_itself_is_bounded(path):
    content = zipped({"a.txt": b"x"})
    for _ in range(10):
        content = zipped({"again.zip": content})
    assert unfit(path, content) == {"again.zip/again.zip/again.zip": "too_large"}


def test_sizes_that_are_lies(path):
    content = bytearray(zipped({"a.txt": bytes(5_000_000)}))
    at = content.rindex(b"PK\x01\x02")
    struct.pack_into("<I", content, at + 24, 10)
    struct.pack_into("<I", content, 22, 10)
    path.write_bytes(bytes(content))
    assert [(entry.name, entry.reason.code) for entry in unpack(path)] == [("a.txt", "broken")]


def test_a_directory_that_is_too_large_is_not_read(path):
    many = written(*((f"{number}/" + "n" * 2_000, b"") for number in range(200)), method=zipfile.ZIP_STORED)
    assert code_of(path, many, Bounds(entries=100)) == "too_large"


def test_damaged_contents(path):
    content = bytearray(written(("a.txt", bytes(range(256)) * 40), method=zipfile.ZIP_STORED))
    content[500] ^= 0xFF
    assert unfit(path, bytes(content)) == {"a.txt": "broken"}


def test_a_damaged_or_wrongly_named_archive_in_an_archive(path):
    nested = {"cut.zip": zipped({"a.txt": b"x"})[:30], "book.zip": make_epub()}
    assert unfit(path, zipped(nested)) == {"cut.zip": "broken", "book.zip": "mismatch"}


@pytest.mark.parametrize("content", [b"", b"words", b"PK\x05\x06" + bytes(18), b"PK\x03\x04" * 9])
def test_what_is_no_archive(path, content):
    assert code_of(path, content) in ("broken", "empty")


def test_passwords_other_methods_and_documents(path):
    content = bytearray(zipped({"a.txt": b"x"}))
    content[content.rindex(b"PK\x01\x02") + 8] |= 1
    assert unfit(path, bytes(content)) == {"a.txt": "encrypted"}
    assert unfit(path, written(("a.txt", b"x"), method=zipfile.ZIP_LZMA)) == {"a.txt": "unsupported"}
    assert code_of(path, make_epub()) == "mismatch"


def test_memory_stays_flat(path):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        for number in range(40):
            archive.writestr(f"{number}.bin", number.to_bytes(1) * 1_000_000)
    held = max(len(entry.content) for entry in unpack(path))
    assert held == 1_000_000


def check(path: Path, content: bytes) -> None:
    """Whatever the bytes: harmless names and what keeps the bounds, or a LoadError."""
    path.write_bytes(content)
    taken = 0
    with contextlib.suppress(LoadError):
        for entry in unpack(path, FEW):
            assert not CONTROL.search(entry.name)
            if isinstance(entry, Entry):
                assert not PurePosixPath(entry.name).is_absolute()
                assert ".." not in PurePosixPath(entry.name).parts
                taken += len(entry.content)
                assert len(entry.content) <= FEW.entry_bytes
                assert taken <= FEW.total_bytes


@FUZZED
@given(st.binary(max_size=300))
def test_any_bytes(path, content):
    check(path, content)
    check(path, b"PK\x03\x04" + content)


@FUZZED
@given(data=st.data())
def test_damaged_archives(path, data):
    inner = zipped({"c.txt": b"c" * 900, "d.csv": b"1,2\n" * 300})
    content = bytearray(zipped({"a.txt": b"words " * 300, "b/in.zip": inner, "e.md": b"# e"}))
    for _ in range(data.draw(st.integers(1, 6))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    check(path, bytes(content[: data.draw(st.integers(len(content) // 2, len(content)))]))


@FUZZED
@given(st.lists(st.tuples(st.text(max_size=30), st.binary(max_size=200)), max_size=30))
def test_any_names(path, files):
    check(path, zipped({f"{name}.txt".replace("\0", ""): content for name, content in files}))
