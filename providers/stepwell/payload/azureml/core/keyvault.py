"""Secrets, as v1's scripts ask for them: they are the step's declared secrets, which stand in its environment."""

from __future__ import annotations

import os
import re
from typing import Iterable

from stepwell.payload.context import current
from stepwell.runtime.errors import UserErrorException

from .._not_built import says_what_is_not_built


def find_secret(name: str) -> str | None:
    """Return the secret *name* from the environment, also in the form that a variable can have (``A_B``)."""
    variable = re.sub(r"\W", "_", name)
    for candidate in (name, variable, variable.upper()):
        if candidate in os.environ:
            return os.environ[candidate]
    return None


@says_what_is_not_built("keyvault")
class Keyvault:
    """The secrets of the step."""

    def get_secret(self, name: str) -> str:
        """Return a secret.

        :raises UserErrorException: the step was not given one of that name.
        """
        value = find_secret(name)
        if value is None:
            job = current()
            raise UserErrorException(
                f"The step has no secret {name!r}",
                allowed=job.document.get("secret_names") or [] if job else None,
                hint="Declare it in the operator's secrets, or set it as an environment variable when running by hand",
            )
        return value

    def get_secrets(self, secrets: Iterable[str]) -> dict[str, str]:
        """Return several secrets by name."""
        return {name: self.get_secret(name) for name in secrets}

    def list_secrets(self) -> list[dict[str, object]]:
        """Return the names of the step's secrets, in v1's form."""
        job = current()
        names = job.document.get("secret_names") or [] if job else []
        return [{"name": name, "enabled": True} for name in names]

    def set_secret(self, name: str, value: str) -> None:
        """Refused: secrets are made where connections are made, never inside a step.

        :raises UserErrorException: always.
        """
        raise UserErrorException("A step cannot store secrets", hint="Create an Airflow connection or variable instead")
