"""``CommandStepOperator``: any program, on any compute target."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from typing import Any

from stepwell.errors import UserErrorException
from stepwell.operators import ports
from stepwell.operators.base import StepOperator


class CommandStepOperator(StepOperator):
    """Run a command on a compute target (v1's ``CommandStep``), without a shell.

    :param command: the program and its arguments: a list of strings, inputs and outputs, or one string, which is split
        as a shell would split it but never given to a shell. Use ``["sh", "-c", "…"]`` if you want one. (templated)

    All other parameters: see :class:`~stepwell.operators.base.StepOperator`.
    """

    template_fields = (*(f for f in StepOperator.template_fields if f not in ("script_name", "arguments")), "command")
    template_fields_renderers = {**StepOperator.template_fields_renderers, "command": "json"}
    step_kind = "command"

    def __init__(self, *, command: str | Sequence[Any], **kwargs: Any) -> None:
        if not command:
            raise UserErrorException("CommandStepOperator needs a command")
        if kwargs.get("script_name") or kwargs.get("arguments"):
            raise UserErrorException(
                "CommandStepOperator takes a command, no script_name and no arguments", hint="Put them into command="
            )
        super().__init__(**kwargs)
        words = shlex.split(command) if isinstance(command, str) else command
        self.command = ports.plain_arguments(words, self.inputs, self.outputs, "command")

    def specification(self, context: Any) -> Any:
        """Return the step as plain, rendered data."""
        from dataclasses import replace

        return replace(super().specification(context), command=tuple(self.command))
