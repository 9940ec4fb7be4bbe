"""``airflow stepwell prune`` and ``PruneOperator``: a dry run unless told, and what they say."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from airflow.sdk.exceptions import AirflowException, AirflowFailException
from tests.integration.retention.conftest import HERE, Attic

from stepwell import cli
from stepwell.operators import PruneOperator
from stepwell.retention.rules import DAY

pytestmark = pytest.mark.integration
WHAT = ",".join(sorted(HERE))


@pytest.fixture
def old(attic: Attic, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """A run of 40 days ago, and a newer one of the same step."""
    monkeypatch.setenv("STEPWELL_ROOT", str(attic.root))
    record = attic.lived("a")
    attic.lived("b")
    place = attic.root / "runs" / record["run_id"] / "run.json"
    then = {name: record[name] - 40 * DAY for name in ("started", "ended")}
    place.write_text(json.dumps({**json.loads(place.read_text()), **then}))
    return record


def test_without_yes_it_only_says_what_would_go(
    old: dict[str, Any],
    attic: Attic,
    everything: Callable[[Path], dict[str, bytes]],
    capsys: pytest.CaptureFixture[str],
) -> None:
    before = everything(attic.root)
    assert cli.main(["prune", "--keep", "0", "--what", WHAT]) == 0
    out = capsys.readouterr().out
    assert "Nothing was removed; with --yes it is" in out
    assert old["run_id"] not in out
    assert cli.main(["prune", "--keep", "0", "--what", WHAT, "--verbose"]) == 0
    out = capsys.readouterr().out
    assert "40.0 days" in out
    assert "not one of those that are kept" in " ".join(out.split())
    assert cli.main(["prune", "--keep", "0", "--what", WHAT, "-o", "json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["dry_run"] is True
    assert document["totals"]["runs"]["count"] == 1
    assert everything(attic.root) == before


def test_ten_completed_runs_of_a_step_are_kept_by_default(
    old: dict[str, Any], attic: Attic, capsys: pytest.CaptureFixture[str]
) -> None:
    cli.main(["prune", "--yes", "--what", WHAT, "-o", "json"])
    assert json.loads(capsys.readouterr().out)["totals"] == {}
    assert old["run_id"] in attic.names("runs")


def test_with_yes_it_goes(old: dict[str, Any], attic: Attic, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["prune", "--keep", "0", "--what", WHAT, "--yes", "-o", "json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["dry_run"] is False
    assert {kind: one["count"] for kind, one in document["totals"].items()} == {"index": 1, "outputs": 1, "runs": 1}
    assert old["run_id"] not in attic.names("runs")
    assert not attic.data_of(old).exists()


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        (["--older-than", "30"], "error: --older-than is '30', which is no length of time"),
        (["--older-than", "1h"], "error: --older-than is '1h', which is less than a day"),
        (["--keep", "x"], "error: --keep is 'x'"),
        (["--what", "everything"], "error: --what names 'everything'"),
        (["--datasets", "a"], "error: --datasets and --keep-versions are given together"),
        (["--datasets", "a", "--keep-versions", "1"], "error: There is no dataset 'a'"),
    ],
)
def test_bad_values_are_said_and_nothing_goes(old: dict[str, Any], attic: Attic, argv: list[str], said: str) -> None:
    with pytest.raises(SystemExit) as end:
        cli.main(["prune", "--yes", *argv])
    assert str(end.value).startswith(said)
    assert old["run_id"] in attic.names("runs")


def test_what_cannot_be_removed_is_named_and_is_an_error_and_its_record_stays(
    old: dict[str, Any], attic: Attic, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from stepwell.data.stores.local import LocalBackend

    def forbidden(*_: Any, **__: Any) -> None:
        raise PermissionError(13, "Permission denied")

    with monkeypatch.context() as patch:
        patch.setattr(LocalBackend, "delete", forbidden)
        with pytest.raises(SystemExit, match="2 things could not be removed"):
            cli.main(["prune", "--keep", "0", "--what", WHAT, "--yes"])
        with pytest.raises(AirflowException, match="2 things could not be removed"):
            PruneOperator(task_id="prune", keep=0, what="runs").execute({})
    assert "Permission denied" in capsys.readouterr().err
    assert old["run_id"] in attic.names("runs"), "by it the next prune finds the data"
    assert cli.main(["prune", "--keep", "0", "--what", WHAT, "--yes"]) == 0
    assert not attic.data_of(old).exists()


def test_the_operator_takes_rendered_templates(old: dict[str, Any], attic: Attic) -> None:
    """A template renders to text, whatever the param was."""
    dry = PruneOperator(task_id="prune", keep="0", what=sorted(HERE), dry_run="True").execute({})
    assert dry["dry_run"] is True
    assert dry["totals"]["runs"]["count"] == 1
    assert old["run_id"] in attic.names("runs")
    done = PruneOperator(task_id="prune", keep="0", what=sorted(HERE), dry_run="False").execute({})
    assert (done["dry_run"], done["left"]) == (False, [])
    assert {kind: one["count"] for kind, one in done["totals"].items()} == {"index": 1, "outputs": 1, "runs": 1}
    assert old["run_id"] not in attic.names("runs")


def test_the_operator_fails_for_good_on_a_bad_value(old: dict[str, Any]) -> None:
    with pytest.raises(AirflowFailException, match="no length of time"):
        PruneOperator(task_id="prune", older_than="soon").execute({})


def test_the_operator_says_so_when_another_prune_goes_on(old: dict[str, Any], attic: Attic) -> None:
    from stepwell.errors import WorkspaceError
    from stepwell.retention.alone import alone

    with alone(attic.bench.ws, attic.said.append), pytest.raises(WorkspaceError, match="Another process"):
        PruneOperator(task_id="prune", keep=0, what="runs").execute({})
