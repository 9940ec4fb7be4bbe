"""A search whose data is on a real HDFS: Spark reads it, workers get it from the driver, the model goes back there."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from tests.support import automl
from tests.support.steps import Bench

from hdfs.hdfs_cluster import HdfsCluster
from stepwell import Dataset
from stepwell.data import registry

pytestmark = [pytest.mark.integration, pytest.mark.slow]


def test_a_search_on_data_that_only_spark_reads(
    on_hdfs: Callable[[HdfsCluster], Bench], hdfs: HdfsCluster, tmp_path: Path, payload_python: Path
) -> None:
    bench = on_hdfs(hdfs)
    titanic = Dataset.Tabular.from_delimited_files((bench.datastore, "Titanic.csv"))
    step = automl.search(
        bench, titanic, automl.environment(tmp_path, payload_python), iterations=3, max_concurrent_iterations=2,
        compute_target="link1-spark01", driver_memory="1g",
    )  # fmt: skip
    made = bench.run(step).references
    assert made["model"]["uri"].startswith(f"{hdfs.rpc}/")
    model = registry.get(bench.ws, "titanic_model")
    registry.verify(bench.ws, model)
    assert "MLmodel" in {Path(file.path).name for file in model.files}
    assert "891 rows of 11 columns" in bench.log.text
    assert len(automl.trials(bench.run_folder() / "outputs/automl")) == 3
