"""The matrix as a table in ``docs/reliability.md``."""

from __future__ import annotations

from typing import Any

from tests.reliability.faults import FAULTS, Fault
from tests.reliability.kinds import ALL, PROJECT, Column

PAGE = PROJECT / "docs" / "reliability.md"
BEGIN, END = "<!-- matrix: begin (written by `make kill-matrix`) -->", "<!-- matrix: end -->"
#: Why a fault is none for a kind.
NO_SUCH = {
    "cut": "no network between worker and target",
    "restart": "the target is the machine itself",
    "fill": "its disk is the machine's own",
}


def publish(results: dict[str, Any]) -> None:
    """Write the table into the page."""
    text = PAGE.read_text()
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    PAGE.write_text(before + BEGIN + "\n\n" + made(results) + "\n" + END + after)


def made(results: dict[str, Any]) -> str:
    """Return the table."""
    cells = results["cells"]
    kinds = [k for k in ALL if any(c["kind"] == k.name for c in cells) or k.name in results["missing"]]
    lines = ["| fault | " + " | ".join(f"`{k.name}`" for k in kinds) + " |", "|---" * (len(kinds) + 1) + "|"]
    notes: list[str] = []
    for fault in FAULTS:
        shown = [_cell(fault, kind, results, notes) for kind in kinds]
        lines.append(f"| {fault.title} | " + " | ".join(shown) + " |")
    good = sum(c["ok"] for c in cells)
    commits = sorted({c["commit"] for c in cells})
    lines += ["", f"{len(cells)} runs of cells, {good} as they must be. Commits: {', '.join(commits) or 'none yet'}."]
    # Of a network that stays cut nobody is told: the lease ends the job.
    gone = sorted(c["gone_after"] for c in cells if c["gone_after"] is not None and c["fault"] != "cut_for_good")
    if gone:
        lines.append(
            f"From the user's word, or the time-out's start, to the end of the last process: median "
            f"{gone[len(gone) // 2]:g} s, longest {gone[-1]:g} s ({len(gone)} runs; not counted: the network cut "
            "for good, of which nobody can tell the job, so that its lease has to end it)."
        )
    if notes:
        lines += ["", *(f"{number}. {note}" for number, note in enumerate(notes, 1))]
    return "\n".join(lines) + "\n"


def _cell(fault: Fault, kind: type[Column], results: dict[str, Any], notes: list[str]) -> str:
    found = [c for c in results["cells"] if c["fault"] == fault.name and c["kind"] == kind.name]
    if not found:
        if fault.needs and not hasattr(kind, fault.needs):
            return f"– {_note(notes, NO_SUCH[fault.needs])}"
        why = results["missing"].get(kind.name)
        return f"not run {_note(notes, why)}" if why else "not run"
    good = sum(c["ok"] for c in found)
    if good == len(found):
        return f"✅ {good}/{len(found)}"
    wrong = sorted({", ".join(c["wrong"]) for c in found if not c["ok"]})
    return f"❌ {good}/{len(found)} {_note(notes, f'{fault.title}, {kind.name}: ' + '; '.join(wrong))}"


def _note(notes: list[str], text: str) -> str:
    if text not in notes:
        notes.append(text)
    return f"({notes.index(text) + 1})"
