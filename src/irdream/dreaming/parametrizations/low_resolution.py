"""Dreaming a detail as the sum of grids of many resolutions, so that large shapes come quickly.

A point of a coarse grid gathers the gradients of all points around it, so what a region has in
common is changed first. With `shared` the coarser grids are single columns: what all windows of
an excerpt have in common is found together, and only the finest grid is free in time.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from typing import Annotated

import torch
import torch.nn.functional as F
from annotated_types import Gt
from torch import Tensor

from irdream.arguments import Count, checked
from irdream.dreaming.batch import Originals, Start
from irdream.dreaming.parametrizations.base import Additive, Wrapper, resize
from irdream.dreaming.random_streams import normal
from irdream.errors import InputError

Above1 = Annotated[float, Gt(1)]


@checked
class LowResolution(Wrapper):
    """The detail of another parametrization is a sum of grids, each interpolated to full size.

    Level k has points for 1 / ratio**k of the bands and of the frames. Parameters are (items,
    points of all levels), the coarsest level first. At an octave the levels finer than it are
    left out, all but the coarsest. Levels are shared within an item, never between items.

    The unit is such that a step of RMS 1 along a gradient changes the signal by one step unit RMS
    if the gradient of the signal is white; a step of the same size in all points changes it less.

    Args:
        of: LogMel, Waveform or StftGain.
        levels: how many grids, the finest at full size.
        ratio: how much coarser each level is than the one before.
        shared: the coarser levels are one column of bands or bins, the same in all frames.

    Raises:
        InputError: for another `of`, and for `shared` on a waveform, which has no bands.
    """

    def __init__(
        self, *, of: Additive, levels: Count = 4, ratio: Above1 = 2.0, shared: bool = False
    ) -> None:
        super().__init__(of)
        if shared and of.acts_on == "sound":
            raise InputError(
                f"parametrization.shared=true with {type(of).__name__}; expected a signal with "
                "bands, such as LogMel, or parametrization.shared=false"
            )
        self.levels, self.ratio, self.shared = levels, ratio, shared

    def start(self, originals: Originals) -> Start:
        """Return what `of` starts from, and how much larger steps are on many grids, (items, 1)."""
        of = self.of.start(originals)
        gain = self._gain(of.signal[:1]).expand(len(of.signal), 1)
        return originals.start(of.signal, spectrum=of.spectrum, of=of, gain=gain)

    def parameters(self, start: Start) -> Tensor:
        return self._zeros(start.signal)

    def unit(self, start: Start) -> Tensor:
        return self.of.unit(start.own["of"]).flatten(1) / start.own["gain"]

    def signal(self, start: Start, parameters: Tensor) -> Tensor:
        return self.of.signal(start.own["of"], self._detail(start.signal, parameters))

    def regrid(self, start: Start, parameters: Tensor, coarser: Sequence[float]) -> Tensor:
        """Keep the levels that are no finer than the octave, or add zeros for those up to it."""
        kept = [math.prod(self._grid(start.signal, self.levels - 1))]
        for k in range(self.levels - 2, -1, -1):
            axes = coarser[:1] if self.shared and k else coarser  # a shared one has one frame
            axes = coarser[-1:] if self.of.acts_on == "sound" else axes
            if all(self.ratio**k >= by * (1 - 1e-9) for by in axes):
                kept.append(math.prod(self._grid(start.signal, k)))
        return F.pad(parameters, (0, sum(kept) - parameters.shape[1]))  # may be negative

    def absorb(self, start: Start, parameters: Tensor, signal: Tensor) -> Tensor:
        """Share the difference to the constrained signal among the levels, the coarsest first.

        So a coarse level does not run away while the finest undoes it.
        """
        rest = signal - start.signal - self._detail(signal, parameters)
        absorbed = []
        for level in self._levels(signal, parameters):
            share = F.interpolate(rest[:, None], size=level.shape[1:], mode="area")[:, 0]  # means
            rest = rest - resize(share, signal.shape[1:])
            absorbed.append((level + share).flatten(1))
        return torch.cat(absorbed, dim=1)

    def _zeros(self, signal: Tensor) -> Tensor:
        points = sum(math.prod(self._grid(signal, k)) for k in range(self.levels))
        return signal.new_zeros(len(signal), points)

    def _detail(self, signal: Tensor, parameters: Tensor) -> Tensor:
        """Return the sum of the levels at the size of a signal."""
        levels = [resize(level, signal.shape[1:]) for level in self._levels(signal, parameters)]
        return functools.reduce(torch.add, levels)

    def _levels(self, signal: Tensor, parameters: Tensor) -> list[Tensor]:
        """Return the levels that are there, (items, *grid) each, the coarsest first."""
        levels: list[Tensor] = []
        while parameters.shape[1]:
            grid = self._grid(signal, self.levels - 1 - len(levels))
            level, parameters = parameters.tensor_split([math.prod(grid)], dim=1)
            levels.append(level.unflatten(1, grid))
        return levels

    def _grid(self, signal: Tensor, k: int) -> tuple[int, ...]:
        """Return the size of level k for signals (items, ...)."""
        return tuple(
            1 if self.shared and k and axis else min(n, max(2, round(n / self.ratio**k)))
            for axis, n in enumerate(signal.shape[1:])
        )

    def _gain(self, signal: Tensor) -> Tensor:
        """Return how much a step of RMS 1 along a white gradient changes signals, (1, 1)."""
        key = torch.zeros(1, dtype=torch.int64, device=signal.device)
        gradient = normal(key, 0, *signal.shape[1:]).to(signal.dtype)
        with torch.enable_grad():
            parameters = self._zeros(signal).requires_grad_()
            detail = self._detail(signal, parameters)
            (step,) = torch.autograd.grad(detail, parameters, gradient)
        change = self._detail(signal, step)
        return (change.square().mean() / step.square().mean()).sqrt().view(1, 1)
