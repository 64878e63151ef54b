"""A recognizer in training: its outputs, their loss, and the precision they are computed in."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from irdream.errors import InputError
from irdream.recognizer import Recognizer
from irdream.runtime import has_bfloat16
from irdream.training.losses import Loss


@dataclass
class ForwardPass:
    """What a step of a training asks of its recognizer.

    Args:
        recognizer: that is trained.
        terms: of the loss.
        mixed_precision: bfloat16 where that is faster, see `runtime.has_bfloat16`.
        network: listens in the model's place, such as an average of its weights.
    """

    recognizer: Recognizer
    terms: Loss = field(default_factory=Loss)
    mixed_precision: bool = False
    network: nn.Module | None = None

    def logits(self, windows: Tensor) -> Tensor:
        """Return (batch, instruments) in single precision.

        Raises:
            InputError: for a single window, when the network needs several to train on.
        """
        device = self.recognizer.device
        enabled = self.mixed_precision and has_bfloat16(device)
        try:
            with torch.autocast(device.type, dtype=torch.bfloat16, enabled=enabled):
                return self.recognizer.logits(windows, self.network).float()
        except ValueError as error:
            if "more than 1 value per channel" not in str(error):
                raise
            raise InputError(
                f"{type(self.recognizer.model).__name__} has a batch norm that cannot be trained "
                f"on {len(windows)} window at a time; give a larger train.batch_size, or more sound"
            ) from error

    def loss(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Return the mean loss of training, with smoothed labels where that was asked for."""
        return self.terms(self.recognizer, logits, labels, smooth=True).sum(dim=1).mean()

    def divergence(self, logits: Tensor, others: Tensor) -> Tensor:
        """Return the mean divergence from `logits` to `others`."""
        return self.terms.divergence(self.recognizer, logits, others).sum(dim=1).mean()

    def train(self, mode: bool = True) -> object:
        """Switch dropout and batch norm; False: as when it listens."""
        return self.recognizer.train(mode)
