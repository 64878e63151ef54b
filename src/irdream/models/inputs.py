"""What networks check of their input and of the networks they are made of."""

from __future__ import annotations

from torch import Tensor, nn

from irdream.errors import InputError


def check_size(log_mel: Tensor, *, n_mels: int, frames: int) -> None:
    """Check a log-mel (batch, n_mels, frames) against the smallest that a network can take.

    Raises:
        InputError: when it has other axes, fewer mel bands or fewer frames.
    """
    if log_mel.ndim != 3 or log_mel.shape[1] < n_mels or log_mel.shape[2] < frames:
        raise InputError(
            f"log_mel={tuple(log_mel.shape)}; expected (batch, n_mels, frames) with at least "
            f"{n_mels} mel bands and {frames} frames; take more bands or longer windows"
        )


def check_network(name: str, part: object) -> None:
    """Check that the argument `name` is a network; from a yaml it may be anything.

    Raises:
        InputError: when it is none.
    """
    if not isinstance(part, nn.Module):
        raise InputError(
            f"{name}={part!r}; expected a torch.nn.Module; in a yaml give its class by _target_"
        )
