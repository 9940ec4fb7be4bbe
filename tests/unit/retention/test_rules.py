"""What users write down, and how places are compared."""

from __future__ import annotations

from typing import Any

import pytest

from stepwell.errors import UserErrorException
from stepwell.retention.places import Places, own_folder, published, split_run, unit
from stepwell.retention.rules import DAY, GROUPS, rules, seconds

RUN = "a_dag.train.0123456789-g1"


def test_defaults() -> None:
    found = rules()
    assert (found.older_than, found.keep, found.environments_unused_for) == (30 * DAY, 10, 90 * DAY)
    assert (found.what, found.versions) == (frozenset(GROUPS), {})


@pytest.mark.parametrize(
    ("text", "days"), [("30d", 30), ("36h", 1.5), ("2w", 14), (" 1.5 d ", 1.5), ("24h", 1), ("1d", 1)]
)
def test_lengths_of_time(text: str, days: float) -> None:
    assert seconds("--older-than", text) == days * DAY


@pytest.mark.parametrize("text", ["", "30", "d", "-3d", "30 days", "3m", "1e3d", "٣d", "99999999d", None, 30])
def test_what_is_no_length_of_time_is_refused(text: Any) -> None:
    with pytest.raises(UserErrorException, match=r"^--older-than is .* no length of time.* Allowed: 30d, 36h, 2w"):
        rules(older_than=text)


@pytest.mark.parametrize("text", ["0d", "1h", "23.9h"])
def test_less_than_a_day_is_refused(text: str) -> None:
    with pytest.raises(UserErrorException, match="less than a day"):
        rules(environments_unused_for=text)


@pytest.mark.parametrize("keep", [-1, "-1", "many", "", "1.5", True])
def test_bad_numbers_of_runs(keep: Any) -> None:
    with pytest.raises(UserErrorException, match=r"^--keep is .* Allowed: a whole number, 0 or more"):
        rules(keep=keep)


@pytest.mark.parametrize("keep", [0, "0", "-1", "x"])
def test_a_dataset_keeps_one_version_at_least(keep: Any) -> None:
    with pytest.raises(UserErrorException, match=r"^--keep-versions is .* Allowed: a whole number, 1 or more"):
        rules(datasets="data", keep_versions=keep)


def test_datasets_and_how_many_of_their_versions_stay_are_given_together() -> None:
    assert rules(datasets="a, b,a", keep_versions="3").versions == {"a": 3, "b": 3}
    assert rules(datasets=["a"], keep_versions=1).versions == {"a": 1}
    for more in ({"datasets": "a"}, {"keep_versions": 3}):
        with pytest.raises(UserErrorException, match="are given together"):
            rules(**more)  # type: ignore[arg-type]
    with pytest.raises(UserErrorException, match="not a valid dataset name"):
        rules(datasets="../a", keep_versions=1)


def test_what_is_one_of_the_groups() -> None:
    assert rules(what="runs, snapshots").what == {"runs", "snapshots"}
    with pytest.raises(
        UserErrorException, match=r"^--what names 'run', which cannot be pruned. Allowed: runs, versions"
    ):
        rules(what="run")
    with pytest.raises(UserErrorException, match="--what names nothing"):
        rules(what="")


def test_the_folder_named_after_a_run_is_its_own() -> None:
    assert own_folder(f"out/{RUN}/part-0", RUN) == f"out/{RUN}"
    assert own_folder(f"out/x-{RUN}.d/here", RUN) == f"out/x-{RUN}.d"
    assert own_folder(f"out/{RUN}0/part-0", RUN) is None, "that is generation 10"
    assert own_folder("raw/a.csv", RUN) is None


def test_files_of_a_run_are_few_places() -> None:
    assert unit(f"out/{RUN}/sub/part-0") == f"out/{RUN}/sub"
    assert unit(f"out/{RUN}") == f"out/{RUN}"
    assert unit("raw/sub/a.csv") == "raw/sub/a.csv"
    assert published(f"out/{RUN}/sub/part-0") == f"out/{RUN}"
    assert published("raw/a.0123456789/b-g1") is None
    assert split_run(RUN) == ("a_dag.train.0123456789", 1)
    assert split_run("run-old") is None


def test_places_know_what_lies_in_what() -> None:
    places = Places(["store:out/b", "file:///data/raw/a.csv"])
    assert places.touches("store:out/b/c")
    assert places.touches("store:out")
    assert places.touches("store:")
    assert places.touches("file:///data")
    assert not places.touches("store:out/a")
    assert not places.touches("store:out/bb")
    assert not places.touches("store:ou")
    assert not places.touches("file:///data/raw/a.csv2")
    assert places.hold("store:out/b/c")
    assert not places.hold("store:out")
