"""What the host needs to know of a run, read without making it wait for a CUDA device."""

from __future__ import annotations

import torch
from torch import Tensor


class DeferredRead:
    """Two facts from the device, asked in one step and read, together, in that or a later one.

    On CUDA reading them at once would make the host wait for all that was asked before.
    """

    def __init__(self, device: torch.device) -> None:
        self.cuda = device.type == "cuda"
        self.pending: tuple[Tensor, torch.cuda.Event] | None = None

    def read(self, count: Tensor, fine: Tensor) -> tuple[int, bool] | None:
        """Return a count and a truth, those of an earlier step on CUDA; None: not known yet."""
        both = torch.stack([count, fine.to(count.dtype)])
        if not self.cuda:
            known, truth = both.tolist()
            return known, bool(truth)
        told = None
        if self.pending is not None and self.pending[1].query():
            known, truth = self.pending[0].tolist()
            told, self.pending = (known, bool(truth)), None
        if self.pending is None:
            sent = both.to("cpu", non_blocking=True)
            event = torch.cuda.Event()
            event.record()
            self.pending = sent, event
        return told
