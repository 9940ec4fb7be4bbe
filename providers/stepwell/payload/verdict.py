"""Judging a frame by a Great Expectations suite: booleans first, details only for what failed.

With booleans alone Great Expectations bundles all checks into a few Spark jobs; asking for details costs one more job
for each check, so only failed ones are asked. The outcome of an expectation is *passed*, *warned* (failed, but its
severity is
warning or info), *failed*, or *errored*: it could not be evaluated, which is not the same as data that fails it.
"""

from __future__ import annotations

import logging
import os
import time
from typing import Any, Sequence

from stepwell.payload import wording
from stepwell.payload.errors import GateError
from stepwell.runtime.names import nearest

FORMAT = 1
SEVERITIES = ("critical", "warning", "info")
#: How many offending values a report shows, if samples are asked for.
SAMPLES = 20
_OUTCOMES = ("passed", "warned", "failed", "errored")
#: Types as pandas calls them → as Spark calls them, so that one suite serves both engines.
_SPARK_TYPES = {
    "int64": "LongType", "int32": "IntegerType", "int": "LongType", "float64": "DoubleType", "float32": "FloatType",
    "float": "DoubleType", "str": "StringType", "object": "StringType", "bool": "BooleanType",
    "datetime64[ns]": "TimestampType", "datetime64": "TimestampType",
}  # fmt: skip
_PANDAS_TYPES = {
    "LongType": ["int64"], "IntegerType": ["int64", "int32"],
    "DoubleType": ["float64"], "FloatType": ["float64", "float32"],
    "StringType": ["str"], "BooleanType": ["bool"], "TimestampType": ["datetime64[ns]", "datetime64[us]"],
    "TimestampNTZType": ["datetime64[ns]", "datetime64[us]"], "DateType": ["date"],
}  # fmt: skip


def judge(frame: Any, suite: dict[str, Any], *, engine: str, samples: bool = False) -> dict[str, Any]:
    """Return the verdict on *frame*: its shape, every expectation's outcome, and the overall one.

    :param suite: a Great Expectations suite as JSON.
    :param engine: "pandas" or "spark".
    :param samples: whether offending values may stand in the result.
    :raises GateError: the suite is not one, or Great Expectations is not installed.
    """
    expectations = check_suite(suite)
    rows, columns = _profile(frame, engine)
    entries = [_entry(e) for e in expectations]
    runnable: list[int] = []
    for index, entry in enumerate(entries):
        problem = _problem(entry, [c["name"] for c in columns])
        if problem:
            entry.update(outcome="errored", message=problem)
        else:
            runnable.append(index)
    if runnable:
        _Validation(frame, engine, samples).fill(entries, runnable)
    nulls = {c["name"]: c["nulls"] for c in columns}
    for entry in entries:
        column = entry["kwargs"].get("column")
        entry["counts"].setdefault("rows", rows)
        if column in nulls:
            entry["counts"].setdefault("nulls", nulls[column])
        entry["message"] = entry["message"] or wording.outcome(entry)
    return {
        "verdict": overall(entries),
        "engine": engine,
        "rows": rows,
        "columns": columns,
        "statistics": statistics(entries),
        "expectations": entries,
        "great_expectations": _version(),
    }


def overall(entries: Sequence[dict[str, Any]]) -> str:
    """Return the worst outcome. "errored" is worse than "failed": nobody knows what the data is like."""
    worst = max((_OUTCOMES.index(e["outcome"]) for e in entries), default=0)
    return _OUTCOMES[worst]


def statistics(entries: Sequence[dict[str, Any]]) -> dict[str, int]:
    """Return how many expectations there are, and how many of each outcome."""
    counts = {outcome: sum(e["outcome"] == outcome for e in entries) for outcome in _OUTCOMES}
    return {"evaluated": len(entries) - counts["errored"], **counts}


def check_suite(suite: Any) -> list[dict[str, Any]]:
    """Return the expectations of a suite.

    :raises GateError: it is not a suite, or has nothing in it.
    """
    expectations = suite.get("expectations") if isinstance(suite, dict) else None
    if not isinstance(expectations, list):
        raise GateError(
            "The suite is not a Great Expectations suite",
            allowed=['{"name": …, "expectations": [{"type": …, "kwargs": {…}}]}'],
        )
    if not expectations:
        raise GateError("The suite has no expectations: it would let everything pass")
    for index, expectation in enumerate(expectations):
        if not isinstance(expectation, dict) or not isinstance(_type_of(expectation), str):
            raise GateError(f"Expectation {index + 1} of the suite has no type", allowed=['{"type": …, "kwargs": {…}}'])
    return expectations


def _type_of(expectation: dict[str, Any]) -> Any:
    return expectation.get("type") or expectation.get("expectation_type")  # the latter before Great Expectations 1.0


def _entry(expectation: dict[str, Any]) -> dict[str, Any]:
    severity = str(expectation.get("severity") or "critical").lower()
    return {
        "type": _type_of(expectation),
        "kwargs": dict(expectation.get("kwargs") or {}),
        "severity": severity,
        "notes": _notes(expectation),
        "outcome": "",
        "message": "",
        "counts": {},
    }


def _notes(expectation: dict[str, Any]) -> str | None:
    notes = expectation.get("notes") or (expectation.get("meta") or {}).get("notes")
    if isinstance(notes, dict):
        notes = notes.get("content")
    if isinstance(notes, list):
        notes = " ".join(map(str, notes))
    return str(notes) if notes else None


def _problem(entry: dict[str, Any], there: list[str]) -> str:
    """Return why an expectation cannot be evaluated, as far as that can be seen before looking at the data."""
    if entry["severity"] not in SEVERITIES:
        return f"{entry['severity']!r} is not a severity. Allowed: {', '.join(SEVERITIES)}."
    if entry["type"] != "expect_column_to_exist" and entry["type"].startswith("expect_"):
        kwargs = entry["kwargs"]
        named = [kwargs[k] for k in ("column", "column_A", "column_B") if k in kwargs]
        if not entry["type"].startswith("expect_table_"):
            named += list(kwargs.get("column_list") or [])
        for name in named:
            if name not in there:
                return (
                    f"There is no column {name!r}. Did you mean {', '.join(map(repr, nearest(str(name), there)[:3]))}?"
                )
    return ""


def _version() -> str:
    from importlib.metadata import version

    return version("great-expectations")


def _profile(frame: Any, engine: str) -> tuple[int, list[dict[str, Any]]]:
    """Return the number of rows, and name, type and number of missing values of each column, in one pass."""
    if engine == "pandas":
        nulls = frame.isna().sum()
        columns = [{"name": str(c), "type": str(frame[c].dtype), "nulls": int(nulls[c])} for c in frame.columns]
        return len(frame), columns
    from pyspark.sql import functions as F

    names = frame.columns
    quoted = ["`" + n.replace("`", "``") + "`" for n in names]
    # By position: names may hold dots, or differ in nothing but case.
    counted = frame.agg(F.count(F.lit(1)), *[F.count(F.col(q)) for q in quoted]).collect()[0]
    types = [field.dataType.simpleString() for field in frame.schema.fields]
    rows = int(counted[0])
    return rows, [
        {"name": n, "type": t, "nulls": rows - int(counted[i + 1])} for i, (n, t) in enumerate(zip(names, types))
    ]


class _Validation:
    """One frame under Great Expectations."""

    def __init__(self, frame: Any, engine: str, samples: bool) -> None:
        os.environ.setdefault("GX_ANALYTICS_ENABLED", "false")
        try:
            import great_expectations as gx
        except ImportError as error:
            raise GateError(
                f"Great Expectations is not in this environment ({error})",
                hint="It is added to the environment of a step whose output has a gate; a user-managed one needs it"
                " itself",
            ) from error
        logging.getLogger("great_expectations").setLevel(logging.ERROR)
        self._gx = gx
        self._engine = engine
        self._samples = samples
        context = gx.get_context(mode="ephemeral")
        context.variables.progress_bars = {"globally": False}
        # persist=True, the default, would cache the whole frame before the first check.
        sources = context.data_sources
        source = sources.add_spark("gate", persist=False) if engine == "spark" else sources.add_pandas("gate")
        definition = source.add_dataframe_asset("output").add_batch_definition_whole_dataframe("whole")
        self._batch = definition.get_batch({"dataframe": frame})

    def fill(self, entries: list[dict[str, Any]], runnable: Sequence[int]) -> None:
        """Set outcome, message and counts of the entries at the positions *runnable*."""
        built = {}
        for index in runnable:
            try:
                built[index] = self._build(entries[index], index)
            except Exception as error:
                entries[index].update(outcome="errored", message=self._why_not_built(entries[index]["type"], error))
        results = self._validate(list(built.values()), "BOOLEAN_ONLY")
        for index, result in list(results.items()):
            if _exception(result) and len(built) > 1:
                # One check that cannot be evaluated takes those along that Spark evaluates in the same pass.
                results.update(self._validate([built[index]], "BOOLEAN_ONLY"))
        failed = [i for i in built if not _succeeded(results.get(i)) and not _exception(results.get(i))]
        count = SAMPLES if self._samples else 0
        details = self._validate(
            [built[i] for i in failed], {"result_format": "SUMMARY", "partial_unexpected_count": count}
        )
        for index in built:
            self._set(entries[index], results.get(index), details.get(index))

    def _build(self, entry: dict[str, Any], index: int) -> Any:
        from great_expectations.expectations.expectation_configuration import ExpectationConfiguration

        kwargs = self._types(entry["type"], dict(entry["kwargs"]))
        configuration = ExpectationConfiguration(
            type=entry["type"], kwargs=kwargs, severity=entry["severity"], meta={"index": index}
        )
        return configuration.to_domain_obj()

    def _types(self, kind: str, kwargs: dict[str, Any]) -> dict[str, Any]:
        if kind == "expect_column_values_to_be_of_type":
            wanted = str(kwargs.get("type_"))
            if self._engine == "spark":
                kwargs["type_"] = _SPARK_TYPES.get(wanted, wanted)
            else:
                kwargs["type_"] = _PANDAS_TYPES.get(wanted, [wanted])[0]
        elif kind == "expect_column_values_to_be_in_type_list":
            listed = [str(t) for t in kwargs.get("type_list") or []]
            if self._engine == "spark":
                kwargs["type_list"] = list(dict.fromkeys(_SPARK_TYPES.get(w, w) for w in listed))
            else:
                kwargs["type_list"] = list(dict.fromkeys(t for w in listed for t in _PANDAS_TYPES.get(w, [w])))
        return kwargs

    @staticmethod
    def _why_not_built(kind: str, error: Exception) -> str:
        from great_expectations.expectations.registry import list_registered_expectation_implementations

        known = list_registered_expectation_implementations()
        if kind not in known:
            return f"Great Expectations has no {kind!r}. Did you mean {', '.join(nearest(kind, known)[:3])}?"
        return "The expectation is malformed: " + " ".join(str(error).split())

    def _validate(self, expectations: list[Any], result_format: Any) -> dict[int, Any]:
        if not expectations:
            return {}
        suite = self._gx.ExpectationSuite(name="gate", expectations=expectations)
        outcome = self._batch.validate(suite, result_format=result_format)
        return {int(r.expectation_config.meta["index"]): r for r in outcome.results}

    def _set(self, entry: dict[str, Any], result: Any, detail: Any) -> None:
        problem = "Great Expectations gave no result" if result is None else _exception(result)
        if problem:
            entry.update(outcome="errored", message=problem)
        elif _succeeded(result):
            entry["outcome"] = "passed"
        else:
            entry["outcome"] = "failed" if entry["severity"] == "critical" else "warned"
            entry["counts"] = self._counts(detail.result or {} if detail is not None else {})

    def _counts(self, result: dict[str, Any]) -> dict[str, Any]:
        counts: dict[str, Any] = {}
        for theirs, ours in (("element_count", "rows"), ("missing_count", "nulls"), ("unexpected_count", "unexpected")):
            if isinstance(result.get(theirs), (int, float)):
                counts[ours] = int(result[theirs])
        if isinstance(result.get("unexpected_percent"), (int, float)):
            counts["unexpected_percent"] = round(float(result["unexpected_percent"]), 4)
        observed = result.get("observed_value")
        # Text and lists that were observed are values of the data.
        if isinstance(observed, (int, float)) or (observed is not None and self._samples):
            counts["observed"] = observed if isinstance(observed, (int, float)) else wording.shorten(observed)
        shown = [wording.shorten(v) for v in result.get("partial_unexpected_list") or [] if v is not None]
        if self._samples and shown:
            counts["samples"] = list(dict.fromkeys(shown))[:SAMPLES]
        return counts


def _succeeded(result: Any) -> bool:
    return result is not None and bool(result.success)


def _exception(result: Any) -> str:
    """Return why a result is no result; Great Expectations reports one exception, or one for each metric."""
    if result is None:
        return ""
    information = result.exception_info or {}
    if "raised_exception" in information:
        information = {"": information}
    for details in information.values():
        if isinstance(details, dict) and details.get("raised_exception"):
            text = " ".join(str(details.get("exception_message") or "unknown error").split())
            return text[:500]
    return ""


def errored(reason: str, *, engine: str, started: float) -> dict[str, Any]:
    """Return the verdict on data that could not be judged at all."""
    return {
        "verdict": "errored",
        "engine": engine,
        "reason": reason,
        "rows": None,
        "columns": [],
        "statistics": {"evaluated": 0, **{outcome: 0 for outcome in _OUTCOMES}},
        "expectations": [],
        "great_expectations": None,
        "started": started,
        "seconds": round(time.time() - started, 3),
    }
