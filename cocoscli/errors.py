"""The errors that a user is meant to read.

An error says what was found, where, what was expected and what to do next. Anything else that
escapes is a bug. `app.main` turns these into one message and an exit code.
"""

from __future__ import annotations


class CocosError(Exception):
    """The command cannot start or go on (exit code 1).

    `message` says what was found where and what was expected; `hint` says what to do next.
    """

    exit_code = 1

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message} {self.hint}".strip()

    def __reduce__(self) -> tuple[type, tuple[str, str]]:
        return type(self), (self.message, self.hint)


class UsageError(CocosError):
    """The options contradict each other or name something that does not exist (exit code 2)."""

    exit_code = 2


class BadInput(CocosError):
    """One file cannot be used. In a batch it costs that item and not the run."""
