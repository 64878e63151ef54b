"""Finished parts of a long study, kept on disk so that a killed one goes on where it was.

A stage is a table of rows and a few tensors. It is kept in one file, which is whole or absent,
below a folder whose name is the fingerprint of all that decides it: settings, weights, sounds, and
the code of every class and function in them. A study that is begun again with the same finds its
stages; with others it finds none.
"""

from __future__ import annotations

import json
import logging
import secrets
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch
from torch import Tensor

from irdream.files import replacing
from irdream.fingerprint import UnknowableError, fingerprint_of

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
        signature: all that decides them, see `known`.
    """

    def __init__(self, folder: Path, signature: Any) -> None:
        self.folder = folder / known(signature)[:16]

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


def known(value: Any) -> str:
    """Return a value's fingerprint; one that nothing else has where it cannot be known."""
    try:
        return fingerprint_of(value)
    except UnknowableError as error:
        logger.warning("a study that is killed cannot be resumed: %s", error)
        return secrets.token_hex()


def _read(path: Path) -> Stage:
    with safetensors.safe_open(path, framework="pt") as file:
        rows = json.loads((file.metadata() or {})["rows"])
        planes = {key: file.get_tensor(key) for key in file.keys() if key}  # noqa: SIM118
    return Stage(rows=rows, planes=planes)
