"""What training makes small, for windows with one label or several.

`categorical`: -sum_k t_k log p_k with p = `recognizer.probabilities`: of a softmax, or of sigmoids
rescaled to sum to one, as Keras did for Han et al. (2016); t are shares that sum to one. `binary`:
the sum of each instrument's cross-entropy; all that has a share of the label is present.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Literal

import torch
import torch.nn.functional as F
from annotated_types import Ge, Le
from torch import Tensor, nn

from irdream.arguments import checked
from irdream.errors import InputError
from irdream.recognizer import Recognizer
from irdream.runtime import has_bfloat16


@checked
@dataclass(frozen=True)
class Loss:
    """logits and labels (batch, instruments) -> the loss of each, (batch, instruments).

    `label_smoothing` is the share of the labels that is spread evenly: over all instruments, or for
    `binary` over present and absent.
    """

    kind: Literal["categorical", "binary"] = "categorical"
    label_smoothing: Annotated[float, Ge(0), Le(0.99)] = 0.0

    def check(self, recognizer: Recognizer) -> None:
        """Raise InputError where the recognizer's outputs are not those of the loss."""
        if self.kind == "binary" and recognizer.output != "sigmoid":
            raise InputError(
                f"train.loss=binary needs sigmoids, and {type(recognizer.model).__name__} has a "
                "softmax; give model.output=sigmoid"
            )

    def __call__(
        self, recognizer: Recognizer, logits: Tensor, labels: Tensor, *, smooth: bool = False
    ) -> Tensor:
        """Return the terms of the loss, of which a window's is the sum; smoothed in training."""
        smoothing = self.label_smoothing if smooth else 0.0
        if self.kind == "binary":
            present = (labels > 0).to(logits.dtype)
            targets = present * (1 - smoothing) + smoothing / 2 if smoothing else present
            return F.binary_cross_entropy_with_logits(logits, targets, reduction="none")
        shares = labels / labels.sum(dim=1, keepdim=True).clamp(min=1e-9)
        if smoothing:
            shares = shares * (1 - smoothing) + smoothing / labels.shape[1]
        return -(shares * recognizer.log_probabilities(logits))

    def divergence(self, recognizer: Recognizer, logits: Tensor, others: Tensor) -> Tensor:
        """Return the terms of the Kullback-Leibler divergence from `logits` to `others`."""
        if self.kind == "binary":
            present, absent = logits.sigmoid(), (-logits).sigmoid()
            return present * (F.logsigmoid(logits) - F.logsigmoid(others)) + absent * (
                F.logsigmoid(-logits) - F.logsigmoid(-others)
            )
        one, other = recognizer.log_probabilities(logits), recognizer.log_probabilities(others)
        return one.exp() * (one - other)


@dataclass
class ForwardPass:
    """A recognizer in training: its outputs, their loss, and the precision of both.

    `network` is used in the model's place, such as an average of its weights.
    """

    recognizer: Recognizer
    terms: Loss = field(default_factory=Loss)
    mixed_precision: bool = False
    network: nn.Module | None = None

    def logits(self, windows: Tensor) -> Tensor:
        """Return (batch, instruments) in float32; InputError for less windows than it needs."""
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
