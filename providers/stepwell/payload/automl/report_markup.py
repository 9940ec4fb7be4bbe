"""HTML and SVG out of elements: whatever is not an element is text, and escaped."""

from __future__ import annotations

import math
from html import escape
from typing import Any, Iterable


class Safe(str):
    """Markup. Only this module makes it."""


def tag(_name: str, *content: Any, **attributes: Any) -> Safe:
    """Return an element; ``None`` and ``False`` among content and attributes are left out.

    ``cls`` is the attribute class; ``_`` in names of attributes is ``-``.
    """
    named = "".join(
        f' {"class" if key == "cls" else key.replace("_", "-")}="{escape(str(value))}"'
        for key, value in attributes.items()
        if value is not None and value is not False
    )
    inner = join(content)
    return Safe(f"<{_name}{named}/>" if _name in _EMPTY and not inner else f"<{_name}{named}>{inner}</{_name}>")


def join(content: Iterable[Any]) -> Safe:
    """Return markup and texts one after another; lists may be nested."""
    parts = []
    for item in content:
        if item is None or item is False:
            continue
        if isinstance(item, Safe):
            parts.append(str(item))
        elif isinstance(item, (list, tuple)):
            parts.append(str(join(item)))
        else:
            parts.append(escape(str(item)))
    return Safe("".join(parts))


def breakable(name: Any) -> Safe:
    """Return a long name that may go on in the next line after each of its parts."""
    parts = str(name).split("_")
    return join([item for part in parts[:-1] for item in (part + "_", tag("wbr"))] + [parts[-1]])


def number(value: Any, digits: int = 4) -> str:
    """Return a number to read: so many significant digits, thousands marked; an en dash for none."""
    if value is None or isinstance(value, str):
        return value or "–"
    try:
        value = float(value)
    except (TypeError, ValueError):
        return str(value)
    if math.isnan(value):
        return "–"
    if math.isinf(value):
        return "∞" if value > 0 else "-∞"
    if value == int(value) and abs(value) < 1e15:
        return f"{int(value):,}"
    if abs(value) >= 10**digits:
        return f"{value:,.0f}" if abs(value) < 1e9 else f"{value:.{digits}g}"
    return f"{value:.{digits}g}" if abs(value) < 1e-3 else f"{value:#.{digits}g}".rstrip(".")


def duration(seconds: Any) -> str:
    """Return a time in words: "0.8 s", "2 min 5 s", "1 h 4 min"."""
    if seconds is None or not math.isfinite(float(seconds)):
        return "–"
    seconds = float(seconds)
    if seconds < 60:
        return f"{seconds:.1f} s" if seconds < 9.95 else f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s" if rest else f"{minutes} min"
    return f"{minutes // 60} h {minutes % 60} min" if minutes % 60 else f"{minutes // 60} h"


_EMPTY = {"line", "rect", "circle", "path", "polyline", "polygon", "br", "wbr"}
