"""A kind of another package, in one file, keeps the contract, and can be attached in every way that there is."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.contract.compute.case import Runner
from tests.contract.compute.contract import TargetContract
from tests.contract.compute.guarantees import TargetGuarantees

from stepwell import ComputeTarget, Workspace, cli
from stepwell.compute import records, registry
from stepwell.compute.classes import class_of
from stepwell.compute.contract import Target
from stepwell.compute.resolve import target_for
from stepwell.errors import UserErrorException

PACKAGE = Path(__file__).parent / "thirdparty"


@pytest.fixture(scope="module", autouse=True)
def installed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """The package, built and installed into a folder of its own, which is on the path while these tests run."""
    folder = tmp_path_factory.mktemp("thirdparty")
    source = shutil.copytree(PACKAGE, folder / "source", ignore=shutil.ignore_patterns("__pycache__"))
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel"], cwd=source, check=True, capture_output=True
    )
    (wheel,) = (source / "dist").glob("*.whl")
    shutil.unpack_archive(wheel, folder / "site", "zip")
    sys.path.insert(0, str(folder / "site"))
    yield
    sys.path.remove(str(folder / "site"))
    sys.modules.pop("stepwell_nice", None)
    ComputeTarget._classes.pop("Nice", None)


@pytest.fixture
def ws(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    monkeypatch.setenv("STEPWELL_ROOT", str(tmp_path / "ws"))
    monkeypatch.delenv("STEPWELL_SCRATCH", raising=False)
    return Workspace()


class TestNice(TargetContract, TargetGuarantees):
    @pytest.fixture
    def target(self, tmp_path: Path) -> Target:
        record = {"name": "slow", "configuration": {"level": 7}}
        return registry.target_class("nice").from_record(record, str(tmp_path / "scratch"))

    def test_a_step_stands_back(self, run: Runner) -> None:
        handle = run("import os; print('stands', os.nice(0), 'back', flush=True)")
        assert f"stands {os.nice(0) + 7} back" in run.log(handle)


def test_it_is_attached_by_v1s_calls(ws: Workspace) -> None:
    made = class_of("nice")
    assert made.__name__ == "NiceCompute"
    target = ComputeTarget.attach(ws, "slow", made.attach_configuration(level=3, tags={"team": "a"}))  # type: ignore[attr-defined]
    assert (target.type, target.is_attached, target.tags) == ("Nice", True, {"team": "a"})
    assert target_for(ws, "slow").level == 3  # type: ignore[attr-defined]
    found = ComputeTarget(ws, "slow")
    assert type(found) is made
    found.detach()
    with pytest.raises(UserErrorException, match="level=20 is not right. Allowed: 1 to 19"):
        made.attach_configuration(level=20)  # type: ignore[attr-defined]
    with pytest.raises(UserErrorException, match="'lvel' is no setting of .*Allowed: level"):
        made.attach_configuration(lvel=2)  # type: ignore[attr-defined]


def test_it_has_flags_and_help_on_the_command_line(ws: Workspace, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        cli.main(["computetarget", "attach", "nice", "--help"])
    assert ended.value.code == 0
    said = capsys.readouterr().out
    assert "--level N" in said
    assert "how far back they stand, 1 to 19 (default: 10)" in said
    cli.main(["computetarget", "attach", "nice", "-n", "slow", "--level", "5", "-o", "json"])
    assert json.loads(capsys.readouterr().out)["properties"] == {"level": 5}
    with pytest.raises(SystemExit, match="level=0 is not right"):
        cli.main(["computetarget", "attach", "nice", "-n", "slow", "--level", "0"])
    cli.main(["computetarget", "show", "slow"])
    assert "/nice" in capsys.readouterr().out


def test_it_is_made_from_a_file(ws: Workspace, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "targets.yaml").write_text("targets:\n  slow: {kind: nice, level: 4}\n")
    cli.main(["apply", "-f", str(tmp_path / "targets.yaml"), "--yes"])
    assert target_for(ws, "slow").level == 4  # type: ignore[attr-defined]
    capsys.readouterr()
    cli.main(["apply", "-f", str(tmp_path / "targets.yaml"), "--yes"])
    assert "Nothing to change" in capsys.readouterr().out


def test_a_kind_that_does_not_load_costs_itself_only(
    ws: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "site" / "broken-1.0.dist-info"
    folder.mkdir(parents=True)
    (folder / "METADATA").write_text("Metadata-Version: 2.1\nName: broken\nVersion: 1.0\n")
    (folder / "entry_points.txt").write_text("[stepwell.compute]\nbroken = nowhere:Target\n")
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    cli.main(["computetarget", "attach", "nice", "-n", "slow"])
    with pytest.raises(SystemExit, match="'nosuch' is no kind"):
        cli.main(["computetarget", "attach", "nosuch", "-n", "slow"])
    cli.main(["computetarget", "list"])
    assert "slow" in capsys.readouterr().out


def test_a_target_whose_package_is_gone_can_be_seen_and_detached(
    ws: Workspace, capsys: pytest.CaptureFixture[str]
) -> None:
    cli.main(["computetarget", "attach", "nice", "-n", "slow"])
    ws.store.update("compute/slow.json", lambda record: {**(record or {}), "type": "Gone", "kind": "gone"})
    assert [target.name for target in ComputeTarget.list(ws)] == ["local", "slow"]
    cli.main(["computetarget", "show", "slow"])
    with pytest.raises(SystemExit, match="There is no kind of compute target named 'gone'"):
        cli.main(["computetarget", "probe", "slow"])
    cli.main(["computetarget", "detach", "slow"])
    assert records.names(ws) == ["local"]
