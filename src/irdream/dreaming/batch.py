"""What an ascent works on: tensors with an axis of items, of which rows are taken and joined."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, is_dataclass, replace
from typing import Any, TypeVar

import torch
from torch import Tensor

from irdream.errors import InputError

Tree = TypeVar("Tree")
LEAST_MAGNITUDE = 1e-12  # so that the logarithm of digital silence is finite


@dataclass(frozen=True, kw_only=True)
class Originals:
    """What is dreamed on.

    Attributes:
        log_mel: (items, n_mels, frames); of a network on sound its waveforms, (items, samples).
        keys: of the items' random streams, (items,).
        sound: (items, samples); None where only log-mels are known.
    """

    log_mel: Tensor
    keys: Tensor
    sound: Tensor | None = None

    def waveform_for(self, user: object) -> Tensor:
        """Return the sound; where only log-mels are known refuse, naming the class of the user."""
        if self.sound is None:
            raise InputError(
                f"{type(user).__name__} needs the originals' waveforms, and only log-mels were "
                "given; expected waveforms"
            )
        return self.sound


@dataclass(frozen=True, kw_only=True)
class Start(Originals):
    """The undreamed signal; a parametrization adds what it needs in a class of its own.

    Attributes:
        signal: a log-mel or a gain (items, bands or bins, frames), or a waveform (items, samples).
        spectrum: magnitudes |STFT| of the original (items, bins, frames), where the signal is a
            gain on them; else None.
    """

    signal: Tensor
    spectrum: Tensor | None = None

    @property
    def level(self) -> Tensor:
        """Return the original's magnitude at each place of a spectrogram signal, natural log."""
        return self.signal if self.spectrum is None else log_of(self.spectrum)


@dataclass(frozen=True, kw_only=True)
class Batch:
    """The items that are left.

    Attributes:
        items: their places in the run, (items,).
        start: the undreamed signal, and the originals.
        held: what each of the constraints prepared.
        prepared: what the objective prepared.
        parameters: of the present iterate, (items, ...).
        undreamed: those of the undreamed signal.
        unit: one unit of the step size in theirs, (items, 1, ...).
        step: the step size in theirs.
        targets: class indices, (items,).
        keys: of the random views, (items,).
        groups: from 0, (items,); items of one group stand side by side.
    """

    items: Tensor
    start: Start
    held: list[dict[str, Any]]
    prepared: dict[str, Tensor]
    parameters: Tensor
    undreamed: Tensor
    unit: Tensor
    step: Tensor
    targets: Tensor
    keys: Tensor
    groups: Tensor


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """What the items of a batch gave in one step.

    Attributes:
        signal: that obeys the constraints, (items, ...).
        score: the objective, (items,).
        probability: of the target, mean over the windows, (items,); NaN where nothing reads the
            output.
        on_top: 1 where the target is the most probable, 0 elsewhere, (items,); NaN likewise.
        reached: whether the items have the confidence, (items,).
        logits: (items, windows, instruments); empty where nothing reads the output.
        gradient: of the score with respect to the parameters; None where none is wanted.
    """

    signal: Tensor
    score: Tensor
    probability: Tensor
    on_top: Tensor
    reached: Tensor
    logits: Tensor
    gradient: Tensor | None


def rows_of(tree: Tree, rows: slice | Tensor) -> Tree:
    """Return some items of tensors, and of dataclasses, mappings and lists of them.

    What is no tensor stays as it is.
    """
    return _mapped(lambda tensor: tensor[rows], tree)


def joined(trees: Sequence[Tree]) -> Tree:
    """Return the items of several trees of one shape, one after the other."""
    return trees[0] if len(trees) == 1 else _mapped(lambda *tensors: torch.cat(tensors), *trees)


def per_item(values: Tensor, like: Tensor) -> Tensor:
    """Return values (items,) as (items, 1, ...), which broadcasts to tensors like another."""
    return values.view(-1, *(1,) * (like.ndim - 1))


def log_of(magnitude: Tensor) -> Tensor:
    """Return the natural logarithm of magnitudes, finite in digital silence."""
    return magnitude.clamp(min=LEAST_MAGNITUDE).log()


def numbered(groups: Tensor) -> Tensor:
    """Return groups (items,) as numbers from 0; refuse those that do not stand side by side."""
    different, numbers = torch.unique(groups, return_inverse=True)
    if int((numbers.diff() != 0).sum()) >= len(different):
        raise InputError("items of one group do not stand side by side; sort them by group")
    return numbers


def _mapped(function: Callable[..., Tensor], *trees: Any) -> Any:
    """Apply a function to the tensors at each place of trees of one shape."""
    first = trees[0]
    if isinstance(first, Tensor):
        return function(*trees)
    if isinstance(first, dict):
        return {name: _mapped(function, *(tree[name] for tree in trees)) for name in first}
    if isinstance(first, list):
        return [_mapped(function, *places) for places in zip(*trees, strict=True)]
    if is_dataclass(first) and not isinstance(first, type):
        names = [field.name for field in fields(first)]
        parts = {n: _mapped(function, *(getattr(tree, n) for tree in trees)) for n in names}
        return replace(first, **parts)
    return first
