"""Do others hear the dreams of robust networks at an equal change?

Larger changes transfer anyway, and robust networks need larger ones; so dreams are compared at one
size.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from irdream.arguments import Amount, Count, Positive
from irdream.studies.dreams import joined
from irdream.studies.report import Tables
from irdream.studies.runner import Runner, Variant
from irdream.training.losses import Method, Robust


def robust_dreams(
    runner: Runner,
    *,
    epsilons_db: Sequence[Amount],
    sizes_db: Sequence[Positive],
    method: Method = "fgsm",
    ramp_epochs: Count = 3,
) -> Tables:
    """Train and dream.

    Args:
        epsilons_db: largest changes in training; 0: windows as they are.
        sizes_db: of the dreams, RMSE of the log-mel.
        method: of robust training.
        ramp_epochs: over which changes grow.
    """
    needed, heard, right = [], [], []
    for one in runner.networks([robust(db, method, ramp_epochs) for db in epsilons_db]):
        needed.append(runner.measured(one, "needed", runner.needed))
        at_sizes = partial(runner.at_sizes, sizes_db=sizes_db)
        heard.append(runner.measured(one, "heard", at_sizes, list(sizes_db)))
        right.append(runner.measured(one, "accuracy", runner.accuracy))
    heard.append(runner.controls(sizes_db))
    return {"needed": joined(needed), "heard": joined(heard), "right": joined(right)}


def robust(db: float, method: Method, ramp_epochs: int) -> Variant:
    """Return the variant that trains on changes of at most `db`; 0: on unchanged windows."""
    how = Robust(method, epsilon_db=db, ramp_epochs=ramp_epochs) if db else None
    return Variant(f"{db:g} dB", train={"robust": how} if how else {})
