"""The kind ``spark``: ``spark-submit`` from this machine, to ``local[*]`` or to a standalone master."""

from __future__ import annotations

import asyncio
import os
import posixpath
import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar, Literal

from stepwell.compute import java
from stepwell.compute.contract import Entry, EnvironmentRef, Layout, Log, Report
from stepwell.compute.kinds.local import LocalTarget, base_variables, step_path
from stepwell.compute.packing import pack
from stepwell.compute.spark_settings import absolute_files, over, properties, settings
from stepwell.errors import ComputeTargetException, UserErrorException

_MASTER = re.compile(r"local(\[(\*|[1-9][0-9]*)(,[0-9]+)?\])?|local-cluster\[[0-9, ]+\]|spark://[^\s/,]+(,[^\s/,]+)*")
_LOOPBACK = ("localhost", "127.0.0.1", "::1")
#: Settings that the step or the target may overrule.
DEFAULTS = {
    "spark.ui.enabled": "false",
    "spark.ui.showConsoleProgress": "false",
    "spark.log.level": "WARN",
}
_FIND_PYSPARK = """
import importlib.util
found = importlib.util.find_spec("pyspark")
print(found.submodule_search_locations[0] if found else "")
"""
#: Where :meth:`SparkTarget.prepare` leaves what it found, in the environment's variables.
_ARCHIVE = "STEPWELL_SPARK_ARCHIVE"


def check_master(master: str) -> str:
    """Return *master* if it is one that steps can be submitted to.

    :raises UserErrorException: it is not.
    """
    if not isinstance(master, str) or not _MASTER.fullmatch(master):
        raise UserErrorException(
            f"{master!r} is not a Spark master that is supported",
            allowed=["local", "local[*]", "local[4]", "spark://host:7077"],
        )
    return master


class SparkTarget(LocalTarget):
    """Spark in client mode: the driver is on this machine, in the step's environment.

    :param master: ``local[*]``, ``local[4]``, ``spark://host:port``.
    :param conf: settings of the target; a step's own go before them, lists of files are joined.
    :param spark_home: a Spark installation; default: the environment's own PySpark.
    :param ship_environment: send the environment to the executors; default: unless the master is on this machine.
    """

    kind: ClassVar[str] = "spark"
    reads: ClassVar[frozenset[str]] = frozenset({"file", "hdfs"})
    runs: ClassVar[frozenset[str]] = frozenset({"spark", "none"})
    engine: ClassVar[Literal["pandas", "spark"]] = "spark"

    def __init__(
        self,
        name: str,
        root: str | os.PathLike[str],
        master: str = "local[*]",
        conf: Mapping[str, str] | None = None,
        spark_home: str | None = None,
        ship_environment: bool | None = None,
    ) -> None:
        super().__init__(name, root)
        self.master = check_master(master)
        self.conf = dict(conf or {})
        self.spark_home = spark_home
        here = any(host.rpartition(":")[0] in _LOOPBACK for host in self._hosts())
        self.ship_environment = bool(self._hosts()) and not here if ship_environment is None else ship_environment

    @classmethod
    def from_record(cls, record: Mapping[str, Any], root: str) -> SparkTarget:
        """Return the target that a compute record describes; a connection says the master."""
        configuration = record["configuration"]
        connection = record.get("connection")
        master = configuration.get("master") or "local[*]"
        return cls(
            record["name"],
            root,
            master if connection is None else master_of(connection),
            configuration.get("conf"),
            configuration.get("spark_home"),
            configuration.get("ship_environment"),
        )

    def makes(self) -> dict[str, Any]:
        """Return the kind, and the target's own settings: a time zone there is another result."""
        home = self.spark_home and spark_version(self.spark_home)
        return {**super().makes(), "conf": self.conf, "spark": home}

    async def probe(self) -> Report:
        """Look at this machine, its Java, and the master."""
        report = await super().probe()
        facts, problems = {**report.facts, "master": self.master}, list(report.problems)
        try:
            facts["java_home"], facts["java"] = await java.java_home(self.exec)
        except ComputeTargetException as error:
            problems.append(str(error))
        if self.spark_home is None:
            facts["spark"] = "the environment's own"
        elif (version := spark_version(self.spark_home)) is None:
            problems.append(f"{self.spark_home} is no Spark installation (no bin/spark-submit, or no spark-core jar)")
        else:
            facts["spark"] = version
        hosts = self._hosts()
        answers = [await _answers(host) for host in hosts]
        if hosts and not any(answer is None for answer in answers):
            problems.append(f"the master {self.master} cannot be reached: {'; '.join(filter(None, answers))}")
        return replace(report, facts=facts, problems=tuple(problems))

    async def prepare(self, spec: Mapping[str, Any], log: Log) -> EnvironmentRef:
        """Build or find the environment, and see that it has Spark and Java.

        :raises ComputeTargetException: there is no PySpark in it, or no Java 17.
        """
        environment = await super().prepare(spec, log)
        return await self.equip(environment, log)

    async def equip(self, environment: EnvironmentRef, log: Log) -> EnvironmentRef:
        """Return the environment with the variables that Spark needs."""
        home, _ = await java.java_home(self.exec)
        spark_home = self.spark_home or await self._pyspark(environment)
        found = {"JAVA_HOME": home, "SPARK_HOME": spark_home, **environment.variables}
        if self.ship_environment and environment.root is not None and not environment.user_managed:
            archive = Path(self.root) / "archives" / f"{environment.key}.tar.gz"
            found[_ARCHIVE] = str(await asyncio.to_thread(pack, environment.root, archive, log))
        return replace(environment, variables=found)

    async def _pyspark(self, environment: EnvironmentRef) -> str:
        """Return the folder of the environment's PySpark, which is a whole Spark."""
        if environment.root is not None:
            for path in Path(environment.root).glob("lib/python*/site-packages/pyspark/bin/spark-submit"):
                return str(path.parent.parent)
        done = await self.exec.run([environment.python, "-c", _FIND_PYSPARK])
        home = done.out.strip()
        if done.code != 0 or not home or not os.path.exists(os.path.join(home, "bin", "spark-submit")):
            raise ComputeTargetException(
                f"The environment of {environment.python} has no PySpark, which a step on {self.name!r} needs",
                hint="Add pyspark to it, or give the target a spark_home",
            )
        return home

    def phases(
        self,
        entry: Entry,
        environment: EnvironmentRef,
        layout: Layout,
        *,
        variables: Mapping[str, str] | None = None,
        gates_in: EnvironmentRef | None = None,
    ) -> list[dict[str, Any]]:
        """Return one ``spark-submit`` of the payload's driver, which runs the script, then the gates."""
        if entry.kind not in self.runs:
            return super().phases(entry, environment, layout, variables=variables, gates_in=gates_in)  # refuses
        if entry.kind == "none" and gates_in is None:
            return []
        inside = {**base_variables(environment, layout), **step_path(environment, layout, variables)}
        archive = inside.pop(_ARCHIVE, None)
        inside["PYSPARK_PYTHON"] = inside["PYSPARK_DRIVER_PYTHON"] = environment.python
        inside["SPARK_LOCAL_DIRS"] = posixpath.join(layout.root, "work")
        if self.master.startswith("local"):
            inside["SPARK_LOCAL_IP"] = "127.0.0.1"
        argv = [
            posixpath.join(inside["SPARK_HOME"], "bin", "spark-submit"),
            "--properties-file",
            posixpath.join(layout.root, "spark.properties"),
            posixpath.join(layout.payload, "stepwell", "payload", "spark_driver.py"),
            layout.root,
        ]
        found = {**self._settings(entry, layout), **self._executors(environment, layout, variables, archive)}
        files = {"spark.properties": properties(found)}
        return [{"name": "step", "argv": argv, "cwd": layout.code, "variables": inside, "files": files}]

    def _settings(self, entry: Entry, layout: Layout) -> dict[str, str]:
        """Return the step's settings over the target's over our own."""
        step = {} if entry.spark is None else absolute_files(settings(entry.spark), layout.code)
        found = {**DEFAULTS, "spark.sql.warehouse.dir": f"file:{layout.root}/work/warehouse"}
        if self.master.startswith("local"):
            found["spark.driver.host"] = found["spark.driver.bindAddress"] = "127.0.0.1"
        elif "spark.executor.instances" in step and "spark.executor.cores" in step:
            # A standalone master gives an application all its cores unless it is told how many to give.
            cores = int(step["spark.executor.instances"]) * int(step["spark.executor.cores"])
            found["spark.cores.max"] = str(cores)
        return {**found, **over(self.conf, step), "spark.master": self.master, "spark.submit.deployMode": "client"}

    def _executors(
        self,
        environment: EnvironmentRef,
        layout: Layout,
        variables: Mapping[str, str] | None,
        archive: str | None,
    ) -> dict[str, str]:
        """Return what makes executors see the step's environment and its variables (never its secrets)."""
        found = {"spark.pyspark.driver.python": environment.python, "spark.pyspark.python": environment.python}
        if self.master.startswith("local") and "cluster" not in self.master:
            return found  # the driver is the executor
        inside = {**environment.variables, **(variables or {}), **step_path(environment, layout, variables)}
        for name in ("JAVA_HOME", "SPARK_HOME", _ARCHIVE, "STEPWELL_JOB_DIR"):
            inside.pop(name, None)
        found.update({f"spark.executorEnv.{name}": str(value) for name, value in inside.items()})
        if archive is not None:
            found["spark.archives"] = f"{archive}#environment"
            found["spark.pyspark.python"] = "./environment/bin/python"
        return found

    def _hosts(self) -> list[str]:
        """Return the masters as ``host:port``; none for ``local``."""
        if not self.master.startswith("spark://"):
            return []
        return [host if ":" in host else f"{host}:7077" for host in self.master[len("spark://") :].split(",")]


def master_of(connection: Any) -> str:
    """Return the master that an Airflow connection of type ``spark`` names.

    :raises ComputeTargetException: the connection is of another type, or asks for what is not built.
    """
    if connection.conn_type != "spark":
        raise ComputeTargetException(
            f"The connection {connection.conn_id!r} is of type {connection.conn_type!r}", allowed=["spark"]
        )
    mode = connection.extra.get("deploy-mode") or connection.extra.get("deploy_mode")
    if mode not in (None, "", "client"):
        raise ComputeTargetException(
            f"The connection {connection.conn_id!r} asks for deploy-mode {mode!r}, which is not built yet",
            allowed=["client"],
        )
    host = connection.host or "local[*]"
    if host.startswith("local"):
        return check_master(host)
    host = host if "://" in host else f"spark://{host}"
    return check_master(f"{host}:{connection.port}" if connection.port else host)


def spark_version(spark_home: str) -> str | None:
    """Return the version of a Spark installation, None if it is none."""
    if not os.access(os.path.join(spark_home, "bin", "spark-submit"), os.X_OK):
        return None
    for jar in Path(spark_home).glob("jars/spark-core_*.jar"):
        return jar.stem.rpartition("-")[2]
    return None


async def _answers(host: str) -> str | None:
    """Return None if something listens at ``host:port``, else why not."""
    name, _, port = host.rpartition(":")
    try:
        _, writer = await asyncio.wait_for(asyncio.open_connection(name, int(port)), 3)
    except (OSError, TimeoutError, ValueError) as error:
        return f"{host}: {error or 'no answer within 3 s'}"
    writer.close()
    return None
