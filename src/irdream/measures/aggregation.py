"""Scores of the windows of excerpts, and one row of scores an excerpt made of them.

An excerpt has any number of windows, so its window scores are an array (windows, instruments) and
a data set's a list of them. Three aggregations, after Han et al., make one row an excerpt:

- s1: the mean of the windows' scores.
- s2: their sum, divided by its maximum over the instruments, so that the best one has 1.
- max: as s2, of the maxima of each instrument over four windows in a row, so that what sounds
  now and then is not averaged away.

s1 and s2 are those of arXiv:1605.09507v1. The journal version (IEEE/ACM TASLP 25(1), 2017) has
s2 and max, and does not say over how many windows; four are 2.5 s.

A fourth, "network", is track-level (unwindowed) prediction: the network gets the whole excerpt.
It needs a network with `any_length = True`, one that pools over all of time, by attention for
example. Time and memory of a forward pass grow with the excerpt: with Han's convolutions 1.5 MB
and half the time of windows for each second. A network that was trained on single seconds and
pools by a maximum loses by it: the shipped one has an mAP of 0.84 on rendered excerpts of 5 to
12 s, and of 0.89 by s1.
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

    Args:
        window_scores: for each excerpt an array (windows, instruments), at least one window.
        aggregation: "s1", "s2" or "max", see the module.
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

    Batches reach across excerpts, which have from one window to thousands. Excerpts are not padded
    to one length, since the last window would then hold padding.

    Args:
        recognizer: in eval mode; its `scores` are taken.
        excerpts: the windows of each, (windows, n_mels, window_frames), at least one.
        batch_windows: the most windows in one forward pass.
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
    """Return the scores (instruments,) of an excerpt that the network gets whole.

    Args:
        recognizer: in eval mode; its `scores` are taken.
        log_mel: of the excerpt, (n_mels, frames).
    """
    return recognizer.scores(recognizer.logits(log_mel[None]))[0].float().cpu().numpy()


def check_any_length(recognizer: Recognizer) -> None:
    """Raise InputError unless the network takes excerpts of any length."""
    if not getattr(recognizer.model, "any_length", False):
        raise InputError(
            "evaluate.aggregation=network gives whole excerpts to a network, and "
            f"{type(recognizer.model).__name__} takes windows of one length; take s1, s2 or max, "
            "or a network with any_length, such as model=attention"
        )
