"""What all charts share: scales with round ticks, a plot with axes, a figure with a caption and a legend."""

from __future__ import annotations

import itertools
import math
from typing import Any, Iterable, Sequence

from stepwell.payload.automl.report_markup import Safe, join, tag

#: So many colours can be told apart, also by those who see fewer; they are in the page's style as .s0 to .s6.
COLOURS = 7


def ticks(low: float, high: float, count: int = 5) -> list[float]:
    """Return round numbers from *low* to *high*, about *count*."""
    span = high - low
    if not span > 0 or not math.isfinite(span):
        return [low]
    rough = span / max(count, 1)
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(m * power for m in (1, 2, 5, 10) if m * power >= rough * 0.999)
    first = math.ceil(low / step - 1e-9)
    last = math.floor(high / step + 1e-9)
    return [n * step for n in range(first, last + 1)]


def tick_labels(values: Sequence[float]) -> list[str]:
    """Return ticks as texts with as many decimals as their distance needs."""
    if len(values) < 2:
        return [f"{v:.4g}" for v in values]
    step = abs(values[1] - values[0])
    largest = max(abs(v) for v in values)
    if largest >= 1e6 or step < 1e-5:
        return [f"{v:.3g}" for v in values]
    decimals = max(0, -math.floor(math.log10(step) + 1e-9))
    return [f"{v:,.{decimals}f}" for v in values]


class Plot:
    """An SVG drawing with axes.

    :param name: unique on the page.
    :param x: the values at the left and at the right.
    :param y: the values at the bottom and at the top.
    """

    def __init__(
        self,
        name: str,
        x: tuple[float, float],
        y: tuple[float, float],
        *,
        width: int = 480,
        height: int = 300,
        margins: tuple[int, int, int, int] = (10, 14, 42, 56),
    ) -> None:
        self.name, self.width, self.height = name, width, height
        self.top, right, bottom, self.left = margins
        self.right, self.bottom = width - right, height - bottom
        self.x_range, self.y_range = _wide(x), _wide(y)
        self.items: list[Safe] = []

    def x(self, value: float) -> float:
        """Return where a value is."""
        low, high = self.x_range
        return round(self.left + (value - low) / (high - low) * (self.right - self.left), 1)

    def y(self, value: float) -> float:
        """Return where a value is."""
        low, high = self.y_range
        return round(self.bottom - (value - low) / (high - low) * (self.bottom - self.top), 1)

    def add(self, *items: Safe) -> None:
        """Draw elements."""
        self.items.extend(items)

    def axes(
        self,
        x_label: str,
        y_label: str,
        x_ticks: Sequence[tuple[float, str]] | None = None,
        y_ticks: Sequence[tuple[float, str]] | None = None,
    ) -> None:
        """Draw the axes with what they mean, and a grid."""
        if x_ticks is None:
            values = ticks(*self.x_range, 6)
            x_ticks = list(zip(values, tick_labels(values)))
        if y_ticks is None:
            values = ticks(*self.y_range, 5)
            y_ticks = list(zip(values, tick_labels(values)))
        for value, label in y_ticks:
            at = self.y(value)
            self.add(tag("line", x1=self.left, x2=self.right, y1=at, y2=at, cls="grid"))
            self.add(tag("text", label, x=self.left - 7, y=at + 3.5, cls="end"))
        for value, label in x_ticks:
            at = self.x(value)
            self.add(tag("line", x1=at, x2=at, y1=self.bottom, y2=self.bottom + 4, cls="axis"))
            self.add(tag("text", label, x=at, y=self.bottom + 16, cls="mid"))
        self.add(tag("line", x1=self.left, x2=self.right, y1=self.bottom, y2=self.bottom, cls="axis"))
        middle = (self.left + self.right) / 2
        self.add(tag("text", x_label, x=middle, y=self.height - 5, cls="mid name"))
        turn = f"translate(12 {(self.top + self.bottom) / 2:.0f}) rotate(-90)"
        self.add(tag("text", y_label, transform=turn, cls="mid name"))

    def line(self, points: Iterable[tuple[float, float]], cls: str) -> None:
        """Draw a line through points; points that fall on the one before are left out."""
        placed = [f"{x:g},{y:g}" for x, y in ((self.x(a), self.y(b)) for a, b in points)]
        self.add(tag("polyline", points=" ".join(k for k, _ in itertools.groupby(placed)), cls=f"line {cls}"))

    def dot(self, x: float, y: float, cls: str, size: float = 3.5, says: str | None = None) -> None:
        """Draw a point that says something to who points at it."""
        self.add(tag("circle", says and tag("title", says), cx=self.x(x), cy=self.y(y), r=size, cls=f"dot {cls}"))

    def text(self, x: float, y: float, content: str, cls: str = "") -> None:
        """Write at a place of the drawing (not at values)."""
        self.add(tag("text", content, x=round(x, 1), y=round(y, 1), cls=cls or None))

    def svg(self, title: str, description: str) -> Safe:
        """Return the drawing, described for those who do not see it."""
        return drawing(self.name, self.width, self.height, title, description, self.items)


def drawing(name: str, width: float, height: float, title: str, description: str, items: Sequence[Safe]) -> Safe:
    """Return an SVG element of a size in which letters are as large as in the page."""
    return tag(
        "svg",
        tag("title", title, id=f"{name}-title"),
        tag("desc", description, id=f"{name}-desc"),
        join(items),
        viewBox=f"0 0 {width:g} {height:g}",
        role="img",
        aria_labelledby=f"{name}-title {name}-desc",
        style=f"max-width:{1.35 * width:.0f}px",
    )


def figure(
    title: str, content: Any, *, note: str | None = None, legend: Sequence[tuple[str, str]] = (), wide: bool = False
) -> Safe:
    """Return a drawing with its caption and its legend (class → text)."""
    return tag(
        "figure",
        tag("figcaption", tag("b", title), note and tag("small", note)),
        tag("ul", [tag("li", text, cls=cls) for cls, text in legend], cls="key") if legend else None,
        content,
        cls="wide" if wide else None,
    )


def shorten(value: Any, limit: int) -> str:
    """Return a text of at most so many characters; the middle goes, for names often differ at their ends."""
    text = str(value)
    if len(text) <= limit:
        return text
    end = (limit - 1) // 3
    return text[: limit - 1 - end] + "…" + text[len(text) - end :]


def bars(
    name: str, title: str, description: str, rows: Sequence[dict[str, Any]], *, width: int = 480, left: int = 150
) -> Safe:
    """Return horizontal bars.

    :param rows: ``label``, ``value``, ``text`` beside the bar, optionally ``spread`` to both sides, ``says``, ``cls``.
    """
    height, right = 22, 120
    values = [r["value"] for r in rows]
    spreads = [r.get("spread") or 0.0 for r in rows]
    low = min([0.0, *(v - s for v, s in zip(values, spreads))])
    high = max([0.0, *(v + s for v, s in zip(values, spreads))])
    plot = Plot(
        name, (low, high or 1.0), (0, 1), width=width, height=height * len(rows) + 10, margins=(4, right, 6, left)
    )
    zero = plot.x(0)
    for position, row in enumerate(rows):
        top = 4 + position * height
        end = plot.x(row["value"])
        says = tag("title", row.get("says") or f"{row['label']}: {row['text']}")
        start, size = min(zero, end), max(abs(end - zero), 0.8)
        plot.add(
            tag("text", shorten(row["label"], left // 7), x=left - 8, y=top + 14, cls="end ink"),
            tag(
                "rect",
                says,
                x=start,
                y=top + 4,
                width=round(size, 1),
                height=13,
                rx=2,
                cls=f"bar {row.get('cls', 's0')}",
            ),
        )
        spread = row.get("spread") or 0.0
        if spread:
            a, b = plot.x(row["value"] - spread), plot.x(row["value"] + spread)
            plot.add(tag("line", x1=a, x2=b, y1=top + 10.5, y2=top + 10.5, cls="whisker"))
        beside = max(end, plot.x(row["value"] + spread)) + 6
        plot.text(max(beside, zero + 6), top + 14, row["text"])
    plot.add(tag("line", x1=zero, x2=zero, y1=2, y2=plot.height - 4, cls="axis"))
    return plot.svg(title, description)


def _wide(bounds: tuple[float, float]) -> tuple[float, float]:
    low, high = bounds
    if not (math.isfinite(low) and math.isfinite(high)):
        return 0.0, 1.0
    if high != low:
        return low, high
    pad = abs(low) * 0.05 or 0.5
    return low - pad, low + pad
