"""Deciding whether to reuse, in a workspace with 100 earlier runs, and in one with 100,000.

The life of a step that is reused (without Airflow's share), and the decision about one that nobody has made. The
earlier runs are a real one, copied as often under other names: its record, what it was made of, its state, and its
entry in the index.
"""

from __future__ import annotations

import hashlib
import logging
import os
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from support.figures import Bench, Figure, Sample
from support.surroundings import DAGS

TITLE = "deciding about reuse among 100 and among 100,000 runs"
REPEAT = 15
FIGURES = [
    Figure(
        "a reused step's life with 100,000 earlier runs, over that with 100",
        lambda s: s["reused_in_many"] / s["reused_in_few"],
        "×",
        2.0,
    ),
    Figure("… deciding that there is none to reuse", lambda s: s["none_in_many"] / s["none_in_few"], "×", 2.0),
    Figure("… a reused step's life with 100,000 earlier runs", lambda s: s["reused_in_many"], "ms"),
    Figure("… deciding that there is none, with 100,000", lambda s: s["none_in_many"], "ms"),
]


def rounds(bench: Bench) -> Iterator[Sample]:
    """Yield the seconds of each."""
    few, many = _Place(bench, "few", 100), _Place(bench, "many", 2_000 if bench.quick else 100_000)
    for place in (few, many):  # whatever is loaded or opened first
        place.reused(), place.none()
    while True:
        yield {
            "reused_in_many": many.reused(),
            "reused_in_few": few.reused(),
            "none_in_many": many.none(),
            "none_in_few": few.none(),
        }


class _Place:
    """A workspace with so many earlier runs."""

    def __init__(self, bench: Bench, name: str, runs: int) -> None:
        from stepwell import OutputFileDatasetConfig, Workspace
        from stepwell.operators import PythonScriptStepOperator

        self.root = bench.scratch / name
        self.ws = Workspace(name, root=self.root)
        made = OutputFileDatasetConfig(name="made").as_upload().register_on_complete("made")
        self.step = PythonScriptStepOperator(
            task_id="write",
            script_name="write_file.py",
            source_directory=str(DAGS / "source"),
            arguments=[made],
            outputs=[made],
            compute_target="local",
            workspace=self.ws,
        )
        self._live()
        self._fill(runs)

    def reused(self) -> float:
        """Return the seconds of a reused step's life."""
        began = time.perf_counter()
        life = self._live()
        seconds = time.perf_counter() - began
        assert life.record.facts["reuse"]["decision"] == "reused", life.record.facts["reuse"]
        return seconds

    def none(self) -> float:
        """Return the seconds of a decision about what nobody has made."""
        from stepwell.step.reuse import Index

        life = self._live()
        index = life._index
        assert isinstance(index, Index)
        digest = hashlib.sha256(uuid.uuid4().bytes).hexdigest()
        parts = {**index.now.parts, "script": "another.py"}
        index = replace(index, now=replace(index.now, digest=digest, parts=parts))
        began = time.perf_counter()
        decision = index.decide()
        seconds = time.perf_counter() - began
        assert decision.earlier is None
        return seconds

    def _live(self) -> Any:
        from stepwell.step.life import Life
        from stepwell.step.spec import JobKey

        key = JobKey("bench", "a_dag", uuid.uuid4().hex, "write")
        log = logging.getLogger("stepwell.step")
        life = Life(self.ws, self.step.specification({}), key, try_number=1, triggering=(), log=log)
        life.live()
        return life

    def _fill(self, runs: int) -> None:
        """Copy the one run that there is."""
        (folder,) = (path for path in (self.root / "runs").iterdir() if path.is_dir())
        (entry,) = (path for path in (self.root / "reuse").glob("??/*.json"))
        (job,) = (self.root / "jobs").glob("*.json")
        model = _Model(folder.name, job.stem, entry.stem)
        files = [path for path in [*folder.iterdir(), entry, job] if path.suffix == ".json"]
        texts = {path: path.read_text("utf-8") for path in files}
        for _ in range(runs - 1):
            other = model.another()
            for path, text in texts.items():
                relative = str(path.relative_to(self.root))
                place = self.root / other.instead_of(model, relative)
                os.makedirs(place.parent, exist_ok=True)
                place.write_text(other.instead_of(model, text), "utf-8")


@dataclass(frozen=True)
class _Model:
    """The names in what belongs to a run: the run's id, the slug of its key, its fingerprint."""

    run_id: str
    slug: str
    digest: str

    def another(self) -> _Model:
        """Return names of another run of the same step."""
        digest = hashlib.sha256(uuid.uuid4().bytes).hexdigest()
        slug = f"{self.slug.rpartition('.')[0]}.{digest[:10]}"
        return _Model(f"{slug}-g1", slug, digest)

    def instead_of(self, model: _Model, text: str) -> str:
        """Return *text* with these names in it."""
        text = text.replace(model.run_id, self.run_id).replace(model.slug, self.slug)
        # Spread over the folders as digests are, each below its own first two digits.
        text = text.replace(f"reuse/{model.digest[:2]}/", f"reuse/{self.digest[:2]}/")
        return text.replace(model.digest, self.digest)
