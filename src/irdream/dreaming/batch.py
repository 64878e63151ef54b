"""What an ascent works on: tensors with an axis of items, of which rows are taken and joined."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, is_dataclass
from typing import Any, Literal, TypeVar

import torch
from torch import Tensor

from irdream.audio.masking import masking_threshold
from irdream.errors import InputError

Tree = TypeVar("Tree")
Kind = Literal["spectrogram", "sound"]  # of a signal: see `parametrizations.base`
LEAST_MAGNITUDE = 1e-12  # so that the logarithm of digital silence is finite


@dataclass(frozen=True, kw_only=True)
class Originals:
    """What is dreamed on; of a network on sound `log_mel` are its waveforms, (items, samples)."""

    recognizer: Any  # that dreams
    log_mel: Tensor  # (items, n_mels, frames)
    keys: Tensor  # of the items' random streams, (items,)
    sound: Tensor | None = None  # (items, samples); None where only log-mels are known

    @classmethod
    def of(cls, recognizer: Any, sound: Tensor) -> Originals:
        """Return the originals of sounds (items, samples), each with the key of its place."""
        keys, log_mel = torch.arange(len(sound)), recognizer.log_mel(sound)
        return cls(recognizer=recognizer, log_mel=log_mel, keys=keys, sound=sound)

    def waveform_for(self, user: object) -> Tensor:
        """Return the sound; where only log-mels are known refuse, naming the class of the user."""
        if self.sound is not None:
            return self.sound
        needs = f"{type(user).__name__} needs the originals' waveforms"
        raise InputError(f"{needs}, and only log-mels were given; expected waveforms")

    def masked_for(self, user: Any) -> Tensor:
        """Return the sound's `masking_threshold`, by the `full_scale_db` of the user."""
        grid = self.recognizer.stft_grid
        return masking_threshold(
            self.waveform_for(user), n_fft=grid.n_fft, hop_samples=grid.hop_samples,
            sample_rate_hz=grid.sample_rate_hz, full_scale_db=user.full_scale_db,
        )  # fmt: skip

    def start(self, signal: Tensor, *, spectrum: Tensor | None = None, **own: Any) -> Start:
        """Return the start of a parametrization, with its own values."""
        return Start(**vars(self), signal=signal, spectrum=spectrum, own=own)


@dataclass(frozen=True, kw_only=True)
class Start(Originals):
    """The undreamed signal."""

    signal: Tensor  # log-mel or gain (items, bands or bins, frames), or waveform (items, samples)
    spectrum: Tensor | None = None  # |STFT| of the original where the signal is a gain on it
    own: dict[str, Any] = field(default_factory=dict)  # of the parametrization

    @property
    def level(self) -> Tensor:
        """Return the original's magnitude at each place of a spectrogram signal, natural log."""
        return self.signal if self.spectrum is None else log_of(self.spectrum)


@dataclass(frozen=True, kw_only=True)
class Batch:
    """The items that are left."""

    items: Tensor  # their places in the run, (items,)
    start: Start
    held: list[dict[str, Any]]  # what each of the constraints prepared
    prepared: dict[str, Tensor]  # what the objective prepared
    parameters: Tensor  # of the present iterate, (items, ...)
    undreamed: Tensor  # those of the undreamed signal
    unit: Tensor  # one unit of the step size in theirs, (items, 1, ...)
    step: Tensor  # the step size in theirs
    targets: Tensor  # class indices, (items,)
    keys: Tensor  # of the random views, (items,)
    groups: Tensor  # from 0, (items,); items of one group stand side by side


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """What the items of a batch gave in one step; NaN or empty where nothing reads the output."""

    signal: Tensor  # that obeys the constraints, (items, ...)
    score: Tensor  # the objective, (items,)
    probability: Tensor  # of the target, mean over the windows, (items,)
    on_top: Tensor  # 1 where the target is the most probable, 0 elsewhere, (items,)
    reached: Tensor  # whether the items have the confidence, (items,)
    logits: Tensor  # (items, windows, instruments)
    gradient: Tensor  # of the score with respect to the parameters; empty if not asked for
    goal: float | None = None  # the score that the optimizer aims at, where one is


def rows_of(tree: Tree, rows: slice | Tensor) -> Tree:
    """Return some items of tensors, and of dataclasses, mappings and lists of them."""
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
    """Return groups (items,) as numbers from 0; raise InputError where one is not contiguous."""
    different, numbers = torch.unique(groups, return_inverse=True)
    if int((numbers.diff() != 0).sum()) >= len(different):
        raise InputError("items of one group do not stand side by side; sort them by group")
    return numbers


def _mapped(function: Callable[..., Tensor], *trees: Any) -> Any:
    """Apply a function to the tensors at each place of trees of one shape; the rest stays."""
    first = trees[0]
    if isinstance(first, Tensor):
        return function(*trees)
    if isinstance(first, dict):
        return {name: _mapped(function, *(tree[name] for tree in trees)) for name in first}
    if isinstance(first, list):
        return [_mapped(function, *places) for places in zip(*trees, strict=True)]
    if is_dataclass(first):
        return type(first)(**_mapped(function, *map(vars, trees)))
    return first
