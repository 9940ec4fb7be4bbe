"""The clusters of the tests themselves: that what stands behind the other tests is real and answers."""

from __future__ import annotations

import json
import subprocess
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import pytest
from azure.core.exceptions import HttpResponseError
from azure.identity import ClientSecretCredential
from azure.synapse.spark import SparkClient
from azure.synapse.spark.models import SparkBatchJobOptions
from tests.clusters.synapse import CLIENT_ID, CLIENT_SECRET, TENANT, SynapseWorkspace

from livy.livy_server import LivyServer
from yarn.yarn_cluster import YarnCluster

pytestmark = [pytest.mark.integration, pytest.mark.slow]
SCRIPT = """
import sys
from pyspark.sql import SparkSession
spark = SparkSession.builder.getOrCreate()
assert spark.range(10).count() == 10 and sys.argv[1:] == ["a b"]
"""
SMALL = {"driverMemory": "512m", "executorMemory": "512m"}


def test_yarn_runs_an_application_that_is_found_by_its_tag(yarn: YarnCluster, payload_python: Path, tmp_path: Path):
    script = tmp_path / "job.py"
    script.write_text(SCRIPT)
    variables = yarn.environment(payload_python)
    command = [f"{variables['SPARK_HOME']}/bin/spark-submit", "--master", "yarn", "--deploy-mode", "cluster"]
    sizes = ["--num-executors", "1", "--driver-memory", "512m", "--executor-memory", "512m"]
    conf = ["--conf", "spark.yarn.tags=of-the-test"]
    done = subprocess.run(
        [*command, *sizes, *conf, str(script), "a b"], env={"PATH": "/usr/bin:/bin", **variables}, capture_output=True
    )
    assert done.returncode == 0, done.stderr.decode()
    (found,) = yarn.applications(applicationTags="of-the-test")
    assert (found["state"], found["finalStatus"], found["queue"]) == ("FINISHED", "SUCCEEDED", "root.default")


def test_livy_runs_a_batch_on_yarn(livy_on_yarn: LivyServer, yarn: YarnCluster):
    assert livy_on_yarn.yarn is yarn
    script = on_hdfs(yarn, "livy-on-yarn.py")
    batch = post(livy_on_yarn, {"file": script, "args": ["a b"], "name": "one", "numExecutors": 1, **SMALL})
    ended = wait_for(lambda: get(livy_on_yarn, batch["id"]))
    assert (ended["state"], ended["appId"][:12]) == ("success", "application_")


def test_synapse_passes_batches_on_to_a_real_livy(synapse: SynapseWorkspace, livy: LivyServer):
    (livy.local_files / "job.py").write_text(SCRIPT)
    trusted = {"connection_verify": str(synapse.certificate)}
    credential = ClientSecretCredential(
        TENANT, CLIENT_ID, CLIENT_SECRET, authority=synapse.authority, disable_instance_discovery=True, **trusted
    )
    client = SparkClient(credential, synapse.endpoint, "pool1", **trusted)
    wanted = SparkBatchJobOptions(
        name="of-synapse", file=(livy.local_files / "job.py").as_uri(), arguments=["a b"], driver_memory="512m"
    )
    job = client.spark_batch.create_spark_batch_job(wanted)
    ended = wait_for(lambda: client.spark_batch.get_spark_batch_job(job.id).as_dict())
    assert (ended["state"], ended["result"]) == ("success", "Succeeded")
    assert "of-synapse" in [one.name for one in client.spark_batch.get_spark_batch_jobs().sessions]
    client.spark_batch.cancel_spark_batch_job(job.id)
    with pytest.raises(HttpResponseError, match="not found"):
        client.spark_batch.get_spark_batch_job(job.id)
    with pytest.raises(HttpResponseError, match="pool2 was not found"):
        SparkClient(credential, synapse.endpoint, "pool2", **trusted).spark_batch.get_spark_batch_jobs()


def test_synapse_wants_a_token(synapse: SynapseWorkspace):
    import ssl

    context = ssl.create_default_context(cafile=str(synapse.certificate))
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=context))
    url = f"{synapse.endpoint}/livyApi/versions/2022-02-22-preview/sparkPools/pool1/batches"
    with pytest.raises(urllib.error.HTTPError, match="401"):
        opener.open(urllib.request.Request(url, headers={"Authorization": "Bearer guessed"}))


def post(livy: LivyServer, payload: dict[str, Any]) -> dict[str, Any]:
    headers = {"Content-Type": "application/json"}
    request = urllib.request.Request(f"{livy.url}/batches", json.dumps(payload).encode(), headers)
    with urllib.request.urlopen(request) as answer:
        return dict(json.load(answer))


def get(livy: LivyServer, batch: int) -> dict[str, Any]:
    with urllib.request.urlopen(f"{livy.url}/batches/{batch}") as answer:
        return dict(json.load(answer))


def wait_for(look: Any) -> dict[str, Any]:
    deadline = time.monotonic() + 150
    while (found := look())["state"] not in ("success", "dead", "error", "killed"):
        assert time.monotonic() < deadline, found
        time.sleep(0.5)
    return dict(found)


def on_hdfs(yarn: YarnCluster, name: str) -> str:
    url = f"{yarn.hdfs.webhdfs}/webhdfs/v1/tmp/{name}?op=CREATE&overwrite=true&user.name=root&noredirect=true"
    with urllib.request.urlopen(urllib.request.Request(url, method="PUT")) as answer:
        where = json.load(answer)["Location"]
    urllib.request.urlopen(urllib.request.Request(where, SCRIPT.encode(), method="PUT")).close()
    return f"{yarn.hdfs.rpc}/tmp/{name}"
