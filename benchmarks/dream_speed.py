"""Speed, overhead and FLOP/s of the contenders, with random weights and log-mels."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.contenders import available, tuned
from benchmarks.libraries import Run
from benchmarks.problems import (
    MIDDLE,
    Problem,
    Settings,
    near_empty_recognizer,
    random_problem,
    random_recognizer,
)
from benchmarks.report import ratio, seconds, summary, take_turns

BATCH_OF_OVERHEAD = 11
STEPS_OF_RISES = 8


def speed(settings: Settings) -> dict[str, Any]:
    """Item-steps per second at each batch size: steps x items / seconds of a whole run.

    A large batch takes minutes on a CPU; there nothing is run to warm up.
    """
    recognizer = random_recognizer(settings.model, settings.device)
    runs: dict[tuple[int, str], Run] = {}
    for items in settings.batches:
        problem = random_problem(recognizer, items)
        found, skipped = available(settings.contenders, problem)
        settings.skipped.update(skipped)
        runs |= {(items, name): run for name, run in found.items()}
    for (items, _), run in runs.items():
        if items <= MIDDLE or settings.device.type != "cpu":
            run(1)  # to warm up
    timed = {
        (items, name): partial(_speed, run, items, settings.steps(items), settings.device)
        for (items, name), run in runs.items()
    }
    speeds = take_turns(timed, rounds=settings.rounds, say=settings.say("speed"))
    by_items = {
        str(items): {
            "steps": settings.steps(items),
            "item_steps_per_second": _by_name(speeds, items, summary),
            "ratio_to_irdream": _by_name(
                speeds, items, partial(_ratio_to, speeds.get((items, "irdream")))
            ),
        }
        for items in settings.batches
    }
    few = random_problem(recognizer, min(settings.batches))
    climbed = _rises({n: run for (items, n), run in runs.items() if items == len(few.start)}, few)
    return {"items": by_items, "target_log_probability": climbed | {"steps": STEPS_OF_RISES}}


def overhead(settings: Settings) -> dict[str, Any]:
    """Milliseconds a step beyond the network's forward and backward pass, on next to no network."""
    recognizer = near_empty_recognizer(settings.device)
    problem = random_problem(recognizer, BATCH_OF_OVERHEAD)
    runs, skipped = available(settings.contenders, problem)
    settings.skipped.update(skipped)
    steps = settings.overhead_steps
    works: dict[str, Callable[[], object]] = {
        "network": partial(_passes, tuned(recognizer.model), problem.start, steps),
        **{name: partial(run, steps) for name, run in runs.items()},
    }
    for work in works.values():
        work()  # to warm up
    timed = {
        name: partial(_milliseconds, work, steps, settings.device) for name, work in works.items()
    }
    times = take_turns(timed, rounds=settings.rounds, say=settings.say("overhead"))
    network = times.pop("network")
    beyond = {
        name: [a - b for a, b in zip(values, network, strict=True)]
        for name, values in times.items()
    }
    return {
        "items": BATCH_OF_OVERHEAD,
        "steps": steps,
        "network_ms": summary(network),
        "overhead_ms": {name: summary(values) for name, values in beyond.items()},
        "ratio_to_irdream": {
            name: _ratio_to(beyond.get("irdream"), values) for name, values in beyond.items()
        },
    }


def flops(settings: Settings) -> dict[str, Any]:
    """FLOP/s of the network's passes over those of a matrix product.

    On CUDA the product is in TF32, since cuDNN's convolutions are by default.
    """
    before = torch.get_float32_matmul_precision()
    if settings.device.type == "cuda":
        torch.set_float32_matmul_precision("high")
    try:
        return _flops(settings)
    finally:
        torch.set_float32_matmul_precision(before)


def _flops(settings: Settings) -> dict[str, Any]:
    recognizer = random_recognizer(settings.model, settings.device)
    items = settings.middle()
    steps = 2 * settings.steps(items)
    problem = random_problem(recognizer, items)
    names = [n for n in ("irdream", "bare") if n in settings.contenders]
    runs, skipped = available(names, problem)
    settings.skipped.update(skipped)
    counted = count_flops(recognizer.model, problem.start[:1])
    per_run = items * (steps * sum(counted.values()) + counted["forward"])  # asked at the end
    matrix = torch.randn(settings.matrix, settings.matrix, device=settings.device)
    product = torch.empty_like(matrix)
    works: dict[str, tuple[Callable[[], object], float]] = {
        "matrix product": (
            lambda: torch.mm(matrix, matrix, out=product),
            2.0 * settings.matrix**3,
        ),
        **{name: (partial(run, steps), float(per_run)) for name, run in runs.items()},
    }
    for work, _ in works.values():
        work()  # to warm up
    timed = {
        name: partial(_rate, work, done, settings.device) for name, (work, done) in works.items()
    }
    rates = take_turns(timed, rounds=settings.rounds, say=settings.say("flops"))
    return {
        "items": items,
        "matrix": settings.matrix,
        "flop_per_item": counted,
        "gflop_per_second": {
            name: summary([value / 1e9 for value in values]) for name, values in rates.items()
        },
        "ratio_to_matrix_product": {
            name: ratio(values, rates["matrix product"])
            for name, values in rates.items()
            if name != "matrix product"
        },
    }


def count_flops(model: nn.Module, log_mel: Tensor) -> dict[str, int]:
    """Return the FLOPs of the matrix products and convolutions of one window's two passes.

    The backward pass is that of the input alone. What is done on each value (activations,
    pooling) is not counted; a multiplication and an addition are two.
    """
    model = tuned(model)
    log_mel = log_mel.detach().clone().requires_grad_()
    with FlopCounterMode(display=False) as forward:
        logits = model(log_mel)
    with FlopCounterMode(display=False) as backward:
        torch.autograd.grad(logits.sum(), log_mel)
    return {"forward": forward.get_total_flops(), "backward": backward.get_total_flops()}


@torch.no_grad()
def _rises(runs: dict[str, Run], problem: Problem) -> dict[str, float]:
    """Return the targets' mean log-probability before and after a few steps of each contender."""
    model = problem.recognizer.model
    row = {"before": float(problem.score(model(problem.start)).mean())}
    for name, run in runs.items():
        with torch.enable_grad():
            dreamed = run(STEPS_OF_RISES)
        row[name] = float(problem.score(model(dreamed)).mean())
    return {name: float(f"{value:.5g}") for name, value in row.items()}


def _speed(run: Run, items: int, steps: int, device: torch.device) -> float:
    return items * steps / seconds(partial(run, steps), device)


def _milliseconds(work: Callable[[], object], steps: int, device: torch.device) -> float:
    return 1e3 * seconds(work, device) / steps


def _rate(work: Callable[[], object], done: float, device: torch.device) -> float:
    return done / seconds(work, device)


def _passes(model: nn.Module, log_mel: Tensor, steps: int) -> None:
    """Do a network's forward and backward pass and nothing else."""
    log_mel = log_mel.detach().clone().requires_grad_()
    for _ in range(steps):
        torch.autograd.grad(model(log_mel).sum(), log_mel)


def _by_name(
    values: dict[tuple[int, str], list[float]],
    items: int,
    form: Callable[[list[float]], Any],
) -> dict[str, Any]:
    return {name: form(rounds) for (n, name), rounds in values.items() if n == items}


def _ratio_to(ours: list[float] | None, values: list[float]) -> dict[str, Any] | None:
    return None if ours is None else ratio(values, ours)
