"""What the ascent asks of a parametrization."""

from __future__ import annotations

from typing import Protocol

from torch import Tensor

from irdream.recognizer import Recognizer


class Parametrization(Protocol):
    """See the package."""

    step_unit: str

    def start(self, recognizer: Recognizer, waveform: Tensor) -> Tensor: ...
    def step(self, signal: Tensor, step_size: float) -> Tensor: ...
    def constrain(self, signal: Tensor) -> Tensor: ...
    def log_mel(self, recognizer: Recognizer, signal: Tensor) -> Tensor: ...
    def waveform(self, signal: Tensor) -> Tensor | None: ...
