"""What commands print: a table for people, JSON for programs."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Sequence
from typing import Any


def print_json(value: Any) -> None:
    """Print *value* as JSON."""
    print(json.dumps(value, indent=2, sort_keys=True))


def print_table(columns: Sequence[str], rows: Iterable[Sequence[str]], title: str | None = None) -> None:
    """Print *rows* under *columns*; what is in them is printed as it is, but for control characters."""
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(title=Text(plain(title)) if title else None, box=box.ROUNDED, show_lines=True, title_justify="left")
    for column in columns:
        table.add_column(Text(plain(column)), overflow="fold")
    for row in rows:
        table.add_row(*(Text(plain(cell)) for cell in row))
    console = Console()
    if not console.is_terminal:  # a log file is as wide as it needs to be
        console = Console(width=160)
    console.print(table)


def plain(value: str) -> str:
    """Return *value* without what would control a terminal: a script may have written it."""
    return "".join(c if c == "\n" or c.isprintable() else "\ufffd" for c in value)


def when(seconds: float) -> str:
    """Return a time (seconds since 1970) as people write it, in this machine's time zone."""
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(seconds))


def size(count: float) -> str:
    """Return a number of bytes as people write it: "12.3 MB"."""
    for unit in ("bytes", "kB", "MB"):
        if count < 1000:
            return f"{count:.0f} {unit}" if unit == "bytes" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} GB"
