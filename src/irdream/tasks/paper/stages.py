"""Finished parts of a long study, kept on disk so that a killed one goes on where it was.

A stage is a table of rows and a few tensors. It is kept in one file, which is whole or absent,
below a folder whose name is a hash of all that decides it: settings, weights, sounds. A study
that is begun again with the same settings finds its stages; with others it finds none.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch
from torch import Tensor, nn

from irdream import __version__
from irdream.files import replacing
from irdream.recognizer import Recognizer

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
        """Return the stage of this name, made now unless it is there."""
        path = self.folder / f"{name}.safetensors"
        if path.is_file():
            return _read(path)
        stage = make()
        path.parent.mkdir(parents=True, exist_ok=True)
        planes = {key: plane.contiguous().cpu() for key, plane in stage.planes.items()}
        planes.setdefault("", torch.empty(0))  # a file without tensors loses its metadata
        content = safetensors.torch.save(planes, metadata={"rows": json.dumps(stage.rows)})
        with replacing(path) as file:
            file.write(content)
        return stage

    def has(self, name: str) -> bool:
        """Say whether a stage is there."""
        return (self.folder / f"{name}.safetensors").is_file()


def _read(path: Path) -> Stage:
    with safetensors.safe_open(path, framework="pt") as file:
        rows = json.loads(file.metadata()["rows"])
        planes = {key: file.get_tensor(key) for key in file.keys() if key}  # noqa: SIM118
    return Stage(rows=rows, planes=planes)


def described(value: Any) -> Any:
    """Return what decides a value's behaviour as plain JSON: classes by name, tensors by hash.

    Attributes that begin with an underscore are left out; of a network its modules' names and
    its weights count, of a recognizer the front end's settings too.
    """
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, Tensor):
        return _hash_of([value])
    if isinstance(value, nn.Module):
        settings = value.settings() if isinstance(value, Recognizer) else {}
        names = [_name(part) for part in value.modules()]
        return [names, settings, _hash_of(value.state_dict().values())]
    if isinstance(value, Mapping):
        return {str(k): described(v) for k, v in value.items() if not str(k).startswith("_")}
    if isinstance(value, Sequence):
        return [described(item) for item in value]
    if isinstance(value, functools.partial):
        return [_name(value.func), described(value.args), described(value.keywords)]
    if isinstance(value, type) or (callable(value) and not hasattr(value, "__dict__")):
        return _name(value)
    if dataclasses.is_dataclass(value):
        fields = {f.name: getattr(value, f.name) for f in dataclasses.fields(value)}
        return [_name(value), described(fields)]
    return [_name(value), described(vars(value))]


def _name(value: Any) -> str:
    kind = value if hasattr(value, "__qualname__") else type(value)
    return f"{kind.__module__}.{kind.__qualname__}"


def _hash_of(tensors: Any) -> str:
    digest = hashlib.sha256()
    for tensor in tensors:
        digest.update(str((tensor.dtype, tuple(tensor.shape))).encode())
        digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()
