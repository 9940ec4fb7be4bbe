"""``apply -f``: the file is checked, the difference shown, and the workspace made as it says."""

from __future__ import annotations

import io
import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.support.connections import Kept

from stepwell import ComputeTarget, LinkedService, SparkCompute, Workspace, cli
from stepwell.workspace.connections import set_connection_source


@pytest.fixture
def ws(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Workspace]:
    monkeypatch.setenv("STEPWELL_ROOT", str(tmp_path / "ws"))
    monkeypatch.delenv("STEPWELL_SCRATCH", raising=False)
    set_connection_source(Kept())
    yield Workspace()
    set_connection_source(None)


class File:
    def __init__(self, path: Path) -> None:
        self.path = path

    def apply(self, text: str, *options: str) -> int:
        self.path.write_text(text)
        return cli.main(["apply", "-f", str(self.path), *options])


@pytest.fixture
def file(tmp_path: Path) -> File:
    return File(tmp_path / "targets.yaml")


TWO = """
linked_services:
  pools: {master: "local[2]"}
targets:
  spark:
    kind: spark
    master: local[1]
    conf: {spark.sql.shuffle.partitions: 4}
    tags: {team: a}
    description: for small things
  pool1: {kind: synapse, linked_service: pools, pool_name: spark01}
"""


def changes(file: File, text: str, capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    """Return what a file would change: name → setting → [before, after]."""
    capsys.readouterr()
    file.apply(text, "--dry-run", "-o", "json")
    return {change["name"]: change["changes"] for change in json.loads(capsys.readouterr().out)}


def test_what_the_file_says_is_made_once(ws: Workspace, file: File, capsys: pytest.CaptureFixture[str]) -> None:
    file.apply(TWO, "--dry-run")
    said = capsys.readouterr().out
    assert "+ target spark" in said
    assert "+ linked service pools" in said
    assert [one.name for one in ComputeTarget.list(ws)] == ["local"]
    file.apply(TWO, "--yes")
    spark = ComputeTarget(ws, "spark").serialize()
    assert spark["properties"]["conf"] == {"spark.sql.shuffle.partitions": "4"}
    assert (spark["tags"], spark["description"]) == ({"team": "a"}, "for small things")
    assert LinkedService.get(ws, "pools").settings["master"] == "local[2]"
    assert ComputeTarget(ws, "pool1").type == "SynapseSpark"
    before = ComputeTarget(ws, "spark").serialize()["modifiedOn"]
    capsys.readouterr()
    file.apply(TWO, "--yes")
    assert "Nothing to change in the workspace default" in capsys.readouterr().out
    assert ComputeTarget(ws, "spark").serialize()["modifiedOn"] == before


def test_only_the_difference_is_shown_and_made(ws: Workspace, file: File, capsys: pytest.CaptureFixture[str]) -> None:
    file.apply(TWO, "--yes")
    other = TWO.replace("local[1]", "local[2]").replace("    description: for small things\n", "")
    assert changes(file, other, capsys) == {
        "spark": {"master": ["local[1]", "local[2]"], "description": ["for small things", None]}
    }
    file.apply(other, "--yes")
    assert ComputeTarget(ws, "spark").serialize()["properties"]["master"] == "local[2]"
    assert changes(file, other.replace('"local[2]"', '"local[4]"'), capsys) == {
        "pools": {"master": ["local[2]", "local[4]"]}
    }


def test_what_is_not_in_the_file_is_named_and_left_alone(
    ws: Workspace, file: File, capsys: pytest.CaptureFixture[str]
) -> None:
    ComputeTarget.attach(ws, "mine", SparkCompute.attach_configuration())
    file.apply(TWO, "--yes")
    assert "Not in the file, and left alone: mine" in capsys.readouterr().err
    assert "mine" in ws.compute_targets


def test_one_that_cannot_work_does_not_keep_the_others(
    ws: Workspace, file: File, capsys: pytest.CaptureFixture[str]
) -> None:
    text = TWO + "  away: {kind: spark, master: 'spark://127.0.0.1:9'}\n"
    with pytest.raises(SystemExit, match="Not done: away"):
        file.apply(text, "--yes")
    assert "away: The compute target 'away' cannot work: the master" in capsys.readouterr().err
    assert set(ws.compute_targets) == {"local", "pool1", "spark"}


def test_nobody_to_ask_changes_nothing(ws: Workspace, file: File) -> None:
    with pytest.raises(SystemExit, match="Nothing has been changed: there is nobody to ask"):
        file.apply(TWO)
    assert set(ws.compute_targets) == {"local"}


@pytest.mark.parametrize(("typed", "made"), [("yes\n", True), ("no\n", False), ("", False)])
def test_a_person_is_asked(ws: Workspace, file: File, monkeypatch: pytest.MonkeyPatch, typed: str, made: bool) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    monkeypatch.setattr(sys, "stdin", Terminal(typed))
    file.apply(TWO)
    assert ("spark" in ws.compute_targets) == made


MACHINE = "{kind: remote, address: 127.0.0.1:9, username: ml, host_key: 'SHA256:" + "A" * 43 + "'"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("targets: [a]", "targets of the file is not right"),
        ("target: {}", "'target'.*targets"),
        ("targets: {x: {master: a}}", "does not say the kind of the compute target 'x'"),
        ("targets: {x: {kind: sparc}}", "'sparc', the kind of the compute target 'x', is not known. Allowed: spark"),
        ("targets: {x: {kind: spark, mastr: a}}", "'mastr' is no setting of the compute target 'x'.*Allowed: master"),
        ("targets: {x: {kind: spark, conf: [a]}}", r"conf=\['a'\] is not right. Allowed: names with values"),
        ("targets: {x: {kind: spark, ship_environment: ja}}", "ship_environment='ja' is not right.*true or false"),
        ("targets: {local: {kind: spark}}", "'local' is a reserved name"),
        ("targets: {a/b: {kind: spark}}", "not a valid compute target name"),
        ("targets: {1x: {kind: synapse, linked_service: p, pool_name: q1}}", "'1x' is not a valid name"),
        ("targets: {xy: {kind: synapse, linked_service: p}}", "needs pool_name"),
        ("targets: {x: {kind: spark}, x: {kind: spark}}", "x"),
        ("targets: {x: " + MACHINE + ", password: hush-hush}}", "says the password of the compute target 'x'"),
        ("targets: {x: " + MACHINE + "}}", "Neither password nor private key"),
        ("targets: {x: " + MACHINE + ", password: ask, ssh_conn_id: y}}", "both say how to log in"),
        ("linked_services: {p: {mster: x}}", "'mster' is no setting of the linked service 'p'. Allowed: master"),
        ("targets: {x: {kind: spark", "line"),
    ],
)
def test_what_is_wrong_in_the_file_is_told_and_nothing_is_done(
    ws: Workspace, file: File, text: str, message: str
) -> None:
    with pytest.raises(SystemExit, match=message) as ended:
        file.apply(text, "--yes")
    assert "hush-hush" not in str(ended.value)
    assert "\n  File" not in str(ended.value)
    assert set(ws.compute_targets) == {"local"}


def test_a_file_that_is_not_there_is_told(ws: Workspace, tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match=re.escape("There is no file")):
        cli.main(["apply", "-f", str(tmp_path / "none.yaml")])


def test_a_cluster_of_so_many_nodes_is_created_and_changed(
    ws: Workspace, file: File, capsys: pytest.CaptureFixture[str]
) -> None:
    file.apply("targets:\n  cpu: {kind: amlcompute, max_nodes: 2}\n", "--yes")
    assert ComputeTarget(ws, "cpu").is_attached is False
    assert changes(file, "targets: {cpu: {kind: amlcompute, max_nodes: 2}}", capsys) == {}
    assert changes(file, "targets: {cpu: {kind: amlcompute, max_nodes: 3}}", capsys) == {"cpu": {"max_nodes": [2, 3]}}
    with pytest.raises(SystemExit, match="needs max_nodes"):
        file.apply("targets: {cpu: {kind: amlcompute}}")
    with pytest.raises(SystemExit, match="max_nodes=1 is less than min_nodes=2"):
        cli.main(["computetarget", "create", "amlcompute", "-n", "other", "--max-nodes", "1", "--min-nodes", "2"])
    cli.main(["computetarget", "create", "amlcompute", "-n", "other", "--max-nodes", "1"])
    with pytest.raises(SystemExit, match="Detach is not supported for AmlCompute object. Try to use delete instead"):
        cli.main(["computetarget", "detach", "other"])
    cli.main(["computetarget", "delete", "other"])
    with pytest.raises(SystemExit, match="'amlcompute' is no kind of compute target that can be attached"):
        cli.main(["computetarget", "attach", "amlcompute", "-n", "x"])


def test_all_that_is_wrong_with_a_file_is_said_at_once(ws: Workspace, file: File) -> None:
    wrong = "targets:\n  a: {kind: sparc}\n  good: {kind: spark, master: local}\n  b: {kind: spark, mistress: x}\n"
    with pytest.raises(SystemExit, match="(?s)2 entries of .*'sparc', .*of the compute target 'a'.*'mistress'.*Noth"):
        file.apply(wrong, "--yes")
    assert [one.name for one in ComputeTarget.list(ws)] == ["local"]
