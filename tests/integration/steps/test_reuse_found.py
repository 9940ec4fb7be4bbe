"""What reuse once got wrong: paths that count, files that moved, damaged records, gates judged anew, two at once."""

from __future__ import annotations

import json
import signal
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.integration.steps.test_reuse import Step, between, gated, output_file
from tests.integration.steps.test_reuse_hard import REGISTERING, claims, plain
from tests.support.steps import Bench, die, until

from stepwell import Dataset, OutputFileDatasetConfig
from stepwell.data import registry
from stepwell.errors import ActivityFailedException, DatasetChangedError
from stepwell.operators import CommandStepOperator
from stepwell.step import flight, handover
from stepwell.step.life import Life

pytestmark = pytest.mark.integration

#: Two files, one of them in a folder.
PAIR = """
import os, sys
out = sys.argv[1]
os.makedirs(out + "/folder")
open(out + "/train.csv", "w").write("a,b\\n1,2\\n")
open(out + "/folder/test.csv", "w").write("a,b\\n3,4\\n")
open(os.environ["MARKS"], "a").write("ran\\n")
"""
#: Makes other data each time that it runs: first 2, then 200.
GROWING = """
import os, sys
marks = os.environ["MARKS"]
value = 200 if os.path.exists(marks) else 2
open(sys.argv[1] + "/result.csv", "w").write(f"a,b\\n1,{value}\\n")
open(marks, "a").write("ran\\n")
"""
#: Ends once the file of its last argument is there.
PATIENT = """
import os, sys, time
open(os.environ["MARKS"], "a").write("ran\\n")
deadline = time.monotonic() + 40
while not os.path.exists(sys.argv[-1]) and time.monotonic() < deadline:
    time.sleep(0.05)
open(sys.argv[1] + "/result.csv", "w").write("a,b\\n1,2\\n")
"""


@pytest.fixture
def step(bench: Bench) -> Step:
    return Step(bench)


# -- paths count where the step sees them -----------------------------------------------------------------------------


def reader(bench: Bench, data: Any) -> dict[str, Any]:
    """Run a step that takes *data* and return its decision."""
    out = OutputFileDatasetConfig("out")
    command = ["sh", "-c", "echo x > $0/x", out]
    bench.run(CommandStepOperator(task_id="reads", command=command, inputs=[data], outputs=[out]), reuse=True)
    found: dict[str, Any] = bench.record()["reuse"]
    return found


def table(bench: Bench, *paths: str, **how: Any) -> Any:
    data = Dataset.Tabular.from_delimited_files([(bench.datastore, path) for path in paths], **how)
    return data.as_named_input("data")


def folder(bench: Bench, path: str) -> Any:
    return Dataset.File.from_files((bench.datastore, path)).as_named_input("data")


PARTS = {"partition_format": "/{Day:yyyy/MM}/a.csv"}


@pytest.mark.parametrize(
    ("one", "other", "decision"),
    [
        (lambda b: table(b, "d/2020/01/a.csv", **PARTS), lambda b: table(b, "d/2021/02/a.csv", **PARTS), "ran"),
        (
            lambda b: table(b, "d/2020/01/a.csv", include_path=True),
            lambda b: table(b, "d/2021/02/a.csv", include_path=True),
            "ran",
        ),
        (lambda b: table(b, "o/a.csv", "o/b.csv"), lambda b: table(b, "o/b.csv", "o/a.csv"), "ran"),
        (lambda b: folder(b, "p").as_hdfs(), lambda b: folder(b, "q").as_hdfs(), "ran"),
        (lambda b: table(b, "d/2020/01/a.csv"), lambda b: table(b, "d/2021/02/a.csv"), "reused"),
        (lambda b: folder(b, "p/y=1").as_hdfs(), lambda b: folder(b, "q/y=2").as_hdfs(), "reused"),
    ],
    ids=["partition_format", "include_path", "order", "partition folder", "columns only", "files only"],
)
def test_a_path_counts_where_the_step_sees_it(
    bench: Bench, one: Callable[[Bench], Any], other: Callable[[Bench], Any], decision: str
) -> None:
    bench.put({"d/2020/01/a.csv": "x\n1\n", "d/2021/02/a.csv": "x\n1\n"})
    bench.put({"o/a.csv": "x\n1\n", "o/b.csv": "x\n2\n"})
    bench.put({"p/y=1/part-0.csv": "1\n", "q/y=2/part-0.csv": "1\n"})
    assert reader(bench, one(bench))["decision"] == "ran"
    found = reader(bench, other(bench))
    assert found["decision"] == decision
    if decision == "ran":
        assert found["changes"] == ["input data has other data, or is read in another way"]
    assert reader(bench, other(bench))["decision"] == "reused"


@pytest.mark.parametrize("name", ["more.csv", "folder/more.csv", ".more"])
def test_a_folder_handed_over_by_address_that_got_another_file_is_refused(bench: Bench, name: str) -> None:
    bench.put({"raw/a.csv": "x\n1\n"})
    Dataset.File.from_files((bench.datastore, "raw")).register(bench.ws, "raw")

    def data() -> Any:
        return Dataset.get_by_name(bench.ws, "raw").as_named_input("data")

    reader(bench, data().as_hdfs())
    bench.put({f"raw/{name}": "x\n2\n"})
    with pytest.raises(DatasetChangedError, match=rf"raw version 1.* got more since: raw/{name}") as refused:
        reader(bench, data().as_hdfs())
    assert "Register the folder as a new version" in str(refused.value)
    assert reader(bench, data().as_download())["decision"] == "ran", "a copy holds what was pinned only"
    Dataset.File.from_files((bench.datastore, "raw")).register(bench.ws, "raw", create_new_version=True)
    assert reader(bench, data().as_hdfs())["decision"] == "ran"


# -- what must not be handed on ---------------------------------------------------------------------------------------


def swap(out: Path) -> None:
    one, other = out / "train.csv", out / "folder" / "test.csv"
    content = one.read_text()
    one.write_text(other.read_text())
    other.write_text(content)


TAMPERED: dict[str, Callable[[Path], object]] = {
    "swapped": swap,
    "renamed": lambda out: (out / "train.csv").rename(out / "zzz.csv"),
    "moved": lambda out: (out / "train.csv").rename(out / "folder" / "train.csv"),
    "added": lambda out: (out / "more.csv").write_text("a,b\n7,8\n"),
    "added below": lambda out: (out / "folder" / "more.csv").write_text("a,b\n7,8\n"),
}


@pytest.mark.parametrize("registered", [True, False], ids=["registered", "plain"])
@pytest.mark.parametrize("how", TAMPERED)
def test_an_output_whose_files_have_other_names_or_company_is_made_again(
    step: Step, how: str, registered: bool
) -> None:
    def run() -> dict[str, Any]:
        return step.run(output=gated() if registered else plain())

    (step.folder / "run.py").write_text(PAIR)
    first = run()
    TAMPERED[how](output_file(first).parent)
    again = run()
    assert again["reuse"]["decision"] == "ran"
    assert f"what run {first['run_id']} made is not what it was" in again["reuse"]["reason"]
    out = output_file(again).parent
    assert {str(p.relative_to(out)) for p in out.rglob("*.csv")} == {"train.csv", "folder/test.csv"}
    assert run()["reused_from"] == again["run_id"]


def test_what_is_handed_on_under_no_name_has_not_got_what_came_later(step: Step) -> None:
    first = step.run()
    (output_file(first).parent / "more.csv").write_text("a,b\n7,8\n")
    again = step.run(output=plain())
    assert (again["reuse"]["decision"], again["result"]["out"]["files"]) == ("ran", 1)


def test_what_the_script_registered_becomes_the_latest_again(step: Step) -> None:
    step.bench.put({"m/a": "a", "m/b": "b"})
    (step.folder / "run.py").write_text(REGISTERING)
    step.run("m/a")
    step.run("m/b")
    back = step.run("m/a")
    assert step.ran == 2
    latest = registry.get(step.bench.ws, "model")
    assert ([f.path for f in latest.files], latest.version) == (["m/a"], 3)
    (reference,) = back["registered_by_script"]
    assert (reference["dataset"], reference["version"]) == ("model", 3)
    assert reference["reused_from"] == back["reused_from"]
    step.run("m/a")
    assert step.bench.versions("model") == [1, 2, 3], "and stays it"


# -- damaged records --------------------------------------------------------------------------------------------------

DEEP = "[" * 200_000
AS_FOLDER = object()


def part(name: str, value: Any) -> Callable[[dict[str, Any]], dict[str, Any]]:
    def change(document: dict[str, Any]) -> dict[str, Any]:
        return {**document, name: value}

    change.__name__ = f"{name} is {value}"
    return change


def without_validations(document: dict[str, Any]) -> dict[str, Any]:
    return {**document, "parts": {k: v for k, v in document["parts"].items() if k != "validations"}}


def odd_input(document: dict[str, Any]) -> dict[str, Any]:
    return {**document, "parts": {**document["parts"], "inputs": {"data": {}}}}


def named(damage: Any) -> str:
    told = "a folder" if damage is AS_FOLDER else "deep" if damage == DEEP else str(damage)
    return damage.__name__ if callable(damage) else told


ODD: dict[str, list[Any]] = {
    "fingerprint": [
        *(AS_FOLDER, DEEP, "", '"text"', without_validations, odd_input),
        *(part("parts", {}), part("parts", []), part("files", None), part("files", [])),
        *(part("masked", []), part("packages", [])),
    ],
    "last": [
        *(AS_FOLDER, DEEP, part("inputs", ["x"]), part("inputs", {"data": 3})),
        *(part("run", 3), part("run", "../../x"), part("made_of", None), part("made_of", "../../x")),
    ],
    "entry": [AS_FOLDER, DEEP, part("run", None), part("run", 3), part("run", ["x"]), part("run", "../../etc")],
    "record": [
        *(AS_FOLDER, DEEP, part("verdicts", [1]), part("verdicts", {"out": "passed"})),
        *(part("outputs", None), part("outputs", []), part("outputs", {"out": None}), part("outputs", {"out": {}})),
        *(part("proofs", None), part("proofs", {}), part("proofs", {"out": 3})),
        *(part("metrics", "x"), part("metric_counts", "x"), part("metric_counts", {"rows": "x"}), part("tags", "x")),
        *(part("registered_by_script", "x"), part("registered_by_script", [3])),
    ],
}
DAMAGED = [(which, damage) for which, sorts in ODD.items() for damage in sorts]


@pytest.mark.parametrize(("which", "damage"), DAMAGED, ids=named)
def test_a_damaged_or_odd_record_costs_a_run_and_no_more(step: Step, which: str, damage: Any) -> None:
    first = step.run()
    root = step.bench.folder / "workspace"
    places = {
        "fingerprint": root / "runs" / first["run_id"] / "fingerprint.json",
        "last": next(root.glob("reuse/last/*.json")),
        "entry": next(root.glob("reuse/??/*.json")),
        "record": root / "runs" / first["run_id"] / "run.json",
    }
    place = places[which]
    document = json.loads(place.read_text())
    if damage is AS_FOLDER:
        place.unlink()
        place.mkdir()
    else:
        place.write_text(damage if isinstance(damage, str) else json.dumps(damage(document)))
    if which in ("fingerprint", "last"):  # they are read for the explanation only
        (step.folder / "notes.txt").write_text("two\n")
    again = step.run()
    assert again["reuse"]["decision"] == "ran"
    assert again["reuse"]["reason"].startswith("not reused: ")
    assert (again["status"], step.ran) == ("completed", 2)
    third = step.run()
    if damage is AS_FOLDER and which == "entry":  # nothing of ours takes a folder away: each run says so, and goes on
        assert (third["reuse"]["decision"], third["status"]) == ("ran", "completed")
        assert "This run may not be found for reuse" in step.bench.log.text
    else:
        assert third["reused_from"] == again["run_id"]


@pytest.mark.parametrize("place", ["reuse", "reuse/last"])
def test_an_index_that_cannot_be_written_is_in_nobody_s_way(step: Step, place: str) -> None:
    blocked = step.bench.folder / "workspace" / place
    blocked.parent.mkdir(exist_ok=True)
    blocked.write_text("a file")
    for _ in range(2):
        assert step.run()["status"] == "completed"
    assert "This run may not be found for reuse" in step.bench.log.text
    assert blocked.read_text() == "a file"
    blocked.unlink()
    assert step.run()["status"] == "completed"
    assert step.run()["reuse"]["decision"] == "reused"


# -- gates ------------------------------------------------------------------------------------------------------------


def lost_at(name: str) -> Callable[[Life], None]:
    return lambda life: setattr(life, name, die)


def test_a_validation_that_goes_on_hands_on_the_run_that_it_judged(step: Step) -> None:
    (step.folder / "run.py").write_text(GROWING)
    judged = step.run(output=gated(between(0, 1000)))
    stricter = gated(between(0, 20))
    with step.bench.elsewhere(step.made(output=stricter), prepare=lost_at("_watch"), reuse=True) as worker:
        assert worker.ended() == -signal.SIGKILL
    other = step.run(output=gated(between(0, 1000)), params={"regenerate_outputs": True}, task_id="another")
    assert "200" in output_file(other).read_text()
    again = step.run(output=gated(between(0, 20)))
    assert again["verdicts"]["out"]["verdict"] == "passed"
    assert again["reused_from"] == judged["run_id"]
    assert again["result"]["out"]["uri"] == judged["result"]["out"]["uri"]
    assert "200" not in output_file(again).read_text()
    third = step.run(output=gated(between(0, 20)))
    assert (third["reuse"]["decision"], third["result"]["out"]) == (
        "reused",
        again["result"]["out"],
    )
    assert step.ran == 2


def test_a_validation_whose_data_is_gone_is_not_gone_on_with(step: Step) -> None:
    judged = step.run("5,6", output=gated(between(0, 10)))
    stricter = gated(between(0, 20))
    with step.bench.elsewhere(step.made("5,6", output=stricter), prepare=lost_at("_watch"), reuse=True) as worker:
        assert worker.ended() == -signal.SIGKILL
    output_file(judged).unlink()
    with pytest.raises(ActivityFailedException, match="cannot be handed on any more"):
        step.run("5,6", output=gated(between(0, 20)))
    again = step.run("5,6", output=gated(between(0, 20)))
    assert (again["reuse"]["decision"], again["status"], step.ran) == ("ran", "completed", 2)


@pytest.mark.parametrize("by", ["train", "another"])
def test_a_worker_lost_before_the_end_of_a_validation_leaves_one_version(step: Step, by: str) -> None:
    first = step.run("5,6", output=gated(between(0, 3), on_failure="warn"))
    anew = step.made("5,6", output=gated(between(0, 10)))
    with step.bench.elsewhere(anew, prepare=lost_at("_end"), reuse=True, dag_run_id="run 2") as worker:
        assert worker.ended() == -signal.SIGKILL
    again = step.run("5,6", output=gated(between(0, 10)), dag_run_id="run 2", task_id=by)
    assert (again["status"], again["reused_from"]) == ("completed", first["run_id"])
    assert (again["result"]["out"]["verdict"], again["result"]["out"]["version"]) == ("passed", 2)
    assert (step.ran, step.bench.versions("result")) == (1, [1, 2])
    assert step.run("5,6", output=gated(between(0, 10)))["reuse"]["decision"] == "reused"


def test_judging_anew_needs_no_secret(step: Step, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_X", "generic://:hunter2@h")
    step.run("5,6", output=gated(between(0, 10)), secrets={"TOKEN": "x"})
    monkeypatch.delenv("AIRFLOW_CONN_X")
    anew = step.run("5,6", output=gated(between(0, 20)), secrets={"TOKEN": "x"})
    assert (anew["reuse"]["decision"], step.ran) == ("revalidated", 1)


# -- at once ----------------------------------------------------------------------------------------------------------


def test_a_job_that_is_gone_on_with_holds_the_claim(step: Step, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(flight, "BEAT", 0.1)
    monkeypatch.setattr(flight, "SILENT", 1.5)
    (step.folder / "run.py").write_text(PATIENT)
    go = step.bench.folder / "go"

    def made(task_id: str) -> Any:
        return step.made(str(go), task_id=task_id)

    with step.bench.elsewhere(made("one"), prepare=lost_at("_watch"), reuse=True) as worker:
        assert worker.ended() == -signal.SIGKILL
    until(lambda: step.ran)
    with step.bench.meanwhile(made("one"), reuse=True) as one:
        until(lambda: any(json.loads(claim.read_text())["beat"] > 1 for claim in claims(step)))
        with step.bench.meanwhile(made("two"), reuse=True) as two:
            until(lambda: "which makes the same; its result is taken" in step.bench.log.text)
            threading.Event().wait(2 * flight.SILENT)
            assert (one, two) == ([], [])
            go.touch()
    assert step.ran == 1
    assert two[0].references["out"]["version"] == one[0].references["out"]["version"] == 1
    assert claims(step) == []


def test_two_that_are_reused_at_once_make_one_version(step: Step, monkeypatch: pytest.MonkeyPatch) -> None:
    step.run("a")
    step.run("b")
    same, both = handover._same, threading.Barrier(2)

    def slow(*versions: Any) -> bool:
        found = same(*versions)
        try:
            both.wait(1.0)  # two at this place would both make a version
        except threading.BrokenBarrierError:
            pass
        return found

    monkeypatch.setattr(handover, "_same", slow)
    with (
        step.bench.meanwhile(step.made("a", task_id="one"), reuse=True) as one,
        step.bench.meanwhile(step.made("a", task_id="two"), reuse=True) as two,
    ):
        pass
    assert one[0].references["out"]["version"] == two[0].references["out"]["version"] == 3
    assert (step.bench.versions("result"), step.ran) == ([1, 2, 3], 2)


# -- the same, written otherwise; and what is told --------------------------------------------------------------------


def test_the_script_is_the_same_however_it_is_named(step: Step) -> None:
    step.run()
    for name in ("./run.py", "folder/../run.py", str(step.folder / "run.py")):
        assert step.run(script_name=name)["reuse"]["decision"] == "reused", name
    assert step.ran == 1


def test_params_may_have_keys_of_several_types(step: Step) -> None:
    step.run(params={"of": {1: 2, "b": 3, None: 4}})
    assert step.run(params={"of": {"b": 3, None: 4, 1: 2}})["reuse"]["decision"] == "reused"
    assert step.run(params={"of": {1: 2, "b": 4, None: 4}})["reuse"]["decision"] == "ran"


def test_a_reason_is_short_and_can_be_printed(step: Step) -> None:
    step.run(*(f"{'x' * 70}{n}a" for n in range(1000)), params={"p" * 100_000: "1"})
    (step.folder / "x\u202e.py").write_text("1")
    again = step.run(*(f"\x1b[2J\n{'x' * 70}{n}b" for n in range(1000)), params={"p" * 100_000: "v\n\x1b\u202e"})
    reuse = again["reuse"]
    assert reuse["decision"] == "ran"
    for text in (reuse["reason"], *reuse["changes"]):
        assert text.isprintable(), text
    assert len(reuse["reason"]) <= 2000
    assert len(json.dumps(reuse)) < 10_000
    assert "x\ufffd.py is new" in reuse["changes"]
    (line,) = (line for line in step.bench.log.lines if "is new" in line)
    assert line.isprintable()
