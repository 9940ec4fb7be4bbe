"""The shapes that Run.get_metrics gives, as v1's."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from stepwell.payload import metrics


def metric(type: str, value: Any, name: str = "m", **more: Any) -> dict[str, Any]:
    return {"kind": "metric", "type": type, "name": name, "value": value, **more}


@pytest.mark.parametrize(
    ("events", "shape"),
    [
        ([metric("scalar", 1)], 1),
        ([metric("scalar", 1), metric("scalar", 0.5)], [1, 0.5]),
        ([metric("list", [1, 2])], [1, 2]),
        ([metric("list", [1])], [1]),
        ([metric("row", {"x": 1, "y": "a"})], {"x": 1, "y": "a"}),
        ([metric("row", {"x": 1}), metric("row", {"x": 2, "y": 3})], {"x": [1, 2], "y": [None, 3]}),
        ([metric("row", {"x": 1, "y": 3}), metric("row", {"x": 2})], {"x": [1, 2], "y": [3, None]}),
        ([metric("row", {"x": 1}), metric("row", {"x": "one"})], {"x": [1, None]}),
        ([metric("table", {"x": [1, 2]})], {"x": [1, 2]}),
        ([metric("table", {"x": [1]})], {"x": [1]}),
        ([metric("image", None, artifact="outputs/a.png")], "aml://artifactId/outputs/a.png"),
    ],
)
def test_shapes(events: list[dict[str, Any]], shape: Any) -> None:
    assert metrics.metrics(events) == {"m": shape}


def test_plain_values() -> None:
    given = [np.float64(0.5), np.int64(3), np.bool_(True), True, None, "x", 2]
    assert [metrics.plain(v) for v in given] == [0.5, 3, True, True, None, "x", 2]
    assert [type(metrics.plain(v)) for v in given[:3]] == [float, int, bool]
    assert metrics.plain({1}) == "{1}"


def test_tags_are_replaced_and_removed_and_properties_stand() -> None:
    events = [
        {"kind": "tag", "key": "a", "value": "1"},
        {"kind": "tag", "key": "a", "value": "2"},
        {"kind": "tag", "key": "b", "value": None},
        {"kind": "tag", "key": "c", "value": "x"},
        {"kind": "tag", "key": "c", "value": None, "removed": True},
        {"kind": "property", "key": "p", "value": "first"},
        {"kind": "property", "key": "p", "value": "second"},
    ]
    assert metrics.tags(events) == {"a": "2", "b": None}
    assert metrics.properties(events) == {"p": "first"}
