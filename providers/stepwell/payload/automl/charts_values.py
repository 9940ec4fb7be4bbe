"""Charts of numbers: predicted against true, residuals, and a forecast against what came."""

from __future__ import annotations

from typing import Any, Sequence

import numpy as np
import pandas as pd

from stepwell.payload.automl.charts_axes import Plot, figure, shorten
from stepwell.payload.automl.report_markup import Safe, number, tag

#: So many points are drawn one by one; more are counted in squares.
_POINTS = 1500
_SQUARES = 48
_SERIES = 6
#: Frequency of ticks, how they are written, up to how many days, and of which only each so-manieth may be shown.
_TIMES: tuple[tuple[str, str, float, tuple[int, ...]], ...] = (
    ("h", "%d %b %H:%M", 1.5, (1, 2, 3, 6, 12)),
    ("D", "%d %b %Y", 120, (1, 2, 7, 14, 28)),
    ("MS", "%b %Y", 1200, (1, 2, 3, 6, 12)),
    ("YS", "%Y", float("inf"), (1, 2, 5, 10, 20, 50, 100)),
)


def all_of(evaluation: dict[str, Any]) -> list[Safe]:
    """Return the charts of a regression in their order."""
    y, p = _numbers(evaluation["y_true"]), _numbers(evaluation["predictions"])
    whole = np.isfinite(y) & np.isfinite(p)
    if not whole.any():
        return []
    return [predicted_true(y[whole], p[whole]), residuals(y[whole], p[whole])]


def predicted_true(y: np.ndarray, p: np.ndarray) -> Safe:
    """Return predicted values against true ones: points, or shades of squares where they are many."""
    low, high = float(min(y.min(), p.min())), float(max(y.max(), p.max()))
    if len(y) > _POINTS:  # a few points far out must not press the others together
        low, high = _core(np.concatenate([y, p]))
    pad = (high - low) * 0.03
    plot = Plot("predicted", (low - pad, high + pad), (low - pad, high + pad), height=400)
    plot.axes("true", "predicted")
    inside = (y >= low) & (y <= high) & (p >= low) & (p <= high)
    note = "On the dashed line, predictions are right."
    if len(y) <= _POINTS:
        for a, b in zip(y, p):
            plot.dot(a, b, "s0 thin", 3)
    else:
        _squares(plot, y[inside], p[inside], low, high)
        note += f" Shades are numbers of rows{_left_out(len(y) - int(inside.sum()))}."
    plot.line([(low - pad, low - pad), (high + pad, high + pad)], "even")
    told = f"{len(y)} rows; correlation {number(float(np.corrcoef(y, p)[0, 1])) if _varied(y, p) else 'none'}."
    return figure("Predicted against true", plot.svg("Predicted against true", told), note=note)


def residuals(y: np.ndarray, p: np.ndarray) -> Safe:
    """Return a histogram of predicted minus true."""
    errors = p - y
    low, high = _core(errors)
    inside = errors[(errors >= low) & (errors <= high)]
    quarters = np.percentile(inside, [25, 75])
    width = 2 * (quarters[1] - quarters[0]) / len(inside) ** (1 / 3)
    count = int(np.clip((high - low) / width if width > 0 else 10, 10, 48))
    counts, edges = np.histogram(inside, bins=count, range=(low, high) if high > low else None)
    plot = Plot("residuals", (float(edges[0]), float(edges[-1])), (0.0, float(counts.max()) * 1.05), height=400)
    plot.axes("predicted - true", "rows")
    for rows, a, b in zip(counts, edges, edges[1:]):
        if rows:
            x, top = plot.x(a), plot.y(rows)
            says = tag("title", f"{number(a)} to {number(b)}: {rows:,} rows")
            size = {"width": round(max(plot.x(b) - x - 1, 0.5), 1), "height": round(plot.bottom - top, 1)}
            plot.add(tag("rect", says, x=x + 0.5, y=top, cls="bar s0", **size))
    mean = float(errors.mean())
    if plot.x_range[0] < 0 < plot.x_range[1]:
        plot.line([(0, 0), (0, plot.y_range[1])], "even")
    note = f"Mean {number(mean)}, standard deviation {number(float(errors.std()))}{_left_out(len(y) - len(inside))}."
    return figure("Residuals", plot.svg("Residuals", note), note=note)


def forecasts(evaluation: dict[str, Any]) -> list[Safe]:
    """Return, for the first series, what came before, what came, what was forecast, and the interval around it."""
    table = _table(evaluation)
    history = evaluation.get("history")
    past = None
    if history is not None:
        series = history.get("series")
        past = pd.DataFrame({"time": _times(history["time"]), "y": _numbers(history["y"])})
        past["series"] = "" if series is None else np.asarray(series).astype(str)
    names = list(dict.fromkeys(table["series"]))
    drawn = []
    for position, name in enumerate(names[:_SERIES]):
        own = _ordered(table[table["series"] == name])
        before = None if past is None else _ordered(past[past["series"] == name])
        title = shorten(name, 60) if name else "Forecast"
        drawn.append(_one(f"forecast{position}", title, own, before, wide=len(names) == 1))
    if len(names) > _SERIES:
        drawn.append(tag("p", f"{_SERIES} of {len(names):,} series are shown.", cls="soft wide"))
    return drawn


def _one(name: str, title: str, own: pd.DataFrame, before: pd.DataFrame | None, *, wide: bool) -> Safe:
    if before is not None and len(own):
        before = before[before["time"] < own["time"].iloc[0]].iloc[-max(60, 3 * len(own)) :]
    parts = [own["y"], own["forecast"], own["lower"], own["upper"]] + ([] if before is None else [before["y"]])
    values = np.concatenate([_numbers(part) for part in parts])
    values = values[np.isfinite(values)]
    low, high = (float(values.min()), float(values.max())) if len(values) else (0.0, 1.0)
    pad = (high - low) * 0.05
    times = own["time"] if before is None or not len(before) else pd.concat([before["time"], own["time"]])
    plot = Plot(
        name,
        (float(times.min()), float(times.max())),
        (low - pad, high + pad),
        width=980 if wide else 480,
        height=300 if wide else 260,
    )
    plot.axes("", "", x_ticks=_time_ticks(*plot.x_range, 8 if wide else 4))
    banded = own[np.isfinite(own["lower"]) & np.isfinite(own["upper"])]
    if len(banded):
        edge = [*zip(banded["time"], banded["upper"]), *zip(banded["time"][::-1], banded["lower"][::-1])]
        plot.add(tag("polygon", points=" ".join(f"{plot.x(a):g},{plot.y(b):g}" for a, b in edge), cls="band s0"))
    actual = own[np.isfinite(own["y"])]
    if before is not None:
        shown = before[np.isfinite(before["y"])]
        plot.line([*zip(shown["time"], shown["y"]), *list(zip(actual["time"], actual["y"]))[:1]], "past")
    plot.line(zip(actual["time"], actual["y"]), "true")
    told = own[np.isfinite(own["forecast"])]
    plot.line(zip(told["time"], told["forecast"]), "s0")
    for _, row in told.iterrows() if len(told) <= 60 else ():
        plot.dot(
            row["time"], row["forecast"], "s0", 2.5, f"forecast {number(row['forecast'])}, came {number(row['y'])}"
        )
    legend = [("stroke s0", "forecast"), ("stroke true", "what came")]
    legend += [("band s0", "interval")] if len(banded) else []
    legend += [("stroke past", "before")] if before is not None and len(before) else []
    description = f"{len(own)} points in time from {_day(own['time'].min())} to {_day(own['time'].max())}."
    return figure(title, plot.svg(title, description), legend=legend, wide=wide)


def _table(evaluation: dict[str, Any]) -> pd.DataFrame:
    count = len(evaluation["y_true"])
    series = evaluation.get("series")
    return pd.DataFrame(
        {
            "time": _times(evaluation["time"]),
            "y": _numbers(evaluation["y_true"]),
            "forecast": _numbers(evaluation["predictions"]),
            "lower": _numbers(evaluation.get("lower"), count),
            "upper": _numbers(evaluation.get("upper"), count),
            "series": "" if series is None else np.asarray(series).astype(str),
        }
    )


def _ordered(table: pd.DataFrame) -> pd.DataFrame:
    """Rows in the order of time; of several forecasts for a time, the last that was made."""
    return table[np.isfinite(table["time"])].sort_values("time", kind="stable").drop_duplicates("time", keep="last")


def _times(values: Any) -> np.ndarray:
    """Return times as seconds since 1970, as numbers can be placed."""
    moments = pd.to_datetime(pd.Series(np.asarray(values)), utc=True)
    return ((moments - pd.Timestamp(0, tz="UTC")) / pd.Timedelta(seconds=1)).to_numpy(dtype=float)


def _numbers(values: Any, count: int = 0) -> np.ndarray:
    if values is None:
        return np.full(count, np.nan)
    return np.asarray(values, dtype=float).ravel()


def _time_ticks(low: float, high: float, count: int) -> list[tuple[float, str]]:
    first, last = pd.Timestamp(low, unit="s"), pd.Timestamp(high, unit="s")
    days = (high - low) / 86400
    step, form, _, paces = next(kind for kind in _TIMES if days <= kind[2])
    moments = pd.date_range(first.floor("h" if step == "h" else "D"), last, freq=step)
    moments = moments[moments >= first]
    every = next((pace for pace in paces if len(moments) <= pace * count), paces[-1])
    return [((m - pd.Timestamp(0)) / pd.Timedelta(seconds=1), m.strftime(form)) for m in moments[::every]]


def _day(seconds: float) -> str:
    return str(pd.Timestamp(seconds, unit="s").date())


def _core(values: np.ndarray) -> tuple[float, float]:
    """Return the range without what is far out: at most 1 % of the values."""
    low, high = (float(v) for v in np.percentile(values, [0.5, 99.5]))
    if float(values.max() - values.min()) <= 2.5 * (high - low) or not high > low:
        return float(values.min()), float(values.max())
    return low, high


def _squares(plot: Plot, y: np.ndarray, p: np.ndarray, low: float, high: float) -> None:
    counts, xs, ys = np.histogram2d(y, p, bins=_SQUARES, range=[[low, high], [low, high]])
    shades = np.log1p(counts) / np.log1p(counts.max())
    for i, j in zip(*np.nonzero(counts)):
        x, top = plot.x(xs[i]), plot.y(ys[j + 1])
        plot.add(
            tag(
                "rect",
                tag("title", f"{int(counts[i, j]):,}"),
                x=x,
                y=top,
                width=round(plot.x(xs[i + 1]) - x, 1),
                height=round(plot.y(ys[j]) - top, 1),
                cls="cell s0",
                fill_opacity=round(0.12 + 0.88 * float(shades[i, j]), 2),
            )
        )


def _varied(*arrays: Sequence[float]) -> bool:
    return all(len(a) > 1 and float(np.ptp(a)) > 0 for a in arrays)


def _left_out(count: int) -> str:
    return f"; {count:,} rows far out are not shown" if count else ""
