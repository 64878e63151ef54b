from collections.abc import Callable, Sequence

import numpy as np
import pytest
import torch
from torch import Tensor


class InMemory:
    """Log-mels (n_mels, frames) of excerpts, to cut windows from."""

    def __init__(self, log_mels: Sequence[Tensor]) -> None:
        self.log_mels = list(log_mels)
        self.frames = np.array([log_mel.shape[1] for log_mel in log_mels])

    def windows(
        self, excerpt_indices: np.ndarray, start_frames: np.ndarray, window_frames: int
    ) -> Tensor:
        assert (start_frames >= 0).all()
        assert (start_frames + window_frames <= self.frames[excerpt_indices]).all()
        starts = zip(excerpt_indices, start_frames, strict=True)
        return torch.stack([self.log_mels[i][:, s : s + window_frames] for i, s in starts])


@pytest.fixture
def in_memory() -> Callable[[Sequence[Tensor]], InMemory]:
    return InMemory
