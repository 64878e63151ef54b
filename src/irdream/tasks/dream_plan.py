"""What a dream run is to do: excerpts, and items that each go from one toward a target."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from irdream.datasets.base import Excerpt
from irdream.datasets.starts import Start
from irdream.dreaming.ascent import Ascent
from irdream.dreaming.targets import Item, parse_targets, plan
from irdream.errors import InputError
from irdream.recognizer import Recognizer


@dataclass(frozen=True, kw_only=True)
class DreamPlan:
    """What is dreamed.

    Attributes:
        ascent: how; with the step size, where there is but one.
        targets: as they were asked for.
        excerpts: what there is to dream on.
        bad: a line for each that could not be read.
        items: excerpt, target, step size, budget, variation of each dream.
    """

    ascent: Ascent
    targets: Sequence[str]
    excerpts: Sequence[Excerpt]
    bad: Sequence[str]
    items: Sequence[Item]


def plan_dreams(
    recognizer: Recognizer,
    start: Start,
    target: str | Sequence[str],
    ascent: Ascent,
    *,
    step_size: float | Sequence[float] | None,
    budget_db: float | Sequence[float] | None,
    variations: int,
    seed: int,
) -> DreamPlan:
    """Return what is to be dreamed; arguments and errors as of `irdream.tasks.dream.dream`."""
    targets = parse_targets(target)
    step_sizes, budgets_db = _several("step_size", step_size), _several("budget_db", budget_db)
    if len(step_sizes) == 1 and step_sizes[0] is not None:  # then files are not named by it
        ascent, step_sizes = replace(ascent, step_size=step_sizes[0]), [None]
    if variations < 1:
        raise InputError(f"dream.variations={variations}; expected at least 1")
    excerpts, bad = start.excerpts(
        sample_rate_hz=recognizer.sample_rate_hz, min_seconds=recognizer.window_seconds
    )
    if not excerpts:
        raise InputError(f"nothing to dream on: {bad[0] if bad else 'no excerpts'}")
    items = plan(
        targets,
        [e.name for e in excerpts],
        [e.labels for e in excerpts],
        seed=seed,
        step_sizes=step_sizes,
        budgets_db=budgets_db,
        variations=variations,
    )
    return DreamPlan(ascent=ascent, targets=targets, excerpts=excerpts, bad=bad, items=items)


def _several(name: str, value: Any) -> list[float | None]:
    """Return a number or several of them as a list; [None] for None.

    Raises:
        InputError: when one is no number above 0.
    """
    values = list(value) if isinstance(value, list | tuple) else [value]
    if value is None:
        return [None]
    for one in values:
        if isinstance(one, bool) or not isinstance(one, int | float) or not one > 0:
            raise InputError(
                f"dream.{name}={value}; expected a number above 0, or a list of such numbers"
            )
    if not values:
        raise InputError(f"dream.{name} is an empty list; expected numbers above 0")
    return list(dict.fromkeys(float(one) for one in values))  # files are named by them
