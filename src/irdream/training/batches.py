"""Windows in batches: which ones, in which order, cut from packed log-mels."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from irdream.errors import InputError


class PackedLogMels(Protocol):
    """What windows are cut from (datasets.cache.LogMels)."""

    frames: np.ndarray  # (excerpts,)

    def windows(
        self, excerpt_indices: np.ndarray, start_frames: np.ndarray, window_frames: int
    ) -> Tensor:
        """Return (batch, n_mels, window_frames)."""
        ...


class WindowBatches:
    """The windows of some excerpts, without overlap, in shuffled or fixed order.

    Args:
        log_mels: of all excerpts.
        excerpts: indices of those to use.
        labels: of all excerpts, (excerpts, instruments).
        window_frames: length of a window.
        batch_size: windows in a batch; in the last one there may be one more.
        balanced: draw windows so that the labels are equally frequent; as many as there are.

    Raises:
        InputError: when there is nothing to use, an excerpt is shorter than a window, or a
            batch has no place for one.
    """

    def __init__(
        self,
        *,
        log_mels: PackedLogMels,
        excerpts: Sequence[int],
        labels: Tensor,
        window_frames: int,
        batch_size: int,
        balanced: bool = False,
    ) -> None:
        if batch_size < 1:
            raise InputError(f"train.batch_size={batch_size} is too small; expected 1 or more")
        if not len(excerpts):
            raise InputError("no excerpts to train on; expected at least one in each part")
        self.log_mels, self.labels = log_mels, labels
        self.window_frames, self.batch_size = window_frames, batch_size
        self.balanced = balanced
        indices = np.asarray(excerpts)
        counts = log_mels.frames[indices] // window_frames
        if counts.min() < 1:
            short = int(log_mels.frames[indices].min())
            raise InputError(
                f"an excerpt of {short} frames is too short; "
                f"expected at least one window of {window_frames}"
            )
        self.excerpts = np.repeat(indices, counts)
        self.places = np.concatenate([np.arange(count) for count in counts])

    def __len__(self) -> int:
        """Return the number of windows."""
        return len(self.excerpts)

    def batches(
        self, generator: torch.Generator | None = None, *, random_start: bool = False
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield windows (batch, n_mels, window_frames) and labels (batch, instruments).

        Args:
            generator: shuffles; without one the order is fixed.
            random_start: move each window by a random part of its length, within its excerpt.
        """
        drawn = self.drawn(generator).numpy()
        starts = self.places[drawn] * self.window_frames
        if generator is not None and random_start:
            shift = torch.rand(len(self), generator=generator).numpy() - 0.5
            shift = shift if self.balanced else shift[drawn]  # a window may be drawn again
            room = self.log_mels.frames[self.excerpts[drawn]] - self.window_frames
            starts = np.clip(starts + np.rint(shift * self.window_frames), 0, room).astype(int)
        for rows in _slices(np.arange(len(drawn)), self.batch_size):
            excerpts = self.excerpts[drawn[rows]]
            windows = self.log_mels.windows(excerpts, starts[rows], self.window_frames)
            yield windows, self.labels[torch.from_numpy(excerpts)]

    def drawn(self, generator: torch.Generator | None) -> Tensor:
        """Return which windows there are in an epoch, in their order."""
        if generator is None:
            return torch.arange(len(self))
        order = torch.randperm(len(self), generator=generator)
        return self._balanced(order, generator) if self.balanced else order

    def _balanced(self, order: Tensor, generator: torch.Generator) -> Tensor:
        """Return as many windows, each label's as often; a rare one's several times.

        A window's share of the draws is 1 / (windows with its label), and the mean of these for
        several labels. Steps of equal length along the added-up shares give each window its
        share to within one draw; independent draws would miss a third of the windows.
        """
        has = (self.labels[torch.from_numpy(self.excerpts)] > 0).double()
        each = has / has.sum(dim=0).clamp(min=1) / has.sum(dim=1, keepdim=True).clamp(min=1)
        shares = each.sum(dim=1)[order].cumsum(0)
        offset = torch.rand((), generator=generator, dtype=torch.float64)
        steps = (torch.arange(len(order)) + offset) / len(order) * shares[-1]
        drawn = order[torch.searchsorted(shares, steps).clamp(max=len(order) - 1)]
        return drawn[torch.randperm(len(order), generator=generator)]


def _slices(order: np.ndarray, size: int) -> Iterator[np.ndarray]:
    """Yield rows in batches; a last one joins the batch before, as no batch norm takes it alone."""
    ends = [*range(size, len(order) - (size > 1), size), len(order)]
    for first, end in zip([0, *ends], ends, strict=False):
        yield order[first:end]
