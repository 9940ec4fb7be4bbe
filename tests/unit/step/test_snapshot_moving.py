"""Source directories that do not hold still, and what lies in them that is no readable file."""

from __future__ import annotations

import logging
import os
import shutil
import socket
import stat
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from stepwell.errors import SnapshotError
from stepwell.step import snapshot as module
from stepwell.step import snapshot_walk
from stepwell.step.snapshot import Limits, take

Trigger = Callable[[Callable[..., None]], None]


@pytest.fixture
def after_listing(monkeypatch: pytest.MonkeyPatch) -> Trigger:
    """Have something done each time a folder has been listed."""

    def install(action: Callable[[], None]) -> None:
        entries = snapshot_walk.Walk._entries

        def listed(self: snapshot_walk.Walk, folder: str, place: str) -> list[os.DirEntry[str]]:
            found = entries(self, folder, place)
            action()
            return found

        monkeypatch.setattr(snapshot_walk.Walk, "_entries", listed)

    return install


@pytest.fixture
def while_reading(monkeypatch: pytest.MonkeyPatch) -> Trigger:
    """Have something done after each piece that is read for a digest; gets the number of pieces before."""

    def install(action: Callable[[int], None]) -> None:
        read, count = os.read, 0

        def reading(handle: int, size: int) -> bytes:
            nonlocal count
            chunk = read(handle, size)
            action(count)
            count += 1
            return chunk

        monkeypatch.setattr(os, "read", reading)

    return install


def test_a_file_that_vanishes_during_the_walk_is_not_in_the_snapshot(source: Path, after_listing: Trigger) -> None:
    before = take(source)
    swap = source / ".train.py.swp"
    swap.touch()
    after_listing(lambda: swap.unlink(missing_ok=True))
    assert take(source).digest == before.digest


def test_a_file_that_moves_during_the_walk_is_found_at_its_new_place(source: Path, after_listing: Trigger) -> None:
    def move() -> None:
        if (source / "train.py").exists():
            (source / "train.py").rename(source / "a_new_name.py")

    after_listing(move)
    assert [f.path for f in take(source).files] == ["a_new_name.py", "pkg/helper.py"]


def test_a_folder_that_vanishes_during_the_walk(source: Path, after_listing: Trigger) -> None:
    after_listing(lambda: shutil.rmtree(source / "pkg", ignore_errors=True))
    assert [f.path for f in take(source).files] == ["train.py"]


def test_one_that_never_holds_still_is_named(source: Path, while_reading: Trigger) -> None:
    log = source / "log.txt"
    log.write_text("1")

    def append(_: int) -> None:
        with log.open("a") as stream:
            stream.write("more\n")

    while_reading(append)
    with pytest.raises(SnapshotError, match=r"'log\.txt' was written to while the snapshot was taken") as caught:
        take(source)
    assert ".amlignore" in str(caught.value)


def test_a_file_that_is_written_while_it_is_read_is_read_again(source: Path, while_reading: Trigger) -> None:
    def rewrite(count: int) -> None:
        if count == 0:
            (source / "pkg" / "helper.py").write_text("x = 1234\n")

    while_reading(rewrite)
    taken = take(source)
    assert taken.digest == take(source).digest
    assert taken.size == len("x = 1234\n") + len("print(1)\n")


@pytest.mark.parametrize("into", ["pipe", "link"])
def test_a_file_that_becomes_something_else_before_it_is_read(
    source: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    into: str,
) -> None:
    (tmp_path / "secret").write_text("s3cret")
    hashed = module._hashed

    def exchange(root: Path, found: snapshot_walk.Found) -> tuple[os.stat_result, str]:
        if found.path == "train.py":
            (source / "train.py").unlink()
            if into == "pipe":
                os.mkfifo(source / "train.py")
            else:
                (source / "train.py").symlink_to(tmp_path / "secret")
        return hashed(root, found)

    monkeypatch.setattr(module, "_hashed", exchange)
    message = r"a pipe \(FIFO\)" if into == "pipe" else "leads out of the source directory"
    with pytest.raises(SnapshotError, match=message):
        take(source)


@pytest.mark.parametrize("kind", ["a pipe (FIFO)", "a socket", "a device"])
def test_what_is_no_file_is_named_and_never_opened(source: Path, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    path = source / "pkg" / "thing"
    with socket.socket(socket.AF_UNIX) as server:
        if kind == "a socket":
            monkeypatch.chdir(path.parent)  # the address of a socket is at most 108 bytes
            server.bind("thing")
        elif kind == "a device":
            if os.geteuid() != 0:
                pytest.skip("only root can make a device")
            os.mknod(path, stat.S_IFCHR | 0o666, os.makedev(1, 5))  # /dev/zero: reading it never ends
        else:
            os.mkfifo(path)
        with pytest.raises(SnapshotError, match="'pkg/thing' is neither a file nor a folder") as caught:
            take(source)
    assert kind in str(caught.value)
    (source / ".amlignore").write_text("thing\n")
    assert len(take(source).files) == 2


def test_a_link_to_a_device_is_refused(source: Path) -> None:
    (source / "zero").symlink_to("/dev/zero")
    with pytest.raises(SnapshotError, match="'zero' leads out of the source directory, to /dev/zero"):
        take(source)


def test_a_name_that_is_not_utf8_is_named_in_a_way_that_can_be_printed(source: Path) -> None:
    (source / os.fsdecode(b"daten\xff.py")).write_text("1")
    with pytest.raises(SnapshotError, match="is not valid UTF-8") as caught:
        take(source)
    str(caught.value).encode()  # a log can take it
    (source / ".amlignore").write_text("daten*\n")
    assert len(take(source).files) == 2


def test_a_credential_with_an_odd_name_can_be_said(source: Path, caplog: pytest.LogCaptureFixture) -> None:
    (source / os.fsdecode(b"\xff\n2030 ERROR.pem")).write_text("1")
    with caplog.at_level(logging.WARNING):
        assert len(take(source).files) == 2
    assert len(caplog.messages) == 1
    assert "\n" not in caplog.messages[0]
    caplog.messages[0].encode()


@contextmanager
def _as_nobody() -> Iterator[None]:
    """Root may read everything: be somebody else for a while."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


@pytest.mark.parametrize(("what", "mode"), [("train.py", 0o000), ("pkg", 0o000), ("pkg", 0o444)])
def test_a_file_or_folder_without_read_permission_is_named(what: str, mode: int) -> None:
    with tempfile.TemporaryDirectory() as place:  # pytest's own folders are closed to others
        root = Path(place)
        (root / "pkg").mkdir()
        (root / "pkg" / "helper.py").write_text("x = 1\n")
        (root / "train.py").write_text("print(1)\n")
        for path in (root, root / "pkg"):
            path.chmod(0o755)
        take(root)  # all is imported
        (root / what).chmod(mode)
        try:
            with (
                _as_nobody(),
                pytest.raises(SnapshotError, match=rf"'{what}.*cannot be read: Permission denied") as caught,
            ):
                take(root)
            assert ".amlignore" in str(caught.value)
            (root / ".amlignore").write_text(f"{what}\n")
            (root / ".amlignore").chmod(0o644)
            with _as_nobody():
                assert len(take(root).files) == 1
        finally:
            (root / what).chmod(0o755)


def test_links_that_multiply_folders_end_in_an_error(source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(snapshot_walk, "_MAX_LINKED_FOLDERS", 500)
    for i in range(40):  # two ways down from each: 2^40 folders, and no file
        (source / f"d{i}").mkdir()
    for i in range(39):
        (source / f"d{i}" / "left").symlink_to(f"../d{i + 1}")
        (source / f"d{i}" / "right").symlink_to(f"../d{i + 1}")
    with pytest.raises(SnapshotError, match="Links lead to more than 500 folders"):
        take(source)


def test_folders_as_deep_as_a_path_can_be(source: Path) -> None:
    deep = os.open(source, os.O_RDONLY)
    for _ in range(1500):
        os.mkdir("d", dir_fd=deep)
        below = os.open("d", os.O_RDONLY, dir_fd=deep)
        os.close(deep)
        deep = below
    os.close(os.open("deep.py", os.O_WRONLY | os.O_CREAT, dir_fd=deep))
    os.close(deep)
    try:
        assert take(source).files[0].path.endswith("/d/d/deep.py")
    finally:
        subprocess.run(["rm", "-rf", str(source / "d")], check=True)  # rmtree is not made for this


def test_without_a_limit_nothing_is_dropped(source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_HOPELESS", 10)
    for i in range(40):
        (source / f"m{i:02}.py").touch()
    assert len(take(source, limits=Limits(files=None)).files) == 42
    with pytest.raises(SnapshotError, match="more than 11 files; at most 5"):
        take(source, limits=Limits(files=5))
