"""The report of a search with 200 trials: its size, what it asks of elsewhere, and how long a browser takes to show it.

A search on the Titanic's passengers, with ensembles, importances and all charts. The browser, Chromium without a
window, is running; the time is from the address to the event ``load`` and a picture of the page. An empty page stands
beside.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from support import automl
from support.browser import browser
from support.figures import Bench, Figure, Sample

TITLE = "AutoML: the report of 200 trials"
TRIALS = 200
FIGURES = [
    Figure("AutoML: the report of 200 trials opens", lambda s: s["report"], "s", at_most=2.0),
    Figure("… an empty page", lambda s: s["empty"], "s"),
    Figure("… its size", lambda s: s["bytes"] / 1e6, "MB", at_most=3.0),
    Figure("… resources from elsewhere", lambda s: s["elsewhere"], "resources", at_most=0.0),
]
#: Whatever a page can be made of, but for its own parts and data that it holds; names of XML are no addresses.
_ELSEWHERE = re.compile(
    r"""(?:src|srcset|href|action|poster|data)\s*=\s*["'](?!\#|data:)[^"']+"""
    r"""|url\(\s*["']?(?!\#|data:)[^)]+|@import|(?<!xmlns=")(?<!xmlns:xlink=")https?://[^\s"'<]+""",
    re.IGNORECASE | re.VERBOSE,
)


def rounds(bench: Bench) -> Iterator[Sample]:
    """Yield seconds and sizes."""
    report = _report(bench)
    empty = bench.scratch / "empty.html"
    empty.write_text("<!doctype html><title>empty</title>", "utf-8")
    text = report.read_text("utf-8")
    with browser(bench.scratch) as page:
        page.open(empty)
        while True:
            shown, asked = page.open(report)
            elsewhere = len(set(_ELSEWHERE.findall(text))) + len([url for url in asked if url != report.as_uri()])
            yield {
                "report": shown,
                "empty": page.open(empty)[0],
                "bytes": report.stat().st_size,
                "elsewhere": elsewhere,
            }


def _report(bench: Bench) -> Path:
    passengers = bench.scratch / "titanic.parquet"
    automl.parquet(bench, bench.project / "include" / "data" / "Titanic.csv", passengers)
    iterations = 30 if bench.quick else TRIALS
    wanted = automl.settings(
        "classification", "Survived", 3600, primary_metric="AUC_weighted", n_cross_validations=2, iterations=iterations
    )
    path = automl.request(bench.scratch / "search", wanted, {"training": passengers})
    found = automl.search(bench, path)
    assert len(found) >= 0.9 * iterations, f"only {len(found)} trials were completed"
    return path.parent / "results" / "report.html"
