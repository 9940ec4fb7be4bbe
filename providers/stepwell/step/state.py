"""What a step has reached: one small head per job key in the workspace, so that another try can go on from there."""

from __future__ import annotations

import uuid
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any

from stepwell.step.spec import JobKey

if TYPE_CHECKING:
    from stepwell.workspace import Workspace

#: A generation in one of these phases is over; the next try starts the next generation.
OVER = frozenset({"published", "failed", "cancelled"})


@dataclass
class StepState:
    """The newest generation of a step.

    :param phase: ``begun`` (no job is noted yet), ``submitted`` (a job runs or ran), ``judged`` (versions may be
        registered in part), ``cancelling`` (the job was told to end), or one of :data:`OVER`.
    :param handle: the job's handle on its target, once submitted.
    :param resumed: an earlier try has left this generation; not kept.
    :param owner: token of the try that owns the job: an older try never cancels a job that a newer one adopted.
    :param turn: a number that a clear of the task changes and a retry does not; None: not known.
    :param replaced: the generation was left by a try from before a clear: it is to be replaced; not kept.
    """

    slug: str
    generation: int
    phase: str = "begun"
    handle: dict[str, Any] | None = None
    owner: str = field(default_factory=lambda: uuid.uuid4().hex)
    resumed: bool = False
    turn: int | None = None
    replaced: bool = False

    @property
    def run_id(self) -> str:
        """The run's id: also the job's."""
        return f"{self.slug}-g{self.generation}"

    @property
    def earlier(self) -> str | None:
        """The id of the run before this one, if there was one."""
        return f"{self.slug}-g{self.generation - 1}" if self.generation > 1 else None


def path(slug: str) -> str:
    """Where the head of *slug* stands in the workspace."""
    return f"jobs/{slug}.json"


def begin(ws: Workspace, key: JobKey, turn: int | None = None) -> StepState:
    """Return the state to go on with: what an earlier try left under way, else the next generation.

    The new owner is written at once; of two tries that begin at the same time, the later one owns the step.

    :param turn: see :class:`StepState`.
    """
    fresh: list[StepState] = []

    def next_state(document: dict[str, Any] | None) -> dict[str, Any]:
        fresh.clear()
        state = StepState(key.slug, 1, turn=turn)
        if document is not None:
            left = _read(document)
            if left.phase in OVER:
                state.generation = left.generation + 1
            else:
                state = replace(left, owner=state.owner, resumed=True)
                # What is registered in part is completed, whoever asks for it.
                state.replaced = left.phase != "judged" and None not in (turn, left.turn) and left.turn != turn
                if not state.replaced:
                    state.turn = turn
        fresh.append(state)
        return _kept(state)

    ws.store.update(path(key.slug), next_state)
    return fresh[0]


def current(ws: Workspace, slug: str) -> StepState | None:
    """Return the newest generation as it stands, with its owner; None if there is none."""
    try:
        return _read(ws.store.read_json(path(slug)))
    except FileNotFoundError:
        return None


def save(ws: Workspace, state: StepState) -> bool:
    """Write *state*, unless a newer try owns the step by now; return whether it is still this one's."""
    mine = []

    def unless_newer(document: dict[str, Any] | None) -> dict[str, Any]:
        mine.append(document is None or document["owner"] == state.owner)
        return _kept(state) if mine[-1] or document is None else document

    ws.store.update(path(state.slug), unless_newer)
    return mine[-1]


def is_owned(ws: Workspace, state: StepState) -> bool:
    """Whether no newer try has taken the step over."""
    return is_current(ws, state.slug, state.owner)


def is_current(ws: Workspace, slug: str, owner: str) -> bool:
    """Whether the try with the token *owner* still has the step."""
    try:
        return bool(ws.store.read_json(path(slug))["owner"] == owner)
    except FileNotFoundError:
        return True


def _kept(state: StepState) -> dict[str, Any]:
    return {name: value for name, value in asdict(state).items() if name not in ("resumed", "replaced")}


def _read(document: dict[str, Any]) -> StepState:
    kept = {name: document[name] for name in ("slug", "generation", "phase", "handle", "owner")}
    return StepState(**kept, turn=document.get("turn"))
