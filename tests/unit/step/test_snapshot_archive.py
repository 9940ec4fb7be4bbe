"""Archives of snapshots: the same content is the same bytes, packed or copied from an earlier archive."""

from __future__ import annotations

import os
import zipfile
from pathlib import Path

import pytest

from stepwell.errors import SnapshotError
from stepwell.runtime import archive
from stepwell.step.snapshot import extract, take


@pytest.fixture
def source(tmp_path: Path) -> Path:
    root = tmp_path / "src"
    (root / "pkg").mkdir(parents=True)
    (root / "pkg" / "empty.py").touch()
    (root / "pkg" / "hilfe für alle.py").write_text("x = 1\n" * 2000)
    (root / "run.sh").write_text("#!/bin/sh\n")
    (root / "run.sh").chmod(0o755)
    (root / "table.bin").write_bytes(bytes(range(256)) * 4000)  # more than one piece
    (root / "train.py").write_text("print(1)\n")
    return root


def test_copied_or_packed_the_bytes_are_the_same(source: Path, tmp_path: Path) -> None:
    take(source).write_archive(tmp_path / "earlier.zip")
    (source / "train.py").write_text("print(22)\n")
    (source / "pkg" / "new.py").write_text("y = 2\n")
    snapshot = take(source)
    snapshot.write_archive(tmp_path / "packed.zip")
    snapshot.write_archive(tmp_path / "copied.zip", earlier=tmp_path / "earlier.zip")
    assert (tmp_path / "copied.zip").read_bytes() == (tmp_path / "packed.zip").read_bytes()
    extract(tmp_path / "copied.zip", tmp_path / "there")
    assert take(tmp_path / "there").digest == snapshot.digest


def test_what_the_earlier_archive_holds_is_not_read_again(source: Path, tmp_path: Path) -> None:
    snapshot = take(source)
    snapshot.write_archive(tmp_path / "earlier.zip")
    for file in snapshot.files:
        (source / file.path).unlink()
    snapshot.write_archive(tmp_path / "copied.zip", earlier=tmp_path / "earlier.zip")
    assert (tmp_path / "copied.zip").read_bytes() == (tmp_path / "earlier.zip").read_bytes()


def test_a_changed_file_of_the_same_size_is_packed_anew(source: Path, tmp_path: Path) -> None:
    take(source).write_archive(tmp_path / "earlier.zip")
    (source / "train.py").write_text("print(2)\n")
    (source / "table.bin").write_bytes(bytes(reversed(range(256))) * 4000)
    take(source).write_archive(tmp_path / "now.zip", earlier=tmp_path / "earlier.zip")
    with zipfile.ZipFile(tmp_path / "now.zip") as opened:
        assert opened.testzip() is None
        assert opened.read("train.py") == b"print(2)\n"
        assert opened.read("table.bin")[:2] == b"\xff\xfe"


@pytest.mark.parametrize("damage", ["missing", "noise", "cut short", "flipped", "stored", "its directory flipped"])
def test_a_damaged_earlier_archive_does_no_harm(source: Path, tmp_path: Path, damage: str) -> None:
    snapshot = take(source)
    earlier = tmp_path / "earlier.zip"
    snapshot.write_archive(earlier)
    whole = earlier.read_bytes()
    snapshot.write_archive(tmp_path / "right.zip")
    if damage == "missing":
        earlier.unlink()
    elif damage == "noise":
        earlier.write_bytes(b"no archive")
    elif damage == "cut short":
        earlier.write_bytes(whole[: len(whole) // 2])
    elif damage == "stored":
        with zipfile.ZipFile(earlier, "w") as out:
            for file in snapshot.files:
                out.write(source / file.path, file.path)
    elif damage == "flipped":  # a piece of each file's content
        with zipfile.ZipFile(earlier) as opened:
            places = [i.header_offset + 30 + len(i.filename.encode()) + 20 + 1 for i in opened.infolist()]
        content = bytearray(whole)
        for place in places:
            content[place] ^= 0xFF
        earlier.write_bytes(content)
    else:  # the checksums in the central directory
        content = bytearray(whole)
        place = content.find(b"PK\x01\x02")
        while place >= 0:
            content[place + 16] ^= 0xFF
            place = content.find(b"PK\x01\x02", place + 4)
        earlier.write_bytes(content)
    snapshot.write_archive(tmp_path / "now.zip", earlier=earlier)
    assert (tmp_path / "now.zip").read_bytes() == (tmp_path / "right.zip").read_bytes()
    extract(tmp_path / "now.zip", tmp_path / "there")


def test_what_was_packed_in_another_way_is_packed_again(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    snapshot = take(source)
    with monkeypatch.context() as other:
        other.setattr(archive, "_LEVEL", 9)
        other.setattr(archive, "_PACKED_BY", b"deflate 9, zlib 0")
        snapshot.write_archive(tmp_path / "earlier.zip")
    snapshot.write_archive(tmp_path / "now.zip", earlier=tmp_path / "earlier.zip")
    snapshot.write_archive(tmp_path / "right.zip")
    assert (tmp_path / "now.zip").read_bytes() == (tmp_path / "right.zip").read_bytes()
    assert (tmp_path / "now.zip").stat().st_size != (tmp_path / "earlier.zip").stat().st_size


@pytest.mark.parametrize("change", ["shorter", "longer", "same size", "gone", "pipe"])
def test_a_change_before_packing_is_noticed_and_leaves_nothing(source: Path, tmp_path: Path, change: str) -> None:
    snapshot = take(source)
    table = source / "table.bin"
    if change == "gone":
        table.unlink()
    elif change == "pipe":
        table.unlink()
        os.mkfifo(table)
    else:
        table.write_bytes({"shorter": b"1", "longer": bytes(3_000_000), "same size": bytes(1_024_000)}[change])
    message = {"gone": "cannot be read", "pipe": r"a pipe \(FIFO\)"}.get(change, "changed while")
    (tmp_path / "store").mkdir()
    with pytest.raises(SnapshotError, match=rf"'table\.bin'.*{message}"):
        snapshot.write_archive(tmp_path / "store" / "a.zip")
    assert list((tmp_path / "store").iterdir()) == []
