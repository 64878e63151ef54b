"""Objectives on likeness: to a reference, among the dreams of a group.

All are scores to be added, higher is better: `log_probability + 0.5 * inversion('features.9')`.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from irdream.audio import load_audio
from irdream.dreaming.batch import Originals
from irdream.dreaming.objectives.base import ForwardOutput, ReadLayers
from irdream.dreaming.objectives.layers import OnLayer, checked_power, inner_product
from irdream.errors import InputError
from irdream.files import ExistingPath


class _LikeReference(OnLayer):
    """A score against a reference's activations, which stay in memory for the whole run."""

    def __init__(self, layer: str, reference: ExistingPath | None = None) -> None:
        super().__init__(layer)
        self.reference = None if reference is None else str(reference)

    def prepare(
        self, recognizer: Any, read_layers: ReadLayers, originals: Originals
    ) -> dict[str, Tensor]:
        """Return the reference's activations, (items, windows, *shape of the layer's output)."""
        log_mel = originals.log_mel
        if self.reference is None:
            return {repr(self): read_layers(log_mel, self.layers)[self.layer]}
        reference = _heard_from_file(self.reference, recognizer, like=log_mel)
        activations = read_layers(reference, self.layers)[self.layer]
        return {repr(self): activations.expand(len(log_mel), *activations.shape[1:])}

    def __repr__(self) -> str:
        return f"{type(self).__name__.lower()}({', '.join(self._arguments())})"

    def _arguments(self) -> list[str]:
        return [repr(value) for value in (self.layer, self.reference) if value is not None]


class Inversion(_LikeReference):
    """Minus the mean squared difference to a reference's activations, over their mean square.

    0: the layer cannot tell the two apart; -1: as far away as no activation at all is. Where
    such a dream differs from its reference, the layer does not hear it. Against its own original
    an item begins at its best and stays there, so that is for sums and for starts with noise.

    Args:
        layer: the module's name.
        reference: path of a sound file, repeated or cut to the item's length; None: the item's
            own original.

    Raises:
        InputError: in `prepare`, if the file cannot be used.

    Source: A. Mahendran, A. Vedaldi, "Understanding deep image representations by inverting
    them", CVPR 2015, section 2, the normalized Euclidean loss.
    """

    def prepare(
        self, recognizer: Any, read_layers: ReadLayers, originals: Originals
    ) -> dict[str, Tensor]:
        """Return the reference's activations, and their mean square (items,)."""
        prepared = super().prepare(recognizer, read_layers, originals)
        square = prepared[repr(self)].square().flatten(1).mean(dim=1)
        square = torch.where(square > 0, square, torch.ones_like(square))  # not of a silent layer
        return prepared | {f"{self!r} mean square": square}

    def __call__(self, output: ForwardOutput, targets: Tensor) -> Tensor:
        """Return (items,)."""
        difference = output.activations[self.layer] - output.prepared[repr(self)]
        scale = output.prepared[f"{self!r} mean square"]
        return -difference.square().flatten(1).mean(dim=1) / scale


class Caricature(_LikeReference):
    """The inner product of a layer's activations with a reference's: the same, exaggerated.

    For each window the product over the whole layer, divided by the number of its positions
    and multiplied by max(cosine, 0.1) ** cosine_power, which holds the dream to the reference.

    Args:
        layer: the module's name.
        reference: path of a sound file, repeated or cut to the item's length; None: the item's
            own original.
        cosine_power: 0: the inner product alone.

    Raises:
        InputError: when the power is negative; in `prepare`, if the file cannot be used.

    Source: the recipe `caricature` of the library lucid (C. Olah and others, 2018).
    """

    def __init__(
        self,
        layer: str,
        reference: ExistingPath | None = None,
        *,
        cosine_power: float = 1.0,
    ) -> None:
        super().__init__(layer, reference)
        self.cosine_power = checked_power(cosine_power)

    def __call__(self, output: ForwardOutput, targets: Tensor) -> Tensor:
        """Return (items,)."""
        activations = self.activations(output)
        values = activations.flatten(2)
        reference = output.prepared[repr(self)].reshape(values.shape)
        positions = values.shape[2] // activations.shape[2]
        return inner_product(values, reference, self.cosine_power).mean(dim=1) / positions

    def _arguments(self) -> list[str]:
        return [*super()._arguments(), f"cosine_power={self.cosine_power!r}"]


class Diversity(OnLayer):
    """Minus the mean cosine between an item's Gram matrix and those of others in its group.

    The Gram matrix of a layer says which channels sound together, wherever and whenever. From
    -1, all alike, to 0, nothing in common; 0 for an item alone in its group.

    Args:
        layer: the module's name.

    Source: C. Olah and others, "Feature visualization", Distill, 2017, section "Diversity".
    """

    needs_whole_groups = True

    def __call__(self, output: ForwardOutput, targets: Tensor) -> Tensor:
        """Return (items,)."""
        activations = self.activations(output)
        channels = activations.transpose(1, 2).flatten(2)  # (items, channels, positions)
        grams = (channels @ channels.mT).flatten(1)
        length = torch.linalg.vector_norm(grams, dim=1, keepdim=True)
        grams = grams / length.clamp(min=1e-12)
        groups = output.groups
        together = (groups[:, None] == groups).to(grams.dtype).fill_diagonal_(0.0)
        cosines = (grams @ grams.mT) * together
        return -cosines.sum(dim=1) / together.sum(dim=1).clamp(min=1.0)


def _heard_from_file(path: str, recognizer: Any, *, like: Tensor) -> Tensor:
    """Return a file's log-mel (1, ...) of as many frames as `like`, (items, ..., frames)."""
    waveform = load_audio(path, sample_rate_hz=recognizer.sample_rate_hz)
    try:
        log_mel = recognizer.log_mel(waveform[None].to(like))
    except InputError as error:
        raise InputError(f"objective.reference={path!r}: {error}") from error
    frames = torch.arange(like.shape[-1], device=like.device) % log_mel.shape[-1]
    return log_mel[..., frames]
