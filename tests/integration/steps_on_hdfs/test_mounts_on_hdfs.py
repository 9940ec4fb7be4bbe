"""A step whose input is on a real HDFS and taken by mount, from the operator to its outputs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from tests.contract.compute.mounting import may_mount
from tests.support.steps import Bench

from hdfs.hdfs_cluster import HdfsCluster
from stepwell import Dataset, OutputFileDatasetConfig
from stepwell.operators import PythonScriptStepOperator

pytestmark = pytest.mark.integration

SCRIPT = """
import os, sys
given, output = sys.argv[1:]
assert given == os.environ["titanic"] == os.environ["AZURE_ML_INPUT_titanic"], os.environ
folder = given if os.path.isdir(given) else os.path.dirname(given)
print("files:", sorted(os.listdir(folder)))
with open(given if given.endswith(".csv") else os.path.join(given, "Titanic.csv")) as file:
    rows = sum(1 for _ in file) - 1
with open(os.path.join(output, "rows.txt"), "w") as file:
    file.write(str(rows))
print("rows:", rows)
"""


@pytest.mark.parametrize("path", ["Titanic.csv", "*.csv"])
def test_an_input_by_mount_from_the_operator_to_reuse_by_download(
    on_hdfs: Callable[[HdfsCluster], Bench], hdfs: HdfsCluster, path: str
) -> None:
    may_mount("rclone", "fusermount3")
    bench = on_hdfs(hdfs)
    bench.datastore.backend.create("notes.txt", b"nobody's input")
    config = Dataset.File.from_files(path=[(bench.datastore, path)]).as_named_input("titanic")

    def step(given: Any) -> PythonScriptStepOperator:
        output = OutputFileDatasetConfig("rows", destination=(bench.datastore, "rows/{run-id}"))
        return PythonScriptStepOperator(
            name="count",
            script_name="count.py",
            source_directory=bench.source({"count.py": SCRIPT}),
            inputs=[given],
            outputs=[output],
            arguments=[given, output],
            compute_target="local",
        )

    bench.run(step(config.as_mount()), reuse=True)
    assert "files: ['Titanic.csv']" in bench.log.text
    assert "rows: 891" in bench.log.text
    assert f"input titanic: {bench.datastore.backend.uri()} is mounted by rclone over FUSE" in bench.log.text
    bench.run(step(config.as_mount("data")), reuse=True)
    assert bench.log.text.count("rows: 891") == 2, "another place is another step"
    bench.run(step(config.as_download()), reuse=True)
    assert bench.log.text.count("rows: 891") == 2, "by download it is the same step as by mount"
