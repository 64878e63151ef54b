"""What a key of the configuration may be: types and ranges, and how to say so.

A type is any that YAML can give: int, float, bool, str, Literal words, lists of these, mappings,
and unions of them. Values are taken as they are: a number in quotes is refused, since nothing
converts it on the way to the library; true is no whole number, and what is not finite no number.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from types import NoneType, UnionType
from typing import Any, Literal, NamedTuple, Union, get_args, get_origin

_LIKE_ANOTHER_TYPE = re.compile(r"[-+.\d]+(e[-+]?\d+)?|true|false|null", re.IGNORECASE)


class Range(NamedTuple):
    """What a number may be; what a list may hold.

    Attributes:
        at_least, at_most: ends that are included.
        above, below: ends that are not.
        length: of a list; None: any but 0.
        may_be_empty: whether a list may have nothing in it.
    """

    at_least: float | None = None
    at_most: float | None = None
    above: float | None = None
    below: float | None = None
    length: int | None = None
    may_be_empty: bool = False

    def has(self, number: float) -> bool:
        """Return whether a number is within it."""
        return (
            (self.at_least is None or number >= self.at_least)
            and (self.at_most is None or number <= self.at_most)
            and (self.above is None or number > self.above)
            and (self.below is None or number < self.below)
        )

    def has_length(self, length: int) -> bool:
        """Return whether a list may be so long."""
        return length == self.length if self.length else length > 0 or self.may_be_empty

    def __str__(self) -> str:
        """Say it in words; nothing for any number."""
        if self.at_least is not None and self.at_most is not None:
            return f"from {self.at_least} to {self.at_most}"
        if self.above is not None and self.below is not None:
            return f"between {self.above} and {self.below}"
        if self.at_least is not None:
            return f"at least {self.at_least}"
        return "" if self.above is None else f"above {self.above}"


ANY = Range()


@dataclass(frozen=True)
class Key:
    """A key and what it may be.

    Attributes:
        name: with its section, such as dream.steps.
        hint: the type.
        range: of numbers and lists.
    """

    name: str
    hint: Any
    range: Range = ANY

    @property
    def is_group(self) -> bool:
        """Return whether it is filled by conf/<group>/<choice>.yaml."""
        return dict in {get_origin(hint) for hint in (self.hint, *get_args(self.hint))}

    @property
    def section(self) -> str:
        """Return the section's name; empty at the top."""
        return self.name.rpartition(".")[0]

    def allows(self, value: Any) -> bool:
        """Return whether a plain value, as YAML gives it, can be used."""
        return _fits(value, self.hint, self.range)

    def expected(self) -> str:
        """Say what it may be."""
        if self.is_group:
            choices = f"a choice of the group, see conf/{self.name}"
            return f"{choices}, or null" if self.allows(None) else choices
        return _words(self.hint, self.range)

    def problem(self, value: Any) -> str:
        """Say in one line why a value cannot be used."""
        expected = self.expected()
        if self.allows_type(value) and str(self.range).startswith("at least"):
            expected = expected.partition(", ")[2]  # of "a whole number, at least 1"
        return f"{self.name}={shown(value)}; expected {expected}"

    def allows_type(self, value: Any) -> bool:
        """Return whether a number is but out of range."""
        return _is_number(value) and _fits(value, self.hint, ANY)


def as_type(annotation: str) -> Any:
    """Return the type that an annotation in irdream's source names; None where YAML gives none."""
    names = {"bool": bool, "float": float, "int": int, "list": list, "str": str}
    names |= {"ExistingPath": str, "Literal": Literal, "Path": str, "Sequence": list}
    try:
        return eval(annotation, {"__builtins__": {}}, names)
    except (NameError, SyntaxError):
        return None


def shown(value: Any) -> str:
    """Return a value as one would type it."""
    if isinstance(value, list | tuple):
        return f"[{','.join(map(shown, value))}]"
    if isinstance(value, Mapping):
        return "{" + ",".join(f"{key}:{shown(item)}" for key, item in value.items()) + "}"
    if isinstance(value, str):
        return f"'{value}'" if _LIKE_ANOTHER_TYPE.fullmatch(value) else value
    return {"None": "null", "True": "true", "False": "false"}.get(str(value), str(value))


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _parts(hint: Any) -> tuple[Any, ...]:
    """Return what a union is made of."""
    return get_args(hint) if get_origin(hint) in (Union, UnionType) else (hint,)


def _fits(value: Any, hint: Any, limits: Range) -> bool:
    parts = _parts(hint)
    if len(parts) > 1:
        return any(_fits(value, part, limits) for part in parts)
    if get_origin(hint) is Literal:
        return isinstance(value, str) and value in get_args(hint)
    if get_origin(hint) is list:
        return (
            isinstance(value, list)
            and limits.has_length(len(value))
            and all(_fits(item, get_args(hint)[0], limits) for item in value)
        )
    if get_origin(hint) is dict:
        return isinstance(value, Mapping)
    if hint is float:
        return _is_number(value) and limits.has(value)
    if hint is int:
        return _is_number(value) and isinstance(value, int) and limits.has(value)
    return isinstance(value, hint) and value != ""  # str, bool, None


def _words(hint: Any, limits: Range) -> str:
    parts = _parts(hint)
    if len(parts) > 1:
        said = [_words(part, limits) for part in parts if part is not NoneType]
        return ", or ".join(said + ["null"] * (NoneType in parts))
    if get_origin(hint) is Literal:
        return " or ".join(get_args(hint))
    if get_origin(hint) is list:
        return _list_words(get_args(hint)[0], limits)
    if hint in (int, float):
        return _within("a whole number" if hint is int else "a number", limits)
    return {str: "text", bool: "true or false"}[hint]


def _within(noun: str, limits: Range) -> str:
    comma = "," if str(limits).startswith("at least") else ""
    return f"{noun}{comma} {limits}" if str(limits) else noun


def _list_words(item: Any, limits: Range) -> str:
    known = {float: "numbers", int: "whole numbers", str: "texts"}
    several = known.get(item) or "some of " + " and ".join(get_args(item))
    if limits.length:
        return f"a list of {limits.length} {several}, {limits}"
    if item in (float, int):
        return _within(f"a list of {several}", limits)
    return f"a list of {several}" if item is str else f"a list, {several}"
