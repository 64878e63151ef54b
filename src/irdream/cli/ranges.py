"""Ranges of keys whose arguments do not say theirs yet."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Literal

from annotated_types import Ge, Gt, Le, Len, Lt

from irdream.arguments import Amount, Count, Natural, Positive, Share

RANGES: dict[str, Any] = {
    "dream.step_size": Positive | Annotated[Sequence[Positive], Len(1)],
    "dream.steps": Count,
    "dream.octaves": Count,
    "dream.octave_ratio": Annotated[Sequence[Annotated[float, Ge(1)]], Len(2, 2)],
    "dream.jitter_frames": Natural,
    "dream.start_noise": Amount,
    "dream.consistency_every": Natural,
    "dream.confidence": Share | None,
    "dream.patience": Count | None,
    "dream.budget_db": Positive | Annotated[Sequence[Positive], Len(1)] | None,
    "dream.variations": Count,
    "dream.count": Count,
    "dream.figures": Natural,
    "dream.slice_windows": Count | None,
    "evaluate.threshold": Literal["checkpoint", "validation"] | Annotated[float, Ge(0), Le(1)],
    "evaluate.aggregation": Literal["s1", "s2", "max", "network"],
    "evaluate.batch_windows": Count,
    "evaluate.validation_share": Annotated[float, Gt(0), Lt(1)],
    "evaluate.robust_db": Sequence[Amount],
    "evaluate.robust_steps": Count,
    "evaluate.robust_windows": Count,
    "compare.permutations": Annotated[int, Ge(20)],
    "paper.parts": Literal["excerpts", "noise"]
    | Annotated[Sequence[Literal["excerpts", "noise"]], Len(1)],
    "paper.per_instrument": Count,
    "paper.grid_per_instrument": Count,
    "paper.steps": Count,
    "paper.seconds": Positive,
    "paper.noises": Annotated[int, Ge(2)],
    "paper.noise_steps": Count,
    "paper.permutations": Annotated[int, Ge(20)],
    "paper.griffin_lim_iterations": Natural,
    "paper.second": str | None,
}
