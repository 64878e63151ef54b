"""What `python -m benchmarks.dream` compares: the same ascent, done by irdream and by others.

A run is the same job for all: from log-mels (items, n_mels, frames) that are one window long, some
steps of gradient ascent on the target's score, for the whole batch, without early stop, random
start, transforms or budget; at the end the network is asked what it says of the result. Eval mode
and float32 throughout. A step is 0.25 dB RMS, that of Adam about as large.

    irdream          `Ascent` as `task=dream` runs it: log-mel, log-probability, steps of one RMS.
                     It also judges and records every iterate and keeps the best.
    plain            what one writes without a library: weights that want gradients, contiguous;
                     `backward()` on the whole batch; irdream's objective and step.
    torchattacks     3.5.1: targeted `PGD`; mean cross-entropy, sign of the gradient of the input
                     alone. It clips to [0, 1], so a wrapper scales: two operations a step more.
    foolbox          3.3.4: targeted `LinfPGD`; summed cross-entropy, sign; with bounds.
    lucent           0.1.8: `render_vis` with irdream's objective on its own `pixel_image`, without
                     preprocessing and resizing; Adam. It hooks every module.
    bare             as little as can be done: frozen weights, gradient of the input alone,
                     channels_last, slices of 16 windows; irdream's objective and step.

The libraries get the network as `plain` has it, as their documents show. One that cannot be
imported is left out and the reason given. foolbox fits beside irdream: `pip install -e '.[bench]'`.
The others ask for a torchvision that brings another torch, so they get a folder:

    pip install --target DIR --no-deps torchattacks==3.5.1 torch-lucent==0.1.8 kornia==0.4.1 \\
        tqdm foolbox==3.3.4 eagerpy
    pip install --target DIR ipython
    PYTHONPATH=DIR python -m benchmarks.dream
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.libraries import (
    Run,
    UnavailableError,
    ask,
    foolbox,
    lucent,
    torchattacks,
)
from benchmarks.problems import LEAST, MOST, Problem
from irdream.dreaming.ascent import Ascent
from irdream.dreaming.objectives import LogProbability
from irdream.dreaming.optimizers import NormalizedAscent
from irdream.dreaming.parametrizations import LogMel

SLICE_WINDOWS = {"cpu": 16}  # of the bare loop
SLICE_WINDOWS_ELSEWHERE = 512
Contender = Callable[[Problem], Run]


def irdream(problem: Problem) -> Run:
    """Return irdream's own loop."""
    seeds = list(range(len(problem.start)))

    def run(steps: int) -> Tensor:
        dreams = ascent(steps=steps, step_size=problem.step_db).run(
            problem.recognizer, None, problem.targets, seeds, log_mel=problem.start
        )
        return dreams.signal

    return run


def ascent(**changes: Any) -> Ascent:
    """Return irdream's ascent on log-mels, without a stop unless one is named."""
    settings: dict[str, Any] = {
        "parametrization": LogMel(),
        "objective": LogProbability(),
        "optimizer": NormalizedAscent(norm="rms"),
        "confidence": None,
    }
    return Ascent(**settings | changes)


def plain(problem: Problem) -> Run:
    """Return the loop that one writes without a library."""
    model = untuned(problem.recognizer.model)

    def run(steps: int) -> Tensor:
        log_mel = problem.start.clone()
        for _ in range(steps):
            log_mel.requires_grad_()
            problem.score(model(log_mel)).sum().backward()
            assert log_mel.grad is not None
            log_mel = (log_mel.detach() + problem.step * _rms_one(log_mel.grad)).clamp(LEAST, MOST)
        ask(model, log_mel)
        return log_mel

    return run


def bare(problem: Problem) -> Run:
    """Return the least that can be done in PyTorch."""
    model = tuned(problem.recognizer.model)
    size = SLICE_WINDOWS.get(problem.start.device.type, SLICE_WINDOWS_ELSEWHERE)

    def run(steps: int) -> Tensor:
        log_mel = problem.start
        for _ in range(steps):
            parts = zip(log_mel.split(size), problem.targets.split(size), strict=True)
            log_mel = torch.cat([step(part, targets) for part, targets in parts])
        for part in log_mel.split(size):
            ask(model, part)
        return log_mel

    def step(log_mel: Tensor, targets: Tensor) -> Tensor:
        log_mel = log_mel.detach().requires_grad_()
        (gradient,) = torch.autograd.grad(problem.score(model(log_mel), targets).sum(), log_mel)
        return (log_mel.detach() + problem.step * _rms_one(gradient)).clamp_(LEAST, MOST)

    return run


def untuned(model: nn.Module) -> nn.Module:
    """Return a copy of a model as it was constructed: its weights want gradients, contiguous."""
    model = copy.deepcopy(model).eval().requires_grad_(True)
    return model.to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]


def tuned(model: nn.Module) -> nn.Module:
    """Return a copy of a model that is frozen and channels_last."""
    model = copy.deepcopy(model).eval().requires_grad_(False)
    return model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]


CONTENDERS: dict[str, Contender] = {
    "irdream": irdream,
    "plain": plain,
    "torchattacks": partial(torchattacks, prepare=untuned),
    "foolbox": partial(foolbox, prepare=untuned),
    "lucent": partial(lucent, prepare=untuned),
    "bare": bare,
}


def available(names: Sequence[str], problem: Problem) -> tuple[dict[str, Run], dict[str, str]]:
    """Return the contenders that can run, and why the others cannot."""
    runs: dict[str, Run] = {}
    skipped: dict[str, str] = {}
    for name in names:
        try:
            runs[name] = CONTENDERS[name](problem)
        except UnavailableError as error:
            skipped[name] = str(error)
    return runs, skipped


def _rms_one(gradient: Tensor) -> Tensor:
    """Return the gradient with a root mean square of one for each item."""
    rms = gradient.square().mean(dim=(1, 2), keepdim=True).sqrt()
    return gradient / rms.clamp(min=1e-20)
