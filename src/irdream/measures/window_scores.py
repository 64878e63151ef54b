"""The scores of every window of many excerpts, in batches that reach across excerpts.

Excerpts of 5 to 20 s have 9 to 39 windows: one forward pass an excerpt would leave a GPU
idle, and one a recording of ten minutes would need gigabytes. So the windows of several
excerpts wait until a batch is full, and those of a long one fill several batches. Padding
excerpts to one length was rejected: the last window would hear the padding.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator

import torch
from torch import Tensor

from irdream.measures.aggregation import Array
from irdream.recognizer import Recognizer


@torch.no_grad()
def window_scores(
    recognizer: Recognizer, excerpts: Iterable[Tensor], *, batch_windows: int
) -> Iterator[Array]:
    """Yield the scores (windows, instruments) of each excerpt, in order.

    Args:
        recognizer: in eval mode; its `scores` are taken.
        excerpts: the windows of each, (windows, n_mels, window_frames), at least one.
        batch_windows: the most windows in one forward pass.
    """
    waiting: list[Tensor] = []
    for windows in excerpts:
        waiting.append(windows)
        if sum(len(windows) for windows in waiting) >= batch_windows:
            yield from _score(recognizer, waiting, batch_windows)
            waiting = []
    if waiting:
        yield from _score(recognizer, waiting, batch_windows)


def _score(recognizer: Recognizer, excerpts: list[Tensor], batch_windows: int) -> Iterator[Array]:
    windows = torch.cat(excerpts)
    batches = windows.chunk(math.ceil(len(windows) / batch_windows))
    logits = torch.cat([recognizer.logits(batch) for batch in batches])
    scores = recognizer.scores(logits).float().cpu()
    for part in scores.split([len(windows) for windows in excerpts]):
        yield part.numpy()
