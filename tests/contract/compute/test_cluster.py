"""The kind ``cluster`` on real HDFS and YARN, with a head node behind SSH. Each job takes YARN some ten seconds: the
broad run of the contract is ``test_batches.py``; here is what differs on a cluster.
"""

from __future__ import annotations

import os
import signal
import subprocess
import time
import uuid
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from tests.clusters.head import Cluster
from tests.clusters.head import cluster as cluster
from tests.clusters.head import mortal_cluster as mortal_cluster
from tests.contract.compute.case import Case, Runner, eventually, scripts
from tests.contract.compute.contract import TargetContract
from tests.contract.compute.guarantees import TargetGuarantees

from stepwell.compute import portal
from stepwell.compute.batch.target import BatchTarget
from stepwell.compute.cluster.batches import tag
from stepwell.compute.contract import Entry, EnvironmentRef, Handle, Job, Status, Target
from stepwell.compute.kinds.cluster import ClientModeTarget, ClusterTarget
from stepwell.environment import spark as spark_settings
from stepwell.errors import ComputeTargetException
from stepwell.workspace.connections import ConnectionInfo

pytestmark = [pytest.mark.integration, pytest.mark.slow, pytest.mark.thorough]
SMALL = {"spark.driver.memory": "512m", "spark.executor.memory": "512m", "spark.executor.instances": "1"}


SIZES = {
    "driver_memory": "512m",
    "driver_cores": 1,
    "executor_memory": "512m",
    "executor_cores": 1,
    "num_executors": 1,
}


def record(cluster: Cluster, **more: Any) -> dict[str, Any]:
    """Return a compute record as attach writes it."""
    vm = cluster.vm
    connection = ConnectionInfo("head", "ssh", host=vm.address, login=vm.login, password=vm.password, port=vm.port)
    settings = {"host_key": vm.host_key, "python": "/usr/bin/python3", "node_python": str(cluster.python)}
    storage = {**cluster.storage, "storage": f"{cluster.storage['storage']}/{uuid.uuid4().hex}"}
    configuration = {**settings, **storage, "conf": SMALL, **more}
    return {"name": "hadoop", "kind": "cluster", "configuration": configuration, "connection": connection}


class ClusterCase(Case):
    patience = 150.0

    @pytest.fixture
    def target(self, cluster: Cluster, tmp_path: Path) -> Target:
        self.folder = tmp_path
        return ClusterTarget.from_record(record(cluster), str(tmp_path / "here"))

    def spark(
        self, run: Runner, script: str, *arguments: str, conf: dict[str, str] | None = None, **document: Any
    ) -> Job:
        """Return a job of a Spark step."""
        spark = {**SIZES, "py_files": ["lib/more.py"], "conf": conf or {}}

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

    @pytest.fixture
    def environment(self, cluster: Cluster) -> EnvironmentRef:
        return EnvironmentRef("test", str(cluster.python), None, user_managed=True)

    def desk(self, target: Target, job_id: str) -> str:
        folder = self.folder / "desks" / job_id
        folder.mkdir(parents=True, exist_ok=True)
        return str(folder)

    def lose(self, handle: Handle) -> None:
        drivers = [pid for pid in _pids() if f"/jobs/{handle.job_id}\0" in _command(pid)]
        assert drivers
        for pid in drivers:
            os.kill(pid, signal.SIGKILL)


def _pids() -> list[int]:
    return [int(name) for name in os.listdir("/proc") if name.isdigit()]


def _command(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_text()
    except OSError:
        return ""


SCRIPT = """
import os, socket, sys
from pyspark.sql import SparkSession
spark = SparkSession.builder.getOrCreate()
spark.createDataFrame([(n, n % 7) for n in range(1000)], ['n', 'm']).write.parquet(sys.argv[1])
def look(row):
    import more
    return row.n, os.environ.get('COLOUR'), more.WORD
found = spark.read.parquet(sys.argv[1]).rdd.map(look).collect()
colours, words = (sorted({str(row[i]) for row in found}) for i in (1, 2))
print('sum', sum(row[0] for row in found), 'colours', colours, 'words', words, flush=True)
print('driver on', socket.gethostname(), 'of', spark.sparkContext.applicationId, flush=True)
loader = spark._jvm.Thread.currentThread().getContextClassLoader()
print('packages', loader.getResource('hello.txt') is not None, flush=True)
"""
FILES = {"lib/more.py": "WORD = 'shipped'"}


def packages(cluster: Cluster) -> dict[str, str]:
    """Make a repository of Maven's form with one package on the head node, and return the settings that ask for it."""
    folder = cluster.vm.path("/opt/repository/org/stepwell/hello/1.0")
    folder.mkdir(parents=True, exist_ok=True)
    names = "<groupId>org.stepwell</groupId><artifactId>hello</artifactId><version>1.0</version>"
    pom = f"<project><modelVersion>4.0.0</modelVersion>{names}</project>"
    (folder / "hello-1.0.pom").write_text(pom)
    with zipfile.ZipFile(folder / "hello-1.0.jar", "w") as jar:
        jar.writestr("hello.txt", "hello")
    return spark_settings.with_packages(
        {}, {"packages": ["org.stepwell:hello:1.0"], "repositories": ["file:///opt/repository"]}
    )["conf"]


class TestClusterMode(ClusterCase):
    test_the_script_receives_what_was_given = TargetGuarantees.test_the_script_receives_what_was_given
    test_outputs_and_logs_are_captured_also_on_failure = (
        TargetContract.test_outputs_and_logs_are_captured_also_on_failure
    )
    test_lines_are_there_while_it_runs_and_can_be_read_on_from_anywhere = (
        TargetContract.test_lines_are_there_while_it_runs_and_can_be_read_on_from_anywhere
    )
    test_within_ten_seconds_of_a_cancel_nothing_of_the_job_runs = (
        TargetGuarantees.test_within_ten_seconds_of_a_cancel_nothing_of_the_job_runs
    )
    test_a_killed_launcher_is_a_failure_and_leaves_nothing_running = (
        TargetContract.test_a_killed_launcher_is_a_failure_and_leaves_nothing_running
    )

    def test_the_probe_tells_about_the_cluster(self, target: Target, cluster: Cluster) -> None:
        report = portal.call(target.probe())
        assert report.ok, report.problems
        facts = report.facts
        assert (facts["nodes"], facts["memory_mb"]) == (1, cluster.yarn.memory)
        assert facts["queues"]["batch"]["capacity"] == 20.0
        assert all(facts[name] for name in ("spark", "java", "hadoop", "head_python", "hadoop_conf"))
        assert facts["resource_managers"] == [cluster.yarn.resource_manager]
        assert abs(facts["clock_skew_seconds"]) < 60

    def test_a_spark_step_has_its_session_its_files_and_its_variables(
        self, run: Runner, target: Target, cluster: Cluster
    ) -> None:
        out = f"{cluster.yarn.hdfs.rpc}/user/{cluster.vm.login}/{uuid.uuid4().hex}"
        conf = packages(cluster)
        job = self.spark(run, SCRIPT, out, conf=conf, files=FILES, variables={"COLOUR": "blue"})
        handle = self.submit(run, job)
        log = run.log(handle)
        assert "sum 499500 colours ['blue'] words ['shipped']" in log, log
        assert "packages True" in log
        assert run.status(handle) == Status("succeeded")
        # What Spark has staged is gone at the latest when the job is forgotten.
        portal.call(target.forget(handle))
        assert isinstance(target, BatchTarget)
        assert portal.call(target.files.names(f"/user/{cluster.vm.login}/.sparkStaging")) == []
        assert portal.call(target.files.modified(handle.directory)) is None

    def test_of_many_that_submit_at_once_one_does_the_work(
        self, run: Runner, target: Target, cluster: Cluster, tmp_path: Path
    ) -> None:
        job = run.job("import os, time; open(os.environ['DESK'] + '/ran', 'a').write('x'); time.sleep(2)")
        assert isinstance(target, BatchTarget)
        portal.call(target.stage(job))
        # Two workers that know nothing of each other.
        same = {"storage": target.storage.uri(target.root)}
        others = [ClusterTarget.from_record(record(cluster, **same), str(tmp_path / "here")) for _ in range(2)]
        with ThreadPoolExecutor(2) as pool:
            handles = list(pool.map(lambda other: portal.call(other.submit(job)), others))
        run.handles.append(handles[0])
        assert set(handles) == {portal.call(target.find(job.id))}
        # The window between a submit and YARN's knowing of it: both have submitted, and one found nothing to do.
        name = target.runner.name(job.id)
        assert len(cluster.yarn.applications(applicationTags=tag(name))) == 2
        assert run.wait(handles[0]).final["status"] == "succeeded"
        ours = {"applicationTags": tag(name)}
        # To YARN, one that has made no Spark context has failed.
        over = {"FINISHED", "FAILED"}
        eventually(lambda: {a["state"] for a in cluster.yarn.applications(**ours)} <= over, 2 * self.patience)
        assert run.desk(job.id, "ran").read_text() == "x"
        before = len(cluster.yarn.applications())
        assert portal.call(others[0].submit(job)) == handles[0]
        assert len(cluster.yarn.applications()) == before

    def test_a_queue_that_does_not_exist(self, cluster: Cluster, environment: EnvironmentRef, tmp_path: Path) -> None:
        target = ClusterTarget.from_record(record(cluster, queue="nightly"), str(tmp_path / "here"))
        self.folder = tmp_path
        run = Runner(self, target, environment, tmp_path)
        job = run.job("print(1)")
        portal.call(target.stage(job))
        with pytest.raises(
            ComputeTargetException, match=r"queue 'nightly' of hadoop\. Allowed: batch, default"
        ) as refused:
            portal.call(target.submit(job))
        assert refused.value.permanent
        assert not any(a["state"] in ("ACCEPTED", "RUNNING") for a in cluster.yarn.applications())

    def test_without_spark_submit(self, cluster: Cluster, tmp_path: Path) -> None:
        nothing = {"spark_submit": "/opt/nothing/bin/spark-submit", "environment": {"JAVA_HOME": "/nowhere"}}
        target = ClusterTarget.from_record(record(cluster, **nothing), str(tmp_path / "here"))
        report = portal.call(target.probe())
        assert "there is no spark-submit on the head node of hadoop" in "; ".join(report.problems)
        assert "there is no Java" in "; ".join(report.problems)

    def test_an_application_that_an_administrator_kills(self, run: Runner, target: Target, cluster: Cluster) -> None:
        handle = run("import time; print('up', flush=True); time.sleep(300)")
        eventually(lambda: scripts(handle.job_id), self.patience)
        assert isinstance(target, BatchTarget)
        (application,) = cluster.yarn.applications(applicationTags=tag(target.runner.name(handle.job_id)))
        url = f"{cluster.yarn.resource_manager}/ws/v1/cluster/apps/{application['id']}/state"
        json_ = ["-H", "Content-Type: application/json", "-d", '{"state": "KILLED"}']
        subprocess.run(["curl", "--silent", "--noproxy", "*", "-X", "PUT", *json_, url], check=True)
        status = eventually(lambda: (s := run.status(handle)).ended and s, 60)
        assert status.state == "failed"
        assert "KILLED" in status.detail or "killed" in status.detail
        eventually(lambda: not scripts(handle.job_id), 10)


class TestMortalCluster(ClusterCase):
    @pytest.fixture
    def cluster(self, mortal_cluster: Cluster) -> Cluster:
        return mortal_cluster

    def test_without_a_node_a_job_waits_and_says_why_and_can_be_cancelled(
        self, run: Runner, target: Target, cluster: Cluster
    ) -> None:
        cluster.yarn.stop_daemon("nodemanager")
        try:
            handle = run("print('never')")
            status = run.status(handle)
            assert status.state == "queued"
            assert "ACCEPTED in the queue default: YARN has no node at work" in status.detail
            assert portal.call(target.cancel(handle, None, "enough")) is True
            assert run.status(handle) == Status("cancelled", "enough")
            eventually(lambda: {a["state"] for a in cluster.yarn.applications()} == {"KILLED"}, 10)
        finally:
            cluster.yarn.start_daemon("nodemanager")
            cluster.yarn.wait()

    def test_without_a_resource_manager_nothing_is_known_and_nothing_fails(
        self, run: Runner, target: Target, cluster: Cluster
    ) -> None:
        handle = run("import time; print('up', flush=True); time.sleep(20)")
        eventually(lambda: scripts(handle.job_id), self.patience)
        os.kill(cluster.yarn.pids["resourcemanager"], signal.SIGSTOP)
        os.kill(cluster.yarn.pids["resourcemanager"], signal.SIGCONT)
        cluster.yarn.stop_daemon("resourcemanager")
        try:
            begin = time.monotonic()
            status = run.status(handle)
            assert status.state == "unknown"
            assert "ResourceManager of hadoop does not answer" in status.detail
            report = portal.call(target.probe())
            assert any("does not answer" in problem for problem in report.problems)
            with pytest.raises(ComputeTargetException, match="ResourceManager of hadoop does not answer"):
                run("print(1)")
            assert time.monotonic() - begin < 30  # and not the quarter of an hour that Hadoop's client tries
        finally:
            cluster.yarn.start_daemon("resourcemanager")
            cluster.yarn.wait()
        # This ResourceManager remembers nothing: its applications end with it, and the job says how that was.
        status = eventually(lambda: (s := run.status(handle)).ended and s, 120)
        assert status.state in ("failed", "succeeded")
        eventually(lambda: not scripts(handle.job_id), 30)

    def test_a_node_that_is_lost_is_a_failed_job(self, run: Runner, target: Target, cluster: Cluster) -> None:
        handle = run("import time; print('up', flush=True); time.sleep(600)")
        pids = eventually(lambda: scripts(handle.job_id), self.patience)
        assert pids
        os.kill(cluster.yarn.pids["nodemanager"], signal.SIGKILL)
        try:
            for pid in _of_containers(cluster):  # the power of the whole node is gone
                os.kill(pid, signal.SIGKILL)
            status = eventually(lambda: (s := run.status(handle)).ended and s, 120)
            assert status.state == "failed"
            assert not scripts(handle.job_id)
        finally:
            cluster.yarn.start_daemon("nodemanager")
            cluster.yarn.wait()


def _of_containers(cluster: Cluster) -> list[int]:
    mark = str(cluster.yarn.directory / "local").encode()
    found = []
    for pid in _pids():
        try:
            if mark in Path(f"/proc/{pid}/environ").read_bytes():
                found.append(pid)
        except OSError:
            pass
    return found


class TestClientMode(ClusterCase):
    @pytest.fixture
    def target(self, cluster: Cluster, tmp_path: Path) -> Target:
        self.cluster, self.folder = cluster, tmp_path
        root = f"/home/{cluster.vm.login}/stepwell-{uuid.uuid4().hex}"
        # No name service knows the head node here, and YARN's node calls the driver.
        conf = {**SMALL, "spark.driver.host": cluster.vm.address}
        client = record(cluster, deploy_mode="client", root=root, conf=conf)
        return ClusterTarget.from_record(client, str(tmp_path / "here"))

    @pytest.fixture
    def environment(self, target: ClientModeTarget) -> EnvironmentRef:
        return portal.call(target.prepare({"user_managed": True, "interpreter": "/usr/bin/python3"}, print))

    def here(self, path: str) -> Path:
        return self.cluster.vm.path(path)

    def desk(self, target: Target, job_id: str) -> str:
        return Case.desk(self, target, job_id)

    def test_the_driver_is_on_the_head_node_and_the_executors_are_yarns(
        self, run: Runner, target: Target, cluster: Cluster
    ) -> None:
        out = f"{cluster.yarn.hdfs.rpc}/user/{cluster.vm.login}/{uuid.uuid4().hex}"
        handle = self.submit(run, self.spark(run, SCRIPT, out, files=FILES, variables={"COLOUR": "blue"}))
        log = run.log(handle)
        assert "sum 499500 colours ['blue'] words ['shipped']" in log, log
        assert f"driver on {cluster.vm.name} of application_" in log
        assert run.status(handle) == Status("succeeded")
        (application,) = cluster.yarn.applications(applicationTags=tag(handle.job_id))
        assert application["finalStatus"] == "SUCCEEDED"

    def test_what_a_dead_launcher_leaves_in_yarn_is_killed(self, run: Runner, target: Target, cluster: Cluster) -> None:
        script = "import time\nfrom pyspark import SparkContext\nSparkContext.getOrCreate(); print('up', flush=True)\n"
        handle = self.submit(run, self.spark(run, script + "time.sleep(600)", files=FILES))
        name = tag(handle.job_id)
        eventually(lambda: [a["state"] for a in cluster.yarn.applications(applicationTags=name)] == ["RUNNING"], 120)
        for pid in _pids():
            if f"/jobs/{handle.job_id}\0" in _command(pid):  # launcher and driver at once, as no user could
                os.kill(pid, signal.SIGKILL)
        assert eventually(lambda: (s := run.status(handle)).ended and s, 60).state == "failed"
        eventually(
            lambda: all(
                a["state"] in ("KILLED", "FINISHED", "FAILED") for a in cluster.yarn.applications(applicationTags=name)
            ),
            20,
        )
