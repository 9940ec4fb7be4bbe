"""Archives: the same bytes every time, and nothing extracted that was not checked."""

from __future__ import annotations

import io
import os
import stat
import zipfile
from pathlib import Path

import pytest

from stepwell.runtime import archive
from stepwell.runtime.archive import ArchiveError, Member


def member(name: str, content: bytes = b"x", executable: bool = False) -> Member:
    return Member(name, lambda: io.BytesIO(content), executable)


def make_zip(path: Path, names: list[str], *, mode: int = stat.S_IFREG | 0o644, content: bytes = b"x") -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as out:
        for name in names:
            info = zipfile.ZipInfo(name)
            info.compress_type = zipfile.ZIP_DEFLATED
            info.external_attr = mode << 16
            out.writestr(info, content)
    return path


def test_order_and_time_do_not_show(tmp_path: Path) -> None:
    archive.write(tmp_path / "a.zip", [member("b/c.py", b"2"), member("a.py", b"1")])
    archive.write(tmp_path / "b.zip", [member("a.py", b"1"), member("b/c.py", b"2")])
    assert (tmp_path / "a.zip").read_bytes() == (tmp_path / "b.zip").read_bytes()


def test_round_trip_keeps_content_and_the_executable_bit(tmp_path: Path) -> None:
    archive.write(
        tmp_path / "a.zip", [member("run.sh", b"#!", True), member("deep/er/x.bin", bytes(range(256)) * 9999)]
    )
    assert archive.extract(tmp_path / "a.zip", tmp_path / "out") == ["deep/er/x.bin", "run.sh"]
    assert (tmp_path / "out/deep/er/x.bin").read_bytes() == bytes(range(256)) * 9999
    assert os.access(tmp_path / "out/run.sh", os.X_OK)
    assert not os.access(tmp_path / "out/deep/er/x.bin", os.X_OK)


@pytest.mark.parametrize(
    "name", ["../up.py", "a/../../up.py", "/etc/cron.d/x", "C:/x", "a\\..\\b", "a//b", "./a", "a\nb", "a/..", ".."]
)
def test_unsafe_names_are_refused_before_anything_is_written(tmp_path: Path, name: str) -> None:
    bad = make_zip(tmp_path / "bad.zip", ["good.py", name])
    with pytest.raises(ArchiveError):
        archive.extract(bad, tmp_path / "box" / "out")
    assert list((tmp_path / "box").iterdir()) == []
    assert sorted(p.name for p in tmp_path.iterdir()) == ["bad.zip", "box"]
    with pytest.raises(ArchiveError):
        archive.write(tmp_path / "never.zip", [member(name)])
    assert not (tmp_path / "never.zip").exists()


@pytest.mark.parametrize("kind", [stat.S_IFLNK, stat.S_IFIFO, stat.S_IFCHR])
def test_links_and_devices_are_refused(tmp_path: Path, kind: int) -> None:
    bad = make_zip(tmp_path / "bad.zip", ["link"], mode=kind | 0o777, content=b"/etc/passwd")
    with pytest.raises(ArchiveError, match="link or a device"):
        archive.extract(bad, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_file_that_is_also_a_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ArchiveError, match="file and a folder"):
        archive.extract(make_zip(tmp_path / "bad.zip", ["a", "a/b"]), tmp_path / "out")


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_a_name_that_comes_twice_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ArchiveError, match="comes twice"):
        archive.extract(make_zip(tmp_path / "bad.zip", ["a", "a"]), tmp_path / "out")


def test_a_bomb_is_refused_by_what_it_would_unpack_to(tmp_path: Path) -> None:
    bomb = make_zip(tmp_path / "bomb.zip", ["zeros"], content=bytes(5_000_000))
    assert bomb.stat().st_size < 10_000
    with pytest.raises(ArchiveError, match="more than"):
        archive.extract(bomb, tmp_path / "out", max_bytes=1_000_000)
    with pytest.raises(ArchiveError, match="more than 1 files"):
        archive.extract(make_zip(tmp_path / "many.zip", ["a", "b"]), tmp_path / "out", max_files=1)


def test_damage_leaves_nothing(tmp_path: Path) -> None:
    archive.write(tmp_path / "a.zip", [member("a.bin", os.urandom(50_000)), member("b.bin", b"1")])
    raw = bytearray((tmp_path / "a.zip").read_bytes())
    raw[20_000] ^= 0xFF
    (tmp_path / "a.zip").write_bytes(raw)
    with pytest.raises(ArchiveError, match="damaged"):
        archive.extract(tmp_path / "a.zip", tmp_path / "box" / "out")
    assert list((tmp_path / "box").iterdir()) == []


def test_no_zip_and_a_full_folder_are_refused(tmp_path: Path) -> None:
    (tmp_path / "a.zip").write_text("no zip")
    with pytest.raises(ArchiveError, match="zip archive"):
        archive.extract(tmp_path / "a.zip", tmp_path / "out")
    (tmp_path / "out").mkdir()
    (tmp_path / "out/mine").write_text("kept")
    good = make_zip(tmp_path / "good.zip", ["a"])
    with pytest.raises(ArchiveError, match="not empty"):
        archive.extract(good, tmp_path / "out")
    assert (tmp_path / "out/mine").read_text() == "kept"


def test_a_failed_write_leaves_nothing(tmp_path: Path) -> None:
    def gone() -> io.BytesIO:
        raise FileNotFoundError("gone")

    with pytest.raises(FileNotFoundError):
        archive.write(tmp_path / "a.zip", [member("a"), Member("b", gone)])
    assert list(tmp_path.iterdir()) == []
