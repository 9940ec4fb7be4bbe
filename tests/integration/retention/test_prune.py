"""Pruning: what nothing refers to goes, and nothing else does."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.integration.retention.conftest import HERE, Attic, paths

from stepwell import Dataset, OutputFileDatasetConfig
from stepwell.data import registry
from stepwell.errors import DatasetError, WorkspaceError
from stepwell.operators import CommandStepOperator
from stepwell.retention import plan
from stepwell.retention.rules import DAY
from stepwell.retention.sweep import sweep

pytestmark = pytest.mark.integration
Look = Callable[[Path], dict[str, bytes]]


# -- runs --------------------------------------------------------------------------------------------------------------


def test_a_plan_changes_nothing_and_young_runs_stay(attic: Attic, everything: Look) -> None:
    for content in "abc":
        attic.lived(content)
    before = everything(attic.root)
    assert attic.plan(days=29).items == []
    assert len(paths(attic.plan(), "runs")) == 2
    assert everything(attic.root) == before


def test_of_an_old_run_nothing_stays_and_the_last_one_of_its_step_does(attic: Attic) -> None:
    old, last = attic.lived("a"), attic.lived("b")
    done = attic.prune()
    assert not done.left
    assert attic.names("runs") == [last["run_id"]]
    assert not attic.data_of(old).exists()
    assert (attic.data_of(last) / "x.txt").read_text() == "b\n"
    assert not attic.head(old).exists(), "nothing of that step is left"
    assert attic.head(last).exists()
    assert not (attic.root / "manifests" / f"{old['outputs']['out']['id']}.json").exists()
    assert registry.resolve_reference(attic.bench.ws, last["outputs"]["out"]).size == 2
    assert attic.plan().items == [], "a second time there is nothing to do"


def test_the_newest_completed_runs_of_each_step_stay_and_failed_ones_go(attic: Attic) -> None:
    made = [attic.lived(content) for content in "abcd"]
    other = attic.lived("other", task="other")
    failed = attic.lived("e", fails=True)
    assert failed["status"] == "failed"
    attic.prune(keep=2)
    assert attic.names("runs") == sorted(r["run_id"] for r in [*made[2:], other])


def test_a_cleared_step_begins_anew_after_its_head_has_gone(attic: Attic) -> None:
    old, _ = attic.lived("a"), attic.lived("b")
    attic.prune()
    again = attic.lived("a")
    assert again["run_id"] == old["run_id"]
    assert (attic.data_of(again) / "x.txt").read_text() == "a\n"


def test_registered_data_stays_though_its_run_goes_and_the_step_counts_on(attic: Attic) -> None:
    old, _ = attic.lived("a", registered="data"), attic.lived("b", registered="data")
    attic.prune()
    assert old["run_id"] not in attic.names("runs")
    assert attic.bench.versions("data") == [1, 2]
    registry.verify(attic.bench.ws, registry.get(attic.bench.ws, "data", 1))
    assert attic.head(old).exists()
    again = attic.lived("a", registered="data")
    assert again["run_id"].endswith("-g2")
    assert attic.bench.versions("data") == [1, 2, 3]


def test_data_that_a_dataset_pins_later_stays_also_by_way_of_another_datastore(attic: Attic) -> None:
    from stepwell import Datastore

    one, two, _ = attic.lived("a"), attic.lived("b"), attic.lived("c")
    ws = attic.bench.ws
    Dataset.File.from_files((attic.bench.datastore, one["outputs"]["out"]["path"])).register(ws, "named")
    wider = Datastore.register_local(ws, "wider", attic.root)
    Dataset.File.from_files((wider, f"data/{two['outputs']['out']['path']}")).register(ws, "through")
    attic.prune()
    assert len(attic.names("runs")) == 1
    assert attic.data_of(one).exists()
    assert attic.data_of(two).exists()


def test_a_run_whose_work_a_kept_one_hands_on_stays(attic: Attic) -> None:
    first, between, again, last = (
        attic.lived(content, dag_run_id=str(i), reuse=True)
        for i, content in enumerate(("same", "other", "same", "new"))
    )
    assert again["reused_from"] == first["run_id"]
    attic.prune(keep=2)
    assert attic.names("runs") == sorted(r["run_id"] for r in (first, again, last))
    assert attic.data_of(first).exists()
    assert not attic.data_of(between).exists()


def test_a_step_that_has_promoted_a_version_counts_on(attic: Attic) -> None:
    """Its first run again would be taken for the one that has made that version."""
    attic.bench.put({"raw/a.csv": "x\n1\n"})
    old, _ = attic.lived("a"), attic.lived("b")
    made = Dataset.File.from_files((attic.bench.datastore, "raw/a.csv")).register(attic.bench.ws, "raw")
    version = registry.get(attic.bench.ws, "raw", made.version)
    producer = {"run": old["run_id"], "key": f"{old['run_id']}:dataset"}
    registry.register(attic.bench.ws, "good", version.definition, version.files, producer=producer)
    attic.prune()
    assert old["run_id"] not in attic.names("runs")
    assert attic.head(old).exists()


def test_what_is_under_way_stays_however_old(attic: Attic) -> None:
    made = [attic.lived(content) for content in "abcdef"]
    for record, phase in zip(made, ("begun", "submitted", "judged", "cancelling", "failed"), strict=False):
        attic.set_phase(record, phase)
    attic.prune()
    assert attic.names("runs") == sorted(r["run_id"] for r in [*made[:4], made[5]])
    assert all(attic.data_of(r).exists() for r in made[:4])


def test_what_a_run_under_way_reads_stays(attic: Attic) -> None:
    source, _ = attic.lived("a"), attic.lived("b")
    reader = attic.lived("c", task="reader")
    attic.set_phase(reader, "submitted")
    place = attic.root / "runs" / reader["run_id"] / "run.json"
    place.write_text(json.dumps({**json.loads(place.read_text()), "inputs": {"in": source["outputs"]["out"]}}))
    attic.prune()
    assert attic.data_of(source).exists()


def test_outputs_that_share_a_folder_go_one_by_one(attic: Attic) -> None:
    ws, store = attic.bench.ws, attic.bench.datastore
    first = OutputFileDatasetConfig("first", destination=(store, "both"))
    second = OutputFileDatasetConfig("second", destination=(store, "both")).register_on_complete("second")
    script = 'echo 1 > "$0/x"; echo 2 > "$1/y"'
    step = CommandStepOperator(task_id="two", command=["sh", "-c", script, first, second], outputs=[first, second])
    attic.bench.run(step)
    record = attic.bench.record()
    attic.bench.run(step, dag_run_id="later")
    attic.prune()
    assert not attic.data_of(record, "first").exists()
    registry.verify(ws, registry.get(ws, "second", 1))


def test_a_user_s_own_file_that_a_run_promoted_is_not_the_run_s(attic: Attic) -> None:
    attic.bench.put({"raw/a.csv": "x\n1\n"})
    record, _ = attic.lived("a"), attic.lived("b")
    place = attic.root / "runs" / record["run_id"] / "run.json"
    reference = {**record["outputs"]["out"], "path": "raw", "uri": f"file://{attic.bench.data}/raw"}
    place.write_text(json.dumps({**json.loads(place.read_text()), "outputs": {"out": reference}}))
    attic.prune()
    assert (attic.bench.data / "raw" / "a.csv").exists()


# -- versions ----------------------------------------------------------------------------------------------------------


def test_old_versions_go_when_told_and_only_what_steps_have_published(attic: Attic) -> None:
    ws = attic.bench.ws
    attic.bench.put({"raw/a.csv": "x\n1\n"})
    Dataset.File.from_files((attic.bench.datastore, "raw/a.csv")).register(ws, "data")
    made = [attic.lived(content, registered="data") for content in "abc"]
    second = registry.get(ws, "data", 2)
    registry.register(ws, "shares", registry.get(ws, "data", 3).definition, registry.get(ws, "data", 3).files)
    attic.prune(versions={"data": 1}, keep=10)
    assert attic.bench.versions("data") == [4]
    assert (attic.bench.data / "raw" / "a.csv").exists(), "the user's own"
    assert attic.data_of(made[0]).exists(), "a run that is kept names it"
    attic.prune(versions={"data": 1})
    assert not attic.data_of(made[0]).exists()
    assert attic.data_of(made[1]).exists(), "another dataset pins it"
    registry.verify(ws, registry.get(ws, "shares"))
    registry.verify(ws, registry.get(ws, "data"))
    with pytest.raises(DatasetError, match="no dataset with the id"):
        registry.look_up(ws, second.id)
    assert attic.names("retention/versions") == []


def test_data_of_versions_goes_also_when_their_runs_went_before(attic: Attic) -> None:
    made = [attic.lived(content, registered="data") for content in "abc"]
    attic.prune()
    done = attic.prune(versions={"data": 1})
    assert not done.left
    assert [attic.data_of(r).exists() for r in made] == [False, False, True]


def test_a_version_that_a_run_under_way_reads_stays(attic: Attic) -> None:
    made = [attic.lived(content, registered="data") for content in "abc"]
    reader = attic.lived("reader", task="reader")
    attic.set_phase(reader, "submitted")
    place = attic.root / "runs" / reader["run_id"] / "run.json"
    place.write_text(json.dumps({**json.loads(place.read_text()), "inputs": {"in": made[0]["outputs"]["out"]}}))
    done = attic.prune(versions={"data": 1})
    assert attic.bench.versions("data") == [1, 3]
    assert paths(done.removed, "versions") == ["datasets/data/2.json"]
    assert attic.data_of(made[0]).exists()


def test_data_of_versions_in_a_datastore_that_cannot_be_reached_goes_later(attic: Attic) -> None:
    from stepwell import Datastore

    folder = attic.bench.folder / "other"
    other = Datastore.register_local(attic.bench.ws, "other", folder)
    out = OutputFileDatasetConfig("out", destination=(other, "made")).register_on_complete("data")
    step = CommandStepOperator(task_id="far", command=["sh", "-c", 'echo 1 > "$0/x"', out], outputs=[out])
    for dag_run in "ab":
        attic.bench.run(step, dag_run_id=dag_run)
    assert len(list((folder / "made").iterdir())) == 2
    other.unregister()
    attic.prune(versions={"data": 1}, what=frozenset({"versions"}))
    assert attic.bench.versions("data") == [2]
    assert attic.names("retention/versions") == ["data.1.json"]
    Datastore.register_local(attic.bench.ws, "other", folder)
    attic.prune()
    assert len(list((folder / "made").iterdir())) == 1
    registry.verify(attic.bench.ws, registry.get(attic.bench.ws, "data"))
    assert attic.names("retention/versions") == []


def test_versions_of_a_dataset_that_is_not_there(attic: Attic) -> None:
    attic.lived("a", registered="passengers")
    with pytest.raises(DatasetError, match=r"no dataset 'pasengers'.*Allowed: passengers"):
        attic.plan(versions={"pasengers": 1})


# -- the rest ----------------------------------------------------------------------------------------------------------


def test_snapshots_of_kept_runs_stay(attic: Attic) -> None:
    one, two = (attic.bench.source({"a.txt": text}) for text in ("one", "two"))
    attic.lived("a", source=one)
    last = attic.lived("b", source=two)
    assert len(attic.names("snapshots")) == 2
    attic.prune(what=frozenset({"snapshots"}))
    assert len(attic.names("snapshots")) == 2, "the run that names it is there"
    attic.prune()
    assert attic.names("snapshots") == [f"{last['snapshot']['digest']}.zip"]


def test_leftovers_of_runs_that_are_over_go_and_those_of_others_stay(attic: Attic) -> None:
    over, under_way = attic.lived("a", fails=True), attic.lived("b")
    attic.set_phase(under_way, "submitted")
    private = attic.bench.data / ".stepwell"
    for kind in ("staging", "quarantine"):
        for run_id in (over["run_id"], under_way["run_id"], "another.workspace.0123456789-g1"):
            (private / kind / run_id / "out").mkdir(parents=True)
            (private / kind / run_id / "out" / "x").write_text("12345")
    (private / "tmp").mkdir(exist_ok=True)
    (private / "tmp" / "draft").write_text("123")
    (attic.root / ".tmp" / "grave").mkdir(parents=True)
    assert attic.plan(days=0.5).items == []
    found = attic.plan(days=2)
    assert paths(found, "staging") == [f".stepwell/staging/{over['run_id']}"]
    assert paths(found, "quarantine") == [], "that is kept as long as runs"
    attic.prune()
    for kind in ("staging", "quarantine"):
        left = sorted(os.listdir(private / kind))
        assert left == sorted([under_way["run_id"], "another.workspace.0123456789-g1"])
    assert os.listdir(private / "tmp") == []
    assert os.listdir(attic.root / ".tmp") == []


def test_the_index_loses_entries_of_runs_that_are_gone_damaged_ones_and_stale_claims(attic: Attic) -> None:
    attic.lived("a")
    folder = attic.root / "reuse" / "ab"
    folder.mkdir(parents=True)
    (folder / "ab01.json").write_text('{"run": "gone.0123456789-g1"}')
    (folder / "ab02.json").write_text("{")
    (folder / "ab03.claim.json").write_text('{"run": "gone.0123456789-g1", "slug": "gone.0123456789"}')
    assert paths(attic.plan(days=0.5), "index") == []
    attic.prune(what=frozenset({"index"}))
    assert os.listdir(folder) == []
    assert len(list((attic.root / "reuse").rglob("*.json"))) == 2, "those of the run that is there"


def test_a_damaged_record_is_left_alone_with_all_that_is_its(attic: Attic) -> None:
    record, _ = attic.lived("a"), attic.lived("b")
    (attic.root / "runs" / record["run_id"] / "run.json").write_text("{")
    found = attic.plan()
    assert found.items == [i for i in found.items if record["run_id"] not in i.path]
    assert any(record["run_id"] in note and "damaged" in note for note in found.notes)
    attic.prune()
    assert attic.data_of(record).exists()


def test_a_path_that_climbs_out_and_a_link_that_leads_out_are_not_followed(attic: Attic, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "precious").write_text("1")
    climbs, links, inside, _ = (attic.lived(content) for content in "abcd")
    place = attic.root / "runs" / climbs["run_id"] / "run.json"
    reference = {**climbs["outputs"]["out"], "path": f"../../outside/{climbs['run_id']}"}
    place.write_text(json.dumps({**json.loads(place.read_text()), "outputs": {"out": reference}}))
    data = attic.data_of(links)
    (data / "x.txt").unlink()
    data.rmdir()
    data.symlink_to(outside)
    (attic.data_of(inside) / "link").symlink_to(outside)
    (attic.root / "runs" / inside["run_id"] / "link").symlink_to(outside)
    attic.prune()
    assert (outside / "precious").exists()
    assert climbs["run_id"] in attic.names("runs")
    assert not attic.data_of(inside).exists()
    assert inside["run_id"] not in attic.names("runs")


def test_a_damaged_version_stops_all_that_removes_data(attic: Attic) -> None:
    record = attic.lived("a", registered="data")
    (attic.root / "datasets" / "data" / "1.json").write_text("[]")
    with pytest.raises(WorkspaceError, match="data version 1 is damaged"):
        attic.plan()
    assert attic.data_of(record).exists()
    attic.plan(what=frozenset({"snapshots", "staging"}))


def test_a_run_whose_datastore_cannot_be_reached_stays(attic: Attic) -> None:
    from stepwell import Datastore

    other = Datastore.register_local(attic.bench.ws, "other", attic.bench.folder / "other")
    out = OutputFileDatasetConfig("out", destination=(other, "made"))
    step = CommandStepOperator(task_id="far", command=["sh", "-c", 'echo 1 > "$0/x"', out], outputs=[out])
    attic.bench.run(step)
    record = attic.bench.record()
    attic.bench.run(step, dag_run_id="later")
    other.unregister()
    found = attic.plan()
    assert paths(found, "runs") == []
    assert any("datastore other" in note for note in found.notes)
    assert attic.data_of(record).exists()


# -- meanwhile ---------------------------------------------------------------------------------------------------------


def test_what_is_needed_since_the_plan_was_made_stays(attic: Attic) -> None:
    ws = attic.bench.ws
    source = attic.bench.source({"a.txt": "one"})
    made = [attic.lived(content, source=source) for content in "ab"]
    other = attic.lived("c", source=attic.bench.source({"a.txt": "two"}))
    found = attic.plan()
    assert {*paths(found, "runs")} == {f"runs/{r['run_id']}" for r in made}
    assert len(paths(found, "snapshots")) == 1
    Dataset.File.from_files((attic.bench.datastore, made[0]["outputs"]["out"]["path"])).register(ws, "kept")
    attic.lived("d", source=source, task="another")  # uses the snapshot that was to go
    done = sweep(ws, found)
    assert attic.data_of(made[0]).exists()
    assert not attic.data_of(made[1]).exists()
    assert len(attic.names("snapshots")) == 2
    assert {item.kind for item, _ in done.left} == {"outputs", "snapshots", "heads", "manifests"}
    assert other["run_id"] in attic.names("runs")


def test_a_step_that_has_just_begun_may_still_take_over_what_it_has_found(
    attic: Attic, monkeypatch: pytest.MonkeyPatch
) -> None:
    from stepwell.retention import sweep as sweeping
    from stepwell.step import state

    monkeypatch.setattr(sweeping, "PATIENCE", 0.2)
    old = attic.lived("a", reuse=True)
    attic.lived("b", reuse=True)
    found = attic.plan(days=0)
    assert found.items == []
    # What was made long ago; the step that begins is of now.
    for path in (attic.root / "runs" / old["run_id"] / "run.json",):
        record = json.loads(path.read_text())
        path.write_text(
            json.dumps({**record, "started": record["started"] - 40 * DAY, "ended": record["ended"] - 40 * DAY})
        )
    state.begin(attic.bench.ws, attic.bench.key(CommandStepOperator(task_id="begins", command=["true"])))
    done = attic.prune(days=0)
    assert attic.data_of(old).exists()
    assert {reason for _, reason in done.left} == {"a step that has just begun may be taking it over; next time"}
    for path in (attic.root / "jobs").glob("*begins*"):
        path.unlink()
    assert not attic.prune(days=0).left
    assert not attic.data_of(old).exists()


def test_a_second_prune_at_the_same_time_is_refused(attic: Attic) -> None:
    from stepwell.retention.alone import alone

    attic.lived("a")
    attic.lived("b")
    with alone(attic.bench.ws, attic.said.append):
        with pytest.raises(
            WorkspaceError, match=rf"Another process prunes the workspace default now \(pid {os.getpid()}"
        ):
            attic.prune()
    assert len(attic.names("runs")) == 2
    attic.prune()
    assert len(attic.names("runs")) == 1
    assert attic.names("retention") == ["versions"] or attic.names("retention") == []


@pytest.mark.slow
def test_many_runs_are_pruned_in_seconds(attic: Attic) -> None:
    """2,000 runs, each with an unregistered output, an entry in the index and a head."""
    record: dict[str, Any] = attic.lived("a", reuse=True)
    folder = attic.root / "runs" / record["run_id"]
    slug = record["run_id"].rpartition("-g")[0]
    text, head = (folder / "run.json").read_text(), attic.head(record).read_text()
    for i in range(2000):
        new = f"{slug[:-10]}{i:010x}"
        run_id = f"{new}-g1"
        made = attic.root / "runs" / run_id
        (made / "logs").mkdir(parents=True)
        (made / "run.json").write_text(text.replace(record["run_id"], run_id))
        (made / "logs" / "step.log").write_text("hello\n")
        data = Path(str(attic.data_of(record)).replace(record["run_id"], run_id))
        data.mkdir(parents=True)
        (data / "x.txt").write_text("a\n")
        (attic.root / "jobs" / f"{new}.json").write_text(head.replace(slug, new))
        entry = attic.root / "reuse" / f"{i % 256:02x}" / f"{i:064x}.json"
        entry.parent.mkdir(parents=True, exist_ok=True)
        entry.write_text(json.dumps({"format": 1, "run": run_id, "gates": {}}))
    began = time.monotonic()
    found = attic.plan(keep=0)
    planned = time.monotonic() - began
    assert len(paths(found, "runs")) == 2000
    done = sweep(attic.bench.ws, found, attic.said.append)
    seconds = time.monotonic() - began
    print(f"planned in {planned:.2f} s, all in {seconds:.2f} s")
    assert not done.left
    assert attic.names("runs") == [record["run_id"]]
    assert len(attic.names("jobs")) == 1
    assert seconds < 60


def test_a_plan_is_plain_data_with_sizes_ages_and_reasons(attic: Attic) -> None:
    attic.lived("a")
    attic.lived("b")
    found = attic.plan(what=HERE)
    document = json.loads(json.dumps(found.to_dict()))
    assert document["totals"]["outputs"] == {"count": 1, "bytes": 2}
    (item,) = (i for i in document["items"] if i["kind"] == "outputs")
    assert item["age"] == pytest.approx(40 * DAY, abs=120)
    assert "made by run" in item["why"]
    assert plan.make(attic.bench.ws, found.rules)[0].to_dict() == found.to_dict()
