"""Ranges of keys whose arguments do not say theirs yet."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Literal

from annotated_types import Ge, Len

from irdream.arguments import Count

RANGES: dict[str, Any] = {
    "paper.parts": Literal["excerpts", "noise"]
    | Annotated[Sequence[Literal["excerpts", "noise"]], Len(1)],
    "paper.per_instrument": Count,
    "paper.grid_per_instrument": Count,
    "paper.steps": Count,
    "paper.noises": Annotated[int, Ge(2)],
    "paper.noise_steps": Count,
    "paper.permutations": Annotated[int, Ge(20)],
}
