"""Errors of the payload: what was wrong with the data or the request, in which file, on which line."""

from __future__ import annotations

from stepwell.runtime.errors import StepwellError


class ReadError(StepwellError):
    """A dataset cannot be read as its definition says."""


class RaggedRowError(ReadError):
    """A row of a delimited file has more or fewer fields than its header."""


class GateError(StepwellError):
    """A gate cannot be evaluated (which is not the same as data that fails it)."""
