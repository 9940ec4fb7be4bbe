"""A snapshot of 2,001 Python files, 16 MB: the first one, one after a file was changed, and one of what is unchanged.

What a step does: list and hash the files, and write the archive unless the workspace has one of that content. The
files are older than a step's clock can blur, as those of any project are. Beside it ``metaflow package save`` of the
same folder, a process of its own, with the start of Python in it.
"""

from __future__ import annotations

import logging
import os
import random
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

from support import peers
from support.figures import Bench, Figure, Sample
from support.processes import timed

TITLE = "a snapshot of 2,001 files, 16 MB"
FIGURES = [
    Figure("snapshot of 2,001 files / 16 MB: first", lambda s: s["first"], "s", 1.0),
    Figure("… one file changed", lambda s: s["changed"], "s", 0.3),
    Figure("… unchanged", lambda s: s["unchanged"], "s", 0.15),
    Figure("… Metaflow's `package save`", lambda s: s["metaflow"], "s"),
]
FILES, BYTES = 2001, 16_000_000
#: Files that were written a moment ago are hashed anew, whatever a cache says.
SETTLE = 3.0


def rounds(bench: Bench) -> Iterator[Sample]:
    """Yield the seconds of each."""
    folder = bench.scratch / "source"
    os.environ["STEPWELL_SNAPSHOT_MAX_FILES"] = str(FILES)  # one more than allowed unless it is set
    _write(folder)
    python, env = peers.python_of("metaflow"), peers.metaflow_environment(bench.scratch)
    flow = folder / "flow.py"
    flow.write_text(_FLOW)
    (folder / "module_0.py").unlink()  # the flow is the file that it makes room for
    _take(folder, bench.scratch / "warm-up")
    for number in range(1_000_000):
        workspace = bench.scratch / f"workspace-{number}"
        time.sleep(SETTLE)
        sample = {"first": _take(folder, workspace)}
        sample["unchanged"] = _take(folder, workspace)
        changed = folder / "package_7" / "module_7.py"
        changed.write_text(changed.read_text() + f"# {number}\n")
        time.sleep(SETTLE)
        sample["changed"] = _take(folder, workspace)
        sample["metaflow"] = timed([python, "flow.py", "--quiet", "package", "save", "out"], cwd=folder, env=env)
        (folder / "out").unlink()
        yield sample


def _take(folder: Path, workspace: Path) -> float:
    """Do what a step does; return the seconds."""
    from stepwell import Workspace
    from stepwell.step.life import Life
    from stepwell.step.spec import JobKey, StepSpec

    spec = StepSpec("packed", "python", "local", source_directory=str(folder), script="flow.py")
    key = JobKey("bench", "a_dag", uuid.uuid4().hex, "packed")
    log = logging.getLogger("stepwell.step")
    life = Life(Workspace("snapshots", root=workspace), spec, key, try_number=1, triggering=(), log=log)
    life._begin()
    life._plan()
    began = time.perf_counter()
    taken = life._snapshot()
    life._archive(taken)
    seconds = time.perf_counter() - began
    assert taken is not None
    assert len(taken.files) == FILES, len(taken.files)
    return seconds


def _write(folder: Path) -> None:
    """Write files that compress as source code does: lines of words."""
    draw = random.Random(1)
    words = ["".join(draw.choices("abcdefghijklmnopqrstuvwxyz_", k=draw.randint(2, 12))) for _ in range(3000)]
    before = time.time() - 86400
    for number in range(FILES):
        path = folder / f"module_{number}.py" if number == 0 else folder / f"package_{number % 50}/module_{number}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        text, size = [], 0
        while size < BYTES // FILES:
            line = f"{draw.choice(words)} = {draw.choice(words)}({draw.choice(words)}, {draw.random()})"
            text.append(line)
            size += len(line) + 1
        path.write_text("\n".join(text) + "\n")
        os.utime(path, (before, before))


_FLOW = """from metaflow import FlowSpec, step


class Packed(FlowSpec):
    @step
    def start(self):
        self.next(self.end)

    @step
    def end(self):
        pass


if __name__ == "__main__":
    Packed()
"""
