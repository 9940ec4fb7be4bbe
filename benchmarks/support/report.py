"""The results as JSON, and as the table in README.md."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from support.figures import said

_BEGIN, _END = "<!-- results: begin (written by `make bench`) -->", "<!-- results: end -->"


def merge(file: Path, new: dict[str, Any], order: list[str]) -> dict[str, Any]:
    """Put new results over those in *file*, write it, and return all of them."""
    try:
        known = json.loads(file.read_text("utf-8"))["cases"]
    except FileNotFoundError:
        known = {}
    cases = {**known, **new["cases"]}
    whole = {"machine": new["machine"], "cases": {name: cases[name] for name in order if name in cases}}
    aside = file.with_suffix(".new")
    aside.write_text(json.dumps(whole, indent=1) + "\n", "utf-8")
    aside.replace(file)
    return whole


def into_readme(file: Path, results: dict[str, Any]) -> None:
    """Replace the table in *file*."""
    text = file.read_text("utf-8")
    before, rest = text.split(_BEGIN)
    after = rest.split(_END)[1]
    file.write_text(f"{before}{_BEGIN}\n\n{table(results)}\n{_END}{after}", "utf-8")


def table(results: dict[str, Any]) -> str:
    """Return the table, and below it how and when each benchmark was run."""
    lines = ["| benchmark | what | to reach | reached | least to largest | |", "|---|---|---|---|---|---|"]
    for name, case in results["cases"].items():
        for figure in case["figures"]:
            lines.append(_row(name, figure))
            name = ""
    machine = results["machine"]
    versions = ", ".join(f"{what} {machine[what]}" for what in ("python", "airflow", "uv"))
    lines += [
        "",
        f"Measured on {machine['cores']} cores, {machine['memory_gb']} GB, {machine['system']}; {versions}.",
        "",
        "| benchmark | rounds | seconds | load before and after | when | commit |",
        "|---|---|---|---|---|---|",
    ]
    for name, case in results["cases"].items():
        lines.append(
            f"| {name} | {len(case['samples'])} | {case['seconds']:.0f} | {case['load_before']}, {case['load_after']} "
            f"| {case['date']} | `{case['commit']}` |"
        )
    return "\n".join(lines) + "\n"


def _row(name: str, figure: dict[str, Any]) -> str:
    unit = figure["unit"]
    verdict = {True: "met", False: "**missed**", None: "beside"}[figure["met"]]
    spread = f"{said(figure['least'], unit)} to {said(figure['largest'], unit)}"
    cells = [
        f"`{name}`" if name else "",
        figure["what"],
        figure["to_reach"],
        said(figure["reached"], unit),
        spread,
        verdict,
    ]
    return f"| {' | '.join(cells)} |"
