"""What a batch runs around the launcher, piece by piece; the whole is tried in ``tests/contract/compute``."""

from __future__ import annotations

import os
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from stepwell.payload.batch import here
from stepwell.payload.batch.mirror import Mirror, can_be_named
from stepwell.payload.batch.places import Folder
from stepwell.runtime.protocol import JobDirectory


@pytest.fixture
def job(tmp_path: Path) -> JobDirectory:
    made = JobDirectory(tmp_path / "local")
    for folder in (made.events, made.logs, made.code):
        os.makedirs(folder)
    return made


@pytest.fixture
def storage(tmp_path: Path) -> Path:
    (tmp_path / "storage/jobs/j/events").mkdir(parents=True)
    return tmp_path / "storage"


def test_of_many_one_creates_a_file_and_nobody_sees_half_of_it(storage: Path) -> None:
    place = Folder(str(storage))
    with ThreadPoolExecutor(8) as pool:
        won = list(pool.map(lambda n: place.create("pid", b"%d" % n * 10_000), range(32)))
    assert won.count(True) == 1
    assert place.read("pid") == b"%d" % won.index(True) * 10_000
    assert sorted(os.listdir(storage)) == ["jobs", "pid"]


def test_nothing_is_made_in_the_place_of_a_disk_that_is_not_mounted(tmp_path: Path) -> None:
    place = Folder(str(tmp_path / "away"))
    with pytest.raises(OSError, match="away"):
        place.make("jobs/j/logs")
    assert not (tmp_path / "away").exists()
    assert place.list("jobs") == {}


def test_a_log_goes_up_in_segments_named_by_their_first_byte(job: JobDirectory, storage: Path) -> None:
    mirror = Mirror(job, Folder(str(storage)), "jobs/j")
    with open(job.step_log, "wb") as log:
        for n in range(3):
            log.write(b"%d" % n * (100_000 + n))
            log.flush()
            mirror._log_at = 0.0
            mirror.tick()
    assert mirror.finish() == []
    segments = sorted((storage / "jobs/j/logs/step.log.parts").iterdir())
    assert [int(s.name) for s in segments] == [0, 100_000, 200_001]
    assert b"".join(s.read_bytes() for s in segments) == Path(job.step_log).read_bytes()


def test_segments_of_events_go_up_once_and_files_only_when_they_change(job: JobDirectory, storage: Path) -> None:
    mirror = Mirror(job, Folder(str(storage)), "jobs/j")
    Path(job.events, "step-000000.jsonl").write_text("{}\n")
    Path(job.events, "step-000001.jsonl.tmp").write_text("half")
    mirror.tick()
    assert os.listdir(storage / "jobs/j/events") == ["step-000000.jsonl"]
    (storage / "jobs/j/events/step-000000.jsonl").unlink()
    mirror.tick()
    assert os.listdir(storage / "jobs/j/events") == []
    outputs = Path(job.code, "outputs")
    outputs.mkdir()
    (outputs / "model.txt").write_text("one")
    os.symlink("/etc/hostname", outputs / "away")
    os.utime(outputs / "model.txt", (time.time() - 9,) * 2)
    mirror._outputs_at = -100.0
    mirror.tick()
    assert os.listdir(storage / "jobs/j/code/outputs") == ["model.txt"]
    (storage / "jobs/j/code/outputs/model.txt").unlink()
    mirror.finish()
    assert os.listdir(storage / "jobs/j/code/outputs") == []


@pytest.mark.parametrize(
    ("name", "can"),
    [("a b.txt", True), ("日本語", True), ("a:b", False), ("a\nb", False), ("x/a\x01", False), ("\udcff", False)],
)
def test_names_that_hdfs_cannot_hold_are_known(name: str, can: bool) -> None:
    assert can_be_named(name) is can


def test_paths_of_the_storage_are_replaced_in_every_text() -> None:
    places = {"/s/jobs/j": "/tmp/w/j", "/s/environments/e": "/tmp/w/environment"}
    document = {"phases": [{"argv": ["/s/environments/e/bin/python", "--in=/s/jobs/j/inputs"], "n": 1}], "x": None}
    assert here.localised(document, places) == {
        "phases": [{"argv": ["/tmp/w/environment/bin/python", "--in=/tmp/w/j/inputs"], "n": 1}],
        "x": None,
    }


def test_tables_that_spark_reads_are_named_by_the_storage() -> None:
    def document(**more: Any) -> dict[str, Any]:
        table = {"definition": {"kind": "tabular"}, "files": ["file:///w/j/inputs/a/x.csv", "hdfs://n/y.csv"]}
        files = {"definition": {"kind": "file"}, "files": ["file:///w/j/inputs/b/x.bin"]}
        gates = [
            {"engine": "spark", "files": ["file:///w/j/inputs/a/x.csv"]},
            {"engine": "pandas", "files": ["file:///z"]},
        ]
        made = {"runner": {"spark": True}, "main": {}, "datasets": {"a": table, "b": files}, "gates": gates}
        return {**made, **more}

    moved = here.shared(document(), "/w/j", "hdfs://n:9/s/jobs/j")
    assert moved["datasets"]["a"]["files"] == ["hdfs://n:9/s/jobs/j/inputs/a/x.csv", "hdfs://n/y.csv"]
    assert moved["datasets"]["b"]["files"] == ["file:///w/j/inputs/b/x.bin"]
    assert [gate["files"] for gate in moved["gates"]] == [["hdfs://n:9/s/jobs/j/inputs/a/x.csv"], ["file:///z"]]
    for same in (document(runner={"spark": False}), document(main={"module": "stepwell.payload.automl.main"})):
        assert here.shared(same, "/w/j", "hdfs://n:9/s/jobs/j") == same
    assert here.shared(document(), "/w/j", "file:///s/jobs/j") == document()


@pytest.mark.parametrize(
    ("master", "shipped", "workers"),
    [
        ("local[2]", "/e", "/e/bin/python"),
        ("yarn", "/e", "./environment/bin/python"),
        ("yarn", None, "/e/bin/python"),
        (None, "/e", "/e/bin/python"),
    ],
)
def test_executors_elsewhere_have_the_environment_in_their_own_folder(
    monkeypatch: pytest.MonkeyPatch, master: str | None, shipped: str | None, workers: str
) -> None:
    monkeypatch.setenv("PYTHONPATH", "/spark/pyspark.zip")
    monkeypatch.setenv("PATH", "/usr/bin")
    document = {
        "runner": {"environment": shipped, "python": "/e/bin/python"},
        "phases": [{"name": "step", "variables": {"PYTHONPATH": "/payload"}}],
    }
    (phase,) = here.settled(document, {"spark.master": master} if master else {})["phases"]
    assert phase["variables"] == {
        "PATH": "/e/bin:/usr/bin",
        "PYTHONPATH": "/payload:/spark/pyspark.zip",
        "PYSPARK_DRIVER_PYTHON": "/e/bin/python",
        "PYSPARK_PYTHON": workers,
    }


def test_a_path_of_the_authors_own_stays() -> None:
    document = {"variables": {"PATH": "/mine"}, "runner": {"python": "/e/bin/python"}, "phases": [{"name": "step"}]}
    (phase,) = here.settled(document, {})["phases"]
    assert "PATH" not in phase["variables"]


def test_a_container_of_yarn_tells_its_application(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CONTAINER_ID", "container_e17_1410901177871_0001_01_000005")
    assert here.facts()["application"] == "application_1410901177871_0001"
    monkeypatch.setenv("CONTAINER_ID", "container_1410901177871_0002_01_000001")
    assert here.facts()["application"] == "application_1410901177871_0002"
