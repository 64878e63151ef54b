"""Attention over time: each instrument weighs the frames in which it plays.

A body makes maps of a log-mel; at each of their frames a network says how much every instrument
is present there, and how much that is to count. The logits are the weighted mean of these, with
weights that sum to one over time for each instrument. So a window may have any number of
frames, and an instrument that plays in some of them is not averaged away.

Sources: M. Ilse, J. Tomczak, M. Welling, "Attention-based deep multiple instance learning",
ICML 2018; S. Gururani, M. Sharma, A. Lerch, "An attention mechanism for musical instrument
recognition", ISMIR 2019, where every instrument has weights of its own.
"""

from __future__ import annotations

from torch import Tensor, nn

from irdream.errors import InputError
from irdream.models.han2016 import SLOPE
from irdream.models.inputs import check_network


class AttentionPooling(nn.Module):
    """log-mel (batch, n_mels, frames) -> logits (batch, instruments), any number of frames.

    It scores whole excerpts where the body has `any_length = True`.

    Args:
        body: log-mel -> maps (batch, channels, mels, frames) or (batch, channels, frames).
        channels: of the maps.
        hidden: units between the maps and the logits of a frame.

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
        maps = self.body(log_mel)
        if maps.ndim not in (3, 4) or maps.shape[1] != self.channels or 0 in maps.shape[1:]:
            raise InputError(
                f"{type(self.body).__name__} gave {tuple(maps.shape)} for a log-mel "
                f"{tuple(log_mel.shape)}; expected (batch, {self.channels}, mels, frames): "
                "set model.channels, or give longer windows"
            )
        frames = self.frame(maps.amax(dim=2) if maps.ndim == 4 else maps)
        return (self.attention(frames).softmax(dim=2) * self.evidence(frames)).sum(dim=2)
