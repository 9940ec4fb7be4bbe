"""Charts of a classification: confusion matrix, ROC, precision and recall, calibration."""

from __future__ import annotations

import math
from typing import Any, Sequence

import numpy as np

from stepwell.payload.automl.charts_axes import Plot, drawing, figure, shorten
from stepwell.payload.automl.report_markup import Safe, number, tag

#: More rows than these do not change a curve.
_ENOUGH = 100_000
#: So many curves have a colour of their own; of more classes, these are the worst.
_OWN = 6
#: More classes than these are summed up as the rest.
_MOST = 40
_DIAGONAL = ((0.0, 0.0), (1.0, 1.0))


class Judged:
    """Predictions of a classification beside the truth.

    :param y_true: codes of the classes from 0.
    :param probabilities: a row for each row, a column for each class.
    :param positive: the code of the positive class, of which the curves of two classes are; None = 1.
    """

    def __init__(
        self, y_true: Any, probabilities: Any, classes: Sequence[Any] | None, positive: int | None = None
    ) -> None:
        chances = np.asarray(probabilities, dtype=float)
        truth = np.asarray(y_true).astype(np.intp)
        whole = np.isfinite(chances).all(axis=1)
        self.truth, self.chances = truth[whole], chances[whole]
        names = list(classes or [])
        self.names = [str(names[c]) if c < len(names) else f"class {c}" for c in range(chances.shape[1])]
        self.positive = 1 if positive is None else positive

    def sample(self) -> tuple[np.ndarray, np.ndarray]:
        """Return truth and probabilities of so many rows that curves are drawn quickly."""
        if len(self.truth) * len(self.names) <= 4 * _ENOUGH:
            return self.truth, self.chances
        rows = max(_ENOUGH // len(self.names), 5000)
        chosen = np.random.default_rng(0).choice(len(self.truth), min(rows, len(self.truth)), replace=False)
        return self.truth[chosen], self.chances[chosen]

    def curves_of(self) -> list[int]:
        """Return the classes that have a curve: the positive one of two, or all."""
        return [self.positive] if len(self.names) == 2 else list(range(len(self.names)))


def confusion(judged: Judged) -> list[Safe]:
    """Return the confusion matrix with counts and shares of rows; of many classes, also what is mixed up most."""
    predicted, names, truth = judged.chances.argmax(axis=1), list(judged.names), judged.truth
    if len(names) > _MOST:
        kept = np.sort(np.argsort(-np.bincount(truth, minlength=len(names)), kind="stable")[: _MOST - 1])
        place = np.full(len(names), len(kept))
        place[kept] = np.arange(len(kept))
        right = predicted == truth
        predicted, truth = place[predicted], place[truth]
        names = [*(names[k] for k in kept), f"{len(names) - len(kept)} other classes"]
    else:
        right = predicted == truth
    count = len(names)
    matrix = np.bincount(truth * count + predicted, minlength=count * count).reshape(count, count)
    drawn = figure(
        "Confusion matrix",
        _matrix(matrix, names),
        note="Rows are true classes, columns what was predicted; shades are shares of a row.",
        legend=[("s0", "right"), ("s1", "wrong")],
        wide=count >= 12,
    )
    return [drawn, *([_mixed_up(matrix, names)] if count >= 8 and not right.all() else [])]


def roc(judged: Judged) -> Safe | None:
    """Return the ROC curves: of the positive class of two, or of each class against the others."""
    truth, chances = judged.sample()
    curves, areas = {}, {}
    for code in judged.curves_of():
        misses, hits, _ = _steps(truth == code, chances[:, code])
        if hits[-1] and misses[-1]:
            curves[code] = (misses / misses[-1], hits / hits[-1])
            areas[code] = _area(*curves[code])
    average = None
    if len(judged.names) > 2 and curves:
        misses, hits, _ = _steps((truth[:, None] == np.arange(chances.shape[1])).ravel(), chances.ravel())
        average = (misses / misses[-1], hits / hits[-1], _area(misses / misses[-1], hits / hits[-1]))
    return _curves(
        judged, "roc", "ROC", "AUC", ("false positive rate", "true positive rate"), curves, areas, average, _DIAGONAL
    )


def precision_recall(judged: Judged) -> Safe | None:
    """Return precision against recall: of the positive class of two, or of each class."""
    truth, chances = judged.sample()
    curves, values = {}, {}
    for code in judged.curves_of():
        _, hits, precision = _steps(truth == code, chances[:, code])
        if hits[-1]:
            curves[code], values[code] = _stairs(hits / hits[-1], precision)
    average = None
    if len(judged.names) > 2 and curves:
        _, hits, precision = _steps((truth[:, None] == np.arange(chances.shape[1])).ravel(), chances.ravel())
        line, value = _stairs(hits / hits[-1], precision)
        average = (*line, value)
    base = None
    if len(judged.names) == 2 and len(truth):
        share = float((truth == judged.positive).mean())
        base = ((0.0, share), (1.0, share))
    return _curves(judged, "pr", "Precision and recall", "AP", ("recall", "precision"), curves, values, average, base)


def calibration(judged: Judged) -> Safe | None:
    """Return how often what was predicted with a probability is true."""
    if not len(judged.truth):
        return None
    if len(judged.names) == 2:
        chances, true = judged.chances[:, judged.positive], judged.truth == judged.positive
        said = f"probability of {shorten(judged.names[judged.positive], 24)}"
    else:
        chances, true = judged.chances.max(axis=1), judged.chances.argmax(axis=1) == judged.truth
        said = "probability of the predicted class"
    plot = _unit_plot("calibration")
    plot.axes(said, "share that is true")
    plot.line(_DIAGONAL, "even")
    bins = np.clip((chances * 10).astype(int), 0, 9)
    counts = np.bincount(bins, minlength=10)
    tallest = counts.max()
    points = []
    for n in range(10):
        if not counts[n]:
            continue
        size = 46 * counts[n] / tallest
        left, right = plot.x(n / 10) + 1, plot.x((n + 1) / 10) - 1
        says = f"{counts[n]:,} rows with a probability of {n / 10:.1f} to {(n + 1) / 10:.1f}"
        plot.add(
            tag(
                "rect",
                tag("title", says),
                x=round(left, 1),
                y=round(plot.bottom - size, 1),
                width=round(right - left, 1),
                height=round(size, 1),
                cls="count",
            )
        )
        points.append((float(chances[bins == n].mean()), float(true[bins == n].mean()), int(counts[n])))
    for mean, share, rows in points:
        low, high = _interval(share, rows)
        plot.add(tag("line", x1=plot.x(mean), x2=plot.x(mean), y1=plot.y(low), y2=plot.y(high), cls="whisker"))
    plot.line([(mean, share) for mean, share, _ in points], "s0")
    for mean, share, rows in points:
        plot.dot(mean, share, "s0", 4, f"predicted {mean:.3f}, true {share:.3f}, {rows:,} rows")
    told = "; ".join(f"predicted {m:.2f}: true {s:.2f}" for m, s, _ in points)
    return figure(
        "Calibration",
        plot.svg("Calibration", told),
        note="On the diagonal, probabilities mean what they say. Bars: rows; whiskers: 95 % intervals.",
    )


def _unit_plot(name: str) -> Plot:
    return Plot(name, (0.0, 1.0), (0.0, 1.0), height=340)


def _curves(
    judged: Judged,
    name: str,
    title: str,
    short: str,
    labels: tuple[str, str],
    curves: dict[int, Any],
    values: dict[int, float],
    average: Any,
    base: Any,
) -> Safe | None:
    """A plot of curves: each with a colour, or the worst of many with a colour and the others in grey."""
    if not curves:
        return None
    plot = _unit_plot(name)
    plot.axes(*labels)
    if base:
        plot.line(base, "even")
    worst = sorted(curves, key=lambda code: values[code])
    own = sorted(worst[:_OWN]) if len(worst) > _OWN else sorted(worst)
    for code in [c for c in reversed(worst) if c not in own]:
        plot.line(_thin(*curves[code]), "other")
    legend = []
    for position, code in enumerate(own):
        plot.line(_thin(*curves[code]), f"s{position}")
        legend.append((f"stroke s{position}", f"{shorten(judged.names[code], 24)}: {short} {values[code]:.3f}"))
    note = "The dashed line is guessing." if base else None
    if len(curves) > len(own):
        note = f"The {len(own)} worst of {len(curves)} classes in colour, each against all others."
    elif average:
        note = "Each class against all others."
    if average:
        plot.line(_thin(*average[:2]), "average")
        legend.append(("stroke average", f"all together (micro): {short} {average[2]:.3f}"))
    told = "; ".join(text for _, text in legend)
    return figure(title, plot.svg(title, told), note=note, legend=legend)


def _steps(positive: np.ndarray, score: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return false and true positives and the precision at each threshold, from the highest; a zero first."""
    order = np.argsort(-score, kind="stable")
    ordered = score[order]
    ends = np.append(np.flatnonzero(ordered[1:] != ordered[:-1]), len(ordered) - 1)
    hits = np.cumsum(positive[order])[ends]
    misses = ends + 1 - hits
    precision = hits / (ends + 1)
    start = precision[:1]
    return np.append(0, misses), np.append(0, hits), np.append(start, precision)


def _area(x: np.ndarray, y: np.ndarray) -> float:
    return float(((x[1:] - x[:-1]) * (y[1:] + y[:-1]) / 2).sum())


def _stairs(recall: np.ndarray, precision: np.ndarray) -> tuple[tuple[np.ndarray, np.ndarray], float]:
    """Return a curve of steps, and the average precision."""
    value = float(((recall[1:] - recall[:-1]) * precision[1:]).sum())
    rises = np.append(True, recall[1:] > recall[:-1])
    r, p = recall[rises], precision[rises]
    return (np.repeat(r, 2)[:-1], np.repeat(p, 2)[1:]), value


def _thin(x: np.ndarray, y: np.ndarray) -> list[tuple[float, float]]:
    """Return so many points of a curve as a drawing shows."""
    distance = np.concatenate([[0.0], np.cumsum(np.hypot(np.diff(x), np.diff(y)))])
    marks = np.linspace(0, distance[-1], 300)
    chosen = np.unique(np.clip(np.searchsorted(distance, marks), 0, len(x) - 1))
    if len(x) <= 300:
        chosen = np.arange(len(x))
    return [(float(x[c]), float(y[c])) for c in chosen]


def _interval(share: float, rows: int) -> tuple[float, float]:
    """Return Wilson's 95 % interval of a share."""
    z = 1.96
    middle = (share + z * z / (2 * rows)) / (1 + z * z / rows)
    half = z * math.sqrt(share * (1 - share) / rows + z * z / (4 * rows * rows)) / (1 + z * z / rows)
    return max(middle - half, 0.0), min(middle + half, 1.0)


def _matrix(matrix: np.ndarray, names: Sequence[str]) -> Safe:
    count = len(names)
    size = 92 if count <= 3 else 68 if count <= 6 else 50 if count <= 12 else 34 if count < 20 else 20
    limit = 18 if count < 20 else 14
    letter = 6.2 if count < 20 else 5.2
    room = int(26 + letter * max(len(shorten(n, limit)) for n in names))
    left, top = max(room, 60), 24
    upright = max(len(shorten(n, limit)) for n in names) * letter > size
    below = room + 6 if upright else 42
    width, height = max(left + count * size + 12, 300), top + count * size + below
    totals = matrix.sum(axis=1, keepdims=True)
    shares = np.divide(matrix, totals, out=np.zeros(matrix.shape), where=totals > 0)
    small = None if count < 20 else "small"
    items: list[Safe] = [
        tag("rect", x=left, y=top, width=count * size, height=count * size, cls="field"),
        tag("text", "true", x=left - 8, y=top - 9, cls="end name"),
        tag("text", "predicted", x=left + count * size / 2, y=height - 4, cls="mid name"),
    ]
    for n, name in enumerate(names):
        says, label, middle = tag("title", name), shorten(name, limit), (n + 0.5) * size
        items.append(tag("text", label, says, x=left - 8, y=round(top + middle + 4, 1), cls=_both("end ink", small)))
        x, y = round(left + middle + (4 if upright else 0), 1), top + count * size + (10 if upright else 17)
        turn = f"rotate(-90 {x} {y})" if upright else None
        cls = _both("end ink" if upright else "mid ink", small)
        items.append(tag("text", label, says, x=x, y=y, transform=turn, cls=cls))
    for i, j in zip(*np.nonzero(matrix)):
        items += _cell(
            left + j * size, top + i * size, size, int(matrix[i, j]), float(shares[i, j]), i == j, (names[i], names[j])
        )
    accuracy = matrix.trace() / max(matrix.sum(), 1)
    told = f"{count} classes, {int(matrix.sum())} rows, {number(100 * accuracy)} % of them right."
    return drawing("confusion", int(width), int(height), "Confusion matrix", told, items)


def _cell(x: float, y: float, size: int, rows: int, share: float, right: bool, names: tuple[str, str]) -> list[Safe]:
    says = f"true {names[0]}, predicted {names[1]}: {rows:,} rows, {100 * share:.1f} %"
    cls = f"cell {'s0' if right else 's1'}"
    # Errors are few, and what one looks for: the root of their share makes them visible.
    opacity = round(0.06 + 0.94 * (share if right else math.sqrt(share)), 2)
    items = [
        tag(
            "rect",
            tag("title", says),
            x=x + 0.5,
            y=y + 0.5,
            width=size - 1,
            height=size - 1,
            cls=cls,
            fill_opacity=opacity,
        )
    ]
    if size < 34:
        return items
    ink = "mid on" if opacity > 0.55 else "mid ink"
    shown = f"{rows:,}" if rows < 100_000 or size > 60 else f"{rows / 1000:,.0f}k"
    two = size >= 50
    items.append(
        tag(
            "text",
            shown,
            x=x + size / 2,
            y=y + size / 2 + (-1 if two else 4),
            cls=_both(ink, size >= 50 and "count-of"),
        )
    )
    if two:
        percent = f"{100 * share:.0f} %" if share >= 0.01 else "< 1 %"
        items.append(tag("text", percent, x=x + size / 2, y=y + size / 2 + 14, cls=f"{ink} small"))
    return items


def _both(first: str, second: Any) -> str:
    return f"{first} {second}" if second else first


def _mixed_up(matrix: np.ndarray, names: Sequence[str]) -> Safe:
    """A table of the most frequent errors: what nobody finds in a matrix of many classes."""
    wrong = matrix.copy()
    np.fill_diagonal(wrong, 0)
    totals = matrix.sum(axis=1)
    rows = []
    for place in np.argsort(-wrong.ravel(), kind="stable")[:10]:
        i, j = divmod(int(place), len(names))
        if not wrong[i, j]:
            break
        percent = f"{100 * wrong[i, j] / totals[i]:.1f} %"
        cells = [tag("td", names[i]), tag("td", names[j])]
        rows.append(tag("tr", *cells, *(tag("td", v, cls="number") for v in (f"{wrong[i, j]:,}", percent))))
    head = [
        tag("th", "True"),
        tag("th", "Predicted"),
        tag("th", "Rows", cls="number"),
        tag("th", "Of the class", cls="number"),
    ]
    table = tag("table", tag("thead", tag("tr", head)), tag("tbody", rows))
    return figure("Most frequent errors", tag("div", table, cls="scroll"), note="Which classes are taken for which.")
