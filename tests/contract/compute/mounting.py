"""Inputs by mount: what each kind keeps that can mount files of its own machine. A kind's test class adds its
:class:`~tests.contract.compute.contract.Case`; :class:`HdfsMountContract` is the same for HDFS.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.contract.compute.case import Case, Runner, _runs, eventually, launchers, scripts

from hdfs.hdfs_cluster import HdfsCluster
from stepwell.compute import portal
from stepwell.compute.contract import Handle, Target
from stepwell.data.stores.base import Backend
from stepwell.data.stores.hdfs import HdfsBackend
from stepwell.data.stores.local import LocalBackend
from stepwell.errors import ComputeTargetException
from stepwell.runtime import mounted, processes

FILES = {"a.csv": b"x\n1\n", "deep/b c.csv": b"y\n2\n", "empty": b""}
MORE = "not-in-the-version.csv"
WALK = "import os; print(sorted(os.path.relpath(os.path.join(d, n), top) for d, _, ns in os.walk(top) for n in ns))\n"
SLEEP = "print('up', flush=True)\nimport time; time.sleep(300)\n"


def port(backend: Backend, name: str = "titanic", at: str | None = None, folder: str = "titanic") -> dict[str, Any]:
    """Return the input as a step's job document has it."""
    item = {
        "input": name,
        "at": at or f"inputs/{name}",
        "files": sorted(FILES),
        "probe": [[file, len(data)] for file, data in sorted(FILES.items()) if data],
        "source": backend.mounting(folder),
        "uri": backend.uri(folder),
    }
    return {"mode": "mount", "value": "", "id": "", "mounts": [item]}


class Mounting(Case):
    """What is the same for all stores."""

    #: What the log says of how it was mounted.
    how = ""
    #: Of the machine that they are made on.
    mount_table = "/proc/self/mountinfo"

    @pytest.fixture
    def store(self, tmp_path: Path) -> Backend:
        raise NotImplementedError

    @pytest.fixture(autouse=True)
    def no_mounts_left(self, tmp_path: Path) -> Iterator[None]:
        yield
        mounted.release(str(tmp_path))

    def unharmed(self, store: Backend) -> bool:
        """Return whether all of the data is still there, unchanged."""
        found = {}
        for info in store.walk("titanic"):
            with store.open(info.path) as file:
                found[info.path.partition("/")[2]] = file.read()
        return found == {**FILES, MORE: b"later"}

    def mount_points(self, handle: Handle) -> list[str]:
        """Return what is mounted in the job directory, in the namespace that the test's process is in."""
        table = Path(self.mount_table).read_text().splitlines()
        points = [line.split()[4] for line in table]
        return [point for point in points if f"/{handle.job_id}/" in point + "/"]

    def start(self, run: Runner, store: Backend, script: str, **more: Any) -> Handle:
        top = "top = os.path.join('..', 'inputs', 'titanic')\n"
        return run(f"import os\n{top}{script}", inputs={"titanic": port(store)}, **more)

    def refusal(self, run: Runner, inputs: dict[str, Any]) -> str:
        """Return why a step with those inputs does not start; nothing is left then."""
        try:
            handle = run("open('started', 'w')", inputs=inputs)
        except ComputeTargetException as error:  # where they are mounted before the launcher starts
            job_id = f"job-{run.made}-{run.mark}"
            handle = Handle(run.target.name, job_id, self.directory(run.target, job_id))
            assert portal.call(run.target.cancel(handle, None))
            reason = str(error)
        else:
            final = run.wait(handle).final
            assert (final["status"], final["phases"]) == ("failed", [])
            reason = final["reason"]
        assert not (run.contract.here(handle.directory) / "code" / "started").exists()
        eventually(lambda: self.left(handle) == [], 5)
        portal.call(run.target.forget(handle))
        assert not run.exists(handle)
        assert "the input 'titanic' cannot be mounted" in reason.replace("The", "the")
        assert "Take the input by .as_download() instead" in reason
        return reason

    def left(self, handle: Handle) -> list[Any]:
        """Return what is left of the job's mounts and of those who held them."""
        held = [line for line in _commands() if handle.job_id in line and "mount" in line]
        return [*self.mount_points(handle), *held]

    def test_the_step_sees_the_files_of_the_version_and_no_others(self, run: Runner, store: Backend) -> None:
        handle = self.start(run, store, WALK + "print(open(top + '/deep/b c.csv').read())")
        log = run.log(handle)
        assert run.status(handle).state == "succeeded", log
        assert "['a.csv', 'deep/b c.csv', 'empty']" in log
        assert "y\n2\n" in log
        assert f"input titanic: {store.uri('titanic')} is mounted by {self.how}" in log
        eventually(lambda: self.left(handle) == [], 5)  # who holds them may be another process

    def test_it_can_be_put_next_to_the_files_of_the_snapshot(self, run: Runner, store: Backend) -> None:
        handle = run(
            "print(open('data/own.txt').read(), open('data/a.csv').read())",
            files={"data/own.txt": "mine"},
            inputs={"titanic": port(store, at="code/data")},
        )
        assert "mine x\n1\n" in run.log(handle)

    def test_nothing_can_be_changed_through_it(self, run: Runner, store: Backend) -> None:
        handle = self.start(
            run,
            store,
            "import shutil\nreal = os.path.dirname(os.path.realpath(top + '/a.csv'))\n"
            "for act in (lambda: open(top + '/a.csv', 'a').write('x'), lambda: open(real + '/new', 'w'),\n"
            "            lambda: os.unlink(real + '/a.csv'), lambda: os.rename(real + '/a.csv', real + '/z')):\n"
            "    try:\n        act(); print('done')\n    except OSError as error: print(error.strerror)\n"
            "shutil.rmtree(real, ignore_errors=True)\n",
        )
        log = run.log(handle)
        assert log.count("Read-only file system") == 4, log
        assert self.unharmed(store)

    def test_a_cancelled_step_leaves_nothing_mounted(self, run: Runner, store: Backend, target: Target) -> None:
        handle = self.start(run, store, SLEEP)
        eventually(lambda: "up" in (run.read(handle, "logs/step.log") or ""), self.patience)
        assert portal.call(target.cancel(handle, None)) is True
        assert run.wait(handle).final["status"] == "cancelled"
        eventually(lambda: self.left(handle) == [], 5)  # who holds them may be another process

    def test_a_killed_launcher_leaves_nothing_mounted_and_the_data_unharmed(
        self, run: Runner, store: Backend, target: Target
    ) -> None:
        handle = self.start(run, store, f"file = open(top + '/a.csv')\n{SLEEP}")
        eventually(lambda: "up" in (run.read(handle, "logs/step.log") or ""), self.patience)
        self.lose(handle)
        eventually(lambda: run.status(handle).state == "failed", self.patience)
        eventually(lambda: not scripts(handle.job_id) and not launchers(handle.job_id), 10)
        eventually(lambda: self.left(handle) == [], 10)
        portal.call(target.forget(handle))
        assert not run.exists(handle)
        assert self.unharmed(store)

    @pytest.mark.parametrize("how", ["forget", "reap"])
    def test_a_job_directory_goes_without_what_is_still_mounted_in_it(
        self, run: Runner, store: Backend, target: Target, how: str
    ) -> None:
        """Nobody has asked for the job since its launcher was killed, and all its processes are dead."""
        handle = self.start(run, store, SLEEP)
        eventually(lambda: "up" in (run.read(handle, "logs/step.log") or ""), self.patience)
        own = {int(line.split()[0]) for line in self.left(handle) if not line.startswith("/")}
        pids = {*scripts(handle.job_id), *launchers(handle.job_id), *own}
        identity = json.loads(run.read(handle, "pid") or "{}")
        processes.signal_all([*pids], signal.SIGKILL)
        eventually(lambda: not any(_runs(pid) for pid in pids), 10)
        look = run.target.runner.look  # type: ignore[attr-defined]
        eventually(lambda: portal.call(look({handle.job_id: identity}))[handle.job_id].state == "gone", 10)
        if how == "forget":
            portal.call(target.forget(handle))
        else:
            assert portal.call(target.reap(-1)) == [handle.job_id]
        assert not run.exists(handle)
        assert self.mount_points(handle) == []
        assert self.unharmed(store)


class LocalMountContract(Mounting):
    """Files of the target's own machine."""

    how = "a read-only bind"

    @pytest.fixture(autouse=True)
    def rights(self) -> None:
        may_mount()

    @pytest.fixture
    def store(self, tmp_path: Path) -> Backend:
        for name, data in {**FILES, MORE: b"later"}.items():
            path = tmp_path / "data" / "titanic" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
        return LocalBackend(str(tmp_path / "data"))

    @pytest.mark.parametrize("how", ["forget", "reap"])
    def test_even_a_writable_mount_in_a_job_directory_is_not_deleted_through(
        self, run: Runner, store: Backend, target: Target, how: str
    ) -> None:
        handle = run("pass")
        run.wait(handle)
        folder = run.contract.here(handle.directory) / "code" / "deep" / "a place"
        folder.mkdir(parents=True)
        for _ in range(2):  # one on top of the other
            subprocess.run(["mount", "--bind", store.uri("titanic")[len("file://") :], str(folder)], check=True)
        with (folder / "a.csv").open():  # in use
            if how == "forget":
                portal.call(target.forget(handle))
            else:
                assert portal.call(target.reap(-1)) == [handle.job_id]
        assert not run.exists(handle)
        assert self.mount_points(handle) == []
        assert self.unharmed(store)

    def test_a_folder_that_is_not_there_is_told_before_the_step_starts(self, run: Runner, store: Backend) -> None:
        assert "no folder" in self.refusal(run, {"titanic": port(store, folder="gone")})


class HdfsMountContract(Mounting):
    """Files on HDFS, by rclone."""

    how = "rclone over FUSE, read-only"

    @pytest.fixture(autouse=True)
    def rights(self) -> None:
        may_mount("rclone", "fusermount3")

    @pytest.fixture
    def store(self, hdfs: HdfsCluster, tmp_path: Path) -> Backend:
        return filled(hdfs, tmp_path)

    def test_a_daemon_that_dies_fails_the_step(self, run: Runner, store: Backend) -> None:
        handle = self.start(run, store, SLEEP)
        eventually(lambda: "up" in (run.read(handle, "logs/step.log") or ""), self.patience)
        daemon = [int(line.split()[0]) for line in _commands() if handle.job_id in line and "rclone" in line]
        os.kill(daemon[0], signal.SIGKILL)
        final = run.wait(handle).final
        assert final["status"] == "failed"
        assert "the input 'titanic' was lost" in final["reason"]
        eventually(lambda: self.left(handle) == [], 5)  # who holds them may be another process

    @pytest.mark.slow
    @pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGSTOP])
    @pytest.mark.parametrize("daemons", [["datanode"], ["namenode"], ["namenode", "datanode"]])
    def test_a_store_that_dies_or_hangs_fails_the_step_in_time(
        self, run: Runner, mortal_hdfs: HdfsCluster, tmp_path: Path, how: signal.Signals, daemons: list[str]
    ) -> None:
        store = filled(mortal_hdfs, tmp_path)
        handle = self.start(
            run,
            store,
            "print('up', flush=True)\nimport time\nwhile True:\n"
            "    with open(top + '/a.csv') as file: file.read()\n    time.sleep(0.5)\n",
        )
        eventually(lambda: "up" in (run.read(handle, "logs/step.log") or ""), self.patience)
        pids = [mortal_hdfs.pids[name] for name in daemons]
        try:
            began = time.monotonic()
            for pid in pids:
                os.kill(pid, how)
            eventually(lambda: run.status(handle).ended, 30)
            took = time.monotonic() - began
            final = run.wait(handle).final
            assert final["status"] == "failed"
            assert "the input 'titanic' was lost" in final["reason"], final
            assert store.uri("titanic") in final["reason"]
            eventually(lambda: self.left(handle) == [], 5)  # who holds them may be another process
            assert not scripts(handle.job_id)
            print(f"{how.name} of {' and '.join(daemons)}: failed after {took:.1f} s: {final['reason']}")
        finally:
            for pid in pids:
                if how == signal.SIGSTOP:
                    os.kill(pid, signal.SIGCONT)

    def test_a_namenode_that_is_not_there_is_told_before_the_step_starts(self, run: Runner) -> None:
        store = HdfsBackend("/nowhere", "hdfs://127.0.0.1:1", "http://127.0.0.1:1")
        assert "(hdfs://127.0.0.1:1/nowhere/titanic)" in self.refusal(run, {"titanic": port(store)})

    def test_another_store_under_the_same_address_is_told(self, run: Runner, store: Backend) -> None:
        inputs = {"titanic": port(store)}
        inputs["titanic"]["mounts"][0]["probe"] = [["a.csv", 99]]
        assert "holds another file than the input has" in self.refusal(run, inputs)


def may_mount(*programs: str) -> None:
    """Skip the test where nothing can be mounted, or one of the programs is missing."""
    if os.geteuid() != 0:
        pytest.skip("mounting takes root")
    missing = [name for name in ("mount", *programs) if shutil.which(name) is None]
    if missing or (programs and not os.path.exists("/dev/fuse")):
        pytest.skip(f"missing: {', '.join(missing) or '/dev/fuse'}")


def filled(cluster: HdfsCluster, folder: Path) -> HdfsBackend:
    """Return a store on *cluster* that holds the files."""
    store = HdfsBackend(f"/{folder.name}-{os.getpid()}", cluster.rpc, cluster.webhdfs)
    for name, data in {**FILES, MORE: b"later"}.items():
        if not store.exists(f"titanic/{name}"):
            store.create(f"titanic/{name}", data)
    return store


def _commands() -> list[str]:
    """Return pid and command line of each process."""
    found = []
    for pid in os.listdir("/proc"):
        if pid.isdigit():
            try:
                command = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            except OSError:
                continue
            if command:
                found.append(f"{pid} {command}")
    return found
