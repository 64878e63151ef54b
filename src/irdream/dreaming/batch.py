"""The items of a run that are left, and how rows of them are taken."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from irdream.dreaming.optimizers import Optimizer, State
from irdream.dreaming.parametrizations import Origin
from irdream.errors import InputError


@dataclass
class Batch:
    """The items that are left; every tensor has an axis of items."""

    origin: Origin
    prepared: dict[str, Tensor]
    parameters: Tensor
    undreamed: Tensor
    unit: Tensor
    step: Tensor
    targets: Tensor
    keys: Tensor
    groups: Tensor
    state: State = field(default_factory=dict)

    def at(self, rows: slice | Tensor) -> Batch:
        """Return the items at some rows, without the optimizer's state."""
        tensors = ("parameters", "undreamed", "unit", "step", "targets", "keys", "groups")
        return Batch(
            origin=rows_of(self.origin, rows),
            prepared=rows_of(self.prepared, rows),
            **{name: getattr(self, name)[rows] for name in tensors},
        )

    def pick(self, rows: Tensor, optimizer: Optimizer) -> Batch:
        """Return the items at some rows."""
        return replace(self.at(rows), state=optimizer.pick(self.state, rows))


def numbered(places: Tensor, groups: Tensor | None) -> Tensor:
    """Return groups (items,) as numbers from 0, each item its own where there are none."""
    if groups is None:
        return places
    different, numbers = torch.unique(groups, return_inverse=True)
    if int((numbers.diff() != 0).sum()) >= len(different):
        raise InputError("items of one group do not stand side by side; sort them by group")
    return numbers


def rows_of(tensors: Mapping[str, Tensor], rows: slice | Tensor) -> dict[str, Tensor]:
    """Return some items of tensors that have an axis of items; no copy where all are meant."""
    if isinstance(rows, slice) and rows == slice(None):
        return dict(tensors)
    return {name: values[rows] for name, values in tensors.items()}
