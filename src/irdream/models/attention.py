"""Attention over time: each instrument weighs the frames in which it is heard.

A body makes maps of a log-mel; at each of their frames a network says how much every instrument
is heard there, and how much that is to count. The answer is the weighted mean of the logits,
with weights that sum to one over time for each instrument. So a window may have any number of
frames, and an instrument that plays in a part of it is not averaged away.

Sources: M. Ilse, J. Tomczak, M. Welling, "Attention-based deep multiple instance learning",
ICML 2018; S. Gururani, M. Sharma, A. Lerch, "An attention mechanism for musical instrument
recognition", ISMIR 2019, where every instrument has weights of its own.
"""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor, nn

from irdream.errors import InputError
from irdream.models.checks import check_network, check_size
from irdream.models.han2016 import SLOPE, Han2016, Han2016BatchNorm


class Han2016Body(nn.Module):
    """log-mel (batch, n_mels, frames) -> maps (batch, 256, mels, frames): Han's convolutions.

    A frame of the maps is 27 of the log-mel further than the one before: 43 make 7 and
    129 make 10, of which the outer ones hear the padding. The weights have the names that they
    have in `Han2016` or, with `batch_norm`, in `Han2016BatchNorm`.
    """

    any_length: ClassVar[bool] = True

    def __init__(self, *, batch_norm: bool = True) -> None:
        super().__init__()
        whole = Han2016BatchNorm() if batch_norm else Han2016()
        self.features = whole.features[:-2]  # without the pooling over all

    def forward(self, log_mel: Tensor) -> Tensor:
        """Return the maps; InputError without a band or a frame."""
        check_size(log_mel, n_mels=1, frames=1)
        return self.features(log_mel.unsqueeze(1))


class AttentionPooling(nn.Module):
    """log-mel (batch, n_mels, frames) -> logits (batch, instruments), any number of frames.

    Whole excerpts are heard where the body has `any_length = True`.

    Args:
        body: log-mel -> maps (batch, channels, mels, frames) or (batch, channels, frames).
        channels: of the maps.
        hidden: units between the maps and the answer of a frame.
        output: "softmax", or "sigmoid" for each instrument by itself.
        instruments: the number of outputs.

    Raises:
        InputError: when `body` is no network.
    """

    def __init__(
        self,
        *,
        body: nn.Module,
        channels: int = 256,
        hidden: int = 512,
        output: str = "softmax",
        instruments: int = 11,
    ) -> None:
        super().__init__()
        check_network("body", body)
        self.output = output
        self.any_length = bool(getattr(body, "any_length", False))
        self.body = body
        self.channels = channels
        self.frame = nn.Sequential(
            nn.Conv1d(channels, hidden, 1), nn.LeakyReLU(SLOPE), nn.Dropout(0.5)
        )
        self.evidence = nn.Conv1d(hidden, instruments, 1)
        self.attention = nn.Conv1d(hidden, instruments, 1)

    def forward(self, log_mel: Tensor) -> Tensor:
        """Return the logits of each window; InputError when the maps are not as said."""
        frames = self._frames(log_mel)
        return (self.attention(frames).softmax(dim=2) * self.evidence(frames)).sum(dim=2)

    def weights(self, log_mel: Tensor) -> Tensor:
        """Return how much each frame of the maps counts: (batch, instruments, frames)."""
        return self.attention(self._frames(log_mel)).softmax(dim=2)

    def _frames(self, log_mel: Tensor) -> Tensor:
        """Return (batch, hidden, frames), from the maximum over the mel bands of the maps."""
        maps = self.body(log_mel)
        if maps.ndim not in (3, 4) or maps.shape[1] != self.channels or 0 in maps.shape[1:]:
            raise InputError(
                f"{type(self.body).__name__} gave {tuple(maps.shape)} for a log-mel "
                f"{tuple(log_mel.shape)}; expected (batch, {self.channels}, mels, frames): "
                "set model.channels, or give longer windows"
            )
        return self.frame(maps.amax(dim=2) if maps.ndim == 4 else maps)
