"""How soon dreams of excerpts have the confidence, and what they change by then."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor

from benchmarks.contenders import ascent
from benchmarks.problems import Problem, Settings, excerpt_problem
from benchmarks.report import ratio, seconds, summary, take_turns
from irdream.dreaming.best import Dreams
from irdream.dreaming.objectives import Margin
from irdream.dreaming.optimizers import LeastChange, MarginStep
from irdream.measures.dreams import rmse_db

CONFIDENCE = 0.9
LEAST_CHANGE_STEPS = (10, 20, 40)


def dropping(settings: Settings) -> dict[str, Any]:
    """Seconds until all dreams of excerpts have the confidence, finished ones dropped or kept.

    Those that are kept take the steps of the last one, without a stop.
    """
    problem, seeds = excerpt_problem(settings)
    dropped = _dream(problem, seeds, settings)
    steps = max(1, len(dropped.probability_curve) - 1)
    kept = partial(_dream, problem, seeds, settings, confidence=None, steps=steps)
    works = {"dropped": partial(_dream, problem, seeds, settings), "kept": kept}
    timed = {name: partial(seconds, work, settings.device) for name, work in works.items()}
    times = take_turns(timed, rounds=settings.rounds, what="dropping")
    return {
        "dreams": len(seeds),
        "steps_at_most": settings.dream_steps,
        "reached": _share(dropped.reached),
        "item_steps": {"dropped": dropped.item_steps, "kept": steps * len(seeds)},
        "seconds": {name: summary(values) for name, values in times.items()},
        "kept / dropped": ratio(times["kept"], times["dropped"]),
    }


def frontier(settings: Settings) -> dict[str, Any]:
    """Item-steps to the confidence and what the dreams changed, for each rule of stepping."""
    problem, seeds = excerpt_problem(settings)
    rows: dict[str, Any] = {}
    for name, changes in rules(settings.step_sizes_db).items():
        dreams = _dream(problem, seeds, settings, **changes)
        change = rmse_db(problem.start, dreams.log_mel).double().cpu()
        quartiles = torch.quantile(change, torch.tensor([0.25, 0.5, 0.75], dtype=torch.double))
        rows[name] = {
            "reached": _share(dreams.reached),
            "item_steps": dreams.item_steps,
            "median_steps": float(dreams.steps.double().median()),
            "rmse_db_quartiles": [float(f"{value:.4g}") for value in quartiles],
        }
        print(f"frontier: {name}: {rows[name]}", flush=True)
    return {"dreams": len(seeds), "steps_at_most": settings.dream_steps, "rules": rows}


def rules(step_sizes_db: Sequence[float]) -> dict[str, dict[str, Any]]:
    """Return the rules of the frontier: a name, and what it changes in an `Ascent`.

    A new rule is a line here. `least change` goes on after it has the confidence, to its last step.
    """
    adaptive: dict[str, Any] = {"objective": Margin(), "optimizer": MarginStep()}
    least = {"objective": Margin(), "optimizer": LeastChange(), "step_size": 0.5}
    return {
        **{f"fixed {size:g} dB": {"step_size": size} for size in step_sizes_db},
        **{f"margin step, {s:g} dB at most": {**adaptive, "step_size": s} for s in step_sizes_db},
        **{f"least change, {n} steps": {**least, "steps": n} for n in LEAST_CHANGE_STEPS},
    }


def _dream(problem: Problem, seeds: list[int], settings: Settings, **changes: Any) -> Dreams:
    made = ascent(**{"confidence": CONFIDENCE, "steps": settings.dream_steps} | changes)
    return made.run(problem.recognizer, None, problem.targets, seeds, log_mel=problem.start)


def _share(mask: Tensor) -> float:
    return round(float(mask.double().mean()), 4)
