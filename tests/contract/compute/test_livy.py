"""The kind ``livy`` on a real Livy, HDFS and Spark. Each batch takes Spark some seconds: the broad run of the contract
is ``test_batches.py``; here is what differs on a cluster, most of it slow.
"""

from __future__ import annotations

import contextlib
import json
import os
import posixpath
import signal
import uuid
from pathlib import Path
from typing import Any

import pytest
from tests.clusters.hdfs import hdfs  # noqa: F401
from tests.clusters.livy import livy, livy_on_yarn, mortal_livy  # noqa: F401
from tests.contract.compute.case import Case, Runner, eventually, launchers, scripts, slow_here
from tests.contract.compute.contract import TargetContract
from tests.contract.compute.guarantees import TargetGuarantees

from hdfs.hdfs_cluster import HdfsCluster
from livy.livy_server import LivyServer
from stepwell.compute import portal
from stepwell.compute.contract import Entry, EnvironmentRef, Handle, Job, Status, Target
from stepwell.compute.kinds.livy import LivyTarget
from stepwell.errors import ComputeTargetException, StepwellError
from stepwell.workspace.connections import ConnectionInfo

pytestmark = pytest.mark.integration
SIZES = {
    "driver_memory": "512m",
    "driver_cores": 1,
    "executor_memory": "512m",
    "executor_cores": 1,
    "num_executors": 1,
}


def target_on(server: LivyServer, cluster: HdfsCluster, folder: Path, **more: Any) -> LivyTarget:
    """Return a target on that Livy, with a folder of its own on HDFS."""
    configuration = {
        "storage": f"{cluster.rpc}/stepwell-{uuid.uuid4().hex}",
        "webhdfs_url": cluster.webhdfs,
        "python": str(server.python),
        **more,
    }
    connection = ConnectionInfo("livy", "livy", server.host, server.ports["http"])
    record = {"name": "cluster", "kind": "livy", "configuration": configuration, "connection": connection}
    return LivyTarget.from_record(record, folder / "here")


class LivyCase(Case):
    patience = 60.0

    @pytest.fixture
    def server(self, livy: LivyServer) -> LivyServer:  # noqa: F811
        return livy

    @pytest.fixture
    def target(self, tmp_path: Path, server: LivyServer, hdfs: HdfsCluster) -> LivyTarget:  # noqa: F811
        self.folder = tmp_path
        return target_on(server, hdfs, tmp_path)

    @pytest.fixture
    def environment(self, server: LivyServer) -> EnvironmentRef:
        return EnvironmentRef("test", str(server.python), None, user_managed=True)

    def desk(self, target: Target, job_id: str) -> str:
        folder = self.folder / "desks" / job_id
        folder.mkdir(parents=True, exist_ok=True)
        return str(folder)

    def spark(self, run: Runner, script: str, *arguments: str, **document: Any) -> Job:
        """Return a job of a Spark step."""
        spark = {**SIZES, "py_files": ["lib/more.py"]}

        def entry(*given: str) -> Entry:
            return Entry("spark", script="main.py", arguments=given, spark=spark)

        before, self.entry = self.entry, entry  # type: ignore[method-assign]
        try:
            return run.job(script, *arguments, **document)
        finally:
            self.entry = before  # type: ignore[method-assign]

    def submit(self, run: Runner, job: Job) -> Handle:
        portal.call(run.target.stage(job))
        run.handles.append(portal.call(run.target.submit(job)))
        return run.handles[-1]


SCRIPT = """
import os, sys
from pyspark.sql import SparkSession
spark = SparkSession.builder.getOrCreate()
spark.createDataFrame([(n, n % 7) for n in range(1000)], ['n', 'm']).write.parquet(sys.argv[1])
def look(row):
    import more
    return row.n, os.environ.get('COLOUR'), more.WORD, '/'.join(sys.executable.split('/')[-3:])
found = spark.read.parquet(sys.argv[1]).rdd.map(look).collect()
colours, words, executors = (sorted({str(row[i]) for row in found}) for i in (1, 2, 3))
print('sum', sum(row[0] for row in found), 'colours', colours, 'words', words, flush=True)
print('executors', executors)
print('master', spark.sparkContext.master)
"""


class TestLivy(LivyCase):
    test_the_script_receives_what_was_given = TargetGuarantees.test_the_script_receives_what_was_given

    @pytest.mark.slow
    def test_the_probe_tells_about_the_cluster(self, target: LivyTarget, server: LivyServer) -> None:
        report = portal.call(target.probe())
        assert report.ok, report.problems
        facts = report.facts
        assert all(facts[name] for name in ("livy", "spark", "hadoop", "java"))
        assert facts["python"] == str(server.python)
        assert min(facts["cores"], facts["memory_bytes"]) > 0
        assert abs(facts["clock_skew_seconds"]) < 60
        assert portal.call(target.files.names(f"{target.root}/probes")) == []
        assert not [name for name in portal.call(target.batches.seen()) if name.startswith("probe-")]

    @pytest.mark.slow
    def test_a_spark_step_has_its_session_its_files_and_its_variables(
        self,
        run: Runner,
        target: LivyTarget,
        hdfs: HdfsCluster,  # noqa: F811
    ) -> None:
        out = f"{hdfs.rpc}/{uuid.uuid4().hex}"
        job = self.spark(run, SCRIPT, out, files={"lib/more.py": "WORD = 'shipped'"}, variables={"COLOUR": "blue"})
        handle = self.submit(run, job)
        log = run.log(handle)
        assert "sum 499500 colours" in log, log
        assert run.status(handle) == Status("succeeded")
        assert "blue" in log
        assert "shipped" in log

    @pytest.mark.slow
    def test_an_environment_is_built_here_and_runs_there(self, run: Runner, target: LivyTarget) -> None:
        lines: list[str] = []
        spec = {"pip": ["six"]}
        run.environment = portal.call(target.prepare(spec, lines.append))
        assert any("Sending the environment" in line for line in lines)
        assert run.environment.key == portal.call(target.environment_key(spec))
        script = (
            "import os, six, sys; print(six.__name__, sys.prefix, sys.base_prefix, os.path.realpath(sys.executable))"
        )
        name, prefix, base, executable = run.log(run(script)).split()
        assert name == "six"
        assert prefix == base == os.path.dirname(os.path.dirname(executable))  # its own interpreter, not this machine's
        lines.clear()
        portal.call(target.prepare(spec, lines.append))
        assert not any("Sending" in line for line in lines)

    test_within_ten_seconds_of_a_cancel_nothing_of_the_job_runs = (
        TargetGuarantees.test_within_ten_seconds_of_a_cancel_nothing_of_the_job_runs
    )
    test_outputs_and_logs_are_captured_also_on_failure = slow_here(
        TargetContract.test_outputs_and_logs_are_captured_also_on_failure
    )
    test_lines_are_there_while_it_runs_and_can_be_read_on_from_anywhere = slow_here(
        TargetContract.test_lines_are_there_while_it_runs_and_can_be_read_on_from_anywhere
    )
    test_submitted_twice_it_runs_once = slow_here(TargetContract.test_submitted_twice_it_runs_once)
    test_a_burst_of_a_hundred_megabytes_is_complete = TargetGuarantees.test_a_burst_of_a_hundred_megabytes_is_complete
    test_after_collect_and_forget_nothing_is_left = slow_here(
        TargetGuarantees.test_after_collect_and_forget_nothing_is_left
    )
    test_a_hundred_kilobytes_of_arguments = slow_here(TargetGuarantees.test_a_hundred_kilobytes_of_arguments)

    @pytest.mark.slow
    def test_a_batch_that_somebody_else_deletes_is_a_failed_job(
        self, run: Runner, target: LivyTarget, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("stepwell.compute.target.SILENT_SECONDS", 25.0)
        handle = run("import time; print('up', flush=True); time.sleep(300)")
        eventually(lambda: scripts(handle.job_id), self.patience)
        portal.call(target.batches.kill(target.runner.name(handle.job_id)))
        eventually(lambda: not scripts(handle.job_id) and not launchers(handle.job_id), 15)
        final = run.wait(handle).final
        assert final["status"] in ("failed", "cancelled"), final
        assert "batch" in final["reason"]

    @pytest.mark.slow
    def test_a_batch_that_dies_before_its_job_begins_says_why(self, run: Runner, target: LivyTarget) -> None:
        job = run.job("pass")
        portal.call(target.stage(job))
        portal.call(target.files.remove(target.payload))
        handle = portal.call(target.submit(job))
        run.handles.append(handle)
        final = run.wait(handle).final
        assert final["status"] == "failed"
        assert "has never begun" in final["reason"]
        assert "stepwell_batch.py" in final["reason"]


class TestLivyIsKilled(LivyCase):
    @pytest.fixture
    def server(self, mortal_livy: LivyServer) -> LivyServer:  # noqa: F811
        return mortal_livy

    @pytest.mark.slow
    def test_a_job_goes_on_and_is_known_by_its_heartbeat(
        self, run: Runner, target: LivyTarget, server: LivyServer
    ) -> None:
        handle = run(
            "import os, time; print('up', flush=True)\n"
            "while not os.path.exists(os.path.join(os.environ['DESK'], 'go')): time.sleep(0.1)\n"
            "print('done')"
        )
        eventually(lambda: scripts(handle.job_id), self.patience)
        os.kill(server.state["processes"]["livy"]["pid"], signal.SIGKILL)
        status = run.status(handle)
        assert status.state == "unknown"
        assert "does not answer" in status.detail
        server.start()
        seen: list[Status] = []
        with contextlib.suppress(AssertionError):
            eventually(lambda: seen.append(run.status(handle)) or seen[-1].state == "running", 10)  # type: ignore[func-returns-value]
        assert seen[-1].state == "running", seen[-1]
        run.desk(handle.job_id, "go").touch()
        assert run.wait(handle).final["status"] == "succeeded"
        assert "done" in run.log(handle)


class TestLivyOnYarn(LivyCase):
    patience = 120.0

    @pytest.fixture
    def server(self, livy_on_yarn: LivyServer) -> LivyServer:  # noqa: F811
        return livy_on_yarn

    @pytest.fixture
    def target(self, tmp_path: Path, server: LivyServer, hdfs: HdfsCluster) -> LivyTarget:  # noqa: F811
        self.folder = tmp_path
        return target_on(server, hdfs, tmp_path, conf={"spark.driver.memory": "512m", "spark.executor.memory": "512m"})

    test_the_script_receives_what_was_given = slow_here(TargetGuarantees.test_the_script_receives_what_was_given)
    test_within_ten_seconds_of_a_cancel_nothing_of_the_job_runs = (
        TargetGuarantees.test_within_ten_seconds_of_a_cancel_nothing_of_the_job_runs
    )

    @pytest.mark.slow
    def test_executors_have_environment_files_and_variables(
        self,
        run: Runner,
        target: LivyTarget,
        hdfs: HdfsCluster,  # noqa: F811
    ) -> None:
        run.environment = portal.call(target.prepare({"pip": ["six"]}, print))
        out = f"{hdfs.rpc}/{uuid.uuid4().hex}"
        job = self.spark(run, SCRIPT, out, files={"lib/more.py": "WORD = 'shipped'"}, variables={"COLOUR": "blue"})
        handle = self.submit(run, job)
        log = run.log(handle)
        assert run.status(handle) == Status("succeeded"), log
        assert "sum 499500 colours ['blue'] words ['shipped']" in log
        assert "master yarn" in log
        assert "executors ['environment/bin/python" in log

    @pytest.mark.slow
    def test_a_queue_that_does_not_exist_is_named(self, run: Runner, target: LivyTarget) -> None:
        target.runner.queue = "nowhere"
        handle = run("pass")
        final = run.wait(handle).final
        assert final["status"] == "failed"
        assert "unknown queue: nowhere" in final["reason"]

    @pytest.mark.slow
    def test_a_killed_driver_is_a_failure_and_leaves_nothing_running(self, run: Runner, target: LivyTarget) -> None:
        handle = run("import time; time.sleep(300)")
        eventually(lambda: scripts(handle.job_id), self.patience)
        pid = json.loads(portal.call(target.files.read(posixpath.join(handle.directory, "pid"))))
        assert pid["application"].startswith("application_")
        os.kill(pid["pid"], 9)
        final = run.wait(handle).final
        assert final["status"] == "failed"
        assert "without a final status" in final["reason"]
        eventually(lambda: not scripts(handle.job_id) and not launchers(handle.job_id), 15)


# -- bad input: nothing is started ------------------------------------------------------------------------------------


def record(**configuration: Any) -> dict[str, Any]:
    connection = ConnectionInfo("livy", "livy", "127.0.0.1", 1)
    return {"name": "cluster", "kind": "livy", "configuration": configuration, "connection": connection}


@pytest.mark.parametrize(
    ("configuration", "said"),
    [
        ({}, "has no storage"),
        ({"storage": "file:///tmp/x"}, "is a folder of one machine"),
        ({"storage": "file://host/tmp/x", "storage_is_shared": True}, "names a host"),
        ({"storage": "hdfs://host:9000/x"}, "needs webhdfs_url"),
        ({"storage": "hdfs://host:9000/x", "webhdfs_url": "host:1"}, "is not an address"),
        ({"storage": "ftp://host/x"}, "is not storage that jobs can go through"),
        ({"storage": "hdfs://host/../x", "webhdfs_url": "http://host:1"}, "is not a place for jobs"),
        ({"storage": "file:///tmp/x", "storage_is_shared": True, "conf": {"spark.master": "yarn"}}, "decided by the"),
    ],
)
def test_settings_that_cannot_work_are_refused(tmp_path: Path, configuration: dict[str, Any], said: str) -> None:
    with pytest.raises(StepwellError, match=said):
        portal.call(LivyTarget.from_record(record(**configuration), tmp_path).files.names("/x"))


def test_a_connection_of_another_type_is_refused(tmp_path: Path) -> None:
    shared = record(storage=f"file://{tmp_path}", storage_is_shared=True)
    for connection in (None, ConnectionInfo("x", "http", "127.0.0.1"), ConnectionInfo("x", "livy")):
        with pytest.raises(ComputeTargetException, match="needs an Airflow connection of type livy"):
            LivyTarget.from_record({**shared, "connection": connection}, tmp_path)


def test_a_livy_that_is_not_there_is_a_problem_of_the_probe_and_no_failed_job(tmp_path: Path) -> None:
    target = LivyTarget.from_record(record(storage=f"file://{tmp_path}/s", storage_is_shared=True), tmp_path)
    report = portal.call(target.probe())
    assert "Livy at http://127.0.0.1:1 does not answer" in report.problems[0]
    handle = Handle("cluster", "job-1", target.layout("job-1").root)
    assert portal.call(target.status([handle]))[0].state == "unknown"


def test_a_storage_that_is_not_there_is_a_problem_of_the_probe(tmp_path: Path, livy: LivyServer) -> None:  # noqa: F811
    there = record(storage="hdfs://127.0.0.1:1/x", webhdfs_url="http://127.0.0.1:1")
    there["connection"] = ConnectionInfo("livy", "livy", livy.host, livy.ports["http"])
    report = portal.call(LivyTarget.from_record(there, tmp_path).probe())
    assert any("HDFS at 127.0.0.1:1 does not answer" in problem for problem in report.problems), report.problems


def test_what_is_no_livy_is_a_problem_of_the_probe(tmp_path: Path, hdfs: HdfsCluster) -> None:  # noqa: F811
    there = record(storage=f"file://{tmp_path}/s", storage_is_shared=True)
    there["connection"] = ConnectionInfo("livy", "livy", hdfs.host, hdfs.ports["http"])
    report = portal.call(LivyTarget.from_record(there, tmp_path).probe())
    assert not report.ok


def test_a_step_with_secrets_is_refused_before_anything_is_there(tmp_path: Path) -> None:
    target = LivyTarget.from_record(record(storage=f"file://{tmp_path}/s", storage_is_shared=True), tmp_path)
    with pytest.raises(ComputeTargetException, match=r"cannot keep secrets.*TOKEN"):
        portal.call(target.stage(Job("job-1", {"job_id": "job-1"}, secrets={"TOKEN": "hunter2"})))
    assert not (tmp_path / "s").exists()
