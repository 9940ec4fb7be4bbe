"""The digest cache of snapshots: it saves reading, and is never a reason for a wrong digest or an error."""

from __future__ import annotations

import json
import multiprocessing
import os
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

from stepwell.step import snapshot as module
from stepwell.step.snapshot import take
from stepwell.step.snapshot_cache import Cache, Memory
from stepwell.step.snapshot_walk import Found

SECOND = 1_000_000_000


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The files that were read for their digest."""
    paths: list[str] = []
    hashed = module._hashed

    def noted(root: Path, found: Found) -> tuple[os.stat_result, str]:
        paths.append(found.path)
        return hashed(root, found)

    monkeypatch.setattr(module, "_hashed", noted)
    return paths


@pytest.fixture
def later(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ten seconds from now, when files that were just written are no longer young."""
    monkeypatch.setattr(module, "time", SimpleNamespace(time_ns=lambda: time.time_ns() + 10 * SECOND))


@pytest.mark.usefixtures("later")
def test_only_what_changed_is_read_again(source: Path, tmp_path: Path, read: list[str]) -> None:
    first = take(source, cache=tmp_path / "cache")
    assert first.earlier is None
    read.clear()
    again = take(source, cache=tmp_path / "cache")
    assert read == []
    assert (again.digest, again.files, again.earlier) == (first.digest, first.files, first.digest)
    (source / "train.py").write_text("print(2)\n")
    changed = take(source, cache=tmp_path / "cache")
    assert read == ["train.py"]
    assert changed.digest == take(source).digest != first.digest
    assert changed.earlier == first.digest


@pytest.mark.usefixtures("later")
def test_the_same_size_and_time_do_not_hide_a_change(source: Path, tmp_path: Path) -> None:
    script = source / "train.py"
    before = take(source, cache=tmp_path / "cache")
    info = script.stat()
    script.write_text("print(2)\n")
    os.utime(script, ns=(info.st_atime_ns, info.st_mtime_ns))
    assert script.stat().st_mtime_ns == info.st_mtime_ns
    assert take(source, cache=tmp_path / "cache").digest != before.digest


@pytest.mark.usefixtures("later")
def test_the_executable_bit_and_removed_files_are_not_remembered(source: Path, tmp_path: Path) -> None:
    before = take(source, cache=tmp_path / "cache").digest
    (source / "train.py").chmod(0o755)
    assert take(source, cache=tmp_path / "cache").digest == take(source).digest != before
    (source / "train.py").unlink()
    assert [f.path for f in take(source, cache=tmp_path / "cache").files] == ["pkg/helper.py"]


def test_a_young_file_is_not_trusted(source: Path, tmp_path: Path, read: list[str]) -> None:
    os.utime(source / "train.py", (1, 1))  # old by its own word; but its status changed just now
    take(source, cache=tmp_path / "cache")
    read.clear()
    take(source, cache=tmp_path / "cache")
    assert read == ["pkg/helper.py", "train.py"]


@pytest.mark.parametrize(
    ("mtime", "ctime", "trusted"),
    [(-3, -3, True), (-1, -3, False), (-3, -1, False), (-2, -2, False), (60, -3, False), (-3, 60, False)],
)
def test_both_stamps_must_be_older_than_two_seconds(mtime: int, ctime: int, trusted: bool) -> None:
    now = time.time_ns()
    info = SimpleNamespace(
        st_size=1, st_ino=2, st_mtime_ns=now + mtime * SECOND, st_ctime_ns=now + ctime * SECOND, st_mode=0
    )
    memory = Memory("rules")
    memory.remember("a.py", info, "digest", now)  # type: ignore[arg-type]
    assert memory.digest_of("a.py", info) == ("digest" if trusted else None)  # type: ignore[arg-type]


@pytest.mark.usefixtures("later")
def test_a_new_rule_counts_for_files_that_are_known(source: Path, tmp_path: Path) -> None:
    take(source, cache=tmp_path / "cache")
    (source / ".amlignore").write_text("pkg/\n")
    assert [f.path for f in take(source, cache=tmp_path / "cache").files] == ["train.py"]
    (source / ".amlignore").unlink()
    assert len(take(source, cache=tmp_path / "cache").files) == 2


@pytest.mark.usefixtures("later")
@pytest.mark.parametrize("link", ["train.py", "pkg"])
def test_what_was_a_file_and_is_a_link_out_is_refused(source: Path, tmp_path: Path, link: str) -> None:
    take(source, cache=tmp_path / "cache")
    (source / link).rename(tmp_path / "moved")
    (source / link).symlink_to(tmp_path / "moved")
    with pytest.raises(module.SnapshotError, match="leads out of the source directory"):
        take(source, cache=tmp_path / "cache")


def _flip_a_digest(path: Path) -> None:
    check, _, text = path.read_bytes().partition(b"\n")
    found = json.loads(text)
    for entry in found["files"].values():
        entry[4] = "0" * 64
    path.write_bytes(check + b"\n" + json.dumps(found, separators=(",", ":")).encode())


def _in_the_way(path: Path) -> None:
    path.unlink()
    path.mkdir()


@pytest.mark.usefixtures("later")
@pytest.mark.parametrize(
    "damage",
    [
        lambda path: path.write_bytes(b""),
        lambda path: path.write_bytes(os.urandom(500)),
        lambda path: path.write_bytes(path.read_bytes()[:-10]),
        lambda path: path.write_bytes(b"[" * 100_000),
        _flip_a_digest,
        _in_the_way,
    ],
    ids=["empty", "noise", "cut short", "deep", "another digest", "a folder"],
)
def test_a_damaged_cache_means_reading_again(
    source: Path, tmp_path: Path, damage: Callable[[Path], object], read: list[str]
) -> None:
    right = take(source, cache=tmp_path / "cache").digest
    damage(Cache(tmp_path / "cache", source).path)
    read.clear()
    assert take(source, cache=tmp_path / "cache").digest == right
    assert read == ["pkg/helper.py", "train.py"]
    left = list((tmp_path / "cache").iterdir())
    assert left == [Cache(tmp_path / "cache", source).path]


@pytest.mark.usefixtures("later")
def test_a_cache_that_cannot_be_written_is_no_error(source: Path, tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("a file where the folder should be")
    assert take(source, cache=tmp_path / "cache").digest == take(source).digest
    assert take(source, cache=Path("/proc/nowhere")).digest == take(source).digest


@pytest.mark.usefixtures("later")
def test_each_source_directory_has_its_own_file(source: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    (other / "train.py").write_text("print(3)\n")
    take(source, cache=tmp_path / "cache")
    assert take(other, cache=tmp_path / "cache").earlier is None
    assert len(list((tmp_path / "cache").iterdir())) == 2


def _take_often(source: Path, cache: Path, right: str) -> None:
    for _ in range(30):
        if take(source, cache=cache).digest != right:
            raise SystemExit(1)
        Cache(cache, source).write(Memory("other rules"))


def test_processes_at_once_do_not_disturb_each_other(source: Path, tmp_path: Path) -> None:
    right = take(source).digest
    context = multiprocessing.get_context("fork")
    several = [
        context.Process(target=_take_often, args=(source, tmp_path / "cache", right), daemon=True) for _ in range(3)
    ]
    for process in several:
        process.start()
    for process in several:
        process.join(30)
    assert [p.exitcode for p in several] == [0, 0, 0]
    assert len(list((tmp_path / "cache").iterdir())) == 1
