"""What a run's record says of reuse, in words for people, and which run has the log and the reports."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

#: What was decided → how people say it.
WORDS = {"ran": "ran", "reused": "reused", "revalidated": "validated anew"}


@dataclass(frozen=True)
class Told:
    """What was decided about a run.

    :param decision: ``ran``, ``reused`` or ``revalidated``; ``None``: nothing was decided, *reason* says why.
    :param reason: a sentence.
    :param changes: what is different from the run *compared_with*.
    :param origin: the run that did the work, of one that was reused or validated anew.
    """

    decision: str | None
    reason: str
    changes: tuple[str, ...] = ()
    origin: str | None = None
    compared_with: str | None = None

    @property
    def word(self) -> str:
        """The decision in a word or two; nothing if there is none."""
        return WORDS.get(self.decision or "", self.decision or "")

    @property
    def because(self) -> str:
        """The reason, without the word that stands in front of it anyway."""
        return self.reason.removeprefix(f"{self.word}: ")

    def to_dict(self) -> dict[str, Any]:
        """Return it under the names that the run's record has."""
        return {
            "decision": self.decision,
            "reason": self.reason,
            "changes": list(self.changes),
            "from": self.origin,
            "compared_with": self.compared_with,
        }


def told(record: Mapping[str, Any]) -> Told:
    """Return what *record* says; it may be of a run that is under way, or older than reuse."""
    reuse = record.get("reuse")
    if not isinstance(reuse, dict):
        if record.get("status") == "running":
            return Told(None, "not decided yet")
        return Told(None, "nothing was decided: the run ended before, or Stepwell did not reuse anything yet")
    changes = reuse.get("changes")
    return Told(
        reuse.get("decision"),
        str(reuse.get("reason") or ""),
        tuple(map(str, changes)) if isinstance(changes, list) else (),
        reuse.get("from"),
        reuse.get("compared_with"),
    )


def has_log(record: Mapping[str, Any]) -> str:
    """Return the run that has this one's complete log: of a run that was reused, the one that did the work."""
    reused = told(record).decision == "reused"
    return str((record.get("reused_from") if reused else None) or record["run_id"])


def has_report(record: Mapping[str, Any], gate: str) -> str:
    """Return the run that has the validation report of *gate*."""
    return str((record["verdicts"].get(gate) or {}).get("run") or record["run_id"])


def has_files(record: Mapping[str, Any]) -> str:
    """Return the run that has the files below ``outputs/`` that this one's metrics name."""
    return str(record.get("reused_from") or record["run_id"])
