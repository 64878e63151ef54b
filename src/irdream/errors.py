"""The one exception for input that a person can mend, and the words it needs.

Everything that a user typed, pointed to or recorded and that cannot be used ends in an
`InputError` whose message is a single line: the value, what was expected, the remedy.
`main.py` prints that line and exits with status 1; any other exception is a defect of
irdream and keeps its traceback.
"""

from __future__ import annotations

import difflib
import importlib.util
import sys
from collections.abc import Iterable

_LONGEST = 300  # characters of what others say


class InputError(ValueError):
    """Input that a person can mend; the message is one line."""


class NotInstalledError(InputError, ImportError):
    """A package that an extra of irdream brings is not there."""


def nearest(word: str, known: Iterable[str], *, count: int = 3) -> str:
    """Say which known words are like `word`: `"; did you mean 'flu'?"`, or nothing."""
    folded = {one.casefold(): one for one in reversed([*known])}
    close = difflib.get_close_matches(word.casefold(), [*folded][::-1], n=count, cutoff=0.6)
    return f"; did you mean {' or '.join(repr(folded[one]) for one in close)}?" if close else ""


def no_class(name: str, value: object) -> None:
    """Raise an InputError where the argument `name` is a class in place of its object."""
    if isinstance(value, type):
        raise InputError(f"{name}={value.__name__} is a class; expected {value.__name__}(...)")


def told(error: BaseException) -> str:
    """Return in one line what an error says: its text, after its type but for a ValueError."""
    text = " ".join(str(error).split())[:_LONGEST]
    kind = "" if text and isinstance(error, ValueError) else type(error).__name__
    return ": ".join(part for part in (kind, text) if part)


def need(package: str) -> None:
    """Raise a NotInstalledError where a package of the extra `cli` is not there."""
    if package not in sys.modules and importlib.util.find_spec(package) is None:
        raise NotInstalledError(
            f"{package} is not installed; expected it: pip install 'irdream[cli]'"
        )
