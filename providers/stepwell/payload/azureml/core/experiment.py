"""The experiment of a run: here, the DAG."""

from __future__ import annotations

from typing import Any

from .._not_built import NotBuiltError, says_what_is_not_built


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

    def submit(self, config: Any, tags: Any = None, **kwargs: Any) -> Any:
        """Search for models as an ``AutoMLConfig`` says, in this process, and return the ``AutoMLRun``.

        :param tags: of the run.
        :raises NotBuiltError: *config* is anything else.
        """
        from stepwell.runtime.automl_config import AutoMLConfig

        if not isinstance(config, AutoMLConfig):
            raise NotBuiltError(
                f"experiment.submit of a {type(config).__name__} is not built yet inside a step",
                hint="Define it in the DAG file, with the names of stepwell; an AutoMLConfig can be submitted here",
            )
        from ..train.automl import _local

        return _local.submit(self, config, tags, bool(kwargs.get("show_output", False)))

    def __repr__(self) -> str:
        return f"Experiment(Name: {self.name}, Workspace: {self.workspace.name})"
