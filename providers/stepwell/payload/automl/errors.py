"""What can be wrong with a search: its data, its configuration, all of its trials."""

from __future__ import annotations

from stepwell.runtime.errors import StepwellError, UserErrorException


class AutoMLError(UserErrorException):
    """The data or the configuration do not allow a search."""


class SearchFailed(StepwellError):
    """The search has ended without a single fitted model."""
