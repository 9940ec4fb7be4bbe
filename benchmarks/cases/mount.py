"""A step that takes 1 GB on HDFS by mount, beside the same step by download: its first byte, a part of it, all of it.

The step's whole life, without Airflow's share. *First byte*: from the start of the life until the script has read one.
*A part*: the script reads 64 pieces of 256 KB, spread over the file. *All*: it reads everything, once. The peer is
``rclone mount`` typed by hand, with the same options, and the same reading. A real HDFS, started here.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from typing import Any

from support.figures import Bench, Figure, Sample
from support.surroundings import PROJECT

sys.path += [str(PROJECT), str(PROJECT / "scripts")]

TITLE = "an input of 1 GB on HDFS by mount, beside the same by download"
REPEAT = 5
FIGURES = [
    Figure("1 GB on HDFS by mount: first byte", lambda s: s["mount_first"], "s"),
    Figure("… by download", lambda s: s["download_first"], "s"),
    Figure("… a bare `rclone mount`", lambda s: s["bare_first"], "s"),
    Figure("64 pieces of 256 KB of it, by mount: the whole step", lambda s: s["mount_part"], "s"),
    Figure("… by download", lambda s: s["download_part"], "s"),
    Figure("… a bare `rclone mount`", lambda s: s["bare_part"], "s"),
    Figure("all of it, by mount: the whole step", lambda s: s["mount_all"], "s"),
    Figure("… by download", lambda s: s["download_all"], "s"),
    Figure("… a bare `rclone mount`", lambda s: s["bare_all"], "s"),
]
READ = """
import os, sys, time
path, what = sys.argv[1:]
size = os.path.getsize(path)
with open(path, "rb", buffering=0) as file:
    assert len(file.read(1)) == 1
    print("first byte at", time.time(), flush=True)
    if what == "part":
        for number in range(64):
            file.seek(number * size // 64)
            file.read(256 << 10)
    while what == "all" and file.read(1 << 20):
        pass
"""


def rounds(bench: Bench) -> Iterator[Sample]:
    """Yield the seconds of each."""
    from hdfs.hdfs_cluster import HdfsCluster
    from stepwell import Workspace
    from stepwell.data.datastore import Datastore

    with HdfsCluster(bench.scratch / "hdfs") as cluster:
        ws = Workspace("mounts", root=bench.scratch / "workspace")
        address = cluster.rpc[len("hdfs://") :]
        store = Datastore.register_hdfs(
            ws, "store", namenode_address=address, root="/data", webhdfs_url=cluster.webhdfs, user="bench"
        )
        subprocess.run([*_hadoop(cluster), "-mkdir", "-p", "/data"], check=True, capture_output=True)
        subprocess.run([*_hadoop(cluster), "-chmod", "777", "/data"], check=True, capture_output=True)
        large = bench.scratch / "large.bin"
        with large.open("wb") as file:
            for _ in range(32 if bench.quick else 1024):
                file.write(os.urandom(1 << 20))
        store.upload_files([str(large)], show_progress=False)
        large.unlink()
        (bench.scratch / "source").mkdir()
        (bench.scratch / "source" / "read.py").write_text(READ)
        _step(bench, ws, store, "as_download", "first")  # everything is imported, the payload is there
        while True:
            sample = {}
            for what in ("part", "all"):
                for side, how in (("mount", "as_mount"), ("download", "as_download")):
                    sample[f"{side}_first"], sample[f"{side}_{what}"] = _step(bench, ws, store, how, what)
                sample["bare_first"], sample[f"bare_{what}"] = _bare(bench, address, what)
            yield sample


def _hadoop(cluster: Any) -> list[str]:
    """Return the command line of ``hdfs dfs`` for the cluster's superuser."""
    command: list[str] = cluster.state["processes"]["namenode"]["command"][:-1]
    return [*command, "org.apache.hadoop.fs.FsShell"]


def _step(bench: Bench, ws: Any, store: Any, how: str, what: str) -> tuple[float, float]:
    """Live a step's life; return the seconds until its script has read a byte, and until its end."""
    import logging

    from stepwell import Dataset
    from stepwell.operators import PythonScriptStepOperator
    from stepwell.step.life import Life
    from stepwell.step.spec import JobKey

    lines: list[str] = []
    log = logging.Logger("mounts")
    log.addHandler(_Keeper(lines))
    given = getattr(Dataset.File.from_files((store, "large.bin")).as_named_input("large"), how)()
    step = PythonScriptStepOperator(
        task_id="read",
        source_directory=str(bench.scratch / "source"),
        script_name="read.py",
        arguments=[given, what],
        inputs=[given],
        compute_target="local",
        allow_reuse=False,
    )
    key = JobKey("bench", "a_dag", uuid.uuid4().hex, "read")
    began, clock = time.perf_counter(), time.time()
    Life(ws, step.specification({"params": {}}), key, try_number=1, triggering=(), log=log).live()
    seconds = time.perf_counter() - began
    (at,) = [float(line.rpartition(" ")[2]) for line in lines if "first byte at " in line]
    return at - clock, seconds


def _bare(bench: Bench, namenode: str, what: str) -> tuple[float, float]:
    place = bench.scratch / "bare"
    place.mkdir(exist_ok=True)
    env = {
        **os.environ, "RCLONE_CONFIG": os.devnull, "RCLONE_HDFS_NAMENODE": namenode, "RCLONE_HDFS_USERNAME": "bench",
    }  # fmt: skip
    began, clock = time.perf_counter(), time.time()
    with subprocess.Popen(["rclone", "mount", ":hdfs:/data", place, "--read-only"], env=env) as rclone:
        while not os.path.ismount(place):
            time.sleep(0.01)
        read = [sys.executable, "-c", READ, place / "large.bin", what]
        said = subprocess.run(read, check=True, capture_output=True, text=True).stdout
        seconds = time.perf_counter() - began
        subprocess.run(["fusermount3", "-u", place], check=True)
        rclone.wait(10)
    return float(said.split()[-1]) - clock, seconds


class _Keeper:
    """A handler of log records that keeps their text."""

    level = 0

    def __init__(self, lines: list[str]) -> None:
        self.lines = lines

    def handle(self, record: Any) -> None:
        """Keep it."""
        self.lines.append(record.getMessage())
