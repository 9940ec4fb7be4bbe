"""``ForecastingParameters``: what a forecast needs to know of time."""

from __future__ import annotations

from typing import Any, Sequence

from stepwell.runtime import automl_checks as check
from stepwell.runtime.errors import UserErrorException

_AUTO = "auto"
_MAX_LAG = 2000
#: Old names → the ones of today. ``AutoMLConfig`` takes them and today's names too, as v1 did.
RENAMED = {
    "max_horizon": "forecast_horizon",
    "grain_column_names": "time_series_id_column_names",
    "holiday_country": "country_or_region_for_holidays",
    "country_or_region": "country_or_region_for_holidays",
    "country": "country_or_region_for_holidays",
    "short_series_handling": "short_series_handling_configuration",
}
NAMES = (
    "time_column_name forecast_horizon time_series_id_column_names group_column_names target_lags feature_lags "
    "target_rolling_window_size seasonality country_or_region_for_holidays use_stl short_series_handling_configuration "
    "freq target_aggregation_function cv_step_size features_unknown_at_forecast_time"
).split()


class ForecastingParameters:
    """What a forecast needs to know of time.

    :param time_column_name: the column of times; it must be given.
    :param forecast_horizon: how many steps of *freq* are forecast; ``"auto"`` is allowed.
    :param time_series_id_column_names: columns that tell several series in one table apart.
    :param group_column_names: not built.
    :param target_lags: earlier values of the label as features: steps back (1 to 2000), a list of them, or ``"auto"``.
    :param feature_lags: ``"auto"``: earlier values of the other columns too.
    :param target_rolling_window_size: features over so many earlier values (2 or more), or ``"auto"``.
    :param seasonality: steps in a season; ``None`` or 1 = there is none.
    :param country_or_region_for_holidays: not built.
    :param use_stl: not built.
    :param short_series_handling_configuration: series too short to learn from: ``"auto"``, ``"pad"``, ``"drop"``, or
        ``None``, which is an error then.
    :param freq: step between rows, as pandas writes it ("D", "W-MON", "h"); ``None`` = from the data.
    :param target_aggregation_function: how rows within one step become one: "sum", "max", "min" or "mean".
    :param cv_step_size: steps between the folds.
    :param features_unknown_at_forecast_time: columns that are known of the past only.
    :raises UserErrorException: the time column is missing, a value is out of range, a name is unknown.
    """

    def __init__(
        self,
        time_column_name: str | None = None,
        forecast_horizon: int | str = 1,
        time_series_id_column_names: Sequence[str] | str | None = None,
        group_column_names: Sequence[str] | str | None = None,
        target_lags: Sequence[int] | int | str | None = None,
        feature_lags: str | None = None,
        target_rolling_window_size: int | str | None = None,
        holiday_country: str | None = None,
        seasonality: int | str | None = _AUTO,
        country_or_region_for_holidays: str | None = None,
        use_stl: str | None = None,
        short_series_handling: bool | None = None,
        short_series_handling_configuration: str | None = _AUTO,
        freq: Any = None,
        target_aggregation_function: str | None = None,
        cv_step_size: int | str | None = _AUTO,
        features_unknown_at_forecast_time: Sequence[str] | str | None = None,
        validate_parameters: bool = True,
        **kwargs: Any,
    ) -> None:
        if kwargs.pop("drop_column_names", None):
            raise UserErrorException(
                "drop_column_names is none of the ForecastingParameters here",
                hint="Give featurization=FeaturizationConfig(drop_columns=[…]) to AutoMLConfig",
            )
        check.unknown("ForecastingParameters", list(kwargs), [*NAMES, *RENAMED])
        if holiday_country is not None:
            check.deprecated("holiday_country", "country_or_region_for_holidays", 3)
            country_or_region_for_holidays = country_or_region_for_holidays or holiday_country
        if short_series_handling is not None:
            check.deprecated("short_series_handling", "short_series_handling_configuration", 3)
            if not check.flag("short_series_handling", short_series_handling):
                short_series_handling_configuration = None
        if time_column_name is None:
            raise UserErrorException(
                "ForecastingParameters has no time_column_name", hint="Name the column that holds the times"
            )
        if group_column_names:
            check.not_built("group_column_names", group_column_names, "Use time_series_id_column_names")
        self.time_column_name = str(check.column("time_column_name", time_column_name))
        self.forecast_horizon: int | str = _steps("forecast_horizon", forecast_horizon, 1, optional=False)
        self.time_series_id_column_names = check.columns("time_series_id_column_names", time_series_id_column_names)
        self.target_lags = _lags(target_lags)
        self.feature_lags = check.choice("feature_lags", feature_lags, (None, _AUTO))
        self.target_rolling_window_size = _steps("target_rolling_window_size", target_rolling_window_size, 2)
        self.seasonality: int | str = _steps("seasonality", seasonality, 1) or 1
        if country_or_region_for_holidays is not None:
            hint = "A column that marks holidays is a feature like any other"
            check.not_built("country_or_region_for_holidays", country_or_region_for_holidays, hint)
        self.country_or_region_for_holidays = None
        if use_stl is not None:
            check.not_built("use_stl", use_stl, "Seasons are features already: seasonality='auto'")
        self.use_stl = None
        self.short_series_handling_configuration = check.choice(
            "short_series_handling_configuration", short_series_handling_configuration, (None, _AUTO, "pad", "drop")
        )
        self.freq = _frequency(freq)
        self.target_aggregation_function = check.choice(
            "target_aggregation_function", target_aggregation_function, (None, "sum", "max", "min", "mean")
        )
        self.cv_step_size: int | str = _steps("cv_step_size", cv_step_size, 1) or _AUTO
        self.features_unknown_at_forecast_time = check.columns(
            "features_unknown_at_forecast_time", features_unknown_at_forecast_time
        )
        self._check_together()

    def _check_together(self) -> None:
        if self.target_aggregation_function and self.freq is None:
            raise UserErrorException(
                f"target_aggregation_function={self.target_aggregation_function!r} needs freq",
                hint="Say to which step the rows are put together: freq='D', say",
            )
        series = self.time_series_id_column_names or []
        if self.time_column_name in series:
            raise UserErrorException(
                f"The column {self.time_column_name!r} is time_column_name and in time_series_id_column_names"
            )

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain JSON data; ``ForecastingParameters(**document)`` is the way back."""
        return {name: getattr(self, name) for name in NAMES if name != "group_column_names"}

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ForecastingParameters) and self.to_dict() == other.to_dict()

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"ForecastingParameters({', '.join(f'{k}={v!r}' for k, v in self.to_dict().items() if v is not None)})"


def _steps(name: str, value: Any, least: int, *, optional: bool = True) -> Any:
    return check.number(name, value, least=least, whole=True, optional=optional, words=[_AUTO])


def _lags(value: Any) -> Any:
    if not isinstance(value, (list, tuple)):
        return check.number("target_lags", value, least=1, most=_MAX_LAG, whole=True, words=[_AUTO])
    return [check.number("target_lags", v, least=1, most=_MAX_LAG, whole=True, optional=False) for v in value]


def _frequency(value: Any) -> str | None:
    value = getattr(value, "freqstr", value)  # an offset of pandas
    if value is not None and (not isinstance(value, str) or not value.strip()):
        raise UserErrorException(
            f"freq is {value!r}", allowed=["a text as pandas writes it: 'D', 'W-MON', 'h'", "None"]
        )
    return value


def from_any(value: Any) -> ForecastingParameters:
    """Return *value*, or the parameters that a dict names.

    :raises UserErrorException: it is neither.
    """
    if isinstance(value, ForecastingParameters):
        return value
    if isinstance(value, dict):
        return ForecastingParameters(**renamed(value))
    raise UserErrorException(f"forecasting_parameters is {value!r}", allowed=["ForecastingParameters(…)"])


def renamed(given: dict[str, Any]) -> dict[str, Any]:
    """Return parameters under today's names, with a warning for each old one."""
    result: dict[str, Any] = {}
    for name, value in given.items():
        if name == "short_series_handling":
            result[name] = value  # another type than the new one's: dealt with where it is checked
            continue
        new = RENAMED.get(name, name)
        if new != name:
            check.deprecated(name, new, 6)
        if new in result and result[new] != value:
            raise UserErrorException(f"{name} and {new} are both given, and differ")
        result[new] = value
    return result
