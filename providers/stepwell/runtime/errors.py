"""The base of every error that Stepwell raises on purpose."""

from __future__ import annotations

from typing import Iterable


class StepwellError(Exception):
    """Something is wrong that its reader can put right.

    ``permanent`` says that trying again would not help: only a change can.

    :param what: what was wrong, with the offending value, as a sentence.
    :param allowed: the values or forms that would have been accepted.
    :param hint: what to do next.
    """

    permanent = False

    def __init__(self, what: str, *, allowed: Iterable[object] | None = None, hint: str | None = None) -> None:
        self.what = what
        self.allowed = None if allowed is None else [str(a) for a in allowed]
        self.hint = hint
        parts = [what.rstrip(".") + "."]
        if self.allowed is not None:
            parts.append("Allowed: " + (", ".join(self.allowed) or "nothing yet") + ".")
        if hint:
            parts.append(hint if "\n" in hint or hint.endswith("?") else hint.rstrip(".") + ".")
        super().__init__(" ".join(parts))

    def __reduce__(self):  # type: ignore[no-untyped-def]
        return (_rebuild, (type(self), self.what, self.allowed, self.hint))


def _rebuild(cls, what, allowed, hint):  # type: ignore[no-untyped-def]
    return cls(what, allowed=allowed, hint=hint)


class UserErrorException(StepwellError):
    """The caller's input is wrong (v1's name for it). Raised before anything has been started or written."""

    permanent = True
