"""Reuse under hard conditions: files changed behind its back, workers lost at each point, a full disk, many changes."""

from __future__ import annotations

import datetime
import errno
import json
import re
import signal
from pathlib import Path
from typing import Any

import pytest
from tests.integration.steps.test_reuse import SCRIPT, Step, between, gated, output_file
from tests.support.steps import Bench, die

from stepwell import Environment, OutputFileDatasetConfig
from stepwell.errors import ActivityFailedException, GateFailedException, WorkspaceError
from stepwell.operators import PythonScriptStepOperator
from stepwell.step import handover
from stepwell.step.life import Life
from stepwell.step.reuse import Index
from stepwell.step.tenure import Overtaken
from stepwell.workspace import disk

pytestmark = pytest.mark.integration

#: Files of all sorts, in folders.
TREE = """
import os, sys
out = sys.argv[1]
os.makedirs(out + "/folder")
for name in ("a.csv", "folder/b.csv", ".hidden", "_marked"):
    open(f"{out}/{name}", "w").write(name)
open(os.environ["MARKS"], "a").write("ran\\n")
"""
#: Registers what its last argument names.
REGISTERING = """
import os, sys
from azureml.core import Dataset, Run
workspace = Run.get_context().experiment.workspace
data = Dataset.File.from_files((workspace.get_default_datastore(), sys.argv[-1]))
data.register(workspace, "model", create_new_version=True)
open(sys.argv[1] + "/x.csv", "w").write("x")
open(os.environ["MARKS"], "a").write("ran\\n")
"""
TWO = """
import os, sys
for folder in sys.argv[1:3]:
    open(folder + "/x.csv", "w").write("a,b\\n1,2\\n")
open(os.environ["MARKS"], "a").write("ran\\n")
"""


@pytest.fixture
def step(bench: Bench) -> Step:
    return Step(bench)


def plain() -> Any:
    return OutputFileDatasetConfig("out")


def claims(step: Step) -> list[Path]:
    return list((step.bench.folder / "workspace").glob("reuse/*/*.claim.json"))


# -- what must not be handed on ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("registered", [True, False])
@pytest.mark.parametrize("name", ["folder/b.csv", ".hidden", "_marked"])
def test_each_file_of_an_output_is_looked_at(step: Step, name: str, registered: bool) -> None:
    (step.folder / "run.py").write_text(TREE)
    first = step.run(output=gated() if registered else plain())
    (output_file(first).parent / name).write_text("changed")
    assert step.run(output=gated() if registered else plain())["reuse"]["decision"] == "ran"
    assert step.ran == 2


def test_a_file_added_to_an_output_that_is_not_registered_is_noticed(step: Step) -> None:
    first = step.run(output=plain())
    (output_file(first).parent / "more.csv").write_text("a,b\n7,8\n")
    assert "is not what it was" in step.run(output=plain())["reuse"]["reason"]


@pytest.mark.parametrize("lost", ["file", "content", "version"])
def test_what_the_script_has_registered_must_be_there_too(step: Step, lost: str) -> None:
    step.bench.put({"models/a": "a model"})
    (step.folder / "run.py").write_text(REGISTERING)
    step.run("models/a")
    assert step.run("models/a")["reuse"]["decision"] == "reused"
    if lost == "version":
        (step.bench.folder / "workspace" / "datasets" / "model" / "1.json").unlink()
    else:
        (step.bench.data / "models" / "a").write_text("another")
    if lost == "file":
        (step.bench.data / "models" / "a").unlink()
        with pytest.raises(Exception, match="models/a"):  # the script does not find it either
            step.run("models/a")
    else:
        step.run("models/a")
    assert "is not what it was" in step.bench.record()["reuse"]["reason"]
    assert step.ran == 2


def test_an_index_that_leads_out_of_the_runs_costs_a_run(step: Step) -> None:
    step.run()
    (entry,) = (step.bench.folder / "workspace").glob("reuse/??/*.json")
    entry.write_text(json.dumps({**json.loads(entry.read_text()), "run": "../../elsewhere"}))
    assert "is not a valid run name" in step.run()["reuse"]["reason"]
    assert step.run()["reuse"]["decision"] == "reused"


# -- gates ------------------------------------------------------------------------------------------------------------


def test_of_two_outputs_only_the_one_whose_gate_changed_is_judged(step: Step) -> None:
    (step.folder / "run.py").write_text(TWO)

    def run(least: int) -> dict[str, Any]:
        one = OutputFileDatasetConfig("one").register_on_complete("one").validate_with(between(0, 10))
        two = OutputFileDatasetConfig("two").register_on_complete("two").validate_with(between(least, 10))
        both = PythonScriptStepOperator(
            task_id="both",
            script_name="run.py",
            source_directory=str(step.folder),
            arguments=[one, two],
            outputs=[one, two],
            environment_variables={"MARKS": str(step.marks)},
        )
        step.bench.run(both, reuse=True)
        return step.bench.record()

    first = run(0)
    anew = run(1)
    assert anew["reuse"]["reason"].startswith("validated anew: the gate of two changed; all else")
    assert anew["verdicts"]["one"]["run"] == first["run_id"], "judged then"
    assert "run" not in anew["verdicts"]["two"], "judged now"
    assert run(1)["reuse"]["decision"] == "reused"
    assert (step.ran, step.bench.versions("one"), step.bench.versions("two")) == (1, [1], [1])


@pytest.mark.slow
def test_a_suite_is_known_by_its_content_and_what_it_leads_to(step: Step, tmp_path: Path) -> None:
    suite = tmp_path / "suite.json"

    def run(on_failure: str = "fail") -> dict[str, Any]:
        return step.run("5,6", output=gated(str(suite), on_failure=on_failure))

    suite.write_text(json.dumps(between(0, 10)))
    run()
    suite.write_text(json.dumps(between(0, 3)))
    for _ in range(2):
        with pytest.raises(GateFailedException):
            run()
    assert run("warn")["result"]["out"]["verdict"] == "warned"
    with pytest.raises(GateFailedException):
        run("quarantine")
    assert step.ran == 1
    suite.write_text(json.dumps(between(0, 10)))
    assert run()["result"]["out"]["verdict"] == "passed"
    assert step.ran == 1


# -- the same, written otherwise --------------------------------------------------------------------------------------


def test_relative_folders_and_the_order_of_params_make_no_difference(
    step: Step, monkeypatch: pytest.MonkeyPatch
) -> None:
    step.run(params={"when": datetime.date(2026, 1, 2), "of": (1, 2), "more": {"a": 1, "b": 2}})
    monkeypatch.chdir(step.folder)
    step.folder = Path(".")
    again = step.run(params={"more": {"b": 2, "a": 1}, "of": [1, 2], "when": "2026-01-02"})
    assert again["reuse"]["decision"] == "reused"


def test_an_environment_is_the_same_however_it_is_written(step: Step, tmp_path: Path) -> None:
    (tmp_path / "requirements.txt").write_text("# six\nsix==1.16.0\n")
    (tmp_path / "conda.yml").write_text("name: x\ndependencies:\n- pip:\n  - six==1.16.0\n")
    written = Environment("any")
    written.python.conda_dependencies.add_pip_package("six==1.16.0")
    step.run(environment=str(tmp_path / "requirements.txt"))
    for environment in (written, str(tmp_path / "conda.yml")):
        assert step.run(environment=environment)["reuse"]["decision"] == "reused"


def test_a_mapped_instance_takes_what_another_has_made(step: Step) -> None:
    first = step.run(output=plain())
    life = step.bench.life(step.made(output=plain()), reuse=True, map_index=3)
    assert life.live().references["out"]["reused_from"] == first["run_id"]


# -- lost, overtaken, cancelled, full ---------------------------------------------------------------------------------


@pytest.mark.parametrize("at", ["_decide", "_hand_on", "versions", "reused"])
def test_a_worker_lost_while_it_hands_on_leaves_one_version(step: Step, at: str) -> None:
    step.run("a")
    step.run("b")
    versions = handover.versions

    def registers_and_dies(*args: Any) -> Any:
        versions(*args)
        die()

    def lost(life: Life) -> None:  # in a process of its own: what is replaced here is replaced there only
        if at == "versions":
            handover.versions = registers_and_dies
        else:
            setattr(Index if at == "reused" else life, at, die)

    with step.bench.elsewhere(step.made("a"), prepare=lost, reuse=True, dag_run_id="run 2") as worker:
        assert worker.ended() == -signal.SIGKILL
    again = step.run("a", dag_run_id="run 2")
    assert again["reuse"]["decision"] == "reused"
    assert again["result"]["out"]["version"] == 3
    assert (step.ran, step.bench.versions("result"), claims(step)) == (2, [1, 2, 3], [])


@pytest.mark.parametrize("at", ["_submit", "_collect", "versions", "made"])
def test_a_worker_lost_while_it_judges_anew_leaves_one_version(step: Step, at: str) -> None:
    step.run("5,6", output=gated(between(0, 3), on_failure="warn"))
    versions = handover.versions

    def registers_and_dies(*args: Any) -> Any:
        versions(*args)
        die()

    def lost(life: Life) -> None:
        if at == "versions":
            handover.versions = registers_and_dies
        else:
            setattr(Index if at == "made" else life, at, die)

    anew = step.made("5,6", output=gated(between(0, 10)))
    with step.bench.elsewhere(anew, prepare=lost, reuse=True, dag_run_id="run 2") as worker:
        assert worker.ended() == -signal.SIGKILL
    again = step.run("5,6", output=gated(between(0, 10)), dag_run_id="run 2")
    assert again["reuse"]["decision"] == "revalidated"
    assert again["result"]["out"]["verdict"] == "passed"
    assert (step.ran, step.bench.versions("result")) == (1, [1, 2])


def test_a_try_that_was_overtaken_while_it_decided_hands_on_nothing(step: Step) -> None:
    step.run("a")
    step.run("b")
    life = step.bench.life(step.made("a"), reuse=True, dag_run_id="run 2")
    decide = life._decide

    def freezes(*args: Any) -> Any:
        decided = decide(*args)
        step.run("a", dag_run_id="run 2")
        return decided

    life._decide = freezes  # type: ignore[method-assign]
    with pytest.raises(Overtaken):
        life.live()
    assert step.bench.versions("result") == [1, 2, 3]


def test_a_try_that_is_overtaken_while_it_hands_on_registers_nothing_twice(
    step: Step, monkeypatch: pytest.MonkeyPatch
) -> None:
    step.run("a")
    step.run("b")
    versions = handover.versions

    def freezes(*args: Any) -> Any:
        monkeypatch.setattr(handover, "versions", versions)
        step.run("a", dag_run_id="run 2")
        return versions(*args)

    monkeypatch.setattr(handover, "versions", freezes)
    assert step.run("a", dag_run_id="run 2")["result"]["out"]["version"] == 3
    assert step.bench.versions("result") == [1, 2, 3]


def test_a_cancel_after_the_decision_stops_it(step: Step) -> None:
    step.run("a")
    step.run("b")
    life = step.bench.life(step.made("a"), reuse=True)
    decide = life._decide

    def cancelled(*args: Any) -> Any:
        decided = decide(*args)
        life.cancel()
        return decided

    life._decide = cancelled  # type: ignore[method-assign]
    with pytest.raises(ActivityFailedException, match="was cancelled"):
        life.live()
    assert life.record.facts["status"] == "cancelled"
    assert step.bench.versions("result") == [1, 2]


def test_who_waits_for_its_retry_holds_no_claim(step: Step) -> None:
    (step.folder / "run.py").write_text(SCRIPT + "sys.exit(3)\n")
    with pytest.raises(ActivityFailedException):
        step.run()
    assert claims(step) == []


@pytest.mark.parametrize("where", [r"/reuse/.*claim", r"/reuse/last/", r"/reuse/../[0-9a-f]+\.json$", r"/fingerprint"])
@pytest.mark.parametrize("wanted", ["ran", "reused"])
def test_a_full_disk_leaves_nothing_twice(step: Step, where: str, wanted: str, monkeypatch: pytest.MonkeyPatch) -> None:
    step.run("a")
    step.run("b")
    argument = "c" if wanted == "ran" else "a"
    replace, told = disk.replace, []

    def full(path: Path, *args: Any, **more: Any) -> None:
        if re.search(where, str(path)):
            raise OSError(errno.ENOSPC, "No space left on device")
        replace(path, *args, **more)

    with monkeypatch.context() as patch:
        patch.setattr(disk, "replace", full)
        try:
            step.run(argument)
        except WorkspaceError as error:
            told.append(str(error))
    assert all("no space is left" in text for text in told)
    again = step.run(argument)
    # A step that ran and could not be noted is not found again: that costs a run.
    unnoted = wanted == "ran" and where.startswith("/reuse/../")
    assert again["result"]["out"]["version"] == (4 if unnoted else 3)
    assert step.bench.versions("result") == ([1, 2, 3, 4] if unnoted else [1, 2, 3])
    assert step.ran == (2 if wanted == "reused" else 4 if unnoted else 3)
    assert (claims(step), step.bench.staged()) == ([], [])


# -- what is told -----------------------------------------------------------------------------------------------------


def test_many_and_large_changes_are_told_in_few_words(step: Step) -> None:
    large = step.folder / "large.csv"
    large.write_text("a,b\n" * 1_000_000)
    for number in range(1500):
        (step.folder / f"m{number:04}.py").write_text("x = 1\n")
    step.run("a" * 100_000)
    large.write_text("a,b\n" * 1_000_001)
    for number in range(1500):
        (step.folder / f"m{number:04}.py").write_text("x = 2\n")
    told = step.run("b" * 100_000)["reuse"]
    assert told["changes"][:2] == ["large.csv changed", "m0000.py changed (lines +1 -1)"]
    assert "1496 more files changed" in told["changes"]
    assert len(told["reason"]) < 1000
