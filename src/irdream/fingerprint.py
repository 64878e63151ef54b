"""When two things are the same: one answer for sweeps, caches and studies that are resumed.

A file is known by its content (`irdream.files`), code by its source, a value by what it holds
and by the code of its class. What cannot be known (a function typed in a notebook, a scripted
network, an open file) is the same as nothing. A job of a sweep that is skipped does not import
torch.
"""

from __future__ import annotations

import copyreg
import functools
import hashlib
import importlib.machinery
import importlib.util
import json
import os
import re
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import BuiltinFunctionType, CodeType, FunctionType, MappingProxyType, ModuleType
from typing import Any, Literal

from irdream.files import content_of, files_below

LIBRARIES = ("numpy", "torch")  # known by name as Python's own are, whatever their version
_PLAIN = (type(None), bool, int, float, str)
_ENDINGS = (".py", *importlib.machinery.EXTENSION_SUFFIXES)
_IMPORT = re.compile(r"\bfrom\s+([\w.]+)\s+import\s+(\([^)]*\)|[^\n;#]+)|\bimport\s+([^\n;#(]+)")
_HEAP_TYPE = 1 << 9  # Py_TPFLAGS_HEAPTYPE: not one of C
_first_seen: dict[str, str] = {}  # of the source that this process runs


class UnknowableError(Exception):
    """A value has no fingerprint, so that it cannot be compared with another one."""


def _hash(value: Any) -> str:
    return hashlib.sha256(json.dumps(value).encode()).hexdigest()[:32]


# Code -----------------------------------------------------------------------------------------


def code_of(packages: Iterable[str]) -> str:
    """Return a hash of all files of packages or modules, and of the code that they import.

    Nothing is imported. Libraries are left out, and what is installed is not followed. Of a name
    with dots the first word counts. Raises OSError when a file cannot be read.
    """
    whole = {name.partition(".")[0] for name in packages}
    seeds = {name: path for package in whole for name, path in _package(package).items()}
    return _hash(_sources(seeds, whole))


def _sources(seeds: Mapping[str, Path], whole: Iterable[str] = ()) -> list[list[str]]:
    """Return the names of modules and of all that they import, with hashes of their files.

    `seeds` are the files of modules, `whole` packages that are among them with all their files.
    """
    files, found, waiting, asked = dict(seeds), {}, list(seeds), set(whole)
    while waiting:
        name = waiting.pop()
        found[name] = content_of(files[name])
        if files[name].suffix != ".py" or _origin(files[name]) == "installed":
            continue
        for other in _imports(name, files[name], found[name]) - asked:
            asked.add(other)
            new = {} if other.partition(".")[0] in whole else _module(other)
            waiting += new.keys() - files.keys()
            files |= new
    around = {name.rsplit(".", up)[0] for name in files for up in range(1, name.count(".") + 1)}
    for name in around - files.keys():  # packages around a module, which are not followed
        for path in _module(name).values():
            files[name], found[name] = path, content_of(path)
    lines = []
    for name, now in sorted(found.items()):
        first = _first_seen.setdefault(str(files[name]), now)
        lines.append([name, now if now == first else first + now])  # it is not what runs here
    return lines


@functools.cache
def _imports(name: str, path: Path, digest: str) -> frozenset[str]:
    """Return the names of modules that a file may import, among others."""
    text = path.read_text(encoding="utf-8", errors="replace").replace("\\\n", " ")
    package = name.split(".")[: None if path.stem == "__init__" else -1]
    found: set[str] = set()
    for source, names, modules in _IMPORT.findall(text):
        found.update(re.findall(r"[\w.]+", modules))
        if source:
            dots = len(source) - len(source.lstrip("."))
            above = package[: len(package) - dots + 1] if dots else []
            base = ".".join([*above, source.lstrip(".")]).rstrip(".")
            found.update([base, *(f"{base}.{word}" for word in re.findall(r"\w+", names))])
    return frozenset(found)


def _module(name: str) -> dict[str, Path]:
    """Return the file of a module by its name; empty if it is installed, or no module."""
    top, *rest = name.split(".")
    for place in _places(top, tuple(sys.path)):
        if _origin(place) == "installed":
            continue
        if place.is_file():
            return {} if rest else {top: place}
        stem = place.joinpath(*rest)
        files = [stem / "__init__.py"]
        files += [stem.with_name(stem.name + ending) for ending in _ENDINGS if rest]
        if file := next(filter(Path.is_file, files), None):
            return {name: file}
    return {}


def _package(name: str) -> dict[str, Path]:
    """Return all files of a package or module, by the names of modules where they are some."""
    found: dict[str, Path] = {}
    for place in _places(name, tuple(sys.path)):
        if place.is_file():
            found[name] = place
            continue
        for path in map(Path, files_below(str(place))):
            inner = path.relative_to(place)
            words = inner.with_suffix("").parts[: -1 if path.name == "__init__.py" else None]
            found[".".join([name, *words]) if path.suffix == ".py" else f"{name}/{inner}"] = path
    return found


@functools.cache
def _places(name: str, paths: tuple[str, ...]) -> tuple[Path, ...]:
    """Return the file of a module or the folders of a package; nothing of a library."""
    if name in LIBRARIES:
        return ()
    try:
        spec = importlib.util.find_spec(name)
    except (ImportError, ValueError, AttributeError):
        return ()
    found = [spec.origin] if spec and spec.origin else []
    if spec and spec.submodule_search_locations is not None:
        found = list(spec.submodule_search_locations)
    return tuple(Path(p) for p in found if os.path.exists(p) and _origin(Path(p)) != "python")


@functools.cache
def _origin(path: Path) -> Literal["python", "installed", "own"]:
    """Tell whether a file is of the standard library, came by pip, or is one's own, as irdream."""
    if Path(__file__).parent in (path, *path.parents):
        return "own"
    if not {"site-packages", "dist-packages"}.isdisjoint(path.parts):
        return "installed"
    return "python" if Path(os.__file__).parent in path.parents else "own"


# Values --------------------------------------------------------------------------------------


def fingerprint_of(value: Any) -> str:
    """Return a hash of all that decides a value's behaviour: its state, and the code of its parts.

    Of a module of torch parameters, buffers, submodules and all other attributes count; of a
    function its code, its defaults, what it holds of the functions around it, and the numbers and
    texts that it reads in its module; of anything else what pickle would keep. The files count in
    which classes and functions are written, with all that these import and that is not installed.
    Properties that are only kept (`functools.cached_property`) do not count, nor the device. Raises
    UnknowableError when code has no source, or a value is nothing that pickle could keep.
    """
    describe = _Description()
    try:
        return _hash([describe(value), _sources(describe.files)])
    except Exception as error:  # whatever a stranger's object does
        reason = next(iter(str(error).splitlines()), type(error).__name__)
        raise UnknowableError(reason) from error


class _Description:
    """Makes plain JSON of values, and remembers the files of their code."""

    def __init__(self) -> None:
        self.files: dict[str, Path] = {}
        self._met: dict[int, tuple[Any, Any]] = {}  # holds the values, so that no id comes twice
        self._open: list[int] = []

    def __call__(self, value: Any) -> Any:
        if type(value) in _PLAIN:
            return value
        if id(value) in self._open:
            return ["above", self._open[::-1].index(id(value))]
        if id(value) not in self._met:
            self._open.append(id(value))
            self._met[id(value)] = value, [type(value).__name__, self._described(value)]
            self._open.pop()
        return self._met[id(value)][1]

    def _described(self, value: Any) -> Any:
        torch, numpy = sys.modules.get("torch"), sys.modules.get("numpy")
        if torch and isinstance(value, torch.Tensor):
            plain = value.detach().cpu().resolve_conj().resolve_neg().contiguous()
            content = plain.view(-1).view(torch.uint8).numpy()  # numpy has no bfloat16
            return [str(value.dtype), [*value.shape], hashlib.sha256(content).hexdigest()]
        if torch and isinstance(value, torch.nn.Module):
            return self._module(value, vars(torch.nn.Module()))
        if numpy and isinstance(value, numpy.ndarray) and value.dtype != object:
            return [str(value.dtype), value.shape, hashlib.sha256(value.tobytes()).hexdigest()]
        if type(value) in (list, tuple):
            return [self(item) for item in value]
        if type(value) in (set, frozenset):
            return sorted((self(item) for item in value), key=json.dumps)
        if type(value) in (dict, MappingProxyType):
            return sorted(([self(k), self(v)] for k, v in value.items()), key=json.dumps)
        if type(value) in (bytes, bytearray):
            return value.hex()
        return self._code_or_object(value)

    def _code_or_object(self, value: Any) -> Any:
        if isinstance(value, CodeType):
            names = [value.co_names, value.co_varnames, value.co_freevars, value.co_cellvars]
            counts = [value.co_argcount, value.co_posonlyargcount, value.co_kwonlyargcount]
            held = [self(const) for const in value.co_consts]
            return [value.co_code.hex(), names, [*counts, value.co_flags], held]
        if isinstance(value, FunctionType):
            return self._function(value)
        if isinstance(value, type):
            return self._class(value)
        if isinstance(value, ModuleType):
            self._count(value.__name__)
            return value.__name__
        if isinstance(value, BuiltinFunctionType) and isinstance(value.__self__, ModuleType | type):
            return [self(value.__self__), value.__qualname__]
        return self._object(value)

    def _module(self, module: Any, every: Mapping[str, Any]) -> Any:
        """Describe a module of torch, without most of what every module has."""
        if "_orig_mod" in module._modules:  # compiled: the same numbers
            return self(module._orig_mod)
        state, kept = dict(module.__reduce_ex__(4)[2]), ("_parameters", "_buffers", "_modules")
        hooks = [list(state.pop(f"_forward{name}_hooks").values()) for name in ("", "_pre")]
        for name in every.keys() - {*kept, "training"}:
            state.pop(name, None)
        return [self(type(module)), self(_without_kept(type(module), state)), self(hooks)]

    def _object(self, value: Any) -> Any:
        """Describe what pickle would keep."""
        reduce = copyreg.dispatch_table.get(type(value))
        parts: Any = reduce(value) if reduce else value.__reduce_ex__(4)
        wrapped = self(getattr(value, "__wrapped__", None))
        if isinstance(parts, str):  # a name
            if module := getattr(value, "__module__", None):
                self._count(module)
            return [self(type(value)), module, parts, wrapped]
        make, arguments, state, items, pairs = (*parts, None, None, None)[:5]
        if isinstance(state, dict):
            state = _without_kept(type(value), state) or None  # as of an object without any
        parts = [type(value), make, arguments, state, list(items or ()), list(pairs or ())]
        return [*map(self, parts), wrapped]

    def _class(self, of: type) -> str:
        if of.__flags__ & _HEAP_TYPE and not _is_found(of):  # made while running
            raise LookupError(f"no source of {of.__qualname__}")
        self._count(of.__module__)
        return _name(of)

    def _function(self, function: FunctionType) -> Any:
        if _is_found(function) and _is_library(function.__module__):
            return _name(function)
        self._count(function.__module__)
        return [_name(function), self._body(function)]

    def _body(self, function: FunctionType) -> Any:
        code, name = function.__code__, function.__name__
        if not os.path.isfile(code.co_filename) and not name.startswith("__"):  # as of dataclasses
            raise LookupError(f"no source of {name}")
        held = [cell.cell_contents for cell in function.__closure__ or ()]
        holds = (function.__defaults__, function.__kwdefaults__, held, vars(function))
        return [self(code), *map(self, holds)]

    def _count(self, module: str) -> None:
        """Let a module's file count; all files of an installed package."""
        if _is_library(module):
            return
        file = getattr(sys.modules.get(module), "__file__", None)
        if not file or not os.path.isfile(file):
            raise LookupError(f"no source of {module}")
        self.files[module] = Path(file)
        if _origin(Path(file)) == "installed":
            self.files |= _package(module.partition(".")[0])


def _name(of: Any) -> str:
    return f"{of.__module__}.{of.__qualname__}"


def _is_found(of: Any) -> bool:
    """Tell whether a class or function is what its name says."""
    found: Any = sys.modules.get(of.__module__)
    for word in of.__qualname__.split("."):
        found = getattr(found, word, None)
    return found is of


def _without_kept(of: type, state: Mapping[str, Any]) -> dict[str, Any]:
    """Return the state of an object without the properties that are only kept."""
    kept = functools.cached_property
    return {name: v for name, v in state.items() if not isinstance(getattr(of, name, None), kept)}


def _is_library(module: str) -> bool:
    file, top = getattr(sys.modules.get(module), "__file__", None), module.partition(".")[0]
    if file is None:
        return top in (*LIBRARIES, *sys.stdlib_module_names)
    return top in LIBRARIES or _origin(Path(file)) == "python"
