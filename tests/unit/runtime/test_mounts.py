"""Mounts where little is allowed (as another user, without FUSE, without rclone), and held outside of a container."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.contract.compute.case import eventually
from tests.contract.compute.mounting import may_mount

from stepwell.compute import shipping
from stepwell.runtime import mounted, mounts, protocol

SHOW = "import os; print(os.path.realpath('inputs/titanic/a b.csv'), open('inputs/titanic/a b.csv').read())"
NOBODY = 65534
#: One that other users may run: ours may be in somebody's home.
PYTHON = "/usr/bin/python3"


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder that other users may see: pytest's own are for one."""
    path = Path(tempfile.mkdtemp(prefix="stepwell-test-"))
    path.chmod(0o755)
    yield path
    mounted.remove(str(path))


@pytest.fixture
def launcher(folder: Path) -> Path:
    (folder / "payload.zip").write_bytes(shipping.archive())
    shutil.unpack_archive(folder / "payload.zip", folder / "payload")
    return folder / "payload" / "stepwell" / "runtime" / "launcher.py"


@pytest.fixture
def data(folder: Path) -> Path:
    (folder / "data").mkdir()
    (folder / "data" / "a b.csv").write_text("x")
    return folder / "data"


def local(data: Path) -> dict[str, Any]:
    item = {"input": "titanic", "at": "inputs/titanic", "files": ["a b.csv"], "probe": [["a b.csv", 1]]}
    return {**item, "source": {"kind": "local", "folder": str(data)}, "uri": f"file://{data}"}


def on_hdfs() -> dict[str, Any]:
    item = {"input": "titanic", "at": "inputs/titanic", "files": ["a.csv"], "probe": [["a.csv", 1]]}
    return {**item, "source": {"kind": "hdfs", "folder": "/x", "namenode": "127.0.0.1:1"}, "uri": "hdfs://there/x"}


def make_job(folder: Path, item: dict[str, Any], owner: int = 0) -> protocol.JobDirectory:
    job = protocol.JobDirectory(folder / "job")
    for path in (job.path, job.logs):
        os.mkdir(path)
        os.chown(path, owner, owner)
    phase = {"name": "step", "argv": [PYTHON if owner else sys.executable, "-c", SHOW]}
    document = {"phases": [phase], "inputs": {"titanic": {"mounts": [item]}}}
    Path(job.document).write_text(json.dumps(document))
    return job


def launch(launcher: Path, job: protocol.JobDirectory, before: tuple[str, ...] = (), **more: Any) -> dict[str, Any]:
    command = [*before, PYTHON if more else sys.executable, "-I", "-S", str(launcher), job.path]
    done = subprocess.run(command, capture_output=True, timeout=60, start_new_session=True, check=False, **more)
    assert done.returncode == 0, done.stderr
    found = protocol.read_final(job.events)
    assert found is not None
    return found


def test_who_is_not_root_gets_a_link(folder: Path, launcher: Path, data: Path) -> None:
    if os.geteuid() != 0 or not os.path.exists(PYTHON):
        pytest.skip(f"becomes another user, with {PYTHON}")
    job = make_job(folder, local(data), NOBODY)
    final = launch(launcher, job, user=NOBODY, group=NOBODY, extra_groups=[])
    log = Path(job.step_log).read_text()
    assert final["status"] == "succeeded", log
    assert f"{data}/a b.csv x" in log
    assert "is mounted by a link (a read-only bind cannot be made here: Operation not permitted)" in log


@pytest.mark.parametrize(
    ("lacking", "said"),
    [
        ("/dev", "FUSE is not allowed here: /dev/fuse does not exist"),
        ("rclone", "rclone, which mounts HDFS, is not installed here"),
        ("fusermount", "fusermount3 is not installed here"),
    ],
)
def test_what_is_lacking_is_told_before_the_step_starts(
    folder: Path, launcher: Path, data: Path, lacking: str, said: str
) -> None:
    may_mount("rclone", "fusermount3", "unshare")
    programs = folder / "bin"
    programs.mkdir()
    wanted = ["rclone"] if lacking == "fusermount" else []
    for name in wanted:
        (programs / name).symlink_to(shutil.which(name) or "")
    before: tuple[str, ...] = ("/usr/bin/env", f"PATH={programs}")
    if lacking == "/dev":
        bare = folder / "dev"
        bare.mkdir()
        script = 'touch "$1/null" && mount --bind /dev/null "$1/null" && mount --rbind "$1" /dev && shift && exec "$@"'
        before = ("unshare", "--mount", "sh", "-c", script, "sh", str(bare))
    job = make_job(folder, on_hdfs())
    final = launch(launcher, job, before)
    assert final["status"] == "failed"
    assert said in final["reason"]
    assert final["reason"].endswith("Take the input by .as_download() instead")
    assert final["phases"] == []
    assert mounted.below(job.path) == []


def test_a_name_that_leads_out_of_the_job_directory_is_refused(folder: Path, launcher: Path, data: Path) -> None:
    job = make_job(folder, {**local(data), "files": ["../../../escape"]})
    final = launch(launcher, job)
    assert "leads out of the job directory" in final["reason"]
    assert not (folder / "escape").is_symlink()
    assert mounted.below(job.path) == []


def test_a_bind_is_never_writable_and_nothing_is_removed_through_a_mount(folder: Path, data: Path) -> None:
    may_mount()
    place = folder / "job" / "a \\ place"
    place.mkdir(parents=True)
    mounted.bind(str(data), str(place))
    assert mounted.below(str(folder / "job")) == [str(place)]
    with pytest.raises(OSError, match="Read-only"):
        (place / "new").touch()
    mounted.remove(str(folder / "job"))
    assert not (folder / "job").exists()
    assert (data / "a b.csv").read_text() == "x"


def test_what_cannot_be_unmounted_is_left_as_it_is(folder: Path, launcher: Path, data: Path) -> None:
    """By another user, who owns the job directory and may write to the data."""
    may_mount(PYTHON)
    place = folder / "job" / "place"
    place.mkdir(parents=True)
    for path in (folder / "job", place, data, data / "a b.csv"):
        os.chown(path, NOBODY, NOBODY)
    subprocess.run(["mount", "--bind", data, place], check=True)
    roof = launcher.parents[2]
    script = f"import sys; sys.path.insert(0, {str(roof)!r})\nfrom stepwell.runtime import mounted\n"
    script += f"mounted.remove({str(folder / 'job')!r})"
    done = subprocess.run(
        [PYTHON, "-c", script], user=NOBODY, group=NOBODY, extra_groups=[], capture_output=True, check=False
    )
    assert b"Nothing below" in done.stderr, done.stderr
    assert (data / "a b.csv").read_text() == "x"


# -- held outside of a container ---------------------------------------------------------------------------------------


def test_a_holder_answers_holds_and_ends_with_the_job(folder: Path, launcher: Path, data: Path) -> None:
    job = make_job(folder, local(data))
    holder = str(launcher.with_name("mount_holder.py"))
    for _ in range(2):  # the second finds the first
        done = subprocess.run([sys.executable, "-I", "-S", holder, job.path, "0"], capture_output=True, timeout=30)
        assert (done.returncode, done.stderr) == (0, b"")
    note = protocol.read_json(job.mounts_note)
    assert (note["state"], note["mounts"][0]["how"]) == ("ready", mounts.AS_VOLUME)
    pid = note["holder"]["pid"]
    (Path(mounts.place_of(job, 0)) / "a b.csv").write_text("x")  # as the volume would show it
    final = launch(launcher, job)
    log = Path(job.step_log).read_text()
    assert final["status"] == "succeeded", log
    assert f"input titanic: file://{data} is mounted by a read-only volume of the container" in log
    eventually(lambda: not Path(f"/proc/{pid}").exists() or b"Z" in Path(f"/proc/{pid}/stat").read_bytes(), 5)
    assert protocol.read_json(job.mounts_note)["state"] == "closed"


def test_a_holder_says_why_it_cannot(folder: Path, launcher: Path, data: Path) -> None:
    job = make_job(folder, {**local(data), "source": {"kind": "tape"}})
    holder = str(launcher.with_name("mount_holder.py"))
    done = subprocess.run([sys.executable, "-I", "-S", holder, job.path, "0"], capture_output=True, timeout=30)
    assert done.returncode == 1
    assert b"a store of the kind 'tape' is not known here" in done.stderr


def test_a_step_whose_holder_has_died_fails(folder: Path, launcher: Path, data: Path) -> None:
    job = make_job(folder, local(data))
    holder = str(launcher.with_name("mount_holder.py"))
    subprocess.run([sys.executable, "-I", "-S", holder, job.path, "0"], check=True, timeout=30)
    os.kill(protocol.read_json(job.mounts_note)["holder"]["pid"], signal.SIGKILL)
    then = time.time() - 60
    os.utime(job.mounts_note, (then, then))
    assert "the inputs were lost: who holds their mounts has not been heard of" in launch(launcher, job)["reason"]
