"""What was typed, as Hydra's grammar takes it.

Hydra refuses `start.path=[cel]1.wav`, takes `start.path=a,b.wav` for two values and
`start.path=2024` for a number. A key that is text gets what was typed: such values are put in
quotes before Hydra sees them. What is Hydra's grammar on purpose keeps its meaning: quotes,
`${...}`, lists where a key takes one, values with commas between them after -m. Where a file has
the very name that was typed, that file is meant.
"""

from __future__ import annotations

import contextlib
import functools
import os
import re
from collections.abc import Sequence
from pathlib import Path
from types import NoneType
from typing import Any, NamedTuple

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import ChoiceSweep, Override, Quote, QuotedString
from hydra.errors import HydraException

from irdream.arguments import kinds
from irdream.cli.command import typed_targets
from irdream.cli.keys import CONF, all_keys, groups, hint, parameters, targets, yamls

_WORD = re.compile(r"(\+{0,2}|~)([\w$][\w.@/$-]*)(?:=(.*))?", re.DOTALL)
_PIECE = re.compile(r"""(?:"[^"]*"|'[^']*'|\[[^][]*\])(?=,|$)|(?:\\.|[^,])+""")
_FOLDERS = ("hydra.run.dir", "hydra.sweep.dir", "hydra.sweep.subdir")


class _Kind(NamedTuple):
    """What a key takes, as far as quoting its value is concerned."""

    is_text: bool
    is_list: bool  # too
    is_choice: bool = False  # of a group, which null is not


def as_grammar(words: Sequence[str]) -> list[str]:
    """Return the words of a command line as Hydra reads them.

    A `_target_` of one's own starts without the keys of the choice that it replaces
    (`irdream.cli.command.prepare`): what is typed beside it need not be there, nor be taken away.
    Where choices of a group are swept, its keys are those of the choices, of which Hydra sees none
    before the first job; whether each job has them is checked then.
    """
    multirun = any(word == "-m" or word.startswith("--mu") for word in words)
    swept = [
        word.lstrip("+").partition("=")[0]
        for word in (words if multirun else ())
        if (parsed := _parsed(word)) and parsed.is_sweep_override()
    ]
    experiments = any(key.partition("/")[0] == "experiment" for key in swept)
    nodes = [*typed_targets(words), *(groups() if experiments else groups().keys() & {*swept})]
    own = tuple(f"{node}." for node in nodes)
    read = []
    for word in words:
        match = _WORD.fullmatch(word)
        sign, key, value = match.groups() if match else ("", "", None)
        is_own = bool(own) and key.startswith(own)
        if sign == "~" or value is None:
            read += [] if is_own else [word]
            continue
        value = os.path.expanduser(value) if key in _FOLDERS else value
        read.append(f"{'++' if is_own else sign}{key}={_read(value, _kind(key), multirun)}")
    return read


def _parsed(word: str) -> Override | None:
    """Return a word as Hydra reads it; None where it refuses it."""
    with contextlib.suppress(HydraException):
        return OverridesParser.create().parse_override(word)
    return None


def _read(value: str, kind: _Kind, multirun: bool = False) -> str:
    """Return a value, in quotes where Hydra would refuse it or take it for something else."""
    parsed = _parsed(f"key={value}")
    found = parsed and parsed.value()
    if kind.is_text and os.path.exists(os.path.expanduser(value)):
        text = re.sub(r"(\\*)\$\{", r"\1\1\\${", value)  # for OmegaConf
        return value if found == text else _quoted(text)
    if parsed and found is None and kind.is_choice:
        return _quoted(value)
    if parsed and not (kind.is_text and _is_other(found, kind.is_list, multirun)):
        return value
    if multirun and len(pieces := _pieces(value)) > 1:
        return ",".join(_read(piece, kind) for piece in pieces)
    if kind.is_list and value.startswith("[") and value.endswith("]"):
        return f"[{','.join(_read(piece, _Kind(True, False)) for piece in _pieces(value[1:-1]))}]"
    return _quoted(value)


def _is_other(found: Any, is_list: bool, multirun: bool) -> bool:
    """Return whether Hydra reads a value as something other than text."""
    if isinstance(found, ChoiceSweep) and found.simple_form:
        return multirun or not is_list
    if isinstance(found, list) and is_list:
        return any(_is_other(one, False, False) for one in found)
    return isinstance(found, int | float | list | dict)


def _pieces(value: str) -> list[str]:
    """Return the parts between commas; a file name with commas in it stays whole."""
    pieces = _PIECE.findall(value)
    joined = []
    while pieces:
        ends = range(len(pieces), 1, -1)
        is_file = (n for n in ends if os.path.exists(os.path.expanduser(",".join(pieces[:n]))))
        length = next(is_file, 1)
        joined.append(",".join(pieces[:length]))
        pieces = pieces[length:]
    return joined


def _quoted(value: str) -> str:
    return QuotedString(value, Quote.double).with_quotes()


def _kind(key: str) -> _Kind:
    """Return what a key takes: by its own type, or by those of its group's choices."""
    name = key.partition("@")[0]
    if name == "experiment" or name in groups():
        return _Kind(True, name == "experiment", True)
    own, (group, dot, _) = all_keys().get(name), name.partition(".")
    types = [own.hint] if own else _types_in_group(group).get(name, []) if dot else []
    found: set[Any] = set().union(*map(kinds, types)) - {NoneType}
    is_text = bool(found & {str, Path}) and found <= {str, Path, list}
    return _Kind(is_text or key in _FOLDERS, list in found)


@functools.cache
def _types_in_group(group: str) -> dict[str, list[Any]]:
    """Return the types of a group's keys, of all its choices."""
    types: dict[str, list[Any]] = {}
    for made in (made for path, made in yamls().items() if path.parent == CONF / group):
        for place, target, _ in targets(made if group in made else {group: made}):
            for name in parameters(target) or {}:
                types.setdefault(f"{place}{name}", []).append(hint(target, name))
    return types
