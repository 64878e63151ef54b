"""How often a recognizer stays right when each value of the log-mel may change by so many dB.

The change is sought by projected gradient ascent (PGD; Madry et al. 2018) from a random start. What
rises is how far the highest logit of another instrument is above that of the label, as the loss of
a sure network hardly changes (Carlini and Wagner 2017). It is an upper bound: another attack may
find more. A window for which a small change was found counts as wrong for every larger one. With
256 windows, 20 steps and four sizes the shipped network takes 74 s on one core.
"""

from __future__ import annotations

import contextlib
import copy
import itertools
import math
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from typing import TypeVar

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from irdream.arguments import Amount, Count, checked
from irdream.audio.stft import DB_PER_NATURAL
from irdream.datasets.base import ExcerptFile, Excerpts, multi_hot
from irdream.errors import InputError
from irdream.measures.bootstrap import share_interval
from irdream.progress import track
from irdream.recognizer import Recognizer
from irdream.training.losses import perturb

Item = TypeVar("Item")
_NONE = (
    "evaluate.robust_db is measured on excerpts with one label, and there is none that can be "
    "read; leave it out, or try evaluate.part=training"
)


@checked
def robustness(
    recognizer: Recognizer,
    excerpts: Excerpts,
    epsilons_db: Sequence[Amount],
    *,
    steps: Count = 20,
    windows: Count = 256,
    batch_windows: Count = 128,
    seed: int = 0,
) -> pd.DataFrame:
    """Return `robust_accuracy` on windows of a part of a data set; empty without epsilons.

    A row of 0 dB, the same windows unchanged, is always there. At most so many `windows` are taken,
    of excerpts with one label. Raises InputError as `check_robustness`, for an argument out of
    range, and when no excerpt with one label can be read.
    """
    check_robustness(recognizer, excerpts.files, epsilons_db)
    if not len(epsilons_db):
        return pd.DataFrame()
    return robust_accuracy(
        recognizer,
        *drawn_windows(recognizer, excerpts, windows, seed=seed),
        epsilons_db={0.0, *map(float, epsilons_db)},
        steps=steps,
        batch_windows=batch_windows,
        seed=seed,
    )


@checked
def check_robustness(
    recognizer: Recognizer, files: Sequence[ExcerptFile], epsilons_db: Sequence[Amount]
) -> None:
    """Raise InputError, before excerpts are read, without a single label or a gradient."""
    if len(epsilons_db) and all(len(file.labels) != 1 for file in files):
        raise InputError(_NONE)
    if any(epsilons_db) and not _has_gradient(recognizer):
        raise InputError(
            "evaluate.robust_db needs a network with a gradient, and "
            f"{type(recognizer.model).__name__} has none; leave it out"
        )


def _has_gradient(recognizer: Recognizer) -> bool:
    """Say whether the logits of a silent window follow its values."""
    recognizer = copy.deepcopy(recognizer).eval()  # one to be trained keeps its mode and statistics
    samples = round(2 * recognizer.window_seconds * recognizer.sample_rate_hz)
    with torch.no_grad():
        log_mel = recognizer.log_mel(torch.zeros(1, samples, device=recognizer.device))
        window = recognizer.windows(log_mel)[:, 0]
        recognizer.logits(window)  # raises here what has nothing to do with gradients
    window.requires_grad_()
    try:
        logits = recognizer.logits(window)
    except InputError:
        return False
    if not logits.requires_grad:
        return False
    return torch.autograd.grad(logits.sum(), window, allow_unused=True)[0] is not None


def drawn_windows(
    recognizer: Recognizer, excerpts: Excerpts, count: int, *, seed: int = 0
) -> tuple[Tensor, Tensor, list[str]]:
    """Return at most `count` windows (windows, n_mels, window_frames), labels and recordings.

    They are of excerpts with one label: one of each instrument in turn, and of each of its excerpts
    in turn. Excerpts that cannot be read are left out; without any InputError is raised.
    """
    files = excerpts.files

    def of(i: int) -> Iterator[tuple[Tensor, int]]:
        windows = _windows(recognizer, excerpts, i)
        for place in np.random.default_rng([seed, i]).permutation(len(windows)):
            yield windows[place], i

    order = np.random.default_rng(seed).permutation(len(files)).tolist()
    each = [
        _in_turn([of(i) for i in order if files[i].labels == (code,)])
        for code in recognizer.instruments
    ]
    found = list(itertools.islice(_in_turn(each), count))
    if not found:
        raise InputError(_NONE)
    windows, places = zip(*found, strict=True)
    labels = multi_hot([files[i].labels for i in places], recognizer.instruments)
    return torch.stack(windows), labels, [files[i].recording for i in places]


def _in_turn(several: Iterable[Iterator[Item]]) -> Iterator[Item]:
    """Yield one of each in turn, until all are through."""
    waiting = deque(several)
    while waiting:
        one = waiting.popleft()
        with contextlib.suppress(StopIteration):
            yield next(one)
            waiting.append(one)


@torch.no_grad()
def _windows(recognizer: Recognizer, excerpts: Excerpts, i: int) -> Tensor:
    """Return the windows of an excerpt, on the CPU; none where it cannot be read."""
    try:
        waveform = excerpts[i].waveform[None].to(recognizer.device)
        return recognizer.windows(recognizer.log_mel(waveform))[0].cpu()
    except InputError:
        return torch.empty(0)


def robust_accuracy(
    recognizer: Recognizer,
    windows: Tensor,
    labels: Tensor,
    recordings: Sequence[str] | None = None,
    *,
    epsilons_db: set[float],
    steps: int = 20,
    batch_windows: int = 128,
    seed: int = 0,
) -> pd.DataFrame:
    """Return a row for each epsilon: epsilon_db, windows, recordings, top1, low, high, steps.

    `top1` is the share of windows (windows, n_mels, window_frames) whose highest probability is one
    of their labels (windows, instruments), with its 95 % interval by drawing whole recordings.
    """
    generator = torch.Generator().manual_seed(seed)
    right, rows = torch.ones(len(windows), dtype=torch.bool), []
    for epsilon_db in sorted(epsilons_db):
        batches = right.nonzero()[:, 0].split(batch_windows) if right.any() else ()
        for some in track(batches, f"changing by {epsilon_db:g} dB", total=len(batches)):
            batch = windows[some].to(recognizer.device), labels[some].to(recognizer.device)
            right[some] = _stays_right(recognizer, *batch, epsilon_db, steps, generator)
        top1 = share_interval(right.numpy(), recordings)
        rows.append(
            {
                "epsilon_db": float(epsilon_db),
                "windows": len(windows),
                "recordings": len(set(recordings or range(len(windows)))),
                "top1": top1.estimate,
                "low": top1.low,
                "high": top1.high,
                "steps": steps if epsilon_db > 0 else 0,
            }
        )
    return pd.DataFrame(rows)


def _stays_right(
    recognizer: Recognizer,
    windows: Tensor,
    labels: Tensor,
    epsilon_db: float,
    steps: int,
    generator: torch.Generator,
) -> Tensor:
    """Return for each window whether it is right after the search, (batch,), on the CPU."""
    epsilon = epsilon_db / DB_PER_NATURAL

    def lead(changed: Tensor) -> Tensor:
        """Return how far another instrument is above all labels, summed over the windows."""
        logits = recognizer.logits(changed)
        others = logits.masked_fill(labels > 0, -math.inf).amax(dim=1)
        return (others - logits.masked_fill(labels == 0, -math.inf).amax(dim=1)).sum()

    if epsilon > 0:
        noise = torch.rand(windows.shape, generator=generator).to(windows.device) * 2 - 1
        windows = perturb(lead, windows, start=noise * epsilon, epsilon=epsilon, steps=steps)
    with torch.no_grad():
        top = recognizer.logits(windows).argmax(dim=1, keepdim=True)
    return (labels.gather(1, top)[:, 0] > 0).cpu()
