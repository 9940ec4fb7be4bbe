"""Forecasts as a regression: from the training data to features of the past and folds that move through time."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Mapping, Sequence

import numpy as np
import pandas as pd

from stepwell.payload.automl.errors import AutoMLError
from stepwell.payload.automl.forecasting_featurizer import ForecastFeaturizer
from stepwell.payload.automl.forecasting_guardrails import guardrails, notes
from stepwell.payload.automl.forecasting_model import ForecastingModel
from stepwell.payload.automl.forecasting_options import ForecastOptions, Rows
from stepwell.payload.automl.forecasting_table import read_frame, series_label
from stepwell.payload.automl.forecasting_times import ForecastError

_MOST_FOLDS = 5
#: A fold learns from so many periods at least.
_LEAST = 5
_FUNCTIONS = ("sum", "max", "min", "mean")
_SHORT = ("auto", "pad", "drop", None)


@dataclass
class Prepared:
    """A forecast as a regression.

    :param X: features ``f0``, ``f1``, …, in the order of time. A judged period stands in it once for each fold that
        judges it, and once more to learn from.
    :param y: what is learnt of each row: the target, or its difference from *level*.
    :param level: of each row, 0 where what is learnt is the target itself.
    :param weight: of each row; None = all the same.
    :param folds: positions to learn from and to judge by. No row to learn from is later than the origin of its fold.
    :param rows: of each row of *X*: ``time``, ``series`` (label), ``series_number``, ``step``.
    :param facts: for :class:`~stepwell.payload.automl.problem.Problem`: ``y_min``, ``y_max`` (of the target),
        ``baselines``, and ``level``: the column of *X* that is the level, or None.
    :param validation: how is judged, in words.
    """

    X: pd.DataFrame
    y: np.ndarray
    level: np.ndarray
    weight: np.ndarray | None
    folds: list[tuple[np.ndarray, np.ndarray]]
    rows: pd.DataFrame
    featurizer: ForecastFeaturizer
    facts: dict[str, Any]
    validation: str
    notes: list[str]
    guardrails: list[dict[str, Any]]

    @property
    def judged(self) -> np.ndarray:
        """The positions of the judged rows of all folds in their order."""
        return np.concatenate([judge for _, judge in self.folds])

    def residuals(self, predictions: Any) -> pd.DataFrame:
        """Return what :class:`~stepwell.payload.automl.forecasting_model.ForecastingModel` makes intervals of.

        :param predictions: for :attr:`judged`.
        """
        rows = self.rows.iloc[self.judged]
        residual = self.y[self.judged] - np.asarray(predictions, dtype=float).ravel()
        return pd.DataFrame(
            {"series": rows["series_number"].to_numpy(), "step": rows["step"].to_numpy(), "residual": residual}
        )

    def model(self, regressor: Any, predictions: Any = None) -> ForecastingModel:
        """Return the forecaster. Call it last: the featurizer forgets what only training needs.

        :param regressor: fitted to :attr:`X`.
        :param predictions: of the validation, for :attr:`judged`; None = no intervals.
        """
        return ForecastingModel(
            self.featurizer, regressor, None if predictions is None else self.residuals(predictions)
        )

    def evaluation(self, predictions: Any, model: ForecastingModel | None = None) -> dict[str, Any]:
        """Return the part of a report's data that shows forecasts against the truth.

        :param predictions: of the validation, for :attr:`judged`.
        :param model: made with them: gives 90 % intervals.
        """
        judged, rows = self.judged, self.rows.iloc[self.judged]
        forecasts = np.asarray(predictions, dtype=float).ravel() + self.level[judged]
        many = bool(self.featurizer.options.series)
        lower = upper = None
        if model is not None:
            lower, upper = model.interval(forecasts, rows["series_number"].to_numpy(), rows["step"].to_numpy())
        return {
            "source": "validation",
            "y_true": self.y[judged] + self.level[judged],
            "predictions": forecasts,
            "time": rows["time"].to_numpy(),
            "series": rows["series"].to_numpy() if many else None,
            "lower": lower,
            "upper": upper,
            "history": self.history,
        }

    @property
    def history(self) -> dict[str, Any]:
        """The known values of all series: ``time``, ``series`` (None = there is one), ``y``."""
        tape, featurizer = self.featurizer.tape, self.featurizer
        labels = np.array([series_label(key) for key in tape.keys], dtype=object)
        known = tape.known
        return {
            "time": featurizer.grid.times(tape.positions[known]).to_numpy(),
            "series": labels[tape.series[known]] if featurizer.options.series else None,
            "y": tape.y[known],
        }


def prepare(
    frame: pd.DataFrame, settings: Mapping[str, Any], validation: pd.DataFrame | None = None, relative: bool = False
) -> Prepared:
    """Make a regression of a forecast.

    :param frame: the training data.
    :param settings: of the search, with ``forecasting_parameters``.
    :param validation: later rows to judge by, a horizon at a time; else the last horizons of the training data.
    :param relative: learn the difference from the level, so that trees follow a trend. Predictions then are such
        differences too; whoever computes metrics adds the column ``facts["level"]`` to them and to the truth.
    :raises AutoMLError: data or settings do not allow it.
    """
    options = replace(read_options(settings), relative=relative)
    repeated = frame.columns[frame.columns.duplicated()]
    if len(repeated):
        raise AutoMLError(f"Two columns are called {repeated[0]!r}", hint="Rename one of them")
    try:
        whole = frame if validation is None else pd.concat([frame, validation], ignore_index=True)
        featurizer = ForecastFeaturizer(options).fit(whole)
        if featurizer.found["without_target"] and settings.get("exclude_nan_labels") is False:
            raise ForecastError(
                f"{featurizer.found['without_target']} rows lack the target {options.target!r}",
                "Remove them, or set exclude_nan_labels=True",
            )
        origin = None if validation is None else _last_period(featurizer, frame)
        origins, words = _origins(featurizer, settings, origin)
        return _prepared(featurizer, origins, words, None if origin is None else int(featurizer.tape.end.max()))
    except ForecastError as error:
        raise AutoMLError(error.what, hint=error.hint) from error


def _last_period(featurizer: ForecastFeaturizer, frame: pd.DataFrame) -> int:
    times, _, _ = read_frame(frame, featurizer.options.time, featurizer.options.series)
    if not len(times):
        raise ForecastError("The training data have no rows")
    grid = featurizer.grid
    last = grid.times([int(featurizer.tape.end.max())])[0]
    line = grid.times(np.arange(int(featurizer.tape.end.max()) + 1))
    if times.max() >= last:
        raise ForecastError("The validation data end before the training data", "Validate a forecast with later rows")
    return int(line.searchsorted(times.max(), side="right")) - 1


def _origins(featurizer: ForecastFeaturizer, settings: Mapping[str, Any], origin: int | None) -> tuple[list[int], str]:
    """Return the periods that the folds forecast from, the earliest first, and how is judged in words."""
    tape, horizon = featurizer.tape, featurizer.horizon
    first, last = int(tape.start.min()), int(tape.end.max())
    unit = f"{horizon} period{'s' * (horizon > 1)}"
    if origin is not None:
        return [origin], f"forecasts of {unit} at a time over the validation data"
    step = settings["forecasting_parameters"].get("cv_step_size")
    step = horizon if step in (None, "auto") else _count(step, "cv_step_size")
    room = last - first + 1 - horizon - _LEAST
    if room < 0:
        raise ForecastError(
            f"The data have {last - first + 1} periods; to judge forecasts of {unit} it takes {horizon + _LEAST}",
            "Give more data, or a shorter forecast_horizon",
        )
    wanted = settings.get("n_cross_validations")
    if wanted in (None, "auto"):
        # Half of the data, and what lags need, are left for learning.
        spare = last - first + 1 - max(_LEAST, featurizer.lookback, (last - first + 1) // 2) - horizon
        folds = int(np.clip(1 + spare // step, 1, _MOST_FOLDS))
    else:
        folds = _count(wanted, "n_cross_validations")
        if (folds - 1) * step > room:
            raise ForecastError(
                f"{last - first + 1} periods are too few for {folds} cross-validations of {unit}, {step} apart",
                f"Up to {room // step + 1} are possible",
            )
    origins = [last - horizon - fold * step for fold in reversed(range(folds))]
    if folds == 1:
        return origins, f"hold-out of the last {unit}"
    return origins, f"{folds} rolling origins, {unit} ahead each, {step} apart"


def _count(value: Any, name: str) -> int:
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < 1:
        raise ForecastError(f"{name} is a whole number from 1, not {value!r}")
    return int(value)


def _prepared(featurizer: ForecastFeaturizer, origins: Sequence[int], words: str, last: int | None) -> Prepared:
    learn = featurizer.learning_rows()
    judged = [featurizer.judged_rows(origin, last) for origin in origins]
    empty = [o for o, rows in zip(origins, judged) if not len(rows)]
    if len(empty) == len(origins):
        raise ForecastError("No series has known values to judge forecasts by", "Give series that reach further")
    origins = [o for o in origins if o not in empty]
    judged = [rows for rows in judged if len(rows)]
    featurizer.found["judged"] = len({int(number) for rows in judged for number in np.unique(rows.series)})
    featurizer.found["validation"] = words
    if not (learn.period <= origins[0]).any():
        raise ForecastError(
            "Nothing is left to learn from before the first of the judged periods",
            "Give more data, a shorter forecast_horizon or fewer cross-validations",
        )
    rows = Rows.joined([learn, *judged])
    fold = np.repeat(np.arange(-1, len(judged)), [len(learn), *(len(part) for part in judged)])
    order = np.lexsort((fold, rows.series, rows.period))
    rows, fold = rows[order], fold[order]
    positions = np.arange(len(rows))
    folds = [
        (positions[(fold == -1) & (rows.period <= origin)], positions[fold == number])
        for number, origin in enumerate(origins)
    ]
    labels = np.array([series_label(key) for key in featurizer.tape.keys], dtype=object)
    known = featurizer.tape.y[featurizer.tape.known]
    level = featurizer.level(rows)
    return Prepared(
        featurizer.frame(rows),
        featurizer.target(rows) - level,
        level,
        featurizer.weights(rows),
        folds,
        pd.DataFrame(
            {
                "time": featurizer.grid.times(rows.period),
                "series": labels[rows.series],
                "series_number": rows.series,
                "step": rows.period - rows.origin,
            }
        ),
        featurizer,
        {
            "y_min": float(known.min()),
            "y_max": float(known.max()),
            "baselines": dict(featurizer.baselines),
            "level": featurizer.level_column,
        },
        words,
        notes(featurizer),
        guardrails(featurizer),
    )


def read_options(settings: Mapping[str, Any]) -> ForecastOptions:
    """Return what is forecast and how, from the settings of a search.

    :raises AutoMLError: a parameter has a value that it cannot have, or asks for what there is not.
    """
    parameters = settings.get("forecasting_parameters") or {}
    _refuse(parameters, settings)
    time = parameters.get("time_column_name")
    target = settings.get("label_column_name")
    if not time:
        raise AutoMLError(
            "A forecast needs forecasting_parameters with time_column_name", hint="Name the column of times"
        )
    if not target:
        raise AutoMLError("A forecast needs label_column_name", hint="Name the column to forecast")
    series = _names(parameters, "time_series_id_column_names")
    if {time, target} & set(series) or time == target:
        raise AutoMLError(
            f"The label, the time column and the series ids are different columns, not {[target, time, *series]}"
        )
    featurization = settings.get("featurization")
    custom = featurization if isinstance(featurization, Mapping) else {}
    season = parameters.get("seasonality", "auto")
    return ForecastOptions(
        target=target,
        time=time,
        series=series,
        horizon=_number(parameters, "forecast_horizon", default=1, auto=True) or 1,
        lags=_numbers(parameters, "target_lags"),
        window=_number(parameters, "target_rolling_window_size", least=2, auto=True),
        season=1 if season is None else _number(parameters, "seasonality", default="auto", auto=True) or 1,
        feature_lags=_numbers(parameters, "feature_lags"),
        unknown=_names(parameters, "features_unknown_at_forecast_time"),
        freq=parameters.get("freq"),
        gather=_one_of(parameters, "target_aggregation_function", (None, *_FUNCTIONS), None),
        short=_one_of(parameters, "short_series_handling_configuration", _SHORT, "auto"),
        weight=settings.get("weight_column_name"),
        dropped=tuple(custom.get("drop_columns") or ()),
        purposes=dict(custom.get("column_purposes") or {}),
    )


def _refuse(parameters: Mapping[str, Any], settings: Mapping[str, Any]) -> None:
    if parameters.get("country_or_region_for_holidays"):
        raise AutoMLError(
            f"country_or_region_for_holidays {parameters['country_or_region_for_holidays']!r} cannot be used: "
            "there is no calendar of holidays",
            hint="Add a column that says whether a day is a holiday, for the future too",
        )
    if parameters.get("use_stl"):
        raise AutoMLError(
            f"use_stl {parameters['use_stl']!r} cannot be used: series are not decomposed",
            hint="Leave it out; season and trend are features (seasonality)",
        )
    for name in ("validation_size", "cv_split_column_names"):
        if settings.get(name):
            raise AutoMLError(
                f"{name} cannot be used for a forecast: it is judged by its last periods",
                hint="Say how often with n_cross_validations, and how far apart with cv_step_size",
            )


def _names(parameters: Mapping[str, Any], key: str) -> tuple[str, ...]:
    value = parameters.get(key)
    return () if value is None else (value,) if isinstance(value, str) else tuple(value)


def _number(parameters: Mapping[str, Any], key: str, *, default: Any = None, least: int = 1, auto: bool = False) -> Any:
    value = parameters.get(key, default)
    if value is None or (auto and value == "auto"):
        return value
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < least:
        words = f"a whole number from {least}" + (" or 'auto'" if auto else "")
        raise AutoMLError(f"{key} is {words}, not {value!r}")
    return int(value)


def _numbers(parameters: Mapping[str, Any], key: str) -> Any:
    value = parameters.get(key)
    if value is None or value == "auto":
        return () if value is None else value
    values = value if isinstance(value, (list, tuple)) else [value]
    return tuple(_number({key: v}, key) for v in values)


def _one_of(parameters: Mapping[str, Any], key: str, allowed: Sequence[Any], default: Any) -> Any:
    value = parameters.get(key, default)
    if value not in allowed:
        raise AutoMLError(f"{key} {value!r} is unknown", allowed=[str(a) for a in allowed])
    return value
