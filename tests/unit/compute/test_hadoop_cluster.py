"""A Hadoop cluster behind its head node, as far as it can be tried without one."""

from __future__ import annotations

import asyncio
import http.server
import json
import os
import sys
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from stepwell.compute.batch.batches import Batch
from stepwell.compute.cluster import on_head_node
from stepwell.compute.cluster.batches import YarnBatches, command, state_of, tag
from stepwell.compute.cluster.head import HeadNode
from stepwell.compute.cluster.resource_manager import ResourceManager
from stepwell.compute.contract import Entry, EnvironmentRef, Unreachable
from stepwell.compute.kinds.cluster import ClientModeTarget, ClusterTarget, queue_problems
from stepwell.compute.process import LocalExec
from stepwell.errors import ComputeTargetException
from stepwell.workspace.connections import ConnectionInfo

HOST_KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLsabgH5C9okWi0dh2l9GKJl"


class Answers(http.server.BaseHTTPRequestHandler):
    """Answers with what the test has put there: path → (status, body), and notes what was asked."""

    answers: dict[str, tuple[int, Any]]
    asked: list[tuple[str, str, bytes]]

    def do_GET(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.asked.append((self.command, self.path, body))
        status, found = self.answers.get(self.path.partition("?")[0], (404, {"RemoteException": "no"}))
        data = found.encode() if isinstance(found, str) else json.dumps(found).encode()
        self.send_response(status)
        if status == 307:
            self.send_header("Location", "http://elsewhere:8088/")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    do_PUT = do_GET

    def log_message(self, *_: Any) -> None:
        pass


class Manager:
    """An address at which something answers."""

    def __init__(self) -> None:
        self.answers: dict[str, tuple[int, Any]] = {}
        self.asked: list[tuple[str, str, bytes]] = []
        handler = type("Handler", (Answers,), {"answers": self.answers, "asked": self.asked})
        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
        threading.Thread(target=self.server.serve_forever, args=(0.01,), daemon=True).start()
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"

    def says(self, path: str, found: Any, status: int = 200) -> None:
        self.answers["/ws/v1/cluster" + path] = (status, found)

    def stop(self) -> None:
        self.server.shutdown()
        self.server.server_close()


@pytest.fixture
def managers() -> Iterator[tuple[Manager, Manager]]:
    made = Manager(), Manager()
    yield made
    for one in made:
        one.stop()


# -- the ResourceManager -----------------------------------------------------------------------------------------------


async def test_of_several_resource_managers_the_active_one_is_asked(managers: tuple[Manager, Manager]) -> None:
    standby, active = managers
    standby.says("/info", "This is standby RM. The redirect url is: /", 307)
    active.says("/info", {"clusterInfo": {"hadoopVersion": "3.5.0"}})
    manager = ResourceManager("hadoop", ["http://127.0.0.1:1", standby.url, active.url], user="me")
    assert await manager.info() == {"hadoopVersion": "3.5.0"}
    assert await manager.info() == {"hadoopVersion": "3.5.0"}
    assert len(standby.asked) == 1  # it is remembered who is active
    assert active.asked[0][1].endswith("/info?user.name=me")
    assert abs(manager.skew or 9) < 3
    active.says("/info", "", 307)  # they have changed their roles
    standby.says("/info", {"clusterInfo": {"hadoopVersion": "3.5.1"}})
    assert await manager.info() == {"hadoopVersion": "3.5.1"}


async def test_a_resource_manager_that_does_not_answer_says_nothing_of_jobs(managers: tuple[Manager, Manager]) -> None:
    standby, _ = managers
    standby.says("/apps", "", 307)
    manager = ResourceManager("hadoop", ["http://127.0.0.1:1", standby.url])
    with pytest.raises(Unreachable, match=r"ResourceManager of hadoop does not answer: .*:1: .*not the active one"):
        await manager.applications("t")
    with pytest.raises(Unreachable, match="no address"):
        await ResourceManager("hadoop", []).applications("t")


async def test_a_way_that_leads_to_one_of_them_only_is_no_failure(managers: tuple[Manager, Manager]) -> None:
    one, _ = managers
    one.says("/apps", {"apps": None})
    port = int(one.url.rpartition(":")[2])
    went: list[int] = []

    @asynccontextmanager
    async def way(host: str, to: int) -> AsyncIterator[tuple[Any, Any]]:
        went.append(to)
        if to != port:
            raise Unreachable(f"{host}:{to} cannot be reached through head: refused")
        yield await asyncio.open_connection(host, to)

    assert await ResourceManager("hadoop", ["http://127.0.0.1:1", one.url], way).applications("t") == []
    assert went == [1, port]
    with pytest.raises(Unreachable, match="cannot be reached through head"):
        await ResourceManager("hadoop", ["http://127.0.0.1:1"], way).applications("t")


async def test_something_else_at_the_address_is_told(managers: tuple[Manager, Manager]) -> None:
    page, _ = managers
    page.says("/info", "<html>Log in</html>", 401)
    with pytest.raises(ComputeTargetException, match=r"answers 401 to /info: <html>Log in.*does it want a login"):
        await ResourceManager("hadoop", [page.url]).info()


async def test_no_applications_and_kills(managers: tuple[Manager, Manager]) -> None:
    one, _ = managers
    manager = ResourceManager("hadoop", [one.url])
    one.says("/apps", {"apps": None})
    assert await manager.applications("stepwell") == []
    assert "applicationTags=stepwell" in one.asked[-1][1]
    one.says("/apps/application_1/state", {"state": "RUNNING"}, 202)
    assert await manager.kill("application_1")
    assert one.asked[-1][0] == "PUT"
    assert json.loads(one.asked[-1][2]) == {"state": "KILLED"}
    assert await manager.kill("application_2")  # there is none: nothing to kill
    one.says("/apps/application_1/state", {}, 403)
    assert not await manager.kill("application_1")


@pytest.mark.parametrize(
    "scheduler",
    [
        {
            "type": "capacityScheduler",
            "queueName": "root",
            "queues": {
                "queue": [
                    {"queueName": "default", "absoluteCapacity": 80.0, "absoluteUsedCapacity": 5.0, "state": "RUNNING"},
                    {
                        "queueName": "science",
                        "queues": {"queue": [{"queueName": "night", "absoluteCapacity": 20.0, "state": "STOPPED"}]},
                    },
                ]
            },
        },
        {
            "type": "fairScheduler",
            "rootQueue": {
                "queueName": "root",
                "childQueues": {
                    "queue": [
                        {"queueName": "root.default", "capacity": 80.0, "usedCapacity": 5.0},
                        {
                            "queueName": "root.science",
                            "childQueues": [
                                {"queueName": "root.science.night", "capacity": 20.0, "state": "STOPPED"},
                            ],
                        },
                    ]
                },
            },
        },
    ],
)
async def test_queues_of_both_schedulers(managers: tuple[Manager, Manager], scheduler: dict[str, Any]) -> None:
    one, _ = managers
    one.says("/scheduler", {"scheduler": {"schedulerInfo": scheduler}})
    queues = await ResourceManager("hadoop", [one.url]).queues()
    assert {name: (q["capacity"], q["state"]) for name, q in queues.items()} == {
        "default": (80.0, "RUNNING"),
        "night": (20.0, "STOPPED"),
    }
    assert queue_problems(None, {"queues": queues}) == queue_problems("default", {"queues": queues}) == []
    assert queue_problems("root.default", {"queues": queues}) == []
    assert queue_problems("night", {"queues": queues}) == ["YARN's queue 'night' is STOPPED"]
    (problem,) = queue_problems("day", {"queues": queues})
    assert problem == "YARN has no queue 'day' that takes jobs (it has: default, night)"


# -- batches -----------------------------------------------------------------------------------------------------------


def application(state: str, **more: Any) -> dict[str, Any]:
    return {"id": "application_7_1", "name": "job", "state": state, "startedTime": 5000, "queue": "root.night", **more}


def test_what_yarn_says_of_an_application() -> None:
    waits = state_of(application("ACCEPTED", diagnostics="Queue's AM resource limit\n exceeded"))
    assert (waits.state, waits.started) == ("queued", 5.0)
    assert waits.detail == "application_7_1 ACCEPTED in the queue night: Queue's AM resource limit exceeded"
    assert state_of(application("NEW_SAVING")).state == "queued"
    assert state_of(application("RUNNING")).state == "running"
    assert state_of(application("ACCEPTED", runningContainers=-1)).state == "queued"
    assert state_of(application("ACCEPTED", runningContainers=1)).state == "running"  # it has a driver already
    killed = state_of(application("KILLED", finalStatus="KILLED", diagnostics="was killed by user admin"))
    assert (killed.state, killed.started) == ("ended", None)
    assert killed.detail == "application_7_1 KILLED: was killed by user admin"
    assert state_of(application("FINISHED", finalStatus="FAILED")).detail == "application_7_1 FAILED"


async def test_of_two_applications_of_one_name_the_living_one_counts(managers: tuple[Manager, Manager]) -> None:
    one, _ = managers
    both = [application("RUNNING"), application("FINISHED", finalStatus="SUCCEEDED")]
    head = HeadNode("hadoop", LocalExec(), sys.executable, None, None, key="two")

    async def manager() -> ResourceManager:
        return ResourceManager("hadoop", [one.url])

    batches = YarnBatches("hadoop", head, LocalExec(), manager)
    for applications in (both, both[::-1]):
        one.says("/apps", {"apps": {"app": applications}})
        assert {name: seen.state for name, seen in (await batches.seen()).items()} == {"job": "running"}
    one.says("/metrics", {"clusterMetrics": {"activeNodes": 0}})
    one.says("/apps", {"apps": {"app": [application("ACCEPTED")]}})
    assert (await batches.seen())["job"].detail.endswith("in the queue night: YARN has no node at work")
    one.says("/apps", {"apps": {"app": both}})
    await batches.submit(Batch("job", "hdfs://x/p.py"))  # it runs: nothing is submitted
    one.says("/apps/application_7_1/state", {}, 200)
    await batches.kill("job")
    assert [asked[0] for asked in one.asked].count("PUT") == 1


def test_the_command_line_says_who_it_is_and_nothing_can_be_slipped_into_it() -> None:
    conf = {
        "spark.a": "x --conf spark.master=local",
        "spark.yarn.tags": "mine",
        "spark.submit.pyFiles": "hdfs://n/m.py",
    }
    batch = Batch("Job-Ü", "hdfs://n/p.py", ("a b", "--master"), conf, "night", "her")
    argv = command("/opt/spark/bin/spark-submit", batch)
    assert argv[:7] == [argv[0], "--master", "yarn", "--deploy-mode", "cluster", "--name", "Job-Ü"]
    assert argv[-3:] == ["hdfs://n/p.py", "a b", "--master"]
    assert "spark.a=x --conf spark.master=local" in argv
    assert f"spark.yarn.tags=stepwell,{tag('Job-Ü')},mine" in argv
    assert "spark.submit.pyFiles=hdfs://n/m.py" in argv
    assert {("--queue", "night"), ("--proxy-user", "her")} <= set(zip(argv, argv[1:], strict=False))
    assert tag("Job-Ü") == tag("Job-Ü").lower() != tag("job-Ü")
    assert len(tag("x" * 300)) <= 100


# -- the head node -----------------------------------------------------------------------------------------------------


@pytest.fixture
def node(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home whose login prints a greeting, sets Hadoop's variables, and has a Spark."""
    conf, spark = tmp_path / "conf", tmp_path / "spark 3"
    conf.mkdir()
    (spark / "bin").mkdir(parents=True)
    (spark / "jars").mkdir()
    (spark / "jars" / "spark-core_2.12-3.5.6.jar").touch()
    (spark / "conf").mkdir()
    (spark / "conf" / "spark-defaults.conf").write_text(
        "# ours\nspark.yarn.jars  hdfs:///a b\nspark.x=1=2\n\nspark.y: z\n"
    )
    submit = spark / "bin" / "spark-submit"
    submit.write_text("#!/bin/sh\n")
    submit.chmod(0o755)
    (tmp_path / ".bash_profile").write_text(
        f"echo Welcome\nexport HADOOP_CONF_DIR='{conf}' SPARK_HOME='{spark}' SECRET=1\n"
    )
    properties = {
        "yarn.resourcemanager.ha.rm-ids": "rm1, rm2",
        "yarn.resourcemanager.hostname.rm1": "one",
        "yarn.resourcemanager.webapp.address.rm2": "${second}:9999",
        "second": "two",
    }
    lines = [f"<property><name>{n}</name><value>{v}</value></property>" for n, v in properties.items()]
    (conf / "yarn-site.xml").write_text(f"<configuration>{''.join(lines)}</configuration>")
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in on_head_node.NAMES:
        if name not in ("PATH", "JAVA_HOME", "LANG"):
            monkeypatch.delenv(name, raising=False)
    return tmp_path


async def test_a_head_node_is_seen_as_a_login_sees_it(node: Path) -> None:
    head = HeadNode("hadoop", LocalExec(), sys.executable, None, {"EXTRA": "é $x"}, key=str(node))
    found = await head.known()
    assert found.spark_submit == str(node / "spark 3" / "bin" / "spark-submit")
    assert (found.spark, found.yarn) == ("3.5.6", ("http://one:8088", "http://two:9999"))
    assert found.variables["EXTRA"] == "é $x"
    assert found.defaults == {"spark.yarn.jars": "hdfs:///a b", "spark.x": "1=2", "spark.y": "z"}
    assert "SECRET" not in found.variables
    assert abs(found.skew) < 5
    (node / ".bash_profile").write_text("")
    assert await head.known() is found  # asked once


async def test_what_a_head_node_lacks_is_told(node: Path) -> None:
    (node / ".bash_profile").write_text("export JAVA_HOME=/nowhere HADOOP_CONF_DIR=\n")
    (node / "core-site.xml").write_text(
        "<configuration><property><name>hadoop.security.authentication</name><value>kerberos</value></property>"
        "</configuration>"
    )
    (node / "yarn-site.xml").write_text("<configuration>")  # malformed, as if there were none
    head = HeadNode("hadoop", LocalExec(), sys.executable, "/no/spark-submit", {"YARN_CONF_DIR": str(node)}, key="x")
    with pytest.raises(ComputeTargetException, match="no spark-submit on the head node of hadoop") as refused:
        await head.known()
    assert "there is no Java on the head node" in str(refused.value)
    assert "Kerberos" in str(refused.value)


async def test_a_head_node_without_python_is_told(tmp_path: Path) -> None:
    silent = tmp_path / "python"
    silent.write_text("#!/bin/sh\necho 'no such interpreter' >&2; exit 3\n")
    silent.chmod(0o755)
    head = HeadNode("hadoop", LocalExec(), str(silent), None, None, key="y")
    with pytest.raises(ComputeTargetException, match=r"cannot be looked at: no such interpreter"):
        await head.look()


# -- the kind ----------------------------------------------------------------------------------------------------------


def record(**configuration: Any) -> dict[str, Any]:
    found = {"host_key": HOST_KEY, "root": "/data/stepwell", **configuration}
    connection = ConnectionInfo("head", "ssh", host="head.example", login="me", password="secret")
    return {"name": "hadoop", "kind": "cluster", "configuration": found, "connection": connection}


def test_the_two_modes(tmp_path: Path) -> None:
    hdfs = {"storage": "hdfs://name:8020/stepwell", "webhdfs_url": "http://name:9870"}
    target = ClusterTarget.from_record(record(**hdfs, conf={"spark.x": "1"}, queue="night"), str(tmp_path))
    assert isinstance(target, ClusterTarget)
    assert target.makes() == {"kind": "cluster", "conf": {"spark.x": "1"}}
    layout = target.layout("job-1")
    environment = EnvironmentRef("key", "/usr/bin/python3", None, user_managed=True)
    needs = target.needs(Entry("python", script="a.py"), environment, layout)
    assert needs["conf"]["spark.yarn.stagingDir"] == "hdfs://name:8020/stepwell/jobs/job-1"
    client = ClusterTarget.from_record(record(deploy_mode="client"), str(tmp_path))
    assert isinstance(client, ClientModeTarget)
    with pytest.raises(ComputeTargetException, match=r"'local' is not a deploy mode.*Allowed: cluster, client"):
        ClusterTarget.from_record(record(deploy_mode="local"), str(tmp_path))
    with pytest.raises(ComputeTargetException, match="has no storage"):
        ClusterTarget.from_record(record(), str(tmp_path))


def test_client_mode_submits_with_the_tags_that_find_it_again(tmp_path: Path) -> None:
    target = ClusterTarget.from_record(
        record(deploy_mode="client", queue="night", conf={"spark.b": "2"}), str(tmp_path)
    )
    assert isinstance(target, ClientModeTarget)
    target.defaults = {"spark.b": "0", "spark.of.the.cluster": "yes", "spark.master": "local"}
    layout = target.layout("job-1")
    sizes = {"driver_memory": "1g", "driver_cores": 1, "executor_memory": "1g", "executor_cores": 1, "num_executors": 2}
    variables = {
        "STEPWELL_SPARK_ARCHIVE": "/data/a.tar.gz",
        "STEPWELL_SPARK_SUBMIT": "/opt/spark/bin/spark-submit",
        "HADOOP_CONF_DIR": "/etc/hadoop/conf",
        "COLOUR": "blue",
    }
    environment = EnvironmentRef("key", "/data/e/bin/python", "/data/e", variables=variables)
    entry = Entry("spark", script="a.py", spark={**sizes, "conf": {"spark.b": "3"}, "jars": ["lib/x.jar"]})
    (phase,) = target.phases(entry, environment, layout, variables={"SIZE": "big"})
    assert phase["argv"][0] == "/opt/spark/bin/spark-submit"
    assert phase["variables"]["HADOOP_CONF_DIR"] == "/etc/hadoop/conf"
    assert "STEPWELL_SPARK_ARCHIVE" not in phase["variables"]
    text = phase["files"]["spark.properties"]
    for line in (
        "spark.master=yarn",
        "spark.submit.deployMode=client",
        f"spark.yarn.tags=stepwell,{tag('job-1')}",
        "spark.yarn.queue=night",
        "spark.b=3",
        "spark.of.the.cluster=yes",
        "spark.jars=/data/stepwell/jobs/job-1/code/lib/x.jar",
        "spark.archives=/data/a.tar.gz#environment",
        "spark.pyspark.python=./environment/bin/python",
        "spark.executorEnv.COLOUR=blue",
        "spark.executorEnv.SIZE=big",
    ):
        assert line + "\n" in text, line
    assert "executorEnv.HADOOP_CONF_DIR" not in text
    with pytest.raises(ComputeTargetException, match="cannot run a python step"):
        target.phases(Entry("python", script="a.py"), environment, layout)


def test_addresses_of_the_last_look_are_used_for_the_same_head_node_only(tmp_path: Path) -> None:
    facts = {"address": "me@head.example", "resource_managers": ["http://rm:8088"]}
    kept = {**record(deploy_mode="client"), "report": {"facts": facts}}
    target = ClusterTarget.from_record(kept, str(tmp_path))
    assert isinstance(target, ClientModeTarget)
    assert asyncio.run(target.yarn.manager()).addresses == ["http://rm:8088"]
    moved = {**kept, "report": {"facts": {**facts, "address": "me@other"}}}
    target = ClusterTarget.from_record(moved, str(tmp_path))
    assert isinstance(target, ClientModeTarget)
    assert target.yarn._known == ()
    given = {**kept, "configuration": {**kept["configuration"], "yarn": "http://a:1, http://b:2"}}
    target = ClusterTarget.from_record(given, str(tmp_path))
    assert isinstance(target, ClientModeTarget)
    assert asyncio.run(target.yarn.manager()).addresses == ["http://a:1", "http://b:2"]


def test_what_runs_on_a_head_node_is_plain_old_python() -> None:
    source = Path(on_head_node.__file__).read_text()
    assert "import stepwell" not in source
    assert "from stepwell" not in source
    compile(source, "on_head_node.py", "exec", dont_inherit=True)
    assert os.path.getsize(on_head_node.__file__) < 100_000  # it goes over as one argument
