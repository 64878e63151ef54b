"""Finished parts of a long study, kept on disk so that a killed one goes on where it was.

A stage is a table of rows and a few tensors. It is kept in one file, which is whole or absent,
below a folder whose name is a hash of all that decides it: settings, weights, sounds. A study
that is begun again with the same settings finds its stages; with others it finds none. Code
counts by its name and irdream's version: who changes a class or a function of their own takes
another folder.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import json
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import FunctionType, MethodType
from typing import Any

import numpy as np
import safetensors
import safetensors.torch
import torch
from torch import Tensor, nn

from irdream import __version__
from irdream.files import replacing
from irdream.recognizer import Recognizer

logger = logging.getLogger(__name__)
Row = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Stage:
    """What one part of a study found.

    Attributes:
        rows: of a table; numbers, text, booleans, None.
        planes: tensors by name.
    """

    rows: list[Row] = field(default_factory=list)
    planes: dict[str, Tensor] = field(default_factory=dict)


class Stages:
    """The stages of one study (see the module).

    Args:
        folder: where stages are kept.
        signature: all that decides them, see `described`.
    """

    def __init__(self, folder: Path, signature: Any) -> None:
        text = json.dumps([__version__, described(signature)], sort_keys=True)
        self.folder = folder / hashlib.sha256(text.encode()).hexdigest()[:16]

    def __call__(self, name: str, make: Callable[[], Stage]) -> Stage:
        """Return the stage of this name on the CPU, made now unless it is there whole."""
        path = self._path(name)
        if path.is_file():
            try:
                return _read(path)
            except (safetensors.SafetensorError, ValueError, KeyError) as error:
                logger.warning("%s is damaged (%s) and is made anew", path, error)
        made = make()
        planes = {
            key: plane.detach().cpu().clone(memory_format=torch.contiguous_format)
            for key, plane in made.planes.items()
        }
        path.parent.mkdir(parents=True, exist_ok=True)
        stored = {"": torch.empty(0), **planes}  # a file without tensors loses its metadata
        content = safetensors.torch.save(stored, metadata={"rows": json.dumps(made.rows)})
        with replacing(path) as file:
            file.write(content)
        return Stage(rows=made.rows, planes=planes)

    def has(self, name: str) -> bool:
        """Say whether a stage is there."""
        return self._path(name).is_file()

    def _path(self, name: str) -> Path:
        return self.folder / f"{name}.safetensors"


def _read(path: Path) -> Stage:
    with safetensors.safe_open(path, framework="pt") as file:
        rows = json.loads((file.metadata() or {})["rows"])
        planes = {key: file.get_tensor(key) for key in file.keys() if key}  # noqa: SIM118
    return Stage(rows=rows, planes=planes)


def described(value: Any) -> Any:
    """Return what decides a value's behaviour as plain JSON: classes by name, tensors by hash.

    Attributes that begin with an underscore are left out: they are what a run leaves behind. Of
    a network its modules, as they print themselves, and its weights count; of a recognizer also
    the front end's settings, its output and what it was built from; of a function its name, its
    defaults and what it holds of the function around it.
    """
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, Tensor):
        return _hash_of([value])
    if isinstance(value, np.ndarray | np.generic):
        return value.tolist()
    if isinstance(value, nn.Module):
        return _network(value)
    if isinstance(value, Mapping):
        return {str(k): described(v) for k, v in value.items() if not str(k).startswith("_")}
    if isinstance(value, Sequence):
        return [described(item) for item in value]
    if isinstance(value, functools.partial):
        return [described(part) for part in (value.func, value.args, value.keywords)]
    if isinstance(value, MethodType):
        return [_name(value), described(value.__self__)]
    if isinstance(value, FunctionType):
        held = [cell.cell_contents for cell in value.__closure__ or ()]
        return [_name(value), described([value.__defaults__, value.__kwdefaults__, held])]
    if isinstance(value, type) or (callable(value) and not hasattr(value, "__dict__")):
        return _name(value)
    if not hasattr(value, "__dict__"):
        return [_name(value), str(value)]
    if dataclasses.is_dataclass(value):
        fields = {f.name: getattr(value, f.name) for f in dataclasses.fields(value)}
        return [_name(value), described(fields)]
    return [_name(value), described(vars(value))]


def _network(network: nn.Module) -> list[Any]:
    """Describe a network; the hash of its weights comes last."""
    about: dict[str, Any] = {}
    if isinstance(network, Recognizer):
        names = ("instruments", "output", "window_seconds", "spec")
        about = {**network.settings(), **{name: getattr(network, name) for name in names}}
    parts = [[_name(part), part.extra_repr()] for part in network.modules()]
    return [parts, described(about), _hash_of(network.state_dict().values())]


def _name(value: Any) -> str:
    kind = value if hasattr(value, "__qualname__") else type(value)
    return f"{kind.__module__}.{kind.__qualname__}"


def _hash_of(tensors: Any) -> str:
    digest = hashlib.sha256()
    for tensor in tensors:
        digest.update(str((tensor.dtype, tuple(tensor.shape))).encode())
        # As bytes: numpy has no bfloat16.
        digest.update(tensor.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy())
    return digest.hexdigest()
