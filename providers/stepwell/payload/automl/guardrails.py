"""Guardrails: what is remarkable about the data of a search, and what was done about it (v1's names)."""

from __future__ import annotations

from typing import Any, Dict, Mapping

import numpy as np
import pandas as pd

from stepwell.payload.automl import leakage
from stepwell.payload.automl.checks import Checked
from stepwell.payload.automl.columns import ALL_NAN, CATEGORICAL_HASH, DATETIME, TEXT
from stepwell.payload.automl.featurizer import Featurizer

PASSED, DONE, WARNING = "passed", "done", "warning"
#: v1's limits: a class is small beside the largest, and very small.
_SMALL, _VERY_SMALL = 0.2, 0.01
#: Workers and learners need so many times the memory of the features.
_MEMORY = 4

Guardrail = Dict[str, Any]


def guardrails(
    checked: Checked,
    featurizer: Featurizer,
    X: pd.DataFrame,
    y: np.ndarray,
    split: str,
    settings: Mapping[str, Any],
) -> list[Guardrail]:
    """Return the guardrails of a search: ``name``, ``status`` (passed, done, warning), ``description``, ``details``
    (lines), ``action`` (what was done, or can be).

    :param X: the features of the training rows, in any order, and *y* their target.
    :param split: how rows are split into those to learn from and those to judge by, in words.
    """
    found = [
        _split(split, checked, settings),
        _balance(y, checked),
        _missing(checked, featurizer),
        _cardinality(featurizer),
        _dropped(featurizer, checked),
        _dates(featurizer),
        _labels(checked, settings),
        _values(checked),
        _leaks(X, y, checked, featurizer) if settings["task"] != "forecasting" else None,
        _duplicates(X, y, checked, featurizer),
        _size(X, checked, settings),
    ]
    return [g for g in found if g is not None]


def _guardrail(name: str, status: str, description: str, details: Any = (), action: str = "") -> Guardrail:
    lines = [str(d) for d in details]
    if len(lines) > 20:
        lines = [*lines[:20], f"and {len(lines) - 20:,} more"]
    return {"name": name, "status": status, "description": description, "details": lines, "action": action}


def _split(split: str, checked: Checked, settings: Mapping[str, Any]) -> Guardrail:
    name = "Train-test data split" if checked.validation is None else "Validation data"
    lacking = checked.validation.facts.get("unjudged") if checked.validation else None
    if lacking:
        return _guardrail(
            name,
            WARNING,
            f"Models are judged by: {split}, which lack classes of the training data",
            [f"no row of {c!r}" for c in lacking],
            "Their recall cannot be judged: give validation data with every class, or n_cross_validations",
        )
    asked = any(settings.get(s) for s in ("n_cross_validations", "validation_size", "cv_split_column_names"))
    asked = asked or checked.validation is not None
    return _guardrail(
        name,
        PASSED if asked else DONE,
        f"Models are judged by: {split}",
        action="" if asked else "Chosen by the number of rows, as nothing was configured",
    )


def _balance(y: np.ndarray, checked: Checked) -> Guardrail | None:
    name = "Class balancing detection"
    if checked.classes is None:
        if _like_classes(y):
            return _guardrail(
                "Label type detection",
                WARNING,
                f"The label has only {len(np.unique(y))} different values",
                action="If they are classes, use task='classification'",
            )
        return None
    counts = np.bincount(y.astype(np.int64), minlength=len(checked.classes))
    share = counts / counts.max()
    small = [i for i in np.argsort(counts) if share[i] < _SMALL]
    if not small:
        return _guardrail(name, PASSED, "All classes are balanced in the training data")
    very = " very" if share.min() < _VERY_SMALL else ""
    return _guardrail(
        name,
        WARNING,
        f"The classes of the training data are{very} unbalanced: accuracy can be high without finding the small ones",
        [f"{checked.classes[i]!r}: {counts[i]:,} rows ({counts[i] / counts.sum():.2%})" for i in small],
        "Each split has the classes in proportion. Prefer AUC_weighted, norm_macro_recall or"
        " average_precision_score_weighted as primary_metric, or give weights",
    )


def _like_classes(y: np.ndarray) -> bool:
    """Tell whether the target of a regression looks like a few classes."""
    return len(y) >= 50 and len(np.unique(y[:10_000])) <= 5


def _missing(checked: Checked, featurizer: Featurizer) -> Guardrail:
    name = "Missing feature values imputation"
    rows = len(checked.X)
    steps = {d["column"]: d for d in featurizer.described}
    details = []
    for column in checked.X.columns:
        absent = int(checked.X[column].isna().sum()) + checked.facts.get("infinite", {}).get(column, 0)
        if absent and column in steps and steps[column]["purpose"] != ALL_NAN:
            how = [s for s in steps[column]["steps"] if s.startswith("Imput") or "missing" in s]
            done = "left out" if steps[column]["dropped"] else ", ".join(how) or "as a value of its own"
            details.append(f"{column}: {absent:,} of {rows:,} ({absent / rows:.1%}): {done}")
    if not details:
        return _guardrail(name, PASSED, "No feature values are missing in the training data")
    action = "The values filled in, and what marks a value as missing, are learnt from the training data"
    if featurizer.featurization == "off":
        return _guardrail(
            name,
            WARNING,
            "Feature values are missing, and featurization is off",
            details,
            "Models that cannot take them fail. Use featurization='auto', or fill them in",
        )
    return _guardrail(name, DONE, f"Values are missing in {len(details):,} columns", details, action)


def _cardinality(featurizer: Featurizer) -> Guardrail:
    name = "High cardinality feature detection"
    many = [d for d in featurizer.described if d["purpose"] in (TEXT, CATEGORICAL_HASH) and not d["dropped"]]
    if not many:
        return _guardrail(name, PASSED, "No column of text has many different values")
    details = [f"{d['column']}: {d['purpose']}, {d['why']}: {', '.join(d['steps'])}" for d in many]
    action = "They were condensed as shown. Another purpose can be given in column_purposes"
    return _guardrail(name, DONE, f"{len(many):,} columns have many different values", details, action)


def _dropped(featurizer: Featurizer, checked: Checked) -> Guardrail:
    name = "Columns left out"
    details = [f"{d['column']}: {d['why']}" for d in featurizer.described if d["dropped"]]
    details += [f"{c}: holds lists, structures or bytes" for c in checked.facts.get("unusable", ())]
    if not details:
        return _guardrail(name, PASSED, "Every column is used")
    action = "A column can be kept by giving its purpose in column_purposes"
    return _guardrail(name, DONE, f"{len(details):,} columns are not learnt from", details, action)


def _dates(featurizer: Featurizer) -> Guardrail | None:
    dates = [d for d in featurizer.described if d["purpose"] == DATETIME and not d["dropped"]]
    if not dates:
        return None
    details = [f"{d['column']}: {', '.join(d['steps'])}" for d in dates]
    return _guardrail("Date and time features", DONE, f"{len(dates):,} columns are dates", details)


def _labels(checked: Checked, settings: Mapping[str, Any]) -> Guardrail:
    name, label = "Missing label values", settings["label_column_name"]
    parts = {"training": checked, "validation": checked.validation, "test": checked.test}
    details = [
        f"{what} data: {part.facts['unlabelled']:,} rows"
        for what, part in parts.items()
        if part is not None and part.facts.get("unlabelled")
    ]
    if not details:
        return _guardrail(name, PASSED, f"Every row has a label ({label})")
    return _guardrail(name, DONE, f"Rows without a label ({label}) were left out", details, "exclude_nan_labels=True")


def _values(checked: Checked) -> Guardrail:
    name = "Unusual values"
    details = [f"{c}: {n:,} infinite values, taken as missing" for c, n in checked.facts.get("infinite", {}).items()]
    details += [f"{c}: values of several types, taken as text" for c in checked.facts.get("mixed", ())]
    if not details:
        return _guardrail(name, PASSED, "No column has infinite values or values of several types")
    return _guardrail(name, DONE, f"{len(details):,} columns have unusual values", details)


def _leaks(X: pd.DataFrame, y: np.ndarray, checked: Checked, featurizer: Featurizer) -> Guardrail:
    name = "Leakage detection"
    suspects = leakage.suspects(X, y, checked.classes is not None, featurizer.lineage)
    if not suspects:
        return _guardrail(name, PASSED, "No single column determines the label")
    return _guardrail(
        name,
        WARNING,
        "A column alone determines the label, or nearly: is it known when the model is used?",
        [f"{column}: {why}" for column, why in suspects.items()],
        "Nothing was done. If it is not known then, leave it out: featurization=FeaturizationConfig(drop_columns=[…])",
    )


def _duplicates(X: pd.DataFrame, y: np.ndarray, checked: Checked, featurizer: Featurizer) -> Guardrail:
    name = "Duplicate rows"
    hashes = _hashes(X, y)
    distinct = np.unique(hashes)
    details = []
    double = len(hashes) - len(distinct)
    if double > 0.01 * len(hashes):
        details.append(f"training data: {double:,} rows ({double / len(hashes):.1%}) repeat another one")
    for what, part in (("validation", checked.validation), ("test", checked.test)):
        if part is not None:
            known = int(np.isin(_hashes(featurizer.transform(part.X), _target(part, checked)), distinct).sum())
            if known > 0.01 * len(part.X):
                details.append(f"{what} data: {known:,} rows ({known / len(part.X):.1%}) are in the training data, too")
    if not details:
        return _guardrail(name, PASSED, "Hardly a row occurs twice")
    return _guardrail(
        name,
        WARNING,
        "Rows occur more than once: a model can know the rows it is judged by",
        details,
        "Nothing was done. Where they are no coincidence, drop them in the step before",
    )


def _hashes(X: pd.DataFrame, y: np.ndarray) -> np.ndarray:
    result: np.ndarray = pd.util.hash_pandas_object(X, index=False).to_numpy()
    return result ^ pd.util.hash_array(np.asarray(y, dtype=float))


def _target(part: Checked, checked: Checked) -> np.ndarray:
    return Checked(part.X, part.y, classes=checked.classes).target


def _size(X: pd.DataFrame, checked: Checked, settings: Mapping[str, Any]) -> Guardrail:
    name = "Memory and size"
    needed = int(X.memory_usage(index=False).sum()) * (
        _MEMORY - 1 + int(settings.get("max_concurrent_iterations") or 1)
    )
    details: list[str] = []
    free = _free_memory()
    if free is not None and needed > free:
        details.append(f"about {needed / 1e9:.1f} GB are needed, {free / 1e9:.1f} GB are free")
    cells = checked.facts.get("cells_for_an_hour")
    if cells:
        details.append(f"{cells:,} cells are many for experiment_timeout_hours={settings['experiment_timeout_hours']}")
    size = f"{len(X):,} rows, {checked.X.shape[1]:,} columns, {X.shape[1]:,} features"
    if not details:
        return _guardrail(name, PASSED, size)
    return _guardrail(
        name, WARNING, size, details, "Take a sample, drop columns, or give the target more memory and time"
    )


def _free_memory() -> int | None:
    """Return the bytes of memory that are free on this machine, if it tells."""
    try:
        with open("/proc/meminfo", encoding="ascii") as file:
            facts = dict(line.split(":", 1) for line in file)
        return int(facts["MemAvailable"].split()[0]) * 1024
    except (OSError, KeyError, ValueError):
        return None
