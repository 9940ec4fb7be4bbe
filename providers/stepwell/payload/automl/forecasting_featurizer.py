"""From a frame of series to features of forecasts. Travels inside a saved model, with the series' last values."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from stepwell.payload.automl.forecasting_features import (
    AVERAGED_SEASONS,
    BASELINES,
    Features,
    averaged,
    calendar_parts,
    plan,
)
from stepwell.payload.automl.forecasting_options import ForecastOptions, Rows
from stepwell.payload.automl.forecasting_seasons import find_lags, find_season
from stepwell.payload.automl.forecasting_table import (
    Column,
    Tape,
    column_of,
    gather,
    read_frame,
    read_target,
    series_label,
    series_values,
)
from stepwell.payload.automl.forecasting_times import ForecastError, grid_of

_REMEMBERED = 10_000
_GOLDEN = 0.6180339887498949
#: A grid may have so many times the periods that there are rows.
_THIN, _FEW = 50, 100_000
#: Further ahead than so many horizons nothing is forecast.
_FURTHEST = 1000
_WEIGHT = Column("", True)


class ForecastFeaturizer:
    """Learns from a frame how often its series are, what repeats in them, and which of their past is looked at.

    After :meth:`fit`, ``tape`` holds the whole training data until :meth:`trim`.

    :ivar grid: the periods.
    :ivar horizon: how many of them are forecast at once.
    :ivar season: after how many the series repeat themselves; 1 = they do not.
    :ivar features: what the columns ``f0``, ``f1``, … are.
    :ivar baselines: ``naive``, ``seasonal_naive``, ``average``, ``seasonal_average`` → the column that is it.
    :ivar lineage: feature → the column of the data that it comes from.
    :ivar described: the columns of the data: column, purpose, why, steps, features, dropped.
    :ivar dropped_series: series too short to learn from, by key.
    """

    def __init__(self, options: ForecastOptions) -> None:
        self.options = options
        self.dropped_series: dict[str, int] = {}
        #: What was found and done, for guardrails.
        self.found: dict[str, Any] = {}

    def fit(self, frame: pd.DataFrame) -> ForecastFeaturizer:
        """Learn from the rows of *frame*, in any order.

        :raises ForecastError: nothing can be learnt from them, for the reason said.
        """
        options = self.options
        times, keys, self.aware = read_frame(frame, options.time, options.series)
        if options.target not in frame.columns:
            raise ForecastError(f"The data have no column {options.target!r}, which is to be forecast")
        if not len(frame):
            raise ForecastError("The data have no rows")
        table = pd.DataFrame({"series": keys, "time": times, "y": read_target(frame[options.target], options.target)})
        self._choose_columns(frame)
        for column in self.columns:
            table[column.key] = column.values(frame[column.name])
        if options.weight is not None:
            table[_WEIGHT.key] = _WEIGHT.values(frame[options.weight])
        table = self._regular(table)
        self._lay(table)
        self._learn()
        return self

    def _choose_columns(self, frame: pd.DataFrame) -> None:
        options = self.options
        missing = [
            c for c in [*options.unknown, *([options.weight] if options.weight else [])] if c not in frame.columns
        ]
        if missing:
            raise ForecastError(f"The data have no column {', '.join(repr(c) for c in missing)}")
        self.columns: list[Column] = []
        self.described: list[dict[str, Any]] = []
        taken = {options.target, options.time, *options.series, options.weight}
        for name in frame.columns:
            if name in taken:
                continue
            dropped = name in options.dropped
            known = name not in options.unknown
            column = (
                "is in drop_columns" if dropped else column_of(frame[name], name, known, options.purposes.get(name))
            )
            if isinstance(column, str):
                self._describe(name, "Ignore", column, dropped=True)
            else:
                self.columns.append(column)

    def _describe(self, column: str, purpose: str, why: str, dropped: bool = False) -> None:
        entry = {"column": column, "purpose": purpose, "why": why, "steps": [], "features": 0, "dropped": dropped}
        self.described.append(entry)

    def _regular(self, table: pd.DataFrame) -> pd.DataFrame:
        """Return the table with a row for each series and period at most, in order; find the frequency."""
        options = self.options
        self.found["rows"] = len(table)
        if options.gather is not None:
            if options.freq is None:
                raise ForecastError("target_aggregation_function needs freq: the period that rows are gathered into")
            categorical = [c.key for c in self.columns if c.categories is not None]
            table = gather(table, options.freq, options.gather, categorical)
        else:
            twice = table.duplicated(["series", "time"])
            if twice.any():
                row = table[twice].iloc[0]
                of = f" in the series {series_label(row['series'])!r}" if options.series else ""
                raise ForecastError(
                    f"{int(twice.sum())} rows have the time of another row{of}, the first of them {row['time']}",
                    "Name the columns that tell series apart in time_series_id_column_names, or gather rows of the "
                    "same period with freq and target_aggregation_function (sum, max, min, mean)",
                )
        table = table.sort_values(["series", "time"], ignore_index=True)
        self.found["periods"] = len(table)
        indexes = [pd.DatetimeIndex(times) for _, times in table.groupby("series")["time"]]
        self.grid, self.found["frequency_found"] = grid_of(indexes, options.freq)
        table["position"] = self.grid.positions(table["time"])
        return table

    def _lay(self, table: pd.DataFrame) -> None:
        known = table[table["y"].notna()].groupby("series")["position"]
        bounds = pd.DataFrame({"start": known.min(), "end": known.max(), "count": known.count()})
        if bounds.empty:
            raise ForecastError(f"The target {self.options.target!r} has no values")
        self.found["without_target"] = int(table["y"].isna().sum())
        long = bounds["end"] - bounds["start"] + 1
        if long.sum() > _THIN * len(table) + _FEW:
            raise ForecastError(
                f"freq {self.grid.freq!r} is too fine: {int(long.sum())} periods would hold {len(table)} rows",
                "Give a longer one, with target_aggregation_function if several rows then are of one period",
            )
        self._all = (bounds, table)
        # Seasons and lags are told by the longest series, so before the short ones are seen to.
        self._tape(bounds)

    def _tape(self, bounds: pd.DataFrame) -> None:
        table = self._all[1]
        keys = bounds.index.tolist()
        table = table[table["series"].isin(keys)]
        columns = [*self.columns, *([_WEIGHT] if self.options.weight else [])]
        rows = {name: table[name].to_numpy() for name in ["position", "y", *(c.key for c in columns)]}
        rows["series"] = pd.Categorical(table["series"], categories=keys).codes.astype(np.int64)
        limits = (bounds["start"].to_numpy(dtype=np.int64), bounds["end"].to_numpy(dtype=np.int64))
        self.tape = Tape.lay(keys, limits, rows, columns)

    def _learn(self) -> None:
        options = self.options
        bounds, _ = self._all
        lines = [self.tape.y[o : o + n] for o, n in zip(self.tape.offset, self.tape.length)]
        self.season = find_season(lines, self.grid.freq) if options.season == "auto" else int(options.season)
        longest = int(self.tape.length.max())
        if options.horizon == "auto":
            self.horizon = max(1, min(self.season if self.season > 1 else longest // 10, longest // 5))
        else:
            self.horizon = int(options.horizon)
        lags = find_lags(lines, self.season) if isinstance(options.lags, str) else sorted(set(options.lags))
        self.lags = [int(lag) for lag in lags]
        if options.window == "auto":
            self.window: int | None = self.season if self.season > 1 else max([*self.lags, 5])
        else:
            self.window = None if options.window is None else int(options.window)
        self._drop_short(bounds)
        del self._all
        self._plan()

    @property
    def lookback(self) -> int:
        """How many periods before an origin the longest lag or window reaches; the averages reach further."""
        return max([self.season, *self.lags, self.window or 1])

    def _drop_short(self, bounds: pd.DataFrame) -> None:
        """Leave out the series that are too short, if so they shall be treated."""
        least = self.horizon + min(self.lookback, 2 * self.horizon) + 1
        short = bounds[bounds["count"] < least]
        self.found["short"], self.found["least"] = {series_label(k): int(n) for k, n in short["count"].items()}, least
        if short.empty:
            return
        how = self.options.short
        if how == "auto":
            how = "pad" if len(short) == len(bounds) else "drop"
        self.found["short_handling"] = how
        said = f"{len(short)} of {len(bounds)} series have fewer than {least} known values"
        if how is None:
            named = ", ".join(f"{series_label(k)!r} ({n})" for k, n in list(short["count"].items())[:5])
            raise ForecastError(
                f"{said}: {named}" if self.options.series else f"The series has fewer than {least} known values",
                "Give longer series, a shorter forecast_horizon, or short_series_handling_configuration pad or drop",
            )
        if how == "drop":
            if len(short) == len(bounds):
                raise ForecastError(
                    f"{said}: all are dropped",
                    "Give longer series, a shorter forecast_horizon, or short_series_handling_configuration pad",
                )
            self.dropped_series = {key: int(n) for key, n in short["count"].items()}
            self._tape(bounds.drop(index=short.index))

    def _plan(self) -> None:
        options, keys = self.options, self.tape.keys
        ids = [series_values(key) for key in keys]
        values = [(name, sorted({v[i] for v in ids})) for i, name in enumerate(options.series)]
        feature_lags = (1,) if isinstance(options.feature_lags, str) else tuple(sorted(set(options.feature_lags)))
        parts = calendar_parts(self.grid.times(np.unique(self.tape.positions)))
        self.features = plan(
            options.target,
            options.time,
            values,
            self.columns,
            parts,
            horizon=self.horizon,
            season=self.season,
            lags=self.lags,
            window=self.window,
            feature_lags=feature_lags,
            relative=options.relative,
        )
        self.names = [f"f{number}" for number in range(len(self.features))]
        kinds = {f.kind: name for f, name in zip(self.features, self.names)}
        plain = {"seasonal_naive": "naive", "seasonal_average": "average"}
        self.baselines = {name: kinds.get(name) or kinds[plain[name]] for name in BASELINES}
        #: The column of the level, where what is learnt is relative to it.
        self.level_column = kinds.get("level")
        self.lineage = {name: f.source for f, name in zip(self.features, self.names)}
        self._describe(options.target, "Target", "is forecast")
        self._describe(options.time, "DateTime", "is the time")
        for name in options.series:
            self._describe(name, "TimeSeriesId", "tells series apart")
        for column in self.columns:
            why = "is known when forecasting" if column.known else "is known of the past only"
            self._describe(column.name, "Numeric" if column.categories is None else "Categorical", why)
        for entry in self.described:
            mine = [f for f in self.features if f.source == entry["column"]]
            entry["features"] = len(mine)
            entry["steps"] += [f.words.replace(f"{f.source} ", "", 1) for f in mine]

    def learning_rows(self) -> Rows:
        """Return a row for each known period but each series' first.

        Each is seen from an origin 1 to ``horizon`` periods before, evenly mixed, as forecasts will be.
        """
        tape = self.tape
        series, period = tape.series, tape.positions
        age = period - tape.start[series]
        there = np.flatnonzero(tape.known & (age > 0))
        series, period, age = series[there], period[there], age[there]
        mixed = (np.arange(len(there)) * _GOLDEN) % 1.0
        step = 1 + np.floor(mixed * np.minimum(age, self.horizon)).astype(np.int64)
        return Rows(series, period, period - step)

    def judged_rows(self, origin: int, last: int | None = None) -> Rows:
        """Return the known periods after *origin* up to *last* (else the horizon's end), as forecast from there.

        Beyond the horizon, each further block of that length is forecast from the period before it.
        """
        tape = self.tape
        last = origin + self.horizon if last is None else last
        series, period = tape.series, tape.positions
        there = tape.known & (period > origin) & (period <= last)
        series, period = series[there], period[there]
        begin = origin + (period - origin - 1) // self.horizon * self.horizon
        old = tape.start[series] <= begin
        return Rows(series[old], period[old], begin[old])

    def frame(self, rows: Rows, tape: Tape | None = None) -> pd.DataFrame:
        """Return the features of *rows*, columns ``f0``, ``f1``, …

        :param tape: with the series' values, if not the one that was learnt from.
        """
        features = self._features(rows, tape)
        return pd.DataFrame({name: features.of(f) for name, f in zip(self.names, self.features)})

    def _features(self, rows: Rows, tape: Tape | None) -> Features:
        where = (rows.series, rows.period, rows.origin)
        return Features(tape or self.tape, self.grid, self.season, where, self.options.relative)

    def target(self, rows: Rows) -> np.ndarray:
        """Return the target of *rows*."""
        return np.asarray(self.tape.y[self.tape.place(rows.series, rows.period)])

    def level(self, rows: Rows, tape: Tape | None = None) -> np.ndarray:
        """Return what is to be added to the predictions for *rows* to make forecasts of them."""
        return self._features(rows, tape).level() if self.options.relative else np.zeros(len(rows))

    def weights(self, rows: Rows) -> np.ndarray | None:
        """Return the weights of *rows*, or None."""
        if self.options.weight is None:
            return None
        return np.asarray(self.tape.columns[_WEIGHT.key][self.tape.place(rows.series, rows.period)])

    def trim(self) -> None:
        """Forget what no forecast looks at, so that a saved model is small: keep the last 10,000 periods or more."""
        needed = max(self.lookback, averaged(self.season), AVERAGED_SEASONS * self.season) + self.horizon
        self.tape = self.tape.tail(max(_REMEMBERED, needed))

    def extended(self, frame: pd.DataFrame, y: Any = None) -> tuple[Tape, np.ndarray, np.ndarray, np.ndarray]:
        """Lay the rows of *frame* onto the series that are known.

        :param y: the target where it is known, NaN elsewhere; it counts as history.
        :returns: the longer tape; of each row of *frame* the series and the period; of each series the last period
            with a known target.
        :raises ForecastError: a series, a time or a column is not as in training.
        """
        options = self.options
        times, keys, _ = read_frame(frame, options.time, options.series, self.aware)
        series = pd.Categorical(keys, categories=self.tape.keys).codes.astype(np.int64)
        self._check_series(keys[series < 0])
        period = self.grid.positions(times)
        self._check_times(times, keys, series, period)
        rows = self.tape.rows()
        target = np.full(len(frame), np.nan) if y is None else read_target(pd.Series(y), options.target)
        if len(target) != len(frame):
            raise ForecastError(f"y has {len(target)} values for {len(frame)} rows", "Give NaN where it is not known")
        given: dict[str, np.ndarray] = {"series": series, "position": period, "y": target}
        used = self.columns
        missing = [c.name for c in used if c.known and c.name not in frame.columns]
        if missing:
            raise ForecastError(
                f"The rows to forecast have no column {', '.join(repr(c) for c in missing)}",
                "Give what is known of the future in it, or train with it among features_unknown_at_forecast_time",
            )
        for column in used:
            values = column.values(frame[column.name]) if column.name in frame.columns else np.full(len(frame), np.nan)
            # What is not known when forecasting is not looked at, even where it is given.
            given[column.key] = values if column.known else np.where(np.isnan(target), np.nan, values)
        names = ["series", "position", "y", *(c.key for c in used)]
        joined = {name: np.concatenate([rows[name], given[name]]) for name in names}
        end = self.tape.end.copy()
        np.maximum.at(end, series, period)
        tape = Tape.lay(self.tape.keys, (self.tape.start, end), joined, used)
        last = self.tape.end.copy()
        np.maximum.at(last, series[~np.isnan(target)], period[~np.isnan(target)])
        return tape, series, period, last

    def _check_series(self, unknown: pd.Series) -> None:
        if unknown.empty:
            return
        key = unknown.iloc[0]
        if key in self.dropped_series:
            raise ForecastError(
                f"The series {series_label(key)!r} was too short to learn from: {self.dropped_series[key]} values",
                "Leave it out, or train with short_series_handling_configuration pad",
            )
        known = ", ".join(series_label(k) for k in self.tape.keys[:5])
        raise ForecastError(
            f"The series {series_label(key)!r} was not in the training data",
            f"Leave out its rows, or train with it. Known are {len(self.tape.keys)} series: {known}",
        )

    def _check_times(self, times: pd.Series, keys: pd.Series, series: np.ndarray, period: np.ndarray) -> None:
        if (period < 0).any():
            time = times.iloc[int(np.argmax(period < 0))]
            raise ForecastError(
                f"The time {time} is before the training data or not one of its times: they are every "
                f"{self.grid.freq!r} from {self.grid.start}"
            )
        early = period <= self.tape.start[series]
        if early.any():
            first = self.grid.times([int(self.tape.start[series[early][0]])])[0]
            raise ForecastError(f"{times.iloc[int(np.argmax(early))]} is not after the first known value, of {first}")
        far = period - self.tape.end[series]
        if (far > _FURTHEST * self.horizon).any():
            raise ForecastError(
                f"{times.iloc[int(far.argmax())]} lies {int(far.max())} periods after the training data, "
                f"more than {_FURTHEST} times the horizon of {self.horizon}",
                "Train with newer data, or with a longer forecast_horizon",
            )
        twice = pd.DataFrame({"series": series, "period": period}).duplicated()
        if twice.any():
            row = int(np.argmax(twice))
            of = f" of the series {series_label(keys.iloc[row])!r}" if self.options.series else ""
            raise ForecastError(f"The time {times.iloc[row]}{of} is asked for twice", "Give each period once")
