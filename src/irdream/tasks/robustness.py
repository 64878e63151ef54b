"""How often a recognizer stays right when each value of the log-mel may change by so many dB.

The change is sought by projected gradient ascent on the loss (PGD; Madry et al. 2018): `steps`
steps of 2.5 epsilon / steps, from several random starts. What is found is an upper bound of the
robust accuracy: another attack may find more. A window that is misled by a small change counts as
misled for every larger one, since the same change is allowed there.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import pandas as pd
import torch
from torch import Tensor

from irdream.errors import InputError
from irdream.recognizer import Recognizer
from irdream.training.hearing import Hearing
from irdream.training.robust import DB_PER_UNIT, perturb

EPSILONS_DB = (0.0, 0.25, 0.5, 1.0, 2.0, 4.0)


def robust_accuracy(
    recognizer: Recognizer,
    windows: Tensor,
    labels: Tensor,
    *,
    epsilons_db: Sequence[float] = EPSILONS_DB,
    steps: int = 20,
    starts: int = 1,
    batch_windows: int = 128,
    seed: int = 0,
) -> pd.DataFrame:
    """Return a row for each epsilon: `epsilon_db`, `windows`, `top1`, `error`, `steps`, `starts`.

    `top1` is the share of windows whose highest probability is one of their labels, `error` its
    standard error over windows. A window costs epsilons * steps * starts forward and backward
    passes; windows misled by a smaller change are left out.

    Args:
        recognizer: in eval mode.
        windows: log-mels (windows, n_mels, window_frames).
        labels: (windows, instruments), each with one or more.
        epsilons_db: greatest changes; 0: none.
        steps, starts: of the search; 0 steps where epsilon is 0.
        batch_windows: in one pass.
        seed: of the random starts.

    Raises:
        InputError: no windows, no epsilons or one below 0, `steps` or `starts` below 1.
    """
    _check(windows, epsilons_db, steps, starts)
    generator = torch.Generator().manual_seed(seed)
    right, rows = torch.ones(len(windows), dtype=torch.bool), []
    for epsilon_db in sorted(epsilons_db):
        tries = starts if epsilon_db > 0 else 1
        for _ in range(tries):
            left = right.nonzero()[:, 0]
            for some in left.split(batch_windows):
                batch = windows[some].to(recognizer.device), labels[some].to(recognizer.device)
                right[some] = _stays_right(recognizer, *batch, epsilon_db, steps, generator)
        top1 = right.float().mean().item()
        rows.append(
            {
                "epsilon_db": float(epsilon_db),
                "windows": len(windows),
                "top1": top1,
                "error": math.sqrt(top1 * (1 - top1) / len(windows)),
                "steps": steps if epsilon_db > 0 else 0,
                "starts": tries,
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
    hearing, epsilon = Hearing(recognizer), epsilon_db / DB_PER_UNIT
    if epsilon > 0:
        noise = torch.rand(windows.shape, generator=generator).to(windows.device) * 2 - 1
        windows = perturb(
            lambda changed: hearing.loss(hearing.logits(changed), labels),
            windows,
            start=noise * epsilon,
            epsilon=epsilon,
            step=2.5 * epsilon / steps,
            steps=steps,
        )
    with torch.no_grad():
        top = hearing.logits(windows).argmax(dim=1, keepdim=True)
    return (labels.gather(1, top)[:, 0] > 0).cpu()


def _check(windows: Tensor, epsilons_db: Sequence[float], steps: int, starts: int) -> None:
    if not len(windows):
        raise InputError("no windows to mislead; expected at least one")
    if not len(epsilons_db) or min(epsilons_db) < 0:
        raise InputError(f"epsilons_db={list(epsilons_db)}; expected numbers, 0 or more")
    for name, value in (("steps", steps), ("starts", starts)):
        if value < 1:
            raise InputError(f"{name}={value} is too small; expected 1 or more")
