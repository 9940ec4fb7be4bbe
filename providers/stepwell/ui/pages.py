"""The page of a run: rendered on the server, self-contained, everything escaped."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stepwell.links import PREFIX

if TYPE_CHECKING:
    import jinja2

_environment: jinja2.Environment | None = None


def run_page(record: dict[str, Any]) -> str:
    """Return the page of *record*, which also names its ``workspace``."""
    return _templates().get_template("run.html").render(run=record, base=f"{PREFIX}/{record['workspace']}/runs/{record['run_id']}")


def _templates() -> jinja2.Environment:
    global _environment
    if _environment is None:
        import jinja2

        _environment = jinja2.Environment(
            loader=jinja2.FileSystemLoader(Path(__file__).parent / "templates"), autoescape=True, undefined=jinja2.StrictUndefined
        )
        _environment.filters.update(when=_when, seconds=_seconds, figure=_figure, size=_size)
    return _environment


def _when(stamp: float | None) -> str:
    return "" if stamp is None else time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(stamp)) + " UTC"


def _seconds(value: float | None) -> str:
    if value is None:
        return "…"
    return f"{value:.2f} s" if value < 60 else f"{int(value // 60)} min {value % 60:.0f} s"


def _figure(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, list):
        return ", ".join(_figure(v) for v in value)
    return str(value)


def _size(value: int) -> str:
    amount = float(value)
    for unit in ("bytes", "kB", "MB", "GB"):
        if amount < 1000:
            return f"{amount:.0f} {unit}" if unit == "bytes" else f"{amount:.1f} {unit}"
        amount /= 1000
    return f"{amount:.1f} TB"
