"""Forecasts: what is known when, folds through time, and the model that continues series."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.ensemble import RandomForestRegressor

from stepwell.payload.automl.errors import AutoMLError
from stepwell.payload.automl.forecasting import Prepared, prepare
from stepwell.payload.automl.forecasting_model import ForecastingModel
from stepwell.payload.automl.forecasting_times import ForecastError, grid_of
from stepwell.payload.automl.problem import Problem


def series(
    periods: int = 200, freq: str = "D", season: int = 7, scale: float = 1.0, seed: int = 1, noise: float = 1.0
) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    t = np.arange(periods)
    y = 50 + 0.02 * t + 10 * np.sin(2 * np.pi * t / season) + noise * rng.normal(size=periods)
    times = pd.date_range("2023-01-02", periods=periods, freq=freq)
    return pd.DataFrame({"day": times, "sales": scale * y})


def shops(periods: int = 120) -> pd.DataFrame:
    parts = [series(periods, scale=k, seed=int(k)).assign(shop=name) for name, k in (("a", 1.0), ("b", 5.0))]
    return pd.concat(parts, ignore_index=True)


def settings(**parameters: Any) -> dict[str, Any]:
    search = {
        k: parameters.pop(k) for k in ("n_cross_validations", "featurization", "weight_column_name") if k in parameters
    }
    parameters = {"time_column_name": "day", "forecast_horizon": 7, **parameters}
    return {"label_column_name": "sales", "forecasting_parameters": parameters, **search}


class Coded:
    """A forest over categories' codes."""

    def __init__(self) -> None:
        self.forest = RandomForestRegressor(20, random_state=0)

    @staticmethod
    def codes(X: pd.DataFrame) -> pd.DataFrame:
        return X.assign(**{c: X[c].cat.codes for c in X.select_dtypes("category")})

    def fit(self, X: pd.DataFrame, y: Any) -> Coded:
        self.forest.fit(self.codes(X), y)
        return self

    def predict(self, X: pd.DataFrame) -> Any:
        return self.forest.predict(self.codes(X))


class Baseline:
    """Predicts a column."""

    def __init__(self, column: str) -> None:
        self.column = column

    def predict(self, X: pd.DataFrame) -> Any:
        return X[self.column].to_numpy()


def validated(prepared: Prepared) -> np.ndarray:
    return np.concatenate(
        [
            Coded().fit(prepared.X.iloc[learn], prepared.y[learn]).predict(prepared.X.iloc[judge])
            for learn, judge in prepared.folds
        ]
    )


def forest(prepared: Prepared) -> ForecastingModel:
    return prepared.model(Coded().fit(prepared.X, prepared.y), validated(prepared))


def baseline(frame: pd.DataFrame, which: str, **parameters: Any) -> ForecastingModel:
    prepared = prepare(frame, settings(**parameters))
    return prepared.model(Baseline(prepared.facts["baselines"][which]))


def after(frame: pd.DataFrame, periods: int, freq: str = "D", **columns: Any) -> pd.DataFrame:
    return pd.DataFrame({"day": pd.date_range(frame["day"].max(), periods=periods + 1, freq=freq)[1:], **columns})


# What is known when


@pytest.mark.parametrize("horizon", [1, 5, 14])
@pytest.mark.parametrize("cut", [40, 90, 112])
@pytest.mark.parametrize("relative", [False, True])
def test_no_feature_knows_a_later_target(horizon: int, cut: int, relative: bool) -> None:
    frame = shops()
    frame["visitors"] = np.random.default_rng(3).random(len(frame))
    given = settings(
        forecast_horizon=horizon,
        time_series_id_column_names=["shop"],
        target_lags=[1, 2, 7, 10],
        target_rolling_window_size=5,
        seasonality=7,
        feature_lags=[1, 3],
        features_unknown_at_forecast_time=["visitors"],
        cv_step_size=3,
    )
    whole = prepare(frame, given, relative=relative)
    later = frame["day"] > frame["day"].min() + pd.Timedelta(cut, "D")
    changed = frame.copy()
    changed.loc[later, ["sales", "visitors"]] = -1e6
    other = prepare(changed, given, relative=relative)
    origin = (whole.rows["time"] - frame["day"].min()).dt.days - whole.rows["step"]
    seen = (origin <= cut).to_numpy()
    numbers = whole.X.select_dtypes("number").columns
    assert seen.sum() > 30
    np.testing.assert_allclose(whole.X.loc[seen, numbers], other.X.loc[seen, numbers])
    np.testing.assert_allclose(whole.level[seen], other.level[seen])
    late = whole.X.loc[~seen, numbers].to_numpy() != other.X.loc[~seen, numbers].to_numpy()
    assert late.any() or cut > 110  # the test can tell


def test_nothing_is_learnt_from_what_a_fold_judges_or_later(tmp_path: Path) -> None:
    prepared = prepare(shops(), settings(time_series_id_column_names="shop", cv_step_size=2, n_cross_validations=4))
    times = prepared.rows["time"]
    assert len(prepared.folds) == 4
    problem = Problem("regression", prepared.X, prepared.y, prepared.folds, "r2_score", facts=prepared.facts)
    problem.save(str(tmp_path))
    pd.testing.assert_frame_equal(Problem.load(str(tmp_path)).X, prepared.X)
    for learn, judge in prepared.folds:
        origin = times[judge] - pd.to_timedelta(prepared.rows["step"][judge], "D")
        assert origin.nunique() == 1
        assert times[learn].max() <= origin.min()
        assert sorted(prepared.rows["step"][judge]) == sorted([*range(1, 8)] * 2)
    assert times.is_monotonic_increasing
    assert times[prepared.folds[-1][1]].max() == shops()["day"].max()
    learnt = prepared.rows.drop(index=np.unique(prepared.judged))
    assert set(learnt["step"]) == set(range(1, 8))
    assert not prepared.X.isna().any(axis=None)


def test_baselines_are_what_they_are_called() -> None:
    frame = series(70)
    y = frame["sales"].to_numpy()
    future = after(frame, 9)
    assert baseline(frame, "naive").predict(future) == pytest.approx([y[-1]] * 9)
    week = [*y[-7:], *y[-7:-5]]
    assert baseline(frame, "seasonal_naive", seasonality=7).predict(future) == pytest.approx(week)
    long = baseline(frame, "seasonal_naive", seasonality=7, forecast_horizon=9).predict(future)
    assert long == pytest.approx(week)
    average = baseline(frame, "average", forecast_horizon=9).predict(future)
    assert average == pytest.approx([y[-30:].mean()] * 9)
    seasonal = baseline(frame, "seasonal_average", seasonality=7, forecast_horizon=9).predict(future)
    assert seasonal[0] == pytest.approx(y[::7].mean())
    assert seasonal[8] == pytest.approx(y[1::7].mean())


def test_a_forest_beats_the_baselines_on_a_seasonal_series() -> None:
    frame = series(400, noise=2)
    frame["promotion"] = np.random.default_rng(8).random(400) < 0.2
    frame["sales"] += 8.0 * frame["promotion"]
    prepared = prepare(frame, settings(forecast_horizon=14, target_lags="auto"))
    assert prepared.featurizer.season == 7
    truth = prepared.y[prepared.judged]
    error = np.abs(validated(prepared) - truth).mean()
    for name, column in prepared.facts["baselines"].items():
        assert error < 0.9 * np.abs(prepared.X[column].to_numpy()[prepared.judged] - truth).mean(), name


def test_learning_relative_to_the_level_follows_a_trend() -> None:
    frame = series(300)
    frame["sales"] += 0.5 * np.arange(300)
    train, test = frame.iloc[:260], frame.iloc[260:]
    given = settings(forecast_horizon=14, target_lags="auto")
    plain, relative = prepare(train, given), prepare(train, given, relative=True)
    assert relative.y + relative.X[relative.facts["level"]].to_numpy() == pytest.approx(plain.y)
    assert relative.facts["y_max"] == plain.facts["y_max"] == train["sales"].max()
    naive = plain.facts["baselines"]["naive"]
    assert naive == relative.facts["baselines"]["naive"]
    assert relative.X[naive].to_numpy() + relative.level == pytest.approx(plain.X[naive].to_numpy())
    assert plain.facts["level"] is None
    assert not plain.level.any()
    evaluation = relative.evaluation(validated(relative))
    assert evaluation["y_true"] == pytest.approx(plain.evaluation(validated(plain))["y_true"])
    errors = [np.abs(forest(p).predict(test) - test["sales"]).mean() for p in (plain, relative)]
    assert errors[1] < errors[0] / 2


# Frequency, gaps, gathering


@pytest.mark.parametrize("freq", ["D", "h", "15min", "B", "W-WED", "MS", "ME", "QS-OCT", "QE-DEC", "YS-JAN", "2h"])
def test_the_frequency_is_found_with_gaps_too(freq: str) -> None:
    index = pd.date_range("2020-01-01", periods=60, freq=freq)
    for times in (index, index.delete([5, 20, 21, 40])):
        grid, found = grid_of([times], None)
        assert (grid.freq, found) == (freq, True)
        assert grid.positions(times).tolist() == [index.get_loc(t) for t in times]


@pytest.mark.parametrize(("old", "freq"), [("H", "h"), ("M", "MS"), ("W", "W-WED"), ("M", "ME")])
def test_v1_names_of_frequencies_are_understood(old: str, freq: str) -> None:
    index = pd.date_range("2020-01-01", periods=60, freq=freq)
    assert grid_of([index], old)[0].freq == freq


def test_irregular_times_say_what_to_do_and_can_be_gathered() -> None:
    rng = np.random.default_rng(0)
    times = pd.Timestamp("2024-01-01") + pd.to_timedelta(np.sort(rng.choice(60 * 24 * 60, 600, replace=False)), "min")
    frame = pd.DataFrame({"day": times, "sales": 1.0, "kind": rng.choice(["x", "y"], 600)})
    frame.loc[0, "sales"] = 2.0
    with pytest.raises(AutoMLError, match="not regular.*target_aggregation_function"):
        prepare(frame, settings())
    with pytest.raises(AutoMLError, match="not of the frequency 'D'"):
        prepare(frame, settings(freq="D"))
    prepared = prepare(frame, settings(freq="D", target_aggregation_function="sum"))
    daily = frame.set_index("day")["sales"].resample("D").sum()
    assert prepared.history["y"] == pytest.approx(daily.to_numpy())
    assert "Gathered by sum" in str(prepared.guardrails)


def test_gaps_are_filled_with_what_was_known_and_not_learnt_from() -> None:
    frame = series(100)
    frame.loc[50, "sales"] = None
    frame = frame.drop(index=[60, 61])
    prepared = prepare(frame, settings(target_lags=[1], seasonality=1))
    assert len(prepared.X) - len(prepared.judged) == 100 - 3 - 1
    naive = prepared.X[prepared.facts["baselines"]["naive"]]
    row = prepared.rows[(prepared.rows["step"] == 3) & (prepared.rows["time"] > "2023-03-01")].index[0]
    assert naive[row] in frame["sales"].to_numpy()
    guardrail = next(g for g in prepared.guardrails if g["name"] == "Missing periods and values")
    assert guardrail["status"] == "done"
    assert guardrail["description"].startswith("3 of 100")
    assert any("3 of 100" in note for note in prepared.notes)


def test_times_with_a_zone_are_taken_in_utc() -> None:
    frame = series(100, "h", 24)
    frame["day"] = frame["day"].dt.tz_localize("UTC").dt.tz_convert("Europe/Berlin")
    model = baseline(frame, "naive")
    assert model.predict(after(frame, 3, "h")) == pytest.approx([frame["sales"].iloc[-1]] * 3)
    assert any("UTC" in note for note in prepare(frame, settings()).notes)
    with pytest.raises(ForecastError, match="time zone"):
        model.predict(after(series(100, "h"), 3, "h"))
    text = frame.assign(day=frame["day"].astype(str))
    assert prepare(text, settings()).history["time"][0] == np.datetime64("2023-01-02T00:00")


@pytest.mark.parametrize("form", ["%d.%m.%Y", "%d/%m/%Y", "%m/%d/%Y", "%Y%m%d", "%d %b %Y", "%Y-%m-%dT%H:%M:%SZ"])
def test_dates_as_text_are_read(form: str) -> None:
    frame = series(60)
    prepared = prepare(frame.assign(day=frame["day"].dt.strftime(form)), settings())
    assert prepared.history["time"][-1] == frame["day"].max()


def test_series_that_are_not_judged_are_told() -> None:
    frame = pd.concat([shops(60), series(60).assign(shop="old", day=lambda f: f["day"] - pd.Timedelta(60, "D"))])
    prepared = prepare(frame, settings(time_series_id_column_names=["shop"]))
    guardrail = next(g for g in prepared.guardrails if g["name"] == "Validation of forecasts")
    assert guardrail["status"] == "warning"
    assert guardrail["description"].startswith("Only 2 of 3 series")


# Bad input

A_SERIES = series(60)


@pytest.mark.parametrize(
    ("frame", "parameters", "message"),
    [
        (A_SERIES.drop(columns="day"), {}, "no column 'day'.*sales"),
        (A_SERIES.drop(columns="sales"), {}, "no column 'sales'"),
        (A_SERIES, {"time_series_id_column_names": ["shop"]}, "no column 'shop'"),
        (A_SERIES, {"features_unknown_at_forecast_time": "x"}, "no column 'x'"),
        (A_SERIES.assign(day="soon"), {}, "60 of 60 values.*no times: 'soon'"),
        (A_SERIES.assign(day=range(60)), {}, "holds numbers"),
        (A_SERIES.assign(day=A_SERIES["day"].where(A_SERIES.index > 2)), {}, "3 of 60.*missing"),
        (A_SERIES.assign(sales="a"), {}, "must be numbers, but 'a'"),
        (A_SERIES.assign(sales=np.inf), {}, "infinite"),
        (A_SERIES.assign(sales=np.nan), {}, "no values"),
        (A_SERIES.head(0), {}, "no rows"),
        (A_SERIES.head(2), {}, "frequency cannot be told"),
        (A_SERIES.head(2), {"freq": "D"}, "2 periods.*takes 12"),
        (pd.concat([A_SERIES, A_SERIES]), {}, "60 rows have the time of another.*time_series_id_column_names"),
        (A_SERIES.assign(sales2=1).set_axis(["day", "sales", "sales"], axis=1), {}, "Two columns are called"),
        (A_SERIES, {"freq": "often"}, "'often' is not a frequency"),
        (A_SERIES, {"freq": "W"}, "not of the frequency 'W' .they look like D"),
        (
            A_SERIES.assign(day=A_SERIES["day"].iloc[0] + pd.to_timedelta(A_SERIES.index, "D")),
            {"freq": "s"},
            "too fine",
        ),
        (A_SERIES, {"target_aggregation_function": "sum"}, "needs freq"),
        (
            A_SERIES,
            {"target_aggregation_function": "median", "freq": "D"},
            "median.*Allowed: None, sum, max, min, mean",
        ),
        (A_SERIES, {"short_series_handling_configuration": "fold"}, "Allowed: auto, pad, drop, None"),
        (A_SERIES, {"short_series_handling_configuration": "drop", "forecast_horizon": 59}, "fewer than 67"),
        (A_SERIES, {"short_series_handling_configuration": None, "forecast_horizon": 59}, "fewer than 67 known values"),
        (A_SERIES, {"forecast_horizon": 59}, "60 periods.*shorter forecast_horizon"),
        (A_SERIES, {"forecast_horizon": 0}, "forecast_horizon is a whole number from 1"),
        (A_SERIES, {"target_lags": [1, 0]}, "target_lags is a whole number"),
        (A_SERIES, {"target_lags": "all"}, "target_lags"),
        (A_SERIES, {"n_cross_validations": 50}, "too few for 50.*Up to 7"),
        (A_SERIES, {"cv_step_size": 0}, "cv_step_size"),
        (A_SERIES, {"country_or_region_for_holidays": "DE"}, "no calendar of holidays.*Add a column"),
        (A_SERIES, {"use_stl": "season"}, "use_stl"),
        (A_SERIES, {"time_column_name": None}, "time_column_name"),
        (A_SERIES, {"time_column_name": "sales"}, "different columns"),
    ],
)
def test_what_cannot_be_forecast_says_why(frame: pd.DataFrame, parameters: dict[str, Any], message: str) -> None:
    with pytest.raises(AutoMLError, match=message):
        prepare(frame, settings(**parameters))


def test_short_series_are_dropped_kept_or_refused() -> None:
    frame = pd.concat([shops(), series(6).assign(shop="new", day=lambda f: f["day"] + pd.Timedelta(114, "D"))])
    ids = {"time_series_id_column_names": ["shop"]}
    dropped = prepare(frame, settings(**ids))
    assert set(dropped.rows["series"]) == {"a", "b"}
    assert any("They are left out" in note for note in dropped.notes)
    with pytest.raises(ForecastError, match="'new' was too short"):
        forest(dropped).predict(after(frame, 2, shop="new"))
    padded = prepare(frame, settings(**ids, short_series_handling_configuration="pad"))
    assert set(padded.rows["series"]) == {"a", "b", "new"}
    assert np.isfinite(forest(padded).predict(after(frame, 10, shop="new"))).all()
    with pytest.raises(AutoMLError, match="1 of 3 series have fewer.*'new' .6"):
        prepare(frame, settings(**ids, short_series_handling_configuration=None))


# What comes along


def test_columns_known_in_the_future_are_used_and_asked_for() -> None:
    frame = series(150)
    rng = np.random.default_rng(2)
    frame["promotion"] = rng.choice(["none", "half price"], 150)
    frame["visitors"] = rng.random(150)
    frame["sales"] += 40.0 * (frame["promotion"] == "half price")
    frame["constant"], frame["y"] = 1, rng.random(150)
    unknown = {"features_unknown_at_forecast_time": ["visitors"], "feature_lags": "auto"}
    prepared = prepare(frame, settings(**unknown, featurization={"drop_columns": ["y"]}))
    assert set(prepared.featurizer.lineage.values()) == {"sales", "day", "promotion", "visitors"}
    described = {d["column"]: d for d in prepared.featurizer.described}
    assert described["constant"]["dropped"]
    assert "The column 'constant' is not used: it is constant." in prepared.notes
    assert described["promotion"]["purpose"] == "Categorical"
    assert sum(d["features"] for d in described.values()) == prepared.X.shape[1]
    model = forest(prepared)
    future = after(frame, 7, promotion=["none", "half price"] * 3 + ["never seen"])
    forecast = model.predict(future)
    assert forecast[1] - forecast[0] > 25
    assert model.predict(future.assign(visitors=1e9)) == pytest.approx(forecast)
    with pytest.raises(ForecastError, match="no column 'promotion'.*features_unknown_at_forecast_time"):
        model.predict(future.drop(columns="promotion"))


def test_weights_follow_their_rows() -> None:
    frame = series(60).assign(w=np.arange(60.0))
    prepared = prepare(frame, settings(weight_column_name="w"))
    assert prepared.weight is not None
    days = (prepared.rows["time"] - frame["day"].min()).dt.days
    assert prepared.weight == pytest.approx(days.to_numpy())
    assert "w" not in prepared.featurizer.lineage.values()


# Forecasting


def test_forecasts_beyond_the_horizon_build_on_forecasts() -> None:
    frame = shops()
    model = forest(prepare(frame, settings(time_series_id_column_names=["shop"])))
    whole = pd.concat([after(frame, 20, shop=s) for s in ("b", "a")], ignore_index=True)
    y, table = model.forecast(whole)
    assert table.index.names == ["day", "shop"]
    assert table["_automl_target_col"].to_numpy() == pytest.approx(y)
    assert y[:20].mean() > 3 * y[20:].mean()
    # In any order and over a gap they are the same.
    assert model.predict(whole.iloc[::-1])[::-1] == pytest.approx(y)
    assert model.predict(whole.iloc[[15]]) == pytest.approx(y[[15]])
    t = np.arange(120, 140)
    truth = 50 + 0.02 * t + 10 * np.sin(2 * np.pi * t / 7)
    assert np.abs(y[20:] - truth).mean() < 2.5


def test_what_is_known_meanwhile_is_forecast_from() -> None:
    frame = series(100)
    model = baseline(frame, "naive", forecast_horizon=3, seasonality=1)
    future = after(frame, 6)
    known = [7.0, np.nan, 9.0, np.nan, np.nan, np.nan]
    assert model.forecast(future, known)[0] == pytest.approx([7, 7, 9, 9, 9, 9])
    assert model.predict(future) == pytest.approx([frame["sales"].iloc[-1]] * 6)  # nothing was kept
    with pytest.raises(ForecastError, match="2 values for 6 rows"):
        model.forecast(future, [1.0, 2.0])


def test_periods_of_the_past_are_forecast_from_before_them() -> None:
    frame = series(100)
    model = baseline(frame, "naive", forecast_horizon=4, seasonality=1)
    y = frame["sales"].to_numpy()
    assert model.predict(frame.iloc[90:96]) == pytest.approx([y[89]] * 4 + [y[93]] * 2)
    future = after(frame, 6)
    rolled = model.rolling_forecast(future, np.arange(6.0))
    assert rolled["_automl_target_col"].tolist() == pytest.approx([y[-1]] * 4 + [3.0] * 2)
    assert rolled["_automl_step"].tolist() == [1, 2, 3, 4, 1, 2]
    assert rolled["_automl_actual"].tolist() == list(range(6))


def test_quantiles_cover_what_they_say_and_widen() -> None:
    frame = series(400)
    train, test = frame.iloc[:300], frame.iloc[300:]
    prepared = prepare(train, settings(forecast_horizon=10))
    predictions = validated(prepared)
    model = prepared.model(Coded().fit(prepared.X, prepared.y), predictions)
    quantiles = model.forecast_quantiles(after(train, 40))
    assert list(quantiles.columns) == ["day", 0.05, 0.5, 0.95]
    width = quantiles[0.95] - quantiles[0.05]
    assert width.min() > 0
    assert width.iloc[39] > 1.5 * width.iloc[0]
    rolled = model.rolling_forecast(test, test["sales"])
    lower, upper = model.interval(rolled["_automl_target_col"], np.zeros(100, dtype=int), rolled["_automl_step"])
    covered = ((lower <= test["sales"].to_numpy()) & (test["sales"].to_numpy() <= upper)).mean()
    assert 0.75 <= covered <= 1
    evaluation = prepared.evaluation(predictions, model)
    assert len(evaluation["lower"]) == len(evaluation["y_true"]) == len(evaluation["time"])
    assert len(evaluation["history"]["y"]) == 300
    with pytest.raises(ForecastError, match="between 0 and 1"):
        model.forecast_quantiles(after(train, 3), quantiles=[95])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda f: f.assign(shop="z"), "'z' was not in the training data.*a, b"),
        (lambda f: pd.concat([f, f]), "asked for twice"),
        (lambda f: f.assign(day=f["day"] + pd.Timedelta(6, "h")), "not one of its times"),
        (lambda f: f.assign(day=f["day"] - pd.Timedelta(2000, "D")), "before the training data"),
        (lambda f: f.assign(day=f["day"] + pd.Timedelta(9999, "D")), "10002 periods after the training data"),
        (lambda f: f.assign(day=pd.Timestamp("2023-01-02")).head(1), "not after the first known value"),
        (lambda f: f.drop(columns="day"), "no column 'day'"),
        (lambda f: f.to_numpy(), "DataFrame"),
    ],
)
def test_what_the_model_cannot_forecast_says_why(change: Any, message: str) -> None:
    frame = shops()
    model = baseline(frame, "naive", time_series_id_column_names=["shop"])
    with pytest.raises(ForecastError, match=message):
        model.predict(change(after(frame, 3, shop="a")))


def test_later_validation_data_are_judged_a_horizon_at_a_time() -> None:
    frame = series(120)
    prepared = prepare(frame.iloc[:100], settings(forecast_horizon=7), frame.iloc[100:])
    assert len(prepared.folds) == 1
    learn, judge = prepared.folds[0]
    assert prepared.rows["time"][learn].max() == frame["day"][99]
    assert prepared.rows["step"][judge].tolist() == [*range(1, 8), *range(1, 8), *range(1, 7)]
    with pytest.raises(AutoMLError, match="end before the training data"):
        prepare(frame.iloc[20:], settings(), frame.iloc[:20])


def test_auto_finds_the_horizon_the_season_and_the_lags() -> None:
    prepared = prepare(
        series(30 * 24, "h", 24),
        settings(forecast_horizon="auto", target_lags="auto", target_rolling_window_size="auto", feature_lags="auto"),
    )
    featurizer = prepared.featurizer
    assert (featurizer.season, featurizer.horizon, featurizer.window) == (24, 24, 24)
    assert 24 in featurizer.lags
    noise = pd.DataFrame({"day": pd.date_range("2024-01-01", periods=90), "sales": np.random.default_rng(5).random(90)})
    assert prepare(noise, settings()).featurizer.season == 1
    steps = pd.DataFrame({"day": pd.date_range("2024-01-01", periods=90), "sales": np.arange(90.0) ** 2})
    assert prepare(steps, settings()).featurizer.season == 1


def test_a_constant_series_and_ids_that_are_numbers() -> None:
    frame = pd.concat([series(50).assign(shop=1, sales=3.0), series(50).assign(shop=2)])
    model = forest(prepare(frame, settings(time_series_id_column_names=["shop"])))
    future = pd.concat([after(frame, 2, shop=1.0), after(frame, 1, shop=2.0)])
    assert model.predict(future)[:2] == pytest.approx([3, 3], abs=1)


def test_the_saved_model_needs_no_stepwell(tmp_path: Path) -> None:
    cloudpickle = pytest.importorskip("cloudpickle")
    import stepwell.payload.automl as package

    frame = series(100)
    model = baseline(frame, "naive")
    model.regressor = RandomForestRegressor(3).fit([[0.0]], [5.0])
    model.featurizer.features = model.featurizer.features[:1]
    model.featurizer.names = model.featurizer.names[:1]
    cloudpickle.register_pickle_by_value(package)
    try:
        (tmp_path / "model").write_bytes(cloudpickle.dumps(model))
    finally:
        cloudpickle.unregister_pickle_by_value(package)
    after(frame, 3).to_csv(tmp_path / "future.csv", index=False)
    script = (
        "import pickle, sys, pandas as pd\n"
        "model = pickle.load(open('model', 'rb'))\n"
        "print(model.predict(pd.read_csv('future.csv')).tolist())\n"
        "try: model.predict(pd.read_csv('future.csv').assign(day='x'))\n"
        "except ValueError as error: print(error)\n"
        "assert not any(name.startswith('stepwell') for name in sys.modules)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=tmp_path,
        env={"PYTHONPATH": ""},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("[5.0, 5.0, 5.0]\n3 of 3 values of the time column 'day' are no times")
