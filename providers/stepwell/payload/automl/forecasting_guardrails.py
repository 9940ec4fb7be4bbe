"""What was found in series and done about it, in the words of guardrails."""

from __future__ import annotations

from typing import Any

import numpy as np

from stepwell.payload.automl.forecasting_featurizer import ForecastFeaturizer

_SHOWN = 10


def guardrails(featurizer: ForecastFeaturizer) -> list[dict[str, Any]]:
    """Return the guardrails of a forecast: name, status, description, details, action."""
    return [
        _frequency(featurizer),
        _gathered(featurizer),
        _gaps(featurizer),
        _short(featurizer),
        _season(featurizer),
        _lags(featurizer),
        _judged(featurizer),
    ]


def notes(featurizer: ForecastFeaturizer) -> list[str]:
    """Return, in a sentence each, what a user may want to know of what was done."""
    said = [
        f"{r['description']}. {r['action']}.".replace("..", ".")
        for r in guardrails(featurizer)
        if r["status"] != "passed"
    ]
    if featurizer.aware:
        said.append(f"The times of {featurizer.options.time!r} were taken in UTC.")
    said += [f"The column {d['column']!r} is not used: it {d['why']}." for d in featurizer.described if d["dropped"]]
    return said


def _guardrail(
    name: str, status: str, description: str, action: str, details: list[str] | None = None
) -> dict[str, Any]:
    return {"name": name, "status": status, "description": description, "details": details or [], "action": action}


def _frequency(featurizer: ForecastFeaturizer) -> dict[str, Any]:
    grid, tape = featurizer.grid, featurizer.tape
    last = grid.times([int(tape.end.max())])[0]
    details = [
        f"{len(tape.keys)} series, from {grid.start} to {last}",
        f"forecast horizon: {featurizer.horizon} periods",
    ]
    words = "found from the times" if featurizer.found["frequency_found"] else "as given"
    return _guardrail("Frequency detection", "passed", f"The times are regular: {grid.freq}, {words}", "None", details)


def _gathered(featurizer: ForecastFeaturizer) -> dict[str, Any]:
    rows, periods = featurizer.found["rows"], featurizer.found["periods"]
    name, function = "Time series aggregation", featurizer.options.gather
    if function is None or rows == periods:
        return _guardrail(name, "passed", "Each period of a series has one row", "None")
    return _guardrail(name, "done", f"{rows} rows are of {periods} periods", f"Gathered by {function}")


def _gaps(featurizer: ForecastFeaturizer) -> dict[str, Any]:
    tape = featurizer.tape
    missing = int((~tape.known).sum())
    name = "Missing periods and values"
    if not missing:
        return _guardrail(name, "passed", "No period of a series lacks its target", "None")
    by_series = np.bincount(tape.series[~tape.known], minlength=len(tape.keys))
    labels = [key.replace("\x1f", " / ") for key in tape.keys]
    worst = [int(number) for number in np.argsort(-by_series)[:_SHOWN] if by_series[number]]
    details = [f"{labels[n]}: {by_series[n]} of {tape.length[n]}" for n in worst if labels[n]]
    return _guardrail(
        name,
        "done" if missing < 0.2 * len(tape.known) else "warning",
        f"{missing} of {len(tape.known)} periods lack the target (rows that are not there, or without a value)",
        "As the past of others the last value before stands in; nothing is learnt from them and they are not judged",
        details,
    )


def _short(featurizer: ForecastFeaturizer) -> dict[str, Any]:
    short, least = featurizer.found["short"], featurizer.found["least"]
    name = "Short series handling"
    if not short:
        return _guardrail(name, "passed", f"Each series has the {least} known values that the horizon needs", "None")
    dropped = featurizer.found["short_handling"] == "drop"
    action = "They are left out" if dropped else "They are kept: before its first value a series is taken to be as then"
    details = [f"{label or 'the series'}: {count}" for label, count in list(short.items())[:_SHOWN]]
    return _guardrail(name, "warning", f"{len(short)} series have fewer than {least} known values", action, details)


def _judged(featurizer: ForecastFeaturizer) -> dict[str, Any]:
    count, judged, words = len(featurizer.tape.keys), featurizer.found["judged"], featurizer.found["validation"]
    if judged == count:
        return _guardrail("Validation of forecasts", "passed", f"All series are judged: {words}", "None")
    return _guardrail(
        "Validation of forecasts",
        "warning",
        f"Only {judged} of {count} series have known values in the judged periods ({words})",
        "The scores say nothing of the others, which end earlier or begin later",
    )


def _season(featurizer: ForecastFeaturizer) -> dict[str, Any]:
    season, auto = featurizer.season, featurizer.options.season == "auto"
    name = "Seasonality"
    if season == 1:
        return _guardrail(name, "passed", "No season is looked for" if not auto else "No season was found", "None")
    how = "found by autocorrelation" if auto else "as given"
    action = "The values a season ago and its phase are features"
    return _guardrail(name, "done" if auto else "passed", f"The season is {season} periods, {how}", action)


def _lags(featurizer: ForecastFeaturizer) -> dict[str, Any]:
    auto = featurizer.options.lags == "auto"
    lags, window = featurizer.lags, featurizer.window
    details = [f"periods ago: {', '.join(map(str, lags))}"] * bool(lags)
    details += [f"rolling window: {window} periods"] * (window is not None)
    description = f"{len(lags)} past target values are features" + (
        ", chosen by partial autocorrelation" if auto else ""
    )
    early = [lag for lag in lags if lag < featurizer.horizon]
    action = "None"
    if early:
        action = "Lags shorter than the horizon look back a multiple of themselves where the value is not known yet"
    return _guardrail("Target lags", "done" if auto else "passed", description, action, details)
