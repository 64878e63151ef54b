"""What a class or function of irdream can be given, read from its source without importing it.

A configuration names what is built by `_target_`. To know early that `+objective.layr=...` is no
argument of it, the source is parsed: importing it would import torch. Only what irdream's own
modules define is followed, by their own imports; of anything else nothing is known.
"""

from __future__ import annotations

import ast
import functools
from collections import ChainMap
from pathlib import Path

PACKAGE = "irdream"
_SOURCE = Path(__file__).resolve().parents[2]  # what holds the package
_WITHOUT_ARGUMENTS = {"ABC", "Generic", "Protocol", "object"}
_Definition = ast.ClassDef | ast.FunctionDef


@functools.cache
def parameters(target: str) -> dict[str, str] | None:
    """Return the keyword arguments of a class or function, each with its annotation.

    Args:
        target: its path with dots, as a `_target_` has it.

    Returns:
        The annotations by name, as they stand in the source; None where anything may be given,
        or nothing is known.
    """
    module, _, name = target.rpartition(".")
    found = _find(module, name)
    if found is None:
        return None
    module, definition = found
    if isinstance(definition, ast.FunctionDef):
        return _arguments(definition)
    return _of_class(module, definition)


def is_missing(target: str) -> bool:
    """Return whether a path with dots leads nowhere in irdream; of other packages it may not."""
    module, _, name = target.rpartition(".")
    return target.startswith(f"{PACKAGE}.") and _find(module, name) is None


def _find(module: str, name: str) -> tuple[str, _Definition] | None:
    """Return where a name is defined, and how, following imports."""
    for node in _body(module):
        if isinstance(node, ast.ClassDef | ast.FunctionDef) and node.name == name:
            return module, node
        if isinstance(node, ast.ImportFrom) and node.module and not node.level:
            for alias in node.names:
                if (alias.asname or alias.name) == name:
                    return _find(node.module, alias.name)
    return None


@functools.cache
def _body(module: str) -> tuple[ast.stmt, ...]:
    """Return the statements of one of irdream's modules; nothing of another one."""
    if module.partition(".")[0] != PACKAGE:
        return ()
    path = _SOURCE.joinpath(*module.split("."))
    for source in (path / "__init__.py", path.with_suffix(".py")):
        if source.is_file():
            return tuple(ast.parse(source.read_text(encoding="utf-8")).body)
    return ()


def _of_class(module: str, definition: ast.ClassDef) -> dict[str, str] | None:
    for node in definition.body:
        if isinstance(node, ast.FunctionDef) and node.name == "__init__":
            return _arguments(node)
    inherited = [_of_base(module, base) for base in definition.bases]
    if any(isinstance(node, ast.Name | ast.Call) and _is_dataclass(node)
           for node in definition.decorator_list):  # fmt: skip
        own = {
            node.target.id: ast.unparse(node.annotation)
            for node in definition.body
            if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name)
        }
        inherited.append(own)
    known = [given for given in inherited if given is not None]
    return dict(ChainMap(*reversed(known))) if len(known) == len(inherited) else None


def _of_base(module: str, base: ast.expr) -> dict[str, str] | None:
    if isinstance(base, ast.Subscript):  # Generic[T]
        base = base.value
    if not isinstance(base, ast.Name):
        return None
    if base.id in _WITHOUT_ARGUMENTS:
        return {}
    found = _find(module, base.id)
    if found is None or not isinstance(found[1], ast.ClassDef):
        return None
    return _of_class(found[0], found[1])


def _is_dataclass(decorator: ast.Name | ast.Call) -> bool:
    called = decorator.func if isinstance(decorator, ast.Call) else decorator
    return isinstance(called, ast.Name) and called.id == "dataclass"


def _arguments(function: ast.FunctionDef) -> dict[str, str] | None:
    given = function.args
    if given.kwarg is not None:
        return None
    named = (*given.args, *given.kwonlyargs)
    return {
        argument.arg: ast.unparse(argument.annotation) if argument.annotation else ""
        for argument in named
        if argument.arg != "self"
    }
