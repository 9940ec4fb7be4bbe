"""Checks of parameters: what was given, what is allowed, what to do instead."""

from __future__ import annotations

import math
import warnings
from typing import Any, Sequence

from stepwell.runtime.automl import by_likeness
from stepwell.runtime.errors import UserErrorException


def plain(value: Any) -> Any:
    """Return a scalar of numpy as Python's own; anything else as it is."""
    return value.item() if type(value).__module__ == "numpy" and getattr(value, "shape", None) == () else value


def number(
    name: str,
    value: Any,
    *,
    least: float | None = None,
    above: float | None = None,
    most: float | None = None,
    below: float | None = None,
    whole: bool = False,
    optional: bool = True,
    words: Sequence[str] = (),
) -> Any:
    """Return *value* if it is a number in its range, one of *words*, or ``None`` where that is *optional*.

    :raises UserErrorException: it is not.
    """
    value = plain(value)
    if (value is None and optional) or (isinstance(value, str) and value in words):
        return value
    good = isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
    if good and whole and isinstance(value, float) and value.is_integer():
        value = int(value)
    good = good and (not whole or isinstance(value, int))
    good = good and (least is None or value >= least) and (above is None or value > above)
    good = good and (most is None or value <= most) and (below is None or value < below)
    if good:
        return value
    bounds = [
        text
        for limit, text in (
            (least, f"at least {least}"),
            (above, f"more than {above}"),
            (most, f"at most {most}"),
            (below, f"less than {below}"),
        )
        if limit is not None
    ]
    kind = "a whole number" if whole else "a number"
    forms = [" ".join([kind, " and ".join(bounds)]).strip(), *map(repr, words), *(["None"] if optional else [])]
    raise UserErrorException(f"{name} is {value!r}", allowed=forms)


def flag(name: str, value: Any, *, optional: bool = False) -> Any:
    """Return *value* if it is True or False.

    :raises UserErrorException: it is neither.
    """
    value = plain(value)
    if isinstance(value, bool) or (value is None and optional):
        return value
    raise UserErrorException(f"{name} is {value!r}", allowed=["True", "False", *(["None"] if optional else [])])


def choice(name: str, value: Any, allowed: Sequence[Any]) -> Any:
    """Return *value* if it is one of *allowed*.

    :raises UserErrorException: it is not; what looks most like it is named first.
    """
    if any(value is a or (isinstance(value, str) and value == a) for a in allowed):
        return value
    texts = [a for a in allowed if isinstance(a, str)]
    named = by_likeness(value, texts) + (["None"] if None in allowed else [])
    raise UserErrorException(f"{name} is {value!r}", allowed=named)


def column(name: str, value: Any, *, optional: bool = True) -> str | None:
    """Return *value* if it can be the name of a column.

    :raises UserErrorException: it cannot.
    """
    if value is None and optional:
        return None
    if not isinstance(value, str) or not value.strip():
        raise UserErrorException(f"{name} is {value!r}", allowed=["the name of a column"])
    return value


def columns(name: str, value: Any) -> list[str] | None:
    """Return the column names of *value*, which may be a single one.

    :raises UserErrorException: it is something else, or names a column twice.
    """
    if value is None:
        return None
    given = [value] if isinstance(value, str) else value
    if not isinstance(given, (list, tuple, set, frozenset)):
        raise UserErrorException(f"{name} is {value!r}", allowed=["a list of column names"])
    result = [str(column(name, v, optional=False)) for v in (sorted(given) if isinstance(given, set) else given)]
    twice = sorted({v for v in result if result.count(v) > 1})
    if twice:
        raise UserErrorException(f"{name} names {', '.join(map(repr, twice))} twice")
    return result


def deprecated(old: str, new: str | None = None, stacklevel: int = 4) -> None:
    """Warn that *old* should no longer be used, but *new*."""
    instead = f"use {new}" if new else "it has no effect"
    warnings.warn(f"AutoML: {old} is deprecated: {instead}", DeprecationWarning, stacklevel=stacklevel)


def not_built(name: str, value: Any, hint: str) -> None:
    """Refuse a parameter of v1 that there is not.

    :raises UserErrorException: always.
    """
    raise UserErrorException(f"{name}={value!r} is not built", hint=hint)


def unknown(owner: str, names: Sequence[str], known: Sequence[str]) -> None:
    """Refuse parameters that nobody knows, if there are any.

    :raises UserErrorException: there are; the nearest known names are shown.
    """
    if names:
        raise UserErrorException(
            f"{owner} has no parameter {', '.join(map(repr, sorted(names)))}",
            allowed=by_likeness(sorted(names)[0], known)[:5],
            hint="The nearest ones are shown",
        )
