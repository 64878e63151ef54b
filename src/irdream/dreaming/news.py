"""What the host needs to know of a run, read without making it wait for a CUDA device."""

from __future__ import annotations

import torch
from torch import Tensor


class News:
    """Two numbers from the device, asked in one step and read in that or a later one.

    On CUDA reading them at once would make the host wait for all that was asked before.
    """

    def __init__(self, device: torch.device) -> None:
        self.cuda = device.type == "cuda"
        self.pending: tuple[Tensor, torch.cuda.Event] | None = None

    def read(self, count: Tensor, total: Tensor) -> tuple[int, float] | None:
        """Return count and total, those of an earlier step on CUDA; None: not known yet."""
        if not self.cuda:
            return int(count), float(total)
        told = None
        if self.pending is not None and self.pending[1].query():
            values = self.pending[0].tolist()
            told, self.pending = (int(values[0]), values[1]), None
        if self.pending is None:
            both = torch.stack([count.double(), total.double()])  # 16 bits count to 256
            sent = both.to("cpu", non_blocking=True)
            event = torch.cuda.Event()
            event.record()
            self.pending = sent, event
        return told
