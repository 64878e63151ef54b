"""Scores of the windows of excerpts, and one row of scores an excerpt made of them.

Window scores are an array (windows, instruments) an excerpt. Three aggregations, after Han et al.:
s1, the mean of the windows' scores; s2, their sum divided by its maximum over the instruments; max,
as s2, of the maxima over four windows in a row. s1 and s2 are those of arXiv:1605.09507v1, s2 and
max those of IEEE/ACM TASLP 25(1), 2017, which does not say over how many windows. A fourth,
"network", is track-level prediction: a network with `any_length = True` gets the whole excerpt.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from irdream.errors import InputError
from irdream.recognizer import Recognizer

Array = NDArray[np.floating]

AGGREGATIONS = ("s1", "s2", "max")
NETWORK = "network"
POOLED_WINDOWS = 4


def aggregate(window_scores: Sequence[Array], aggregation: str) -> Array:
    """Return the excerpts' scores (excerpts, instruments) by one of AGGREGATIONS.

    `window_scores` has for each excerpt an array (windows, instruments), at least one window.
    """
    windows = [np.asarray(scores, float) for scores in window_scores]
    if aggregation == "max":
        windows = [_local_maxima(scores) for scores in windows]
    means = np.stack([scores.mean(axis=0) for scores in windows])
    if aggregation == "s1":
        return means
    # The sum over the windows is their mean times their number, which the division removes.
    maxima = means.max(axis=1, keepdims=True)
    return np.divide(means, maxima, out=np.zeros_like(means), where=maxima > 0)


def _local_maxima(scores: Array) -> Array:
    """Return the maxima over POOLED_WINDOWS windows in a row, or over all where there are fewer."""
    pooled = min(POOLED_WINDOWS, len(scores))
    return np.lib.stride_tricks.sliding_window_view(scores, pooled, axis=0).max(axis=-1)


@torch.no_grad()
def window_scores(
    recognizer: Recognizer, excerpts: Iterable[Tensor], *, batch_windows: int
) -> Iterator[Array]:
    """Yield the scores (windows, instruments) of each excerpt, in order.

    Batches of at most `batch_windows` reach across excerpts, whose windows are (windows, n_mels,
    window_frames). They are not padded to one length: the last window would hold padding.
    """
    waiting: list[Tensor] = []
    for windows in excerpts:
        waiting.append(windows)
        if sum(map(len, waiting)) >= batch_windows:
            yield from _score(recognizer, waiting, batch_windows)
            waiting = []
    if waiting:
        yield from _score(recognizer, waiting, batch_windows)


def _score(recognizer: Recognizer, excerpts: list[Tensor], batch_windows: int) -> Iterator[Array]:
    windows = torch.cat(excerpts)
    batches = windows.chunk(math.ceil(len(windows) / batch_windows))
    logits = torch.cat([recognizer.logits(batch) for batch in batches])
    scores = recognizer.scores(logits).float().cpu()
    for of_excerpt in scores.split([len(windows) for windows in excerpts]):
        yield of_excerpt.numpy()


@torch.no_grad()
def unwindowed_scores(recognizer: Recognizer, log_mel: Tensor) -> Array:
    """Return the scores (instruments,) of a log-mel (n_mels, frames) that is given whole."""
    return recognizer.scores(recognizer.logits(log_mel[None]))[0].float().cpu().numpy()


def check_any_length(recognizer: Recognizer) -> None:
    """Raise InputError unless the network takes excerpts of any length."""
    if not getattr(recognizer.model, "any_length", False):
        raise InputError(
            "evaluate.aggregation=network gives whole excerpts to a network, and "
            f"{type(recognizer.model).__name__} takes windows of one length; take s1, s2 or max, "
            "or a network with any_length, such as model=attention"
        )
