"""What a plan is, and the words and numbers that all plans share."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch

from irdream.recognizer import Recognizer

_LONGEST = 70  # characters that a thing may take to name itself


@dataclass(frozen=True)
class Plan:
    """What a task would do.

    Attributes:
        lines: for people.
        seconds: how long it would take at most, without start-up and tracking; None where that
            cannot be told.
    """

    lines: tuple[str, ...]
    seconds: float | None


def arguments(task: functools.partial[Any]) -> dict[str, Any]:
    """Return what a task would be called with, its defaults among it."""
    bound = inspect.signature(task.func).bind_partial(*task.args, **task.keywords)
    bound.apply_defaults()
    return dict(bound.arguments)


def line(word: str, text: str) -> str:
    """Return a line of a plan."""
    return f"{word:<11}{text}"


def time_line(parts: Mapping[str, float], note: str = "", *, at_most: bool = True) -> str:
    """Return the line of the time and what it is made of, in one unit.

    Args:
        parts: seconds by name.
        note: what it was measured on.
        at_most: whether it may well be less.
    """
    seconds = sum(parts.values())
    unit, _ = _unit(seconds)
    told = [f"{part / unit:.1f} {name}" for name, part in parts.items() if part >= 0.05 * unit]
    whole = f"{'at most' if at_most else 'about'} {duration(seconds)}"
    return line("time", f"{whole}: {', '.join(told)}{note}" if told else f"{whole}{note}")


def duration(seconds: float) -> str:
    """Return a time for people: `9 s`, `3.5 min`, `1.2 h`."""
    unit, name = _unit(seconds)
    return f"{max(1, round(seconds))} s" if unit == 1 else f"{seconds / unit:.1f} {name}"


def _unit(seconds: float) -> tuple[int, str]:
    return (1, "s") if seconds < 90 else (60, "min") if seconds < 90 * 60 else (3600, "h")


def size(count: float) -> str:
    """Return a number of bytes for people: `12 kB`, `8 MB`, `1.5 GB`."""
    if count < 1e6:
        return f"{max(1, round(count / 1e3))} kB"
    return f"{count / 1e6:.0f} MB" if count < 1e9 else f"{count / 1e9:.1f} GB"


def counted(count: int, thing: str, things: str | None = None) -> str:
    """Return `1 dream`, `1,210 dreams`; or with the plural that is given."""
    return f"{count:,} {thing if count == 1 else things or thing + 's'}"


def named(value: Any) -> str:
    """Return what a thing calls itself, or its class and the plain values it holds."""
    if isinstance(value, functools.partial):
        return _with_values(value.func.__name__, value.keywords)
    if isinstance(value, list | tuple):
        return ", ".join(named(one) for one in value)
    if isinstance(value, type) or inspect.isroutine(value):
        return value.__name__
    if type(value).__repr__ not in (object.__repr__, torch.nn.Module.__repr__):
        text = repr(value)
        return text if len(text) <= _LONGEST and "\n" not in text else type(value).__name__
    own = {} if isinstance(value, torch.nn.Module) else getattr(value, "__dict__", {})
    return _with_values(type(value).__name__, own)


def _with_values(name: str, values: Mapping[str, Any]) -> str:
    """Return a name and what it was given, or the name alone where that is much or not plain."""
    known = {key: x for key, x in values.items() if not key.startswith("_")}
    told = ", ".join(f"{key}={_plain(x)}" for key, x in known.items())
    is_plain = all(isinstance(x, int | float | str) for x in known.values())
    fits = is_plain and len(name) + len(told) <= _LONGEST
    return f"{name}({told})" if told and fits else name


def _plain(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def heard_by(recognizer: Recognizer) -> str:
    """Return the line of a recognizer: its network, what it was trained on, where it computes."""
    data = recognizer.card.get("data", {})
    trained = ""
    if {"training_excerpts", "name"} <= set(data):
        trained = f", trained on {data['training_excerpts']} excerpts of {data['name']}"
    return line("recognizer", f"{type(recognizer.model).__name__}{trained}; {place(recognizer)}")


def place(recognizer: Recognizer) -> str:
    """Return where a recognizer computes."""
    if recognizer.device.type == "cpu":
        return f"cpu, {counted(torch.get_num_threads(), 'thread')}"
    return str(recognizer.device)


def own_task(task: functools.partial[Any]) -> Plan:
    """Return what can be told of a task that is not irdream's."""
    module, names = getattr(task.func, "__module__", "?"), ", ".join(task.keywords)
    return Plan((line("task", f"{module}.{named(task.func)}, called with {names}"),), None)
