"""Errors, all in one place. Names are v1's where v1 has one."""

from __future__ import annotations

from stepwell.runtime.errors import StepwellError as StepwellError
from stepwell.runtime.errors import UserErrorException as UserErrorException


class WorkspaceError(StepwellError):
    """The workspace cannot be reached, or is another one than the one that was meant."""


class DatastoreError(StepwellError):
    """A datastore cannot do what was asked of it (missing file, refused write, no space, no connection)."""


class DatasetError(StepwellError):
    """A dataset cannot be found, defined, registered or read."""


class DatasetChangedError(DatasetError):
    """The files of a registered version are no longer those that were registered."""

    permanent = True


class SnapshotError(UserErrorException):
    """The source directory cannot be taken: too large, a link out of it, a missing script."""


class EnvironmentException(StepwellError):
    """An environment specification is malformed or cannot be built."""


class ComputeTargetException(StepwellError):
    """A compute target cannot be found, attached or used (v1's name)."""


class Unreachable(ComputeTargetException):
    """The target cannot be asked now: no connection, no answer. Of its jobs it says nothing."""


class ActivityFailedException(StepwellError):
    """A step ran and failed (v1's name): exit code and last lines are in the message."""


class GateFailedException(StepwellError):
    """The data did not pass its expectations, and the gate's ``on_failure`` says that this is fatal."""

    permanent = True
