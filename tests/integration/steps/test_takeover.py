"""Two tries of one step, faults in the middle of publishing, outputs that would share a place."""

from __future__ import annotations

from typing import Any

import pytest
from tests.support.steps import Bench, die, until

from stepwell import Dataset, OutputFileDatasetConfig
from stepwell.data import registry
from stepwell.errors import (
    ActivityFailedException,
    ComputeTargetException,
    DatasetError,
    GateFailedException,
    UserErrorException,
)
from stepwell.operators import PythonScriptStepOperator, ValidateDatasetOperator
from stepwell.step import publish
from stepwell.step.tenure import Overtaken

pytestmark = pytest.mark.integration

WRITE = """
import os, sys
for folder in sys.argv[1:]:
    open(os.path.join(folder, os.path.basename(folder) + ".txt"), "w").write(folder)
"""
SLOW_TO_END = """
import signal, sys, time
signal.signal(signal.SIGTERM, lambda *_: (time.sleep(1), sys.exit(1)))
print("up", flush=True)
time.sleep(60)
"""


def step(bench: Bench, *outputs: Any) -> PythonScriptStepOperator:
    return PythonScriptStepOperator(
        task_id="s",
        script_name="s.py",
        source_directory=bench.source({"s.py": WRITE}),
        arguments=list(outputs),
        outputs=list(outputs),
    )


def out(name: str, destination: Any = None) -> Any:
    return OutputFileDatasetConfig(name, destination).register_on_complete(name)


def test_outputs_that_share_a_destination_keep_their_own_files(bench: Bench) -> None:
    shared = (bench.datastore, "split")
    references = bench.run(step(bench, out("train", shared), out("test", shared))).references
    for name in ("train", "test"):
        (file,) = registry.get(bench.ws, name).files
        assert file.path == f"{references[name]['path']}/{name}.txt"
    assert references["train"]["path"] != references["test"]["path"]


def test_an_output_in_another_ones_folder_is_refused(bench: Bench) -> None:
    with pytest.raises(UserErrorException, match="'b' would be published into the folder of the output 'a'"):
        bench.run(step(bench, out("a", (bench.datastore, "n/{run-id}")), out("b", (bench.datastore, "n/{run-id}/b"))))
    assert bench.registered() == []


def test_a_try_that_was_overtaken_writes_no_more(bench: Bench) -> None:
    """The first worker freezes before its job; the second one does the work; the first one comes back."""
    one = step(bench, out("a"))
    frozen = bench.life(one)
    frozen._begin()
    assert bench.run(one, try_number=2).references["a"]["version"] == 1

    def comes_back() -> None:
        with frozen._failing_cleanly():
            frozen._plan()
            frozen._submit(frozen._resolve(), frozen._snapshot(), *frozen._prepare())

    with pytest.raises(Overtaken, match="newer try"):
        comes_back()
    assert bench.versions("a") == [1]
    assert bench.record()["status"] == "completed"
    assert frozen.state.run_id != bench.record()["run_id"], "the second one worked under a run id of its own"


def test_a_try_that_is_overtaken_while_publishing_registers_nothing(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = step(bench, out("a"))
    settle = publish.settle

    def overtaken_meanwhile(*args: Any) -> Any:
        monkeypatch.setattr(publish, "settle", settle)
        bench.run(one, try_number=2)
        return settle(*args)

    monkeypatch.setattr(publish, "settle", overtaken_meanwhile)
    with pytest.raises(Overtaken):
        bench.run(one)
    assert bench.versions("a") == [1], "the second try's"


def test_publishing_that_fails_in_the_middle_is_completed_by_the_next_try(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    register = registry.register

    def once_full(ws: Any, name: str, *args: Any, **more: Any) -> Any:
        if name == "b":
            monkeypatch.setattr(registry, "register", register)
            raise OSError(28, "No space left on device")
        return register(ws, name, *args, **more)

    monkeypatch.setattr(registry, "register", once_full)
    one = step(bench, out("a"), out("b"))
    with pytest.raises(OSError, match="No space"):
        bench.run(one)
    assert (bench.versions("a"), bench.versions("b")) == ([1], [])
    assert bench.record()["status"] == "failed"
    references = bench.run(one, try_number=2).references
    assert {name: r["version"] for name, r in references.items()} == {"a": 1, "b": 1}, "none lost, none doubled"
    assert bench.record()["status"] == "completed"


def test_a_job_under_way_survives_a_try_that_cannot_reach_its_target(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = step(bench, out("a"))
    with bench.elsewhere(one) as worker:
        heads = bench.folder / "workspace" / "jobs"
        until(lambda: any("submitted" in p.read_text() for p in heads.glob("*.json")))
        worker.kill()

    def gone(*_: Any) -> Any:
        raise ComputeTargetException("The connection cannot be looked up just now")

    with monkeypatch.context() as patch:
        patch.setattr("stepwell.step.life.target_for", gone)
        with pytest.raises(ComputeTargetException):
            bench.run(one, try_number=2)
    assert bench.run(one, try_number=3).references["a"]["version"] == 1
    assert "adopted" in bench.log.text
    assert bench.record()["run_id"].endswith("-g1"), "the job that the first try started"


def test_a_job_that_was_told_to_end_is_waited_out_not_adopted(bench: Bench) -> None:
    """Airflow kills a cancelled task's process after 5 s; the step may need longer to end."""
    one = PythonScriptStepOperator(
        task_id="s", script_name="s.py", source_directory=bench.source({"s.py": SLOW_TO_END})
    )
    with bench.elsewhere(one, lambda life: bench.log.when.update({"up": lambda: (life.cancel(), die())})) as worker:
        assert worker.ended() != 0
    assert bench.record()["status"] == "cancelled", "noted before the process was killed"
    one.source_directory = bench.source({"s.py": "print('again')"})
    bench.run(one, try_number=2)
    assert "again" in bench.log.lines
    assert bench.record()["run_id"].endswith("-g2")


@pytest.mark.parametrize(("target", "leads"), [("/etc/hostname", "out of the output"), (".", "to a folder")])
def test_a_link_in_an_output_is_not_followed_in_silence(bench: Bench, target: str, leads: str) -> None:
    script = f"import os, sys\nopen(sys.argv[1] + '/a', 'w').close()\nos.symlink({target!r}, sys.argv[1] + '/link')\n"
    one = out("a")
    linking = PythonScriptStepOperator(
        task_id="s", script_name="s.py", source_directory=bench.source({"s.py": script}), arguments=[one], outputs=[one]
    )
    with pytest.raises(DatasetError, match=f"'a' holds a link, link → {target}, which leads {leads}"):
        bench.run(linking)
    assert bench.registered() == []


def test_two_outputs_cannot_register_one_name(bench: Bench) -> None:
    with pytest.raises(UserErrorException, match="Two outputs register the dataset 'same'"):
        step(
            bench,
            OutputFileDatasetConfig("x").register_on_complete("same"),
            OutputFileDatasetConfig("y").register_on_complete("same"),
        )


def test_a_validation_that_fails_is_recorded_too(bench: Bench) -> None:
    bench.put({"ages.csv": "Age\n1\n"})
    ages = Dataset.Tabular.from_delimited_files((bench.datastore, "ages.csv"))
    suite = {"name": "n", "expectations": [{"type": "expect_table_row_count_to_equal", "kwargs": {"value": 7}}]}
    with pytest.raises(GateFailedException):
        bench.run(ValidateDatasetOperator(task_id="v", dataset=ages, suite=suite))
    (name,) = bench.ws.store.list("validations")
    record = bench.ws.store.read_json(f"validations/{name}")
    assert record["verdict"]["verdict"] == "failed"
    assert record["run"] == bench.record()["run_id"]


def test_the_error_of_an_overtaken_try_may_be_retried() -> None:
    assert issubclass(Overtaken, ActivityFailedException)
    assert not Overtaken.permanent
