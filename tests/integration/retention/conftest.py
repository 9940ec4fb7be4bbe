"""Workspaces filled by steps that were really lived, to be pruned as if it were later."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from tests.support.scratch import scratch as scratch
from tests.support.steps import Bench
from tests.support.steps import bench as new_bench

from stepwell import OutputFileDatasetConfig
from stepwell.operators import CommandStepOperator
from stepwell.retention import plan
from stepwell.retention.items import Item, Plan
from stepwell.retention.rules import DAY, Rules
from stepwell.retention.sweep import Swept, sweep

#: All but this machine's environments and jobs, which the tests of a session share.
HERE = frozenset({"runs", "versions", "snapshots", "staging", "quarantine", "index"})
WRITE = ["sh", "-c", 'echo "$0" > "$1/x.txt"']


@dataclass
class Attic:
    """A workspace of a test's own."""

    bench: Bench
    said: list[str] = field(default_factory=list)

    def lived(
        self, content: str, *, task: str = "make", registered: str | None = None, fails: bool = False, **more: Any
    ) -> dict[str, Any]:
        """Live a step that writes *content* and return its run's record."""
        out = OutputFileDatasetConfig("out")
        if registered:
            out = out.register_on_complete(registered)
        command = ["false"] if fails else [*WRITE, content, out]
        step = CommandStepOperator(
            task_id=task, command=command, outputs=[out], source_directory=more.pop("source", None)
        )
        life = self.bench.life(step, **{"dag_run_id": content, **more})
        try:
            life.live()
        except Exception:
            if not fails:
                raise
        return life.record.facts

    def plan(self, *, days: float = 40, **rules: Any) -> Plan:
        """Return what may go in so many days."""
        return plan.make(self.bench.ws, self.rules(days=days, **rules))[0]

    def rules(self, *, days: float = 40, **rules: Any) -> Rules:
        return Rules(**{"now": time.time() + days * DAY, "what": HERE, "keep": 0, **rules})

    def prune(self, **rules: Any) -> Swept:
        """Prune as if it were 40 days later."""
        return sweep(self.bench.ws, self.plan(**rules), self.said.append)

    # -- what is there ---------------------------------------------------------------------------------------------

    @property
    def root(self) -> Path:
        return self.bench.folder / "workspace"

    def names(self, folder: str) -> list[str]:
        there = self.root / folder
        return sorted(p.name for p in there.iterdir() if not p.name.startswith(".")) if there.is_dir() else []

    def data_of(self, record: dict[str, Any], output: str = "out") -> Path:
        return Path(record["outputs"][output]["uri"].removeprefix("file://"))

    def head(self, record: dict[str, Any]) -> Path:
        return self.root / "jobs" / f"{record['run_id'].rpartition('-g')[0]}.json"

    def set_phase(self, record: dict[str, Any], phase: str) -> None:
        """Make the head say that the step is there."""
        document = json.loads(self.head(record).read_text())
        self.head(record).write_text(json.dumps({**document, "phase": phase}))


def paths(found: Plan | list[Item], kind: str) -> list[str]:
    """Return the paths of the items of a kind, sorted."""
    return sorted(i.path for i in (found.items if isinstance(found, Plan) else found) if i.kind == kind)


@pytest.fixture
def attic(tmp_path: Path, scratch: Path) -> Attic:
    return Attic(new_bench(tmp_path))


@pytest.fixture
def everything() -> Callable[[Path], dict[str, bytes]]:
    """Return what stands below a folder: relative path → content."""

    def look(root: Path) -> dict[str, bytes]:
        return {str(p.relative_to(root)): p.read_bytes() for p in sorted(root.rglob("*")) if p.is_file()}

    return look
