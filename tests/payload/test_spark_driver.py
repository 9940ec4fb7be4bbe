"""Scripts under the Spark driver: as Python would run them, then the gates."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from payload_support import PROJECT, Job

pytestmark = pytest.mark.integration


def drive(job: Job, root: Path, *, submit: bool = False, **variables: str) -> subprocess.CompletedProcess[str]:
    driver = str(root / "stepwell" / "payload" / "spark_driver.py")
    spark_submit = [
        str(Path(sys.executable).parent / "spark-submit"),
        "--master",
        "local[1]",
        "--conf",
        "spark.ui.enabled=false",
    ]
    environment = {
        **{k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "STEPWELL_JOB_DIR")},
        "PYTHONPATH": f"{root}{os.pathsep}{root / 'v1'}",
        "PYSPARK_PYTHON": sys.executable,
        **variables,
    }
    return subprocess.run(
        [*(spark_submit if submit else [sys.executable]), driver, str(job.directory)],
        cwd=job.directory / "code", env=environment, capture_output=True, text=True, timeout=240, check=False,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("text", "code", "error"),
    [
        ("import sys; sys.exit()", 0, ""),
        ("import sys; sys.exit(3)", 3, ""),
        ("raise SystemExit('no data')", 1, "no data"),
        ("import sys; sys.exit(-1)", 255, ""),
        ("raise KeyboardInterrupt", 130, "KeyboardInterrupt"),
        ("def f(:", 1, "SyntaxError"),
    ],
)
def test_exit_codes_are_pythons(job: Job, payload_root: Path, text: str, code: int, error: str) -> None:
    job.script(text)
    done = drive(job, payload_root)
    assert done.returncode == code, done.stderr
    assert error in done.stderr


def test_the_script_is_main_and_its_traceback_is_its_own(job: Job, payload_root: Path) -> None:
    (job.directory / "code" / "reading.py").write_text("NAME = 'mine'")  # also the name of a module of ours
    job.script(
        "import os, sys, reading\n"
        "print(__name__, sys.argv[1:], reading.NAME, os.path.basename(__file__),\n"
        "      sys.modules['__main__'].__file__ == __file__)\n"
        "def fail():\n    1 / 0\n"
        "fail()\n",
        ["--a", "b c"],
    )
    done = drive(job, payload_root)
    assert done.stdout == "__main__ ['--a', 'b c'] mine dataprep.py True\n"
    assert done.returncode == 1
    assert done.stderr.startswith("Traceback (most recent call last):\n  File ")
    assert "spark_driver" not in done.stderr
    assert "ZeroDivisionError" in done.stderr


def test_a_module_runs_as_python_m_would_run_it(job: Job, payload_root: Path) -> None:
    job.script("")
    shown = job.directory / "shown.json"
    shown.write_text('{"a":1}')
    job.document["main"] = {"script": None, "module": "json.tool", "arguments": [str(shown)]}
    job.write()
    done = drive(job, payload_root)
    assert (done.returncode, done.stdout) == (0, '{\n    "a": 1\n}\n'), done.stderr
    job.document["main"]["arguments"] = ["no/such/file"]
    job.write()
    assert drive(job, payload_root).returncode not in (0, None)
    job.document["main"]["module"] = "no_such_module"
    job.write()
    done = drive(job, payload_root)
    assert (done.returncode, done.stderr.splitlines()[-1]) == (
        1,
        "There is no module 'no_such_module' on this compute target",
    )


def test_where_there_is_nothing_but_gates_nothing_else_runs(job: Job, payload_root: Path) -> None:
    job.script("")
    job.document["main"] = {"script": None, "arguments": []}
    job.write()
    done = drive(job, payload_root)
    assert (done.returncode, done.stdout) == (0, ""), done.stderr


def test_a_library_that_bars_pyspark_leaves_no_session_to_stop(job: Job, payload_root: Path) -> None:
    job.script("import sys\nsys.modules['pyspark'] = None")
    done = drive(job, payload_root)
    assert done.returncode == 0, done.stderr


def test_metrics_are_on_disk_when_the_script_has_ended(job: Job, payload_root: Path) -> None:
    job.script("from azureml.core import Run\nRun.get_context().log('n', 1)\nraise SystemExit(4)")
    assert drive(job, payload_root).returncode == 4
    assert [(e["kind"], e["name"], e["value"]) for e in job.events()] == [("metric", "n", 1)]


def test_gates_are_not_run_after_a_failure(job: Job, payload_root: Path) -> None:
    job.gate({"type": "expect_column_to_exist", "kwargs": {"column": "Age"}}, location=str(job.data))
    job.script("raise SystemExit(5)")
    assert drive(job, payload_root).returncode == 5
    assert not (job.directory / "gates").exists()


def test_a_ragged_input_is_explained_below_the_traceback(job: Job, payload_root: Path) -> None:
    job.data.write_text("a,b\n" + "1,2\n" * 300 + "3\n")
    job.script(
        "from azureml.core import Run\nRun.get_context().input_datasets['tabular_input'].to_spark_dataframe().count()\n"
    )
    done = drive(job, payload_root, PYSPARK_SUBMIT_ARGS="--master local[1] --conf spark.ui.enabled=false pyspark-shell")
    assert done.returncode == 1
    assert re.search(r"RaggedRowError: .*passengers\.csv' line 302 has 1 fields where 2 are expected", done.stderr)


def test_the_gate_has_a_session_even_when_the_script_stopped_its_own(job: Job, payload_root: Path) -> None:
    job.gate({"type": "expect_column_to_exist", "kwargs": {"column": "Age"}}, engine="spark", location=str(job.data))
    job.script("from pyspark.sql import SparkSession\nSparkSession.builder.getOrCreate().stop()\n")
    done = drive(job, payload_root, submit=True)
    assert done.returncode == 0, done.stderr[-3000:]
    assert job.verdict()["verdict"] == "passed"


def article_script() -> str:
    article = next((PROJECT.parent / "shared" / "seeds").glob("001_*.txt"), None)
    if article is None:
        pytest.skip("the article is not beside the project")
    blocks = re.findall(r"```python\n(.*?)```", article.read_text(encoding="utf-8"), re.DOTALL)
    return next(block for block in blocks if "to_spark_dataframe" in block)


def test_the_articles_script_as_it_stands(job: Job, payload_root: Path, titanic: Path) -> None:
    job = Job(job.directory.parent / "article", titanic)
    job.gate(
        {"type": "expect_column_values_to_be_unique", "kwargs": {"column": "PassengerId"}},
        {"type": "expect_table_row_count_to_equal", "kwargs": {"value": 891}},
        engine="spark",
    )
    arguments = ["--tabular_input", job.id, "--file_input", titanic.as_uri(), "--output_dir", job.output.as_uri()]
    job.script(article_script(), arguments)
    done = drive(job, payload_root, submit=True)
    assert done.returncode == 0, done.stderr[-3000:]
    assert "1.61.0+stepwell" in done.stdout
    assert "Braund, Mr. Owen" in done.stdout
    assert (job.verdict()["verdict"], job.verdict()["rows"]) == ("passed", 891)


def test_exit_codes_pass_through_spark_submit(job: Job, payload_root: Path) -> None:
    job.script(
        "from pyspark.sql import SparkSession\nSparkSession.builder.getOrCreate().range(3).count()\nraise SystemExit(7)"
    )
    assert drive(job, payload_root, submit=True).returncode == 7
