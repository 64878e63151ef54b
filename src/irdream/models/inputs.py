"""What networks check of their input and of the networks they are made of, and first weights."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from irdream.errors import InputError


def check_size(log_mel: Tensor, *, n_mels: int, frames: int) -> None:
    """Raise InputError for a log-mel of other axes, or smaller than a network can take."""
    if log_mel.ndim != 3 or log_mel.shape[1] < n_mels or log_mel.shape[2] < frames:
        raise InputError(
            f"log_mel={tuple(log_mel.shape)}; expected (batch, n_mels, frames) with at least "
            f"{n_mels} mel bands and {frames} frames; take more bands or longer windows"
        )


def check_network(name: str, part: object) -> None:
    """Raise InputError when the argument `name` is no network; from a yaml it may be anything."""
    if not isinstance(part, nn.Module):
        raise InputError(
            f"{name}={part!r}; expected a torch.nn.Module; in a yaml give its class by _target_"
        )


@torch.no_grad()
def initialize(network: nn.Module, draw: Callable[[Tensor], object]) -> None:
    """Draw the weights of convolutions and dense layers; their biases are 0."""
    for layer in network.modules():
        if isinstance(layer, nn.Conv2d | nn.Linear):
            draw(layer.weight)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
