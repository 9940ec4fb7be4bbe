"""A step that prints what is no text and logs what is no number: the job ends well, and its record can be read."""

from __future__ import annotations

import json

import pytest
from tests.support.steps import Bench

from stepwell.operators import PythonScriptStepOperator

pytestmark = pytest.mark.integration

WILD = r"""
import os
from azureml.core import Run

for _ in range(160):
    os.write(1, b"\xff\x00x\xc3" * 16384)  # 10 MB without the end of a line
os.write(1, b"\nlast \xe4\n")
run = Run.get_context()
for value in (float("nan"), float("inf"), 0.5):
    run.log("loss", value)
run.log_table("table", {"x": [1.0, float("-inf")]})
run.tag("file", "caf\udce9.csv")
"""


def test_a_steps_output_and_metrics_may_be_anything(bench: Bench) -> None:
    step = PythonScriptStepOperator(
        task_id="wild", script_name="wild.py", source_directory=bench.source({"wild.py": WILD})
    )
    bench.run(step)
    record = bench.record()
    assert record["status"] == "completed"
    assert record["metrics"] == {"loss": ["nan", "inf", 0.5], "table": {"x": [1.0, "-inf"]}}
    assert record["tags"] == {"file": "caf?.csv"}
    json.dumps(record, allow_nan=False).encode("utf-8")
    log = (bench.run_folder() / "logs" / "step.log").read_bytes()
    assert log.count(b"\xff\x00x\xc3") == 160 * 16384
    assert "last \ufffd" in bench.log.lines
