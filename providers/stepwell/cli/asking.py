"""What commands ask of the person in front of the terminal: passwords, which are never echoed, and yes or no."""

from __future__ import annotations

import sys

from stepwell.cli.table import plain
from stepwell.errors import UserErrorException

#: Stands for a secret that is to be asked for, and for one that comes in by standard input.
ASK, STDIN = "ask", "-"


def on_terminal() -> bool:
    """Whether somebody can be asked."""
    return sys.stdin is not None and sys.stdin.isatty()


def secret(what: str, given: str | None, instead: str) -> str:
    """Return a secret: one line of standard input if ``-`` was given, what was typed if nothing was, else *given*.

    :param what: for the question: "the password of ml@gpu".
    :param instead: how else it could be said, for the message where nobody can be asked.
    :raises UserErrorException: nobody can be asked; nothing was typed.
    """
    if given == STDIN:
        found = sys.stdin.readline().rstrip("\r\n")
    elif given not in (None, ASK):
        say(f"Note: {what} stands on the command line, where others can see it; leave it out to be asked")
        return str(given)
    elif not on_terminal():
        raise UserErrorException(f"There is no terminal to ask for {what} on", hint=instead)
    else:
        import getpass

        found = getpass.getpass(f"{what[:1].upper()}{what[1:]}: ")
    if not found:
        raise UserErrorException(f"Nothing was given for {what}")
    return found


def yes(question: str) -> bool:
    """Ask a question, and return whether it was answered by "yes" or "y"."""
    return answer(f"{question} [yes/no] ").lower() in ("yes", "y")


def answer(question: str) -> str:
    """Ask a question, and return the answer, or nothing if there was none."""
    print(plain(question), end="", file=sys.stderr, flush=True)
    return sys.stdin.readline().strip()


def say(line: str) -> None:
    """Tell something that is not the result of the command."""
    print(plain(line), file=sys.stderr, flush=True)
