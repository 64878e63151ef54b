"""Objectives on the activations of a layer: what excites a part of the network.

A layer has the name that the model's `named_modules` gives it. Its channels are the first axis
after the windows; a convolution has a plane (mels, frames) behind them, and a layer of features
is channels without a plane. Activations are those of the view that the network heard, after
random shifts. Scores are averages over positions and windows, so that the length of an excerpt
does not change a step. Higher is better.

Source: C. Olah, A. Mordvintsev, L. Schubert, "Feature visualization", Distill, 2017.
"""

from __future__ import annotations

import reprlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from irdream.dreaming.batch import Originals
from irdream.dreaming.objectives.base import ForwardOutput, Objective, ReadLayers
from irdream.errors import InputError
from irdream.files import ExistingPath

LEAST_COSINE = 0.1  # in a power; so that a score keeps a gradient where it points away


class OnLayer(Objective):
    """An objective on one layer.

    Args:
        layer: the module's name.

    Raises:
        InputError: when it is no name; whether the model has it is checked where it is heard.
    """

    def __init__(self, layer: str) -> None:
        if not isinstance(layer, str):
            raise InputError(
                f"objective.layer={layer!r}; expected the name of a module, such as 'features.9'"
            )
        self.layer = layer
        self.layers = (layer,)

    def activations(self, output: ForwardOutput) -> Tensor:
        """Return the layer's (items, windows, channels, *plane); one number is one channel."""
        activations = output.activations[self.layer]
        return activations if activations.ndim > 2 else activations[..., None]

    def __repr__(self) -> str:
        return f"{type(self).__name__.lower()}({self.layer!r})"


class Layer(OnLayer):
    """DeepDream's objective: the mean square of a layer's activations.

    Whatever excites the layer already is excited further.

    Args:
        layer: the module's name.

    Source: A. Mordvintsev, C. Olah, M. Tyka, "Inceptionism", Google Research blog, 2015.
    """

    def __call__(self, output: ForwardOutput, targets: Tensor) -> Tensor:
        """Return (items,)."""
        return output.activations[self.layer].square().flatten(1).mean(dim=1)


class Channel(OnLayer):
    """The mean activation of one channel, over its plane and the windows.

    Args:
        layer: the module's name.
        channel: from 0.

    Raises:
        InputError: when called, if the layer has no such channel.
    """

    def __init__(self, layer: str, channel: int) -> None:
        super().__init__(layer)
        self.channel = channel

    def __call__(self, output: ForwardOutput, targets: Tensor) -> Tensor:
        """Return (items,)."""
        return self.of_channel(output).flatten(1).mean(dim=1)

    def of_channel(self, output: ForwardOutput) -> Tensor:
        """Return the channel's (items, windows, *plane)."""
        activations = self.activations(output)
        channel = _checked("channel", self.channel, activations.shape[2], self.layer)
        return activations[:, :, channel]

    def __repr__(self) -> str:
        return f"channel({self.layer!r}, {self.channel!r})"


class Neuron(Channel):
    """One unit: a channel at one place of the plane, in every window.

    Args:
        layer: the module's name.
        channel: from 0.
        mel: row of the layer's plane, from 0; None: the one in the middle, of an even number
            the later of the two.
        frame: column of the plane, likewise.

    Raises:
        InputError: when called, if the layer has no such channel or place.
    """

    def __init__(
        self, layer: str, channel: int, *, mel: int | None = None, frame: int | None = None
    ) -> None:
        super().__init__(layer, channel)
        self.mel, self.frame = mel, frame

    def __call__(self, output: ForwardOutput, targets: Tensor) -> Tensor:
        """Return (items,)."""
        unit = self.of_channel(output)
        unit = self._at("frame", self.frame, unit)
        unit = self._at("mel", self.mel, unit)
        return unit.flatten(1).mean(dim=1)

    def _at(self, name: str, place: int | None, plane: Tensor) -> Tensor:
        """Pick from the last axis of (items, windows, ...), where the layer has one more."""
        if plane.ndim == 2:
            if place is not None:
                raise InputError(
                    f"objective.{name}={place}; expected null, since {self.layer!r} has no {name}s"
                )
            return plane
        size = plane.shape[-1]
        place = size // 2 if place is None else _checked(name, place, size, self.layer)
        return plane[..., place]

    def __repr__(self) -> str:
        places = "".join(
            f", {name}={place!r}"
            for name, place in (("mel", self.mel), ("frame", self.frame))
            if place is not None
        )
        return f"neuron({self.layer!r}, {self.channel!r}{places})"


class Direction(OnLayer):
    """The inner product of the activations with a vector, averaged over positions and windows.

    A channel is the direction of one coordinate; others show what channels mean together. With
    a power the product at each position is multiplied by max(cosine, 0.1) ** cosine_power, so
    that activations which point elsewhere count for less, however large they are.

    Args:
        layer: the module's name.
        direction: (channels,) numbers, or the path of a .npy file of them.
        cosine_power: 0: the inner product alone.

    Raises:
        InputError: when the direction is none or the power negative; when called, if the layer
            has another number of channels.

    Source of the power: `objectives.direction` of the library lucid, and its issue 116.
    """

    def __init__(
        self,
        layer: str,
        direction: Sequence[float] | Tensor | np.ndarray | ExistingPath,
        *,
        cosine_power: float = 0.0,
    ) -> None:
        super().__init__(layer)
        self.vector = _vector(direction)
        self.cosine_power = checked_power(cosine_power)
        named = isinstance(direction, str | Path)
        shown = str(direction) if named else self.vector.tolist()
        self._name = f"direction({layer!r}, {shown!r}, cosine_power={cosine_power!r})"

    def prepare(
        self, recognizer: Any, read_layers: ReadLayers, originals: Originals
    ) -> dict[str, Tensor]:
        """Return the direction where the log-mels are, (items, channels)."""
        return {repr(self): self.vector.to(originals.log_mel).expand(len(originals.log_mel), -1)}

    def __call__(self, output: ForwardOutput, targets: Tensor) -> Tensor:
        """Return (items,)."""
        activations = self.activations(output)
        if activations.shape[2] != len(self.vector):
            raise InputError(
                f"objective.direction has {len(self.vector)} numbers; expected "
                f"{activations.shape[2]}, since {self.layer!r} has {activations.shape[2]} channels"
            )
        positions = activations[..., None].flatten(3)
        direction = output.prepared[repr(self)][:, None, :, None]
        return inner_product(positions, direction, self.cosine_power).flatten(1).mean(dim=1)

    def __repr__(self) -> str:
        return self._name


def inner_product(values: Tensor, others: Tensor, cosine_power: float) -> Tensor:
    """Return the inner products along the third axis, times max(cosine, 0.1) ** cosine_power."""
    products = (values * others).sum(dim=2)
    if not cosine_power:
        return products
    squares = values.square().sum(dim=2) * others.square().sum(dim=2)
    cosines = products * squares.clamp(min=1e-24).rsqrt()
    return products * cosines.clamp(min=LEAST_COSINE) ** cosine_power


def checked_power(cosine_power: float) -> float:
    """Return a power of the cosine.

    Raises:
        InputError: when it is negative.
    """
    if not cosine_power >= 0:
        raise InputError(f"objective.cosine_power={cosine_power}; expected at least 0, such as 1")
    return cosine_power


def _checked(name: str, place: int, size: int, layer: str) -> int:
    if not (isinstance(place, int) and 0 <= place < size):
        raise InputError(
            f"objective.{name}={place}; expected 0 to {size - 1}, since {layer!r} has "
            f"{size} {name}s"
        )
    return place


def _vector(direction: Any) -> Tensor:
    """Return (channels,) in float64 on the CPU."""
    shown = reprlib.repr(direction)
    expected = "expected numbers, not all zero, or a .npy file of them"
    try:
        if isinstance(direction, str | Path):
            direction = np.load(Path(direction).expanduser(), allow_pickle=False)
        elif isinstance(direction, Tensor):
            direction = direction.detach().cpu().numpy()
        vector = torch.from_numpy(np.array(direction, dtype=np.float64))
    except (OSError, EOFError, TypeError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error).partition("\n")[0]
        raise InputError(
            f"objective.direction={shown} cannot be read ({reason}); {expected}"
        ) from error
    if vector.ndim != 1 or not vector.isfinite().all() or not vector.any():
        raise InputError(f"objective.direction={shown} of shape {tuple(vector.shape)}; {expected}")
    return vector
