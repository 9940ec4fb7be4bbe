"""The experiment of a run: here, the DAG."""

from __future__ import annotations

from typing import Any

from .._not_built import says_what_is_not_built


@says_what_is_not_built("experiment")
class Experiment:
    """A name under a workspace.

    :param workspace: the workspace.
    :param name: name of the experiment.
    """

    def __init__(self, workspace: Any, name: str, **_: Any) -> None:
        self.workspace = workspace
        self.name = name

    @property
    def id(self) -> str:
        """The name: experiments have no other identity here."""
        return self.name

    def __repr__(self) -> str:
        return f"Experiment(Name: {self.name}, Workspace: {self.workspace.name})"
