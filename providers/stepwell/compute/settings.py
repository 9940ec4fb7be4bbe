"""What a kind of compute target wants to be told, declared once: the flags of the command line, the keys of
``apply``'s file, the checks of both and v1's class are made from it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from stepwell.errors import UserErrorException
from stepwell.runtime.names import nearest

if TYPE_CHECKING:
    from stepwell.compute.logins import LoginForm

SettingType = Literal["text", "integer", "number", "switch", "list", "map"]
_WORDS = {
    "text": "a text",
    "integer": "a whole number",
    "number": "a number",
    "switch": "true or false",
    "list": "a list of texts",
    "map": "names with values",
}


@dataclass(frozen=True)
class Setting:
    """One thing that a kind is told.

    :param name: its key in the record's configuration, in ``apply``'s file, and as a parameter.
    :param help: what it means, with its unit.
    :param type: ``list``: several texts; ``map``: names with values.
    :param default: used where nothing is said.
    :param choices: the only values that are allowed.
    :param flags: on the command line; default: ``--its-name``.
    :param secret: it never stands in a record or a file, and is asked for on the command line.
    :param check: gets the value, and returns it as it is to be kept, or raises.
    """

    name: str
    help: str
    type: SettingType = "text"
    required: bool = False
    default: Any = None
    choices: tuple[str, ...] = ()
    flags: tuple[str, ...] = ()
    secret: bool = False
    check: Callable[[Any], Any] | None = None

    @property
    def flag(self) -> str:
        """The long flag of the command line."""
        longest = [flag for flag in self.flags if flag.startswith("--")]
        return longest[0] if longest else "--" + self.name.replace("_", "-")

    def clean(self, value: Any) -> Any:
        """Return *value* as it is kept.

        :raises UserErrorException: it is of another type, or not one of the choices.
        """
        if self.type == "text" and isinstance(value, (int, float)) and not isinstance(value, bool):
            value = str(value)  # YAML makes a number of "user: 1000"
        if not self._fits(value):
            raise UserErrorException(
                f"{self.name}={'…' if self.secret else repr(value)} is not right", allowed=[_WORDS[self.type]]
            )
        if self.choices and value not in self.choices:
            raise UserErrorException(f"{self.name}={value!r} is unknown", allowed=self.choices)
        if self.type == "list":
            value = [str(one) for one in value]
        elif self.type == "map":
            value = {str(name): one for name, one in value.items()}
        return value if self.check is None else self.check(value)

    def _fits(self, value: Any) -> bool:
        if self.type == "switch":
            return isinstance(value, bool)
        if self.type == "integer":
            return isinstance(value, int) and not isinstance(value, bool)
        if self.type == "number":
            return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
        if self.type == "list":
            return isinstance(value, (list, tuple)) and all(isinstance(one, str) for one in value)
        if self.type == "map":
            return isinstance(value, Mapping) and all(_plain(name) and _plain(one) for name, one in value.items())
        return isinstance(value, str) and "\0" not in value


@dataclass(frozen=True)
class Form:
    """What a kind is told when one of its targets is attached or created.

    :param type: v1's name of the type, which the record keeps: "VirtualMachine".
    :param about: one line for the help: what a target of this kind is.
    :param login: how its connection is made, or named; None = it needs none.
    :param managed: its targets are created and deleted, not attached and detached.
    """

    type: str
    about: str = ""
    settings: tuple[Setting, ...] = ()
    login: LoginForm | None = None
    managed: bool = False

    @property
    def every(self) -> tuple[Setting, ...]:
        """All settings: those of the login, then the kind's own."""
        return (*(self.login.settings if self.login else ()), *self.settings)

    @property
    def over_ssh(self) -> bool:
        """Whether its targets are machines behind SSH, known by a host key."""
        return self.login is not None and self.login.conn_type == "ssh"

    def check(self, values: Mapping[str, Any], what: str) -> dict[str, Any]:
        """Return the *values*, checked; None and what is missing become the defaults, and are left out without one.

        :param what: whose they are, for messages: "the compute target 'gpu-box'".
        :raises UserErrorException: a value is unknown, not right, or missing.
        """
        known = {setting.name: setting for setting in self.every}
        for name in values:
            if name not in known:
                raise UserErrorException(
                    f"{name!r} is no setting of {what} ({self.type})", allowed=nearest(str(name), known)
                )
        found: dict[str, Any] = {}
        for setting in known.values():
            value = values.get(setting.name)
            if value is None:
                value = setting.default
            elif value is not setting.default:
                value = setting.clean(value)
            if value is not None:
                found[setting.name] = value
            elif setting.required:
                raise UserErrorException(
                    f"{what[:1].upper()}{what[1:]} ({self.type}) needs {setting.name}: {setting.help}",
                    hint=f"Give {setting.name}, on the command line {setting.flag}",
                )
        return found

    def own(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """Return those of *values* that the record keeps: the kind's own, none of the login's."""
        return {s.name: values[s.name] for s in self.settings if s.name in values and not s.secret}


def _plain(value: Any) -> bool:
    return isinstance(value, (str, int, float, bool))


def positive(value: int) -> int:
    """Return *value* if it is above 0; for :attr:`Setting.check`.

    :raises UserErrorException: it is not.
    """
    if value <= 0:
        raise UserErrorException(f"{value} is not right", allowed=["a number above 0"])
    return value


def not_empty(value: str) -> str:
    """Return *value* if it is one line with something in it; for :attr:`Setting.check`.

    :raises UserErrorException: it is not.
    """
    if not value.strip() or any(c in value for c in "\r\n"):
        raise UserErrorException(f"{value!r} is not right", allowed=["one line that is not empty"])
    return value
