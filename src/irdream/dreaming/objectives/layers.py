"""Objectives on the activations of a layer: what excites a part of the network.

A layer has the name that the model's `named_modules` gives it. Its channels are the first axis
after the windows; a convolution has maps (mels, frames) behind them, and a layer of features
is channels alone. Activations are those of the random view. Scores are averages over positions
and windows, so that the length of an excerpt does not change a step.

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

from irdream.arguments import Amount, checked
from irdream.audio import load_audio
from irdream.dreaming.batch import Originals
from irdream.dreaming.objectives.base import ForwardOutput, Objective, Prepared, ReadLayers
from irdream.errors import InputError
from irdream.files import ExistingPath
from irdream.instruments import parse

LEAST_COSINE = 0.1  # in a power; so that a score keeps a gradient where it points away


class OnLayer(Objective):
    """An objective on one layer, given by its module's name, which the probe looks up."""

    def __init__(self, layer: str) -> None:
        if not isinstance(layer, str):
            raise InputError(
                f"objective.layer={layer!r}; expected the name of a module, such as 'features.9'"
            )
        self.layer = layer
        self.layers = (layer,)

    def activations(self, output: ForwardOutput) -> Tensor:
        """Return the layer's (items, windows, channels, ...); one number is one channel."""
        activations = output.activations[self.layer]
        return activations if activations.ndim > 2 else activations[..., None]


class Layer(OnLayer):
    """DeepDream's objective: the mean square of a layer's activations.

    Whatever excites the layer already is excited further.

    Source: A. Mordvintsev, C. Olah, M. Tyka, "Inceptionism", Google Research blog, 2015.
    """

    def __call__(self, output: ForwardOutput, targets: Tensor) -> Tensor:
        return output.activations[self.layer].square().flatten(1).mean(dim=1)


class Channel(OnLayer):
    """The mean activation of one channel, from 0, over its positions and the windows.

    Raises:
        InputError: when called, if the layer has no such channel.
    """

    def __init__(self, layer: str, channel: int) -> None:
        super().__init__(layer)
        self.channel = channel

    def __call__(self, output: ForwardOutput, targets: Tensor) -> Tensor:
        return self.of_channel(output).flatten(1).mean(dim=1)

    def of_channel(self, output: ForwardOutput) -> Tensor:
        """Return the channel's (items, windows, ...)."""
        activations = self.activations(output)
        channel = _checked("channel", self.channel, activations.shape[2], self.layer)
        return activations[:, :, channel]


class Neuron(Channel):
    """One unit: a channel at one position, in every window.

    `mel` is a row of the layer's maps, from 0, and `frame` a column; None: the one in the middle,
    of an even number the later of the two.

    Raises:
        InputError: when called, if the layer has no such channel or place.
    """

    def __init__(
        self, layer: str, channel: int, *, mel: int | None = None, frame: int | None = None
    ) -> None:
        super().__init__(layer, channel)
        self.mel, self.frame = mel, frame

    def __call__(self, output: ForwardOutput, targets: Tensor) -> Tensor:
        unit = self.of_channel(output)  # (items, windows, mels, frames), or fewer axes
        for name, place in (("frame", self.frame), ("mel", self.mel)):
            if unit.ndim > 2:
                size = unit.shape[-1]
                place = size // 2 if place is None else _checked(name, place, size, self.layer)
                unit = unit[..., place]
            elif place is not None:
                raise InputError(
                    f"objective.{name}={place}; expected null, since {self.layer!r} has no {name}s"
                )
        return unit.flatten(1).mean(dim=1)


@checked
class Direction(OnLayer):
    """The inner product of the activations with a vector, averaged over positions and windows.

    The direction is (channels,) numbers, or the path of a .npy file of them; in a layer with a
    channel for each class also labels, with a minus for less: ("flute", "-sax"). With a power the
    product at each position is multiplied by max(cosine, 0.1) ** cosine_power, so that activations
    which point elsewhere count for less, however large they are (as `objectives.direction` of the
    library lucid, issue 116).

    Raises:
        InputError: when the direction is none; in `prepare`, for an unknown label; when called, if
            it has not the layer's channels.
    """

    def __init__(
        self,
        layer: str,
        direction: Sequence[float] | Sequence[str] | Tensor | np.ndarray | ExistingPath,
        *,
        cosine_power: Amount = 0.0,
    ) -> None:
        super().__init__(layer)
        self.cosine_power = cosine_power
        self.labels = _labels(direction)
        self.vector = None if self.labels else _vector(direction)
        self.direction = self.labels or str(direction)
        if self.vector is not None and not isinstance(direction, str | Path):
            self.direction = self.vector.tolist()

    def prepare(self, read_layers: ReadLayers, originals: Originals) -> Prepared:
        """Return the direction where the log-mels are, (items, channels)."""
        vector = self.vector
        if vector is None:
            known = originals.recognizer.instruments
            vector = torch.zeros(len(known))
            for label in self.labels:
                place = known.index(parse(label.removeprefix("-"), known))
                vector[place] = -1.0 if label.startswith("-") else 1.0
        return {repr(self): vector.to(originals.log_mel).expand(len(originals.log_mel), -1)}

    def __call__(self, output: ForwardOutput, targets: Tensor) -> Tensor:
        activations, direction = self.activations(output), output.prepared[repr(self)]
        if activations.shape[2] != direction.shape[1]:
            raise InputError(
                f"objective.direction has {direction.shape[1]} numbers; expected "
                f"{activations.shape[2]}, since {self.layer!r} has {activations.shape[2]} channels"
            )
        positions, direction = activations[..., None].flatten(3), direction[:, None, :, None]
        return _inner_product(positions, direction, self.cosine_power).flatten(1).mean(dim=1)


class _LikeReference(OnLayer):
    """A score against a reference's activations, which stay in memory for the whole run.

    The reference is the path of a sound file, repeated or cut to the item's length; None: the
    item's own original.

    Raises:
        InputError: in `prepare`, if the file cannot be used.
    """

    def __init__(self, layer: str, reference: ExistingPath | None = None) -> None:
        super().__init__(layer)
        self.reference = None if reference is None else str(reference)

    def prepare(self, read_layers: ReadLayers, originals: Originals) -> Prepared:
        """Return the reference's activations, (items, windows, *shape of the layer's output)."""
        log_mel = originals.log_mel
        if self.reference is None:
            return {repr(self): read_layers(log_mel, self.layers)[self.layer]}
        reference = _log_mel_of(self.reference, originals.recognizer, like=log_mel)
        activations = read_layers(reference, self.layers)[self.layer]
        return {repr(self): activations.expand(len(log_mel), *activations.shape[1:])}


class Inversion(_LikeReference):
    """Minus the mean squared difference to a reference's activations, over their mean square.

    0: the layer cannot tell the two apart; -1: as far away as no activation at all is. Where
    such a dream differs from its reference, the layer does not see it. Against its own original
    an item begins at its best and stays there, so that is for sums and for starts with noise.

    Source: A. Mahendran, A. Vedaldi, "Understanding deep image representations by inverting
    them", CVPR 2015, section 2, the normalized Euclidean loss.
    """

    def prepare(self, read_layers: ReadLayers, originals: Originals) -> Prepared:
        """Return the reference's activations, and their mean square (items,)."""
        prepared = super().prepare(read_layers, originals)
        square = prepared[repr(self)].square().flatten(1).mean(dim=1)
        square = torch.where(square > 0, square, torch.ones_like(square))  # not of a silent layer
        return prepared | {f"{self!r} mean square": square}

    def __call__(self, output: ForwardOutput, targets: Tensor) -> Tensor:
        difference = output.activations[self.layer] - output.prepared[repr(self)]
        scale = output.prepared[f"{self!r} mean square"]
        return -difference.square().flatten(1).mean(dim=1) / scale


@checked
class Caricature(_LikeReference):
    """The inner product of a layer's activations with a reference's: the same, exaggerated.

    For each window the product over the whole layer, divided by the number of its positions and
    multiplied by max(cosine, 0.1) ** cosine_power, which holds the dream to the reference; 0: the
    inner product alone.

    Source: the recipe `caricature` of the library lucid (C. Olah and others, 2018).
    """

    def __init__(
        self, layer: str, reference: ExistingPath | None = None, *, cosine_power: Amount = 1.0
    ) -> None:
        super().__init__(layer, reference)
        self.cosine_power = cosine_power

    def __call__(self, output: ForwardOutput, targets: Tensor) -> Tensor:
        activations = self.activations(output)
        values = activations.flatten(2)
        reference = output.prepared[repr(self)].reshape(values.shape)
        positions = values.shape[2] // activations.shape[2]
        return _inner_product(values, reference, self.cosine_power).mean(dim=1) / positions


class Diversity(OnLayer):
    """Minus the mean cosine between an item's Gram matrix and those of others in its group.

    The Gram matrix of a layer says which channels are active together, wherever and whenever. From
    -1, all alike, to 0, nothing in common; 0 for an item alone in its group.

    Source: C. Olah and others, "Feature visualization", Distill, 2017, section "Diversity".
    """

    needs_whole_groups = True

    def __call__(self, output: ForwardOutput, targets: Tensor) -> Tensor:
        activations = self.activations(output)
        channels = activations.transpose(1, 2).flatten(2)  # (items, channels, positions)
        grams = (channels @ channels.mT).flatten(1)
        length = torch.linalg.vector_norm(grams, dim=1, keepdim=True)
        grams = grams / length.clamp(min=1e-12)
        groups = output.groups
        together = (groups[:, None] == groups).to(grams.dtype).fill_diagonal_(0.0)
        cosines = (grams @ grams.mT) * together
        return -cosines.sum(dim=1) / together.sum(dim=1).clamp(min=1.0)


def _log_mel_of(path: str, recognizer: Any, *, like: Tensor) -> Tensor:
    """Return a file's log-mel (1, ...) of as many frames as `like`, (items, ..., frames)."""
    waveform = load_audio(path, sample_rate_hz=recognizer.sample_rate_hz)
    try:
        log_mel = recognizer.log_mel(waveform[None].to(like))
    except InputError as error:
        raise InputError(f"objective.reference={path!r}: {error}") from error
    frames = torch.arange(like.shape[-1], device=like.device) % log_mel.shape[-1]
    return log_mel[..., frames]


def _inner_product(values: Tensor, others: Tensor, cosine_power: float) -> Tensor:
    """Return the inner products along the third axis, times max(cosine, 0.1) ** cosine_power."""
    products = (values * others).sum(dim=2)
    if not cosine_power:
        return products
    squares = values.square().sum(dim=2) * others.square().sum(dim=2)
    cosines = products * squares.clamp(min=1e-24).rsqrt()
    return products * cosines.clamp(min=LEAST_COSINE) ** cosine_power


def _checked(name: str, place: int, size: int, layer: str) -> int:
    if not (isinstance(place, int) and 0 <= place < size):
        raise InputError(
            f"objective.{name}={place}; expected 0 to {size - 1}, since {layer!r} has "
            f"{size} {name}s"
        )
    return place


def _labels(direction: Any) -> list[str]:
    """Return the labels that a direction is given by; empty where it is given by numbers."""
    listed = isinstance(direction, Sequence) and not isinstance(direction, str)
    words = list(direction) if listed else []
    return words if all(isinstance(word, str) and word for word in words) else []


def _vector(direction: Any) -> Tensor:
    """Return (channels,) in float64 on the CPU."""
    shown = reprlib.repr(direction)
    expected = "expected numbers, not all zero, a .npy file of them, or labels"
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
