"""Runs that are stopped at a chosen call, as tests need them."""

from __future__ import annotations


def stop_at(patch, owner, name: str, call: int, error: BaseException, after: bool = False) -> None:
    """Raise from the given call of a function, before or after it did its work."""
    original, calls = getattr(owner, name), iter(range(10_000))

    def stopping(*arguments, **named):
        due = next(calls) == call
        if due and not after:
            raise error
        result = original(*arguments, **named)
        if due:
            raise error
        return result

    patch.setattr(owner, name, stopping)
