"""What is searched on: featurized data, how it is split, and what is optimised. Written once, mapped by each worker."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

_DOCUMENT = "problem.json"


@dataclass
class Problem:
    """A supervised problem, ready for learners.

    :param task: ``classification`` or ``regression``; a forecast is a regression on features of the past.
    :param X: features: columns ``f0``, ``f1``, … of floats (NaN = missing, where the featurizer left it in) or of
        pandas categories. Rows are in an order in which the first so many are a fair sample, but for forecasts, where
        they are in the order of time.
    :param y: codes of the classes from 0, or numbers.
    :param weight: of each row; None = all the same.
    :param folds: positions of rows to learn from and to judge by; one fold is a hold-out.
    :param primary_metric: v1's name.
    :param classes: of a classification: the labels by code.
    :param facts: more that metrics and learners need: ``y_min`` and ``y_max`` over the whole data for v1's normalised
        errors; ``positive``, the code of the positive class; ``baselines``: model → column, for forecasts.
    """

    task: str
    X: pd.DataFrame
    y: np.ndarray
    folds: list[tuple[np.ndarray, np.ndarray]]
    primary_metric: str
    weight: np.ndarray | None = None
    classes: list[Any] | None = None
    facts: dict[str, Any] = field(default_factory=dict)

    def save(self, folder: str, prefix: str = "") -> list[str]:
        """Write it to files below *folder* and return their paths; :meth:`load` maps them instead of reading them.

        :param prefix: of the files' names, where they share a folder with others.
        """
        os.makedirs(folder, exist_ok=True)
        categories = {c: self.X[c].cat.categories.tolist() for c in self.X if self.X[c].dtype.name == "category"}
        numbers = [c for c in self.X if c not in categories]
        arrays = {"y": self.y, "numbers": np.ascontiguousarray(self.X[numbers].to_numpy(dtype=float))}
        if categories:
            codes = np.column_stack([self.X[c].cat.codes.to_numpy(dtype=np.int32) for c in categories])
            arrays["codes"] = codes
        if self.weight is not None:
            arrays["weight"] = self.weight
        for number, (learn, judge) in enumerate(self.folds):
            arrays[f"learn{number}"], arrays[f"judge{number}"] = learn, judge
        document = {
            "task": self.task,
            "columns": list(self.X.columns),
            "numbers": numbers,
            "categories": categories,
            "folds": len(self.folds),
            "primary_metric": self.primary_metric,
            "classes": self.classes,
            "facts": self.facts,
            "arrays": sorted(arrays),
        }
        for name, array in arrays.items():
            np.save(os.path.join(folder, f"{prefix}{name}.npy"), array, allow_pickle=False)
        with open(os.path.join(folder, prefix + _DOCUMENT), "w", encoding="utf-8") as file:
            json.dump(document, file)
        return [os.path.join(folder, prefix + name) for name in [_DOCUMENT, *(f"{a}.npy" for a in sorted(arrays))]]

    @classmethod
    def load(cls, folder: str, prefix: str = "") -> Problem:
        """Return the problem that :meth:`save` wrote; what workers on one machine map, they share."""
        with open(os.path.join(folder, prefix + _DOCUMENT), encoding="utf-8") as file:
            document = json.load(file)
        arrays = {
            name: np.load(os.path.join(folder, f"{prefix}{name}.npy"), mmap_mode="r", allow_pickle=False)
            for name in document["arrays"]
        }
        X = pd.DataFrame(arrays["numbers"], columns=document["numbers"], copy=False)
        for position, (column, categories) in enumerate(document["categories"].items()):
            codes = np.asarray(arrays["codes"][:, position])
            X[column] = pd.Categorical.from_codes(codes, categories=categories)
        return cls(
            document["task"],
            X if list(X.columns) == document["columns"] else X[document["columns"]],
            np.asarray(arrays["y"]),
            [(np.asarray(arrays[f"learn{n}"]), np.asarray(arrays[f"judge{n}"])) for n in range(document["folds"])],
            document["primary_metric"],
            np.asarray(arrays["weight"]) if "weight" in arrays else None,
            document["classes"],
            document["facts"],
        )
