"""Reuse: what made the same stands in for a step, if its outputs are there; and why a step ran is always said."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.support.steps import Bench, die, until
from tests.support.steps import bench as new_bench

from stepwell import Dataset, Environment, OutputFileDatasetConfig
from stepwell.data import registry
from stepwell.errors import ActivityFailedException, GateFailedException
from stepwell.operators import CommandStepOperator, PythonScriptStepOperator, ValidateDatasetOperator
from stepwell.step import flight
from stepwell.step.life import Life

pytestmark = pytest.mark.integration

#: Copies its input, says what it was given, and leaves a mark each time that it runs.
SCRIPT = """
import os, shutil, sys
from azureml.core import Run
run = Run.get_context()
run.log("rows", 3)
run.tag("colour", "green")
out = sys.argv[1]
open(os.path.join(out, "result.csv"), "w").write("a,b\\n1,2\\n" + ",".join(sys.argv[3:]) + "\\n")
os.makedirs("outputs", exist_ok=True)
open("outputs/model.txt", "w").write("a model")
open(os.environ["MARKS"], "a").write("ran\\n")
"""


class Step:
    """A step that can be made a little different each time."""

    def __init__(self, bench: Bench) -> None:
        self.bench = bench
        self.marks = bench.folder / "marks"
        self.folder = Path(bench.source({"run.py": SCRIPT, "notes.txt": "one\n"}))
        bench.put({"raw/a.csv": "x,y\n1,2\n"})
        Dataset.File.from_files((bench.datastore, "raw/a.csv")).register(bench.ws, "raw")

    def made(self, *more: str, output: Any = None, **changed: Any) -> PythonScriptStepOperator:
        out = output or OutputFileDatasetConfig("out").register_on_complete("result")
        data = Dataset.get_by_name(self.bench.ws, "raw").as_named_input("data").as_download()
        return PythonScriptStepOperator(
            **{
                "task_id": "train",
                "script_name": "run.py",
                "source_directory": str(self.folder),
                "arguments": [out, data, *more],
                "inputs": [data],
                "outputs": [out],
                # an address, which is not part of what the step is, would change the variable
                "environment_variables": {"MARKS": str(self.marks)},
                **changed,
            }
        )

    def run(self, *more: str, dag_run_id: str = "run 1", params: Any = None, **changed: Any) -> dict[str, Any]:
        """Live the step and return its run's record."""
        step = self.made(*more, **changed)
        life = self.bench.life(step, reuse=True, dag_run_id=dag_run_id, params=params or {})
        result = life.live()
        return {**life.record.facts, "result": result.references, "summary": life.summary()}

    @property
    def ran(self) -> int:
        return len(self.marks.read_text().splitlines()) if self.marks.exists() else 0


@pytest.fixture
def step(bench: Bench) -> Step:
    return Step(bench)


# -- what is the same -------------------------------------------------------------------------------------------------


def test_the_same_again_hands_on_versions_metrics_and_tags_and_says_whose(step: Step) -> None:
    first = step.run()
    again = step.run(dag_run_id="run 2")
    assert step.ran == 1
    assert first["reuse"]["decision"] == "ran"
    assert first["reuse"]["reason"] == "not reused: no earlier run of this step has completed"
    assert again["reuse"]["decision"] == "reused"
    assert again["reuse"]["from"] == again["reused_from"] == first["run_id"]
    assert first["run_id"] in again["reuse"]["reason"]
    assert again["status"] == "completed"
    assert again["metrics"] == {"rows": 3}
    assert again["tags"] == {"colour": "green"}
    reference = again["result"]["out"]
    assert {**reference, "reused_from": None} == {**first["result"]["out"], "reused_from": None}
    assert reference["reused_from"] == first["run_id"]
    assert step.bench.versions("result") == [1]
    assert again["summary"]["reuse"]["decision"] == "reused"
    assert "Same code, environment, arguments and data as run" in step.bench.log.text


def test_a_run_that_was_reused_hands_on_the_run_that_did_the_work(step: Step) -> None:
    first = step.run()
    step.run(dag_run_id="run 2")
    third = step.run(dag_run_id="run 3")
    assert third["reused_from"] == first["run_id"]
    assert step.ran == 1


def test_another_task_another_folder_other_times_and_other_names_are_the_same_step(step: Step) -> None:
    step.run()
    elsewhere = step.bench.folder / "elsewhere"
    step.folder.rename(elsewhere)
    (elsewhere / "run.py").touch()
    (elsewhere / "__pycache__").mkdir()
    (elsewhere / "__pycache__" / "run.cpython-311.pyc").write_bytes(b"other")
    step.folder = elsewhere
    assert step.run(task_id="another")["reuse"]["decision"] == "reused"
    assert step.ran == 1


def test_the_same_data_under_another_version_is_the_same(step: Step) -> None:
    step.run()
    step.bench.put({"copy/a.csv": "x,y\n1,2\n"})
    data = Dataset.File.from_files((step.bench.datastore, "copy/a.csv"))
    data.register(step.bench.ws, "raw", create_new_version=True)
    assert step.bench.versions("raw") == [1, 2]
    assert step.run()["reuse"]["decision"] == "reused"


def test_another_registered_name_gets_the_same_files(step: Step) -> None:
    first = step.run()
    other = step.run(output=OutputFileDatasetConfig("out").register_on_complete("copy"))
    assert step.ran == 1
    assert (other["result"]["out"]["dataset"], other["result"]["out"]["version"]) == ("copy", 1)
    assert other["result"]["out"]["uri"] == first["result"]["out"]["uri"]
    assert step.run(output=OutputFileDatasetConfig("out"))["result"]["out"]["dataset"] is None
    assert step.ran == 1


def test_going_back_makes_the_old_result_the_latest_again(step: Step) -> None:
    step.run("a")
    step.run("b")
    back = step.run("a")
    assert step.ran == 2
    latest = registry.get(step.bench.ws, "result")
    assert latest.version == back["result"]["out"]["version"] == 3
    assert latest.digest == registry.get(step.bench.ws, "result", 1).digest
    assert step.run("a")["result"]["out"]["version"] == 3, "and stays it"


# -- what is different ------------------------------------------------------------------------------------------------


def edit(name: str, text: str) -> Callable[[Step], None]:
    return lambda step: (step.folder / name).write_text(text) and None


def new_data(step: Step) -> None:
    step.bench.put({"raw/b.csv": "x,y\n3,4\n"})
    data = Dataset.File.from_files((step.bench.datastore, "raw/b.csv"))
    data.register(step.bench.ws, "raw", create_new_version=True)


def nothing(step: Step) -> None:
    pass


CHANGES: list[tuple[Callable[[Step], None], dict[str, Any], str]] = [
    (edit("run.py", SCRIPT + "a = 1\nb = 2\n"), {}, "run.py changed (lines +2 -0)"),
    (edit("notes.txt", "two\n"), {}, "notes.txt changed (lines +1 -1)"),
    (edit("more.py", ""), {}, "more.py is new"),
    (lambda step: (step.folder / "notes.txt").unlink(), {}, "notes.txt is gone"),
    (lambda step: (step.folder / "notes.txt").chmod(0o755), {}, "the modes of files changed"),
    (new_data, {}, "input data is version 2, was 1"),
    (nothing, {"more": ["0.1"]}, "3 arguments, not 2"),
    (nothing, {"version": "2"}, "version is 2, was not given"),
    (nothing, {"params": {"n": 7}}, "parameter n is new"),
    (nothing, {"environment_variables": {"MARKS": "/dev/null"}}, "variable MARKS changed"),
    (nothing, {"environment": "requirements.txt"}, "the environment is with six==1.16.0"),
]


@pytest.mark.parametrize(("change", "changed", "because"), CHANGES, ids=[c[2] for c in CHANGES])
def test_what_is_different_is_told(
    step: Step, tmp_path: Path, change: Callable[[Step], None], changed: dict[str, Any], because: str
) -> None:
    (tmp_path / "requirements.txt").write_text("six==1.16.0\n")
    if "environment" in changed:
        changed = {"environment": str(tmp_path / changed["environment"])}
    first = step.run()
    change(step)
    again = step.run(*changed.pop("more", []), **changed)
    (told,) = again["reuse"].pop("changes")
    assert told.startswith(because)
    assert again["reuse"] == {
        "decision": "ran",
        "reason": f"not reused: {told}",
        "from": None,
        "compared_with": first["run_id"],
    }
    assert again["reuse"]["reason"] in step.bench.log.text.replace("Not reused", "not reused")


def test_many_changes_are_counted(step: Step) -> None:
    for number in range(9):
        (step.folder / f"m{number}.py").write_text("1\n")
    step.run("0.1")
    for number in range(9):
        (step.folder / f"m{number}.py").write_text("2\n")
    new_data(step)
    changes = step.run("0.2")["reuse"]["changes"]
    assert changes[0] == "m0.py changed (lines +1 -1)"
    assert "4 more files changed" in changes
    assert "argument 3 is 0.2, was 0.1" in changes
    assert "input data is version 2, was 1" in changes


def test_the_values_of_variables_are_not_kept(step: Step) -> None:
    step.run(environment_variables={"MARKS": "/dev/null", "TOKEN": "hunter2"})
    step.run(environment_variables={"MARKS": "/dev/null", "TOKEN": "hunter3"})
    assert "variable TOKEN changed" in step.bench.record()["reuse"]["reason"]
    for path in (step.bench.folder / "workspace").rglob("*.json"):
        assert "hunter" not in path.read_text(), path


def test_a_masked_argument_is_not_kept_and_still_counts(step: Step) -> None:
    def run(secret: str) -> dict[str, Any]:
        life = step.bench.life(step.made("--token", secret), reuse=True)
        life.mask = lambda value: json.loads(json.dumps(value).replace(secret, "***"))
        life.live()
        return life.record.facts

    run("hunter2")
    assert run("hunter3")["reuse"]["reason"] == "not reused: something masked in the arguments changed"
    assert run("hunter3")["reuse"]["decision"] == "reused"
    for path in (step.bench.folder / "workspace" / "runs").rglob("*.json"):
        assert "hunter" not in path.read_text(), path


def test_a_variable_that_the_worker_passes_on_counts(step: Step, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STEPWELL_PASS_VARIABLES", "FLAVOUR")
    monkeypatch.setenv("FLAVOUR", "sweet")
    step.run()
    assert step.run()["reuse"]["decision"] == "reused"
    monkeypatch.setenv("FLAVOUR", "sour")
    assert "the worker's variable FLAVOUR changed" in step.run()["reuse"]["reason"]


def test_a_user_managed_environment_counts_by_what_is_installed(step: Step, payload_python: Path) -> None:
    def environment(interpreter: Path) -> Any:
        made = Environment("mine")
        made.python.user_managed_dependencies = True
        made.python.interpreter_path = str(interpreter)
        return made

    step.run(environment=environment(payload_python))
    link = step.bench.folder / "python"
    link.symlink_to(payload_python)
    assert step.run(environment=environment(payload_python))["reuse"]["decision"] == "reused"
    assert step.run()["reuse"]["decision"] == "ran"


# -- who does not want it ---------------------------------------------------------------------------------------------


def test_allow_reuse_false_and_regenerate_outputs_run_and_what_they_make_is_reused_later(step: Step) -> None:
    step.run()
    assert step.run(allow_reuse=False)["reuse"]["reason"] == "allow_reuse=False"
    third = step.run(params={"regenerate_outputs": True})
    assert third["reuse"]["reason"] == "regenerate_outputs=True"
    assert step.ran == 3
    assert step.run()["reused_from"] == third["run_id"]
    assert step.ran == 3


def test_a_failed_run_is_not_reused(step: Step) -> None:
    (step.folder / "run.py").write_text(SCRIPT + "sys.exit(3)\n")
    for _ in range(2):
        with pytest.raises(ActivityFailedException):
            step.run()
    assert step.ran == 2
    assert step.bench.record()["reuse"]["reason"] == "not reused: no earlier run of this step has completed"


# -- what must not be handed on ---------------------------------------------------------------------------------------


def output_file(record: dict[str, Any]) -> Path:
    return Path(record["result"]["out"]["uri"].removeprefix("file://")) / "result.csv"


@pytest.mark.parametrize("registered", [True, False])
@pytest.mark.parametrize("damage", ["deleted", "truncated", "same size"])
def test_outputs_that_are_not_what_they_were_are_made_again(step: Step, damage: str, registered: bool) -> None:
    def output() -> Any:
        made = OutputFileDatasetConfig("out")
        return made.register_on_complete("result") if registered else made

    first = step.run(output=output())
    file = output_file(first)
    content = file.read_bytes()
    if damage == "deleted":
        file.unlink()
    else:
        file.write_bytes(content[:-3] if damage == "truncated" else b"z" + content[1:])
    again = step.run(output=output())
    assert step.ran == 2
    assert again["reuse"]["decision"] == "ran"
    assert f"what run {first['run_id']} made is not what it was" in again["reuse"]["reason"]
    assert output_file(again).read_bytes() == content
    assert step.run(output=output())["reused_from"] == again["run_id"], "the index names the good one now"


@pytest.mark.parametrize("damaged", ["entry", "record", "record gone", "last", "fingerprint", "snapshot"])
def test_a_damaged_or_lost_record_costs_a_run_and_no_more(step: Step, damaged: str) -> None:
    first = step.run()
    root = step.bench.folder / "workspace"
    (entry,) = (p for p in root.glob("reuse/??/*.json"))
    if damaged == "entry":
        entry.write_text('{"run": 3')
    elif damaged == "record":
        (root / "runs" / first["run_id"] / "run.json").write_text("nonsense")
    elif damaged == "record gone":
        (root / "runs" / first["run_id"] / "run.json").unlink()
    else:
        (step.folder / "notes.txt").write_text("two\n")
        paths = {
            "last": next(root.glob("reuse/last/*.json")),
            "fingerprint": root / "runs" / first["run_id"] / "fingerprint.json",
            "snapshot": next(root.glob("snapshots/*.zip")),
        }
        paths[damaged].write_text("{}")
    again = step.run()
    assert again["reuse"]["decision"] == "ran"
    expected = {
        "entry": "damaged",
        "record": "damaged",
        "record gone": "is gone",
        "last": "damaged",
        "fingerprint": "damaged",
        "snapshot": "notes.txt changed",
    }
    assert expected[damaged] in again["reuse"]["reason"]
    assert step.ran == 2
    assert step.run()["reuse"]["decision"] == "reused"


# -- gates ------------------------------------------------------------------------------------------------------------


def between(least: int, most: int) -> dict[str, Any]:
    kwargs = {"column": "b", "min_value": least, "max_value": most}
    return {"name": "s", "expectations": [{"type": "expect_column_values_to_be_between", "kwargs": kwargs}]}


def gated(*expectations: Any, **more: Any) -> Any:
    out = OutputFileDatasetConfig("out").register_on_complete("result")
    return out.validate_with(*expectations, **more) if expectations else out


def test_a_gate_that_changed_judges_what_is_there_and_the_step_does_not_run(step: Step) -> None:
    first = step.run("5,6", output=gated(between(0, 10)))
    assert step.run("5,6", output=gated(between(0, 10)))["reuse"]["decision"] == "reused"
    anew = step.run("5,6", output=gated(between(0, 20)))
    assert step.ran == 1
    assert anew["reuse"]["decision"] == "revalidated"
    assert "the gate of out changed" in anew["reuse"]["reason"]
    assert anew["verdicts"]["out"]["verdict"] == "passed"
    assert anew["metrics"] == {"rows": 3}
    assert anew["reused_from"] == first["run_id"]
    assert anew["result"]["out"]["version"] == 1, "the same data with the same verdict is the same version"
    with pytest.raises(GateFailedException):
        step.run("5,6", output=gated(between(0, 3)))
    assert output_file(first).exists(), "what is published stays"
    warned = step.run("5,6", output=gated(between(0, 3), on_failure="warn"))
    assert warned["result"]["out"]["verdict"] == "warned"
    assert warned["result"]["out"]["version"] == 2
    assert step.run("5,6", output=gated(between(0, 3), on_failure="warn"))["reuse"]["decision"] == "reused"
    assert step.run("5,6", output=gated())["reuse"]["decision"] == "reused", "no gate: nothing to judge"
    assert step.ran == 1


def test_a_validation_is_reused_with_what_it_promoted(bench: Bench) -> None:
    bench.put({"raw/a.csv": "a,b\n1,2\n"})
    Dataset.Tabular.from_delimited_files((bench.datastore, "raw/a.csv")).register(bench.ws, "raw")

    def validate(least: int) -> Any:
        data = Dataset.get_by_name(bench.ws, "raw")
        step = ValidateDatasetOperator(task_id="v", dataset=data, suite=between(least, 10), promote_as="good")
        return bench.run(step, reuse=True).references

    first = validate(0)
    assert validate(0)["dataset"]["reused_from"]
    assert bench.versions("good") == [1]
    assert validate(1)["dataset"]["digest"] == first["dataset"]["digest"]
    assert bench.record()["reuse"]["reason"] == "not reused: the expectations on dataset changed"


def test_a_worker_lost_while_a_gate_judges_anew_is_gone_on_with(step: Step) -> None:
    first = step.run("5,6", output=gated(between(0, 10)))

    def lost(life: Life) -> None:
        life._watch = die  # type: ignore[method-assign]

    stricter = gated(between(0, 20))
    with step.bench.elsewhere(step.made("5,6", output=stricter), prepare=lost, reuse=True) as worker:
        worker.process.join(60)
    again = step.run("5,6", output=gated(between(0, 20)))
    assert again["run_id"].endswith("-g2"), "the same run, adopted"
    assert again["reused_from"] == first["run_id"]
    assert step.ran == 1


# -- single flight ----------------------------------------------------------------------------------------------------


def test_of_two_that_want_the_same_at_once_one_runs(step: Step, tmp_path: Path) -> None:
    step.made()
    (step.folder / "run.py").write_text(SCRIPT + "import time; time.sleep(2)\n")
    with step.bench.meanwhile(step.made(task_id="one"), reuse=True) as one:
        until(lambda: step.ran)
        with step.bench.meanwhile(step.made(task_id="two"), reuse=True) as two:
            pass
    assert step.ran == 1
    assert one[0].references["out"]["version"] == two[0].references["out"]["version"] == 1
    assert "which makes the same; its result is taken" in step.bench.log.text
    assert not list((step.bench.folder / "workspace").glob("reuse/*/*.claim.json"))


def test_who_waits_runs_if_the_other_fails(step: Step) -> None:
    (step.folder / "run.py").write_text(
        SCRIPT + "import time; time.sleep(1); sys.exit(len(open(os.environ['MARKS']).readlines()) == 1)\n"
    )
    with step.bench.meanwhile(step.made(task_id="one"), reuse=True) as one:
        until(lambda: step.ran)
        with step.bench.meanwhile(step.made(task_id="two"), reuse=True) as two:
            pass
    assert isinstance(one[0], ActivityFailedException)
    assert two[0].references["out"]["version"] == 1
    assert step.ran == 2


def test_who_waits_can_be_cancelled(step: Step) -> None:
    (step.folder / "run.py").write_text(SCRIPT + "import time; time.sleep(2)\n")
    with step.bench.meanwhile(step.made(task_id="one"), reuse=True) as one:
        until(lambda: step.ran)
        life = step.bench.life(step.made(task_id="two"), reuse=True)
        threading.Timer(0.5, life.cancel).start()
        with pytest.raises(ActivityFailedException, match="was cancelled"):
            life.live()
        assert life.record.facts["status"] == "cancelled"
    assert one[0].references["out"]["version"] == 1


def test_the_claim_of_a_dead_worker_does_not_hold_for_ever(step: Step, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(flight, "SILENT", 1.0)

    def lost(life: Life) -> None:
        life._prepare = die  # type: ignore[method-assign]

    with step.bench.elsewhere(step.made(task_id="one"), prepare=lost, reuse=True) as worker:
        worker.process.join(60)
    assert list((step.bench.folder / "workspace").glob("reuse/*/*.claim.json"))
    assert step.run(task_id="two")["reuse"]["decision"] == "ran"
    assert step.ran == 1


# -- steps in a row ---------------------------------------------------------------------------------------------------


def test_what_makes_the_same_again_stops_the_change_from_going_on(bench: Bench) -> None:
    source = bench.source({"a.sh": "#!/bin/sh\nprintf 'a\\n1\\n' > $1/a.csv\n"})

    def first() -> dict[str, Any]:
        out = OutputFileDatasetConfig("a")
        step = CommandStepOperator(task_id="first", command=["sh", "a.sh", out], outputs=[out], source_directory=source)
        return bench.run(step, reuse=True).references["a"]

    def second(reference: dict[str, Any]) -> None:
        out = OutputFileDatasetConfig("b")
        step = CommandStepOperator(
            task_id="second", command=["sh", "-c", "cp -r $AZURE_ML_INPUT_a $0", out], inputs=None, outputs=[out]
        )
        step.inputs = {"a": {"mode": "download", "path_on_compute": None, "source": {"reference": reference}}}
        bench.run(step, reuse=True)

    second(first())
    Path(source, "a.sh").write_text("#!/bin/sh\n# a comment\nprintf 'a\\n1\\n' > $1/a.csv\n")
    reference = first()
    assert bench.record()["reuse"]["changes"] == ["a.sh changed (lines +1 -0)"]
    second(reference)
    assert bench.record()["reuse"]["decision"] == "reused"


def test_each_workspace_has_its_own(step: Step, tmp_path: Path) -> None:
    step.run()
    other = new_bench(tmp_path / "other")
    other.put({"raw/a.csv": "x,y\n1,2\n"})
    assert Step(other).run()["reuse"]["decision"] == "ran"


def test_a_record_says_it_in_plain_json(step: Step) -> None:
    step.run()
    record = json.dumps(step.run()["reuse"], sort_keys=True)
    assert json.loads(record)["decision"] == "reused"
