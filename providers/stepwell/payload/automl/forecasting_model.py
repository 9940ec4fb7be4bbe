"""The fitted forecaster: a regressor of features of the past, and what it needs to know of the past."""

from __future__ import annotations

from statistics import NormalDist
from typing import Any, Sequence

import numpy as np
import pandas as pd

from stepwell.payload.automl.forecasting_featurizer import ForecastFeaturizer
from stepwell.payload.automl.forecasting_options import Rows
from stepwell.payload.automl.forecasting_table import Tape
from stepwell.payload.automl.forecasting_times import ForecastError

#: v1's name of the column of forecasts.
FORECAST_COLUMN = "_automl_target_col"
_ENOUGH = 20
_ENOUGH_OF_SERIES = 5


class ForecastingModel:
    """Forecasts series.

    :param featurizer: fitted to the training data.
    :param regressor: fitted to its features; has ``predict``.
    :param residuals: of the validation: a frame with ``series`` (number), ``step`` (1 = the first period after the
        origin) and ``residual`` (actual − forecast). Without them there are no quantiles.
    """

    def __init__(self, featurizer: ForecastFeaturizer, regressor: Any, residuals: pd.DataFrame | None = None) -> None:
        featurizer.trim()
        self.featurizer = featurizer
        self.regressor = regressor
        self._spread = None if residuals is None else _Spread(residuals, featurizer)

    @property
    def forecast_horizon(self) -> int:
        """How many periods are forecast at once; further ones build on forecasts."""
        return self.featurizer.horizon

    @property
    def time_column_name(self) -> str:
        """The column of times."""
        return self.featurizer.options.time

    @property
    def time_series_id_column_names(self) -> list[str]:
        """The columns that name a row's series."""
        return list(self.featurizer.options.series)

    @property
    def target_column_name(self) -> str:
        """The column that is forecast."""
        return self.featurizer.options.target

    def predict(self, X: pd.DataFrame) -> np.ndarray:
        """Return a forecast for each row of *X*, in its order; see :meth:`forecast`."""
        return self.forecast(X)[0]

    def forecast(self, X_future: pd.DataFrame, y: Any = None) -> tuple[np.ndarray, pd.DataFrame]:
        """Forecast the periods of the rows of a frame.

        A series is forecast a horizon at a time from its last known value; what lies further builds on forecasts, also
        over a gap between that value and the first row. Rows inside the known history are forecast from what was known
        before the first of them in their series, and after each horizon from what was known then.

        :param X_future: the time column, the id columns, and the other columns of training that are not unknown.
        :param y: the target where it is known already, NaN elsewhere: later values than in training, to forecast from.
        :returns: the forecasts in the order of the rows (where *y* was given: its values), and a frame of them: v1's
            index of time and series, the columns of *X_future*, and ``_automl_target_col``.
        :raises ForecastError: the rows are not such as the model can forecast.
        """
        forecasts, _ = self._forecast(X_future, y, again=False)
        return forecasts, self._framed(X_future, forecasts)

    def rolling_forecast(self, X: pd.DataFrame, y: Any) -> pd.DataFrame:
        """Forecast known values, a horizon at a time, each from what was known before it: to judge the model.

        :param y: the target of the rows of *X*.
        :returns: of each row in its order: the time, the ids, ``_automl_step``, ``_automl_actual`` and
            ``_automl_target_col``.
        """
        forecasts, steps = self._forecast(X, y, again=True)
        frame = X[[self.time_column_name, *self.time_series_id_column_names]].reset_index(drop=True)
        return frame.assign(
            _automl_step=steps, _automl_actual=np.asarray(y, dtype=float), **{FORECAST_COLUMN: forecasts}
        )

    def forecast_quantiles(
        self, X_future: pd.DataFrame, y: Any = None, quantiles: Sequence[float] = (0.05, 0.5, 0.95)
    ) -> pd.DataFrame:
        """Forecast what is exceeded with these probabilities, by how far off the forecasts of the validation were.

        :returns: the columns of time and ids, and one column named for each quantile; rows as in *X_future*.
        """
        if not quantiles or not all(0 < q < 1 for q in quantiles):
            raise ForecastError(f"Quantiles are between 0 and 1, not {list(quantiles)}")
        if self._spread is None:
            raise ForecastError("The model knows no quantiles: it was made without the residuals of a validation")
        forecasts, steps = self._forecast(X_future, y, again=False)
        _, series, _, _ = self.featurizer.extended(X_future)
        frame = X_future[[self.time_column_name, *self.time_series_id_column_names]].reset_index(drop=True)
        given = steps == 0
        for quantile in quantiles:
            off = self._spread.quantile(quantile, series, np.maximum(steps, 1))
            frame[quantile] = np.where(given, forecasts, forecasts + off)
        return frame

    def interval(self, forecasts: np.ndarray, series: Any, steps: Any, level: float = 0.9) -> tuple[Any, Any]:
        """Return the lower and upper ends that so large a part of the values lie between.

        :param series: the number of each forecast's series.
        :param steps: how many periods after its origin each is.
        """
        if self._spread is None:
            raise ForecastError("The model knows no intervals: it was made without the residuals of a validation")
        series, steps = np.asarray(series), np.asarray(steps)
        ends = [self._spread.quantile(q, series, steps) for q in ((1 - level) / 2, (1 + level) / 2)]
        return forecasts + ends[0], forecasts + ends[1]

    def _framed(self, X: pd.DataFrame, forecasts: np.ndarray) -> pd.DataFrame:
        frame = X.copy()
        frame[FORECAST_COLUMN] = forecasts
        return frame.set_index([self.time_column_name, *self.time_series_id_column_names])

    def _forecast(self, X: pd.DataFrame, y: Any, again: bool) -> tuple[np.ndarray, np.ndarray]:
        """Return forecasts and their steps; step 0 = it was given.

        :param again: forecast also what is given.
        """
        if not isinstance(X, pd.DataFrame):
            raise ForecastError(f"Rows to forecast are a pandas DataFrame, not {type(X).__name__}")
        if not len(X):
            return np.empty(0), np.empty(0, dtype=np.int64)
        tape, series, period, last = self.featurizer.extended(X, y)
        given = np.full(len(X), np.nan) if y is None or again else np.asarray(pd.Series(y), dtype=float)
        ask = np.isnan(given)
        result, steps = given.copy(), np.zeros(len(X), dtype=np.int64)
        past = period <= last[series]
        for part in (ask & ~past, ask & past):
            if part.any():
                result[part], steps[part] = self._ahead(tape, series[part], period[part], last)
        return result, steps

    def _ahead(
        self, tape: Tape, series: np.ndarray, period: np.ndarray, last: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Forecast periods block by block, all series at once; forecasts become the past of the next block."""
        horizon = self.featurizer.horizon
        first = np.full(len(tape.keys), np.iinfo(np.int64).max)
        np.minimum.at(first, series, period)
        begin = np.minimum(first, last + 1)
        block = (period - begin[series]) // horizon
        blocks = np.full(len(tape.keys), -1)
        np.maximum.at(blocks, series, block)
        forecasts = np.empty(len(period))
        for number in range(int(blocks.max()) + 1):
            rows = self._block(begin + number * horizon, np.flatnonzero(blocks >= number), tape)
            values = np.asarray(self.regressor.predict(self.featurizer.frame(rows, tape)), dtype=float).ravel()
            values = values + self.featurizer.level(rows, tape)
            places = tape.place(rows.series, rows.period)
            line = np.full(len(tape.y), np.nan)
            line[places] = values
            mine = block == number
            forecasts[mine] = line[tape.place(series[mine], period[mine])]
            future = rows.period > last[rows.series]
            tape.y[places[future]] = values[future]
        origin = begin[series] + block * horizon - 1
        # Where the origin itself was forecast, steps count from the last value known.
        return forecasts, period - np.minimum(origin, np.maximum(last[series], begin[series] - 1))

    def _block(self, begin: np.ndarray, series: np.ndarray, tape: Tape) -> Rows:
        """Return the rows of the horizons that begin at these periods, as far as the tape goes."""
        steps = np.arange(self.featurizer.horizon)
        period = (begin[series, None] + steps).ravel()
        which = np.repeat(series, len(steps))
        origin = np.repeat(begin[series] - 1, len(steps))
        inside = period <= tape.end[which]
        return Rows(which[inside], period[inside], origin[inside])


class _Spread:
    """How far off forecasts are: by step and by series, from the residuals of the validation."""

    def __init__(self, residuals: pd.DataFrame, featurizer: ForecastFeaturizer) -> None:
        frame = residuals[np.isfinite(residuals["residual"])]
        off = frame["residual"].to_numpy(dtype=float)
        series, step = frame["series"].to_numpy(dtype=np.int64), frame["step"].to_numpy(dtype=np.int64)
        whole = _rms(off)
        self.scale = np.full(len(featurizer.tape.keys), whole)
        for number in np.unique(series):
            mine = off[series == number]
            if len(mine) >= _ENOUGH_OF_SERIES:
                self.scale[number] = _rms(mine)
        off = off / np.where(self.scale[series] > 0, self.scale[series], 1.0)
        self.horizon = featurizer.horizon
        self.shape = _widening(off, step, self.horizon)
        off = np.sort(off / self.shape[np.clip(step, 1, self.horizon) - 1])
        self.off = off if len(off) >= _ENOUGH else None
        # A few residuals say how far off forecasts are on the whole, not what is rare.
        self.deviation = _rms(off) * np.sqrt(1 + 1 / max(1, len(off)))

    def quantile(self, quantile: float, series: np.ndarray, steps: np.ndarray) -> np.ndarray:
        """Return by how much a forecast is exceeded; beyond the horizon it widens as a random walk's does."""
        if self.off is None:
            off = NormalDist().inv_cdf(quantile) * self.deviation
        else:
            off = float(np.quantile(self.off, quantile))
        wider = np.sqrt(np.maximum(1.0, np.asarray(steps) / self.horizon))
        shape = self.shape[np.clip(steps, 1, self.horizon) - 1]
        return np.asarray(off * self.scale[series] * shape * wider)


def _rms(values: np.ndarray) -> float:
    return float(np.sqrt(np.mean(values**2))) if len(values) else 0.0


def _widening(off: np.ndarray, step: np.ndarray, horizon: int) -> np.ndarray:
    """Return by how much residuals differ from step to step, smoothly and never less at later steps; 1 on the whole."""
    from sklearn.isotonic import IsotonicRegression

    if horizon == 1 or len(off) < 2 * horizon or not np.any(off):
        return np.ones(horizon)
    rise = IsotonicRegression(out_of_bounds="clip").fit(step.astype(float), off**2)
    shape = np.sqrt(np.maximum(rise.predict(np.arange(1.0, horizon + 1)), 0.01))
    return np.asarray(shape / _rms(shape))
