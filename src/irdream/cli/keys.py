"""The keys of the configuration, and what each may be.

A key is a line of conf/config.yaml, and an argument with its type and range. The yamls pass one to
the other (`steps: ${dream.steps}` beside a `_target_`), and the type is read from the argument's
annotation in the source, without importing it. Of what is not irdream's nothing is known.
"""

from __future__ import annotations

import ast
import functools
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

import yaml
from annotated_types import Ge, Gt, Le, Len, Lt

from irdream import arguments

PACKAGE = "irdream"
_SOURCE = Path(__file__).resolve().parents[2]  # what holds the package
CONF = _SOURCE.parent / "conf"
_LINE = re.compile(r"(?P<indent>  )?(?P<key>\w+):(?P<value>( [^#]*)?)(# (?P<words>.*))?")
_READ_BY_MAIN = {
    "seed": ("irdream.runtime.set_seed", "seed"),
    "device": ("irdream.runtime.choose_device", "name"),
    "threads": ("irdream.runtime.set_threads", "count"),
}
_PLAIN = {
    "Annotated": Annotated, "Literal": Literal, "Path": Path, "Sequence": Sequence,
    "bool": bool, "float": float, "int": int, "list": list, "str": str,
    "Ge": Ge, "Gt": Gt, "Le": Le, "Len": Len, "Lt": Lt,
}  # fmt: skip
_WITHOUT_ARGUMENTS = {"ABC", "Generic", "Protocol", "object"}
_Definition = ast.ClassDef | ast.FunctionDef | ast.Assign


class Key(NamedTuple):
    """A key of conf/config.yaml, as its line has it; the name has its section."""

    name: str
    default: str
    words: str

    @property
    def section(self) -> str:
        """Return the section's name; empty at the top."""
        return self.name.rpartition(".")[0]

    @property
    def hint(self) -> Any:
        """Return its type; None where anything goes."""
        if self.default in ("true", "false"):
            return bool
        places = [_READ_BY_MAIN.get(self.name, ("", "")), *_places().get(self.name, ())]
        hints = (hint(target, argument) for target, argument in places)
        return next((found for found in hints if found is not None), None)

    def expected(self) -> str:
        """Return its type and range in words."""
        return arguments.expected(self.hint) if self.hint is not None else "anything"


# The yamls ------------------------------------------------------------------------------------


@functools.cache
def lines(config: Path = CONF / "config.yaml") -> dict[str, Key]:
    """Return the lines of a configuration by key, those of sections included."""
    found, section = {}, ""
    for text in config.read_text(encoding="utf-8").splitlines():
        if (match := _LINE.fullmatch(text)) is None:
            continue
        section = section if match["indent"] else match["key"]
        name = f"{section}.{match['key']}" if match["indent"] else section
        if section not in ("defaults", "hydra"):
            found[name] = Key(name, match["value"].strip(), (match["words"] or "").strip())
    return found


@functools.cache
def all_keys() -> dict[str, Key]:
    return {name: key for name, key in lines().items() if name not in sections()}


@functools.cache
def sections() -> tuple[str, ...]:
    return tuple(dict.fromkeys(key.section for key in lines().values() if key.section))


@functools.cache
def groups() -> dict[str, bool]:
    """Return the groups that a task is made of, and whether each may be null."""
    defaults = yamls()[CONF / "config.yaml"]["defaults"]
    names = [next(iter(entry)) for entry in defaults if isinstance(entry, dict)]
    own = [name for name in names if name != "experiment" and (CONF / name).is_dir()]
    return {name: any(_may_be_none(*place) for place in _places().get(name, ())) for name in own}


def _may_be_none(target: str, argument: str) -> bool:
    return (parameters(target) or {}).get(argument, "").endswith("| None")


@functools.cache
def known_keys() -> dict[str, list[str]]:
    """Return all keys, each key of conf/<group>/ with the choices of the group that have it."""
    known: dict[str, list[str]] = {name: [] for name in (*lines(), *groups(), "experiment")}
    for path, node in yamls().items():
        if path.parent == CONF:
            continue
        group = path.parent.relative_to(CONF).as_posix().replace("/", ".")
        is_global = "@package _global_" in path.read_text(encoding="utf-8")
        for key in _flat(node, "" if is_global else f"{group}."):
            choices = known.setdefault(key, [])
            if key.startswith(group):
                choices.append(path.stem)
    return known


@functools.cache
def yamls() -> dict[Path, Any]:
    """Return what each yaml below conf/ says; reading them takes some 30 ms."""
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    paths = sorted(CONF.glob("**/*.yaml"), key=lambda path: (path.parent.name != "task", path))
    return {path: yaml.load(path.read_text(encoding="utf-8"), Loader=loader) for path in paths}


def _flat(node: Any, prefix: str) -> Iterator[str]:
    items: Sequence[tuple[Any, Any]] = ()
    if isinstance(node, dict):
        items = [(k, v) for k, v in node.items() if k != "defaults" and not str(k).startswith("_")]
    elif isinstance(node, list) and any(isinstance(value, dict) for value in node):
        items = list(enumerate(node))
    for key, value in items:
        yield f"{prefix}{key}"
        yield from _flat(value, f"{prefix}{key}.")


@functools.cache
def _places() -> dict[str, list[tuple[str, str]]]:
    """Return for each key the (target, argument) pairs it is passed to, those of tasks first."""
    found: dict[str, list[tuple[str, str]]] = {}
    for node in yamls().values():
        for _, target, given in targets(node):
            for name, value in given.items():
                if match := re.fullmatch(r"\$\{([\w.]+)\}", str(value)):
                    found.setdefault(match[1], []).append((target, name))
    return found


def targets(node: Any, path: str = "") -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Yield place, value and arguments of every `_target_` in a plain configuration."""
    if isinstance(node, Mapping) and "_target_" in node:
        given = {str(key): node[key] for key in node if not str(key).startswith("_")}
        yield path, str(node["_target_"]), given
    items = node.items() if isinstance(node, Mapping) else enumerate(node)
    for key, value in items:
        if isinstance(value, Mapping | list):
            yield from targets(value, f"{path}{key}.")


# The source -----------------------------------------------------------------------------------


def hint(target: str, argument: str) -> Any:
    """Return the type of an argument of a `_target_`; None where it is not one that YAML has."""
    text = (parameters(target) or {}).get(argument, "")
    try:
        found = eval(text, {"__builtins__": {}}, _Names(_place(target)[0]))
    except (NameError, SyntaxError, TypeError, LookupError):
        return None
    return found if arguments.kinds(found) else None


@functools.cache
def parameters(target: str) -> dict[str, str] | None:
    """Return the keyword arguments of a class or function by its path, each with its annotation.

    None where anything may be given, or nothing is known.
    """
    try:
        module, definition = _place(target)
    except LookupError:
        return None
    if isinstance(definition, ast.FunctionDef):
        return _of_function(definition)
    return _of_class(module, definition) if isinstance(definition, ast.ClassDef) else None


def is_missing(target: str) -> bool:
    """Return whether a path with dots leads nowhere in irdream; of other packages it may not."""
    return target.startswith(f"{PACKAGE}.") and _find(*target.rpartition(".")[::2]) is None


class _Names(dict[str, Any]):
    """What the names in a module's annotations mean: plain types, and aliases of irdream's own."""

    def __init__(self, module: str) -> None:
        super().__init__(_PLAIN)
        self.module = module

    def __missing__(self, name: str) -> Any:
        module, definition = _place(f"{self.module}.{name}")
        if not isinstance(definition, ast.Assign):
            raise KeyError(name)
        return eval(ast.unparse(definition.value), {"__builtins__": {}}, _Names(module))


def _place(target: str) -> tuple[str, _Definition]:
    """Return where a name is defined, and how, following imports."""
    found = _find(*target.rpartition(".")[::2])
    if found is None:
        raise KeyError(target)
    return found


@functools.cache
def _find(module: str, name: str) -> tuple[str, _Definition] | None:
    for node in _body(module):
        if isinstance(node, ast.ClassDef | ast.FunctionDef) and node.name == name:
            return module, node
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == name:
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
    source = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
    return tuple(ast.parse(source.read_bytes()).body) if source.is_file() else ()


def _of_class(module: str, definition: ast.ClassDef) -> dict[str, str] | None:
    for node in definition.body:
        if isinstance(node, ast.FunctionDef) and node.name == "__init__":
            return _of_function(node)
    found: dict[str, str] = {}
    for base in definition.bases:
        name = ast.unparse(base).partition("[")[0]  # Generic[T]
        if name in _WITHOUT_ARGUMENTS:
            continue
        of_base = parameters(f"{module}.{name}")
        if of_base is None:
            return None
        found |= of_base
    if any(ast.unparse(node).startswith("dataclass") for node in definition.decorator_list):
        for node in definition.body:
            if isinstance(node, ast.AnnAssign):
                found[ast.unparse(node.target)] = ast.unparse(node.annotation)
    return found


def _of_function(function: ast.FunctionDef) -> dict[str, str] | None:
    given = function.args
    if given.kwarg is not None:
        return None
    return {
        argument.arg: ast.unparse(argument.annotation) if argument.annotation else ""
        for argument in (*given.args, *given.kwonlyargs)
        if argument.arg != "self"
    }
