"""Speed, overhead and FLOP/s of the contenders, with random weights and log-mels."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from functools import partial
from typing import Any, TypeVar

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
Name = TypeVar("Name", bound=Hashable)
Values = Mapping[str, list[float]]


def speed(settings: Settings) -> dict[str, Any]:
    """Item-steps per second at each batch size: steps x items / seconds of a whole run.

    A large batch takes minutes on a CPU; there nothing is run to warm up.
    """
    recognizer = random_recognizer(settings.model, settings.device)
    runs: dict[tuple[int, str], Run] = {}
    for items in settings.batches:
        found = _runs(settings, settings.contenders, random_problem(recognizer, items))
        runs |= {(items, name): run for name, run in found.items()}
    works = {
        (items, name): (partial(run, settings.steps(items)), float(items * settings.steps(items)))
        for (items, name), run in runs.items()
    }
    for (items, _), run in runs.items():
        if items <= MIDDLE or settings.device.type != "cpu":
            run(1)  # to warm up
    speeds = _rates(works, settings, "speed")
    by_items = {}
    for items in settings.batches:
        found = {name: values for (n, name), values in speeds.items() if n == items}
        by_items[str(items)] = {
            "steps": settings.steps(items),
            "item_steps_per_second": _summaries(found),
            "ratio_to_irdream": _ratios(found, "irdream"),
        }
    return {"items": by_items}


def overhead(settings: Settings) -> dict[str, Any]:
    """Milliseconds a step beyond the network's forward and backward pass, on next to no network."""
    recognizer = near_empty_recognizer(settings.device)
    problem, steps = random_problem(recognizer, BATCH_OF_OVERHEAD), settings.overhead_steps
    runs = _runs(settings, settings.contenders, problem)
    works = {
        "network": partial(_passes, tuned(recognizer.model), problem.start, steps),
        **{name: partial(run, steps) for name, run in runs.items()},
    }
    for work in works.values():
        work()  # to warm up
    rates = _rates({name: (work, steps) for name, work in works.items()}, settings, "overhead")
    times = {name: [1e3 / rate for rate in values] for name, values in rates.items()}
    network = times.pop("network")
    beyond = {
        name: [a - b for a, b in zip(values, network, strict=True)]
        for name, values in times.items()
    }
    return {
        "items": BATCH_OF_OVERHEAD,
        "steps": steps,
        "network_ms": summary(network),
        "overhead_ms": _summaries(beyond),
        "ratio_to_irdream": _ratios(beyond, "irdream"),
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
    items, rows = settings.middle(), settings.matrix
    steps, problem = 2 * settings.steps(items), random_problem(recognizer, items)
    runs = _runs(settings, [n for n in ("irdream", "bare") if n in settings.contenders], problem)
    counted = count_flops(recognizer.model, problem.start[:1])
    per_run = items * (steps * sum(counted.values()) + counted["forward"])  # asked at the end
    matrix = torch.randn(rows, rows, device=settings.device)
    product = torch.empty_like(matrix)
    works: dict[str, tuple[Callable[[], object], float]] = {
        "matrix product": (lambda: torch.mm(matrix, matrix, out=product), 2.0 * rows**3),
        **{name: (partial(run, steps), per_run) for name, run in runs.items()},
    }
    for work, _ in works.values():
        work()  # to warm up
    rates = _rates(works, settings, "flops")
    giga = {name: [rate / 1e9 for rate in values] for name, values in rates.items()}
    ratios = _ratios(giga, "matrix product")
    return {
        "items": items,
        "matrix": rows,
        "flop_per_item": counted,
        "gflop_per_second": _summaries(giga),
        "ratio_to_matrix_product": {name: ratios[name] for name in runs},
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


def _passes(model: nn.Module, log_mel: Tensor, steps: int) -> None:
    """Do a network's forward and backward pass and nothing else."""
    log_mel = log_mel.detach().clone().requires_grad_()
    for _ in range(steps):
        torch.autograd.grad(model(log_mel).sum(), log_mel)


def _runs(settings: Settings, names: Sequence[str], problem: Problem) -> dict[str, Run]:
    """Return the contenders that can run; note why others cannot."""
    runs, skipped = available(names, problem)
    settings.skipped.update(skipped)
    return runs


def _rates(
    works: Mapping[Name, tuple[Callable[[], object], float]], settings: Settings, part: str
) -> dict[Name, list[float]]:
    """Return how much a second each work does in each round; a work and how much it is."""

    def rate(work: Callable[[], object], amount: float) -> float:
        return amount / seconds(work, settings.device)

    timed = {name: partial(rate, *work) for name, work in works.items()}
    return take_turns(timed, rounds=settings.rounds, what=part)


def _summaries(values: Values) -> dict[str, Any]:
    return {name: summary(rounds) for name, rounds in values.items()}


def _ratios(values: Values, base: str) -> dict[str, Any]:
    """Return the ratios to one of them; None where that did not run."""
    if base not in values:
        return dict.fromkeys(values)
    return {name: ratio(rounds, values[base]) for name, rounds in values.items()}
