"""Errors under v1's names."""

from __future__ import annotations

from stepwell.runtime.errors import StepwellError, UserErrorException

from ._not_built import NotBuiltError


class AzureMLException(StepwellError):
    """v1's base class, for what has no better name."""


class RunEnvironmentException(AzureMLException):
    """The script does not run inside a submitted run, and ``allow_offline=False`` asked for one."""


class InvalidColumnLength(UserErrorException):
    """The columns of a logged table are not equally long."""


class InvalidColumnData(UserErrorException):
    """A column of a logged table does not hold a list of scalars."""


__all__ = [
    "AzureMLException",
    "InvalidColumnData",
    "InvalidColumnLength",
    "NotBuiltError",
    "RunEnvironmentException",
    "UserErrorException",
]
