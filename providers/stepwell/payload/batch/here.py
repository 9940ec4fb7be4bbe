"""The machine that a batch's driver runs on: its JVM, its folders, its Spark; and what of a job depends on them."""

from __future__ import annotations

import json
import os
import shutil
import sys
import tarfile
import threading
import time
from typing import Any, Mapping

from stepwell.payload.batch.places import Place, place_of


def gateway() -> Any:
    """Return the gateway to the driver's JVM; ``None`` if this process was not started by Spark."""
    port = os.environ.get("PYSPARK_GATEWAY_PORT")
    if port is None:
        return None
    from py4j.clientserver import ClientServer, JavaParameters, PythonParameters  # type: ignore[import-not-found]

    # As PySpark does it, without its second of imports.
    token = os.environ.get("PYSPARK_GATEWAY_SECRET")
    return ClientServer(
        java_parameters=JavaParameters(port=int(port), auth_token=token, auto_convert=True),
        python_parameters=PythonParameters(port=0, eager_load=False),
    )


def facts() -> dict[str, Any]:
    """Return where this is, for people: host, and YARN's names."""
    found: dict[str, Any] = {"host": os.uname().nodename}
    container = os.environ.get("CONTAINER_ID")  # container_e17_1410901177871_0001_01_000005
    if container:
        found["container"] = container
        numbers = [part for part in container.split("_")[1:] if part.isdigit()]
        if len(numbers) >= 2:
            found["application"] = f"application_{numbers[0]}_{numbers[1]}"
    return found


def environment(place: Place, token: str, folder: str) -> str:
    """Return the step's environment: where YARN has put it, else unpacked into *folder*."""
    brought = os.path.abspath("environment")
    if os.path.exists(os.path.join(brought, "bin", "python")):
        return brought
    archive, into = os.path.join(folder, "environment.tar.gz"), os.path.join(folder, "environment")
    if not place.get(f"environments/{token.rpartition('/')[2]}.tar.gz", archive):
        raise FileNotFoundError(f"the environment {token}.tar.gz is not on the storage")
    with tarfile.open(archive) as packed:
        packed.extractall(into)  # noqa: S202 - packed by the worker that submitted the job
    os.unlink(archive)
    return into


def shared(document: dict[str, Any], folder: str, uri: str) -> dict[str, Any]:
    """Return ``job.json`` with tables that Spark is to read named by the storage, which executors reach, too.

    :param folder: the job directory on this machine: modules of the payload, and pandas, read them there.
    :param uri: of the job directory on the storage.
    """
    if uri.startswith("file:") or not (document.get("runner") or {}).get("spark") or document["main"].get("module"):
        return document
    here = "file://" + folder + "/inputs/"

    def moved(item: dict[str, Any]) -> dict[str, Any]:
        files = [uri + "/inputs/" + f[len(here) :] if f.startswith(here) else f for f in item.get("files") or []]
        return {**item, "files": files} if files else item

    tables = {
        name: moved(item) if (item.get("definition") or {}).get("kind") == "tabular" else item
        for name, item in (document.get("datasets") or {}).items()
    }
    gates = [moved(gate) if gate.get("engine") == "spark" else gate for gate in document.get("gates") or []]
    return {**document, "datasets": tables, "gates": gates}


def localised(value: Any, places: Mapping[str, str]) -> Any:
    """Return *value* with the storage's paths replaced by those of this machine, in every text of it."""
    if isinstance(value, str):
        for there, local in places.items():
            value = value.replace(there, local)
        return value
    if isinstance(value, list):
        return [localised(item, places) for item in value]
    if isinstance(value, dict):
        return {key: localised(item, places) for key, item in value.items()}
    return value


def settled(document: dict[str, Any], conf: Mapping[str, str]) -> dict[str, Any]:
    """Return ``job.json`` with what the phases need of this machine's environment."""
    runner = document.get("runner") or {}
    local = conf.get("spark.master", "local").startswith("local")
    phases = []
    for phase in document.get("phases") or []:
        variables = dict(phase.get("variables") or {})
        python = runner.get("python") or "python3"
        if "PATH" not in (document.get("variables") or {}):
            folder = [os.path.dirname(python)] if os.path.isabs(python) else []
            variables["PATH"] = os.pathsep.join([*folder, variables.get("PATH") or os.environ.get("PATH", os.defpath)])
        path = [variables.get("PYTHONPATH"), os.environ.get("PYTHONPATH")]
        variables["PYTHONPATH"] = os.pathsep.join(filter(None, path))
        variables["PYSPARK_DRIVER_PYTHON"] = python
        # Executors elsewhere have the environment in their own working directory.
        shipped = runner.get("environment") and not local
        variables["PYSPARK_PYTHON"] = "./environment/bin/python" if shipped else python
        phases.append({**phase, "variables": variables})
    return {**document, "phases": phases}


def properties(gateway: Any) -> dict[str, str]:
    """Return the application's Spark settings that the driver goes by; none without Spark."""
    found: dict[str, str] = {}
    if gateway is not None:
        conf = gateway.jvm.org.apache.spark.SparkConf()
        for name in ("spark.master", "spark.submit.deployMode"):
            if conf.contains(name):
                found[name] = str(conf.get(name))
    return found


def settle(document: Mapping[str, Any], gateway: Any) -> threading.Thread | None:
    """Tell the JVM what the job's Spark context needs; make one where the cluster insists on it and the job will not.

    What is told here is nobody else's to read, unlike a batch's arguments.

    :returns: what makes the context, while the job runs.
    """
    if gateway is None:
        return None
    system = gateway.jvm.java.lang.System
    conf = properties(gateway)
    master = conf.get("spark.master", "local")
    if master.startswith("local"):
        system.clearProperty("spark.archives")  # it is unpacked already, and the driver is the executor
    for name, value in (document.get("variables") or {}).items():
        if name not in ("PATH", "PYTHONPATH", "STEPWELL_JOB_DIR"):
            system.setProperty("spark.executorEnv." + name, str(value))
    runner = document.get("runner") or {}
    if master == "yarn" and conf.get("spark.submit.deployMode") == "cluster" and not runner.get("spark"):
        # YARN ends an application that has no context after some minutes.
        holder = threading.Thread(target=_hold, args=(gateway,), daemon=True)
        holder.start()
        return holder
    return None


def _hold(gateway: Any) -> None:
    try:
        gateway.jvm.org.apache.spark.SparkContext.getOrCreate()
    except Exception as error:
        print(f"The application has no Spark context: {str(error)[:1000]}", file=sys.stderr)


def probe(uri: str) -> int:
    """Write what there is to know of this machine, as JSON, to the file *uri*."""
    import platform

    jvm = gateway()
    found: dict[str, Any] = {
        **facts(),
        "python": sys.executable,
        "python_version": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "libc": " ".join(platform.libc_ver()),
        "cores": os.cpu_count(),
        "memory_bytes": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        "disk_free_bytes": shutil.disk_usage(os.getcwd()).free,
        "user": os.environ.get("USER"),
        "r": shutil.which("Rscript"),
        "gpu": shutil.which("nvidia-smi") is not None,
        "time": time.time(),
    }
    if jvm is not None:
        found["spark"] = _version(jvm)
        found["hadoop"] = str(jvm.jvm.org.apache.hadoop.util.VersionInfo.getVersion())
        found["java"] = str(jvm.jvm.java.lang.System.getProperty("java.version"))
        found["hadoop_user"] = str(
            jvm.jvm.org.apache.hadoop.security.UserGroupInformation.getCurrentUser().getShortUserName()
        )
        found.update(properties(jvm))
    folder, _, name = uri.rpartition("/")
    place_of(folder, jvm).write(name, json.dumps(found).encode("utf-8"))
    if found.get("spark.master") == "yarn" and found.get("spark.submit.deployMode") == "cluster":
        _hold(jvm)
    return 0


def _version(jvm: Any) -> str:
    return str(jvm.jvm.org.apache.spark.util.VersionUtils and jvm.jvm.org.apache.spark.package.SPARK_VERSION())
