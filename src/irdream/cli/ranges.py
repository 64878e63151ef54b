"""Ranges of keys whose arguments do not say theirs yet."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Literal

from annotated_types import Ge, Gt, Le, Len, Lt

from irdream.arguments import Amount, Count

RANGES: dict[str, Any] = {
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
    "paper.noises": Annotated[int, Ge(2)],
    "paper.noise_steps": Count,
    "paper.permutations": Annotated[int, Ge(20)],
}
