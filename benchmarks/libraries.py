"""The ascents of torchattacks, foolbox and lucent; how they are set up: `benchmarks.contenders`."""

from __future__ import annotations

import importlib
import sys
import types
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.problems import LEAST, MOST, Problem

Run = Callable[[int], Tensor]  # from a number of steps to the dreamed log-mels
Prepare = Callable[[nn.Module], nn.Module]  # what network they get


class UnavailableError(Exception):
    """A contender cannot run here; its one line says why."""


def torchattacks(problem: Problem, *, prepare: Prepare) -> Run:
    """Return PGD of torchattacks."""
    library = _imported("torchattacks")
    model = _Scaled(prepare(problem.recognizer.model), LEAST, MOST).eval()
    start = (problem.start[:, None] - LEAST) / (MOST - LEAST)

    def run(steps: int) -> Tensor:
        attack = library.PGD(
            model, eps=1.0, alpha=problem.step / (MOST - LEAST), steps=steps, random_start=False
        )
        attack.set_mode_targeted_by_label(quiet=True)
        dreamed = attack(start, problem.targets)
        ask(model, dreamed)
        return dreamed[:, 0] * (MOST - LEAST) + LEAST

    return run


def foolbox(problem: Problem, *, prepare: Prepare) -> Run:
    """Return LinfPGD of foolbox."""
    library = _imported("foolbox")
    model = _Scaled(prepare(problem.recognizer.model)).eval()
    bounds = (LEAST - 1e-3, MOST + 1e-3)  # it refuses what float32 rounds beyond a bound
    wrapped = library.PyTorchModel(model, bounds=bounds, device=problem.start.device)
    criterion = library.criteria.TargetedMisclassification(problem.targets)
    start = problem.start[:, None]

    def run(steps: int) -> Tensor:
        attack = library.attacks.LinfPGD(abs_stepsize=problem.step, steps=steps, random_start=False)
        return attack(wrapped, start, criterion, epsilons=MOST - LEAST)[0][:, 0]

    return run


def lucent(problem: Problem, *, prepare: Prepare) -> Run:
    """Return render_vis of lucent."""
    with _stand_in_for_torchvision():
        render = _imported("lucent.optvis.render", package="torch-lucent")
        spatial = _imported("lucent.optvis.param.spatial", package="torch-lucent")
    spatial.device = problem.start.device  # else it takes CUDA wherever there is any
    model = _Scaled(prepare(problem.recognizer.model)).eval()

    def run(steps: int) -> Tensor:
        image: list[Tensor] = []

        def pixels() -> tuple[list[Tensor], Callable[[], Tensor]]:
            tensors, show = spatial.pixel_image((len(problem.start), 1, *problem.start.shape[1:]))
            image[:] = tensors
            tensors[0].data.copy_(problem.start[:, None])
            return tensors, show

        render.render_vis(
            model, lambda layer: -problem.score(layer("labels")).sum(), pixels,
            optimizer=partial(torch.optim.Adam, lr=problem.step), thresholds=(steps,),
            transforms=[], preprocess=False, fixed_image_size=0, progress=False, show_image=False,
        )  # fmt: skip
        for module in model.modules():
            module._forward_hooks.clear()
        dreamed = image[0].detach()
        ask(model, dreamed)
        return dreamed[:, 0]

    return run


@torch.no_grad()
def ask(model: nn.Module, log_mel: Tensor) -> Tensor:
    return model(log_mel)


class _Scaled(nn.Module):
    """Takes pictures (items, 1, n_mels, frames) with values from 0 to 1 or, without a range, any.

    Args:
        model: log-mel (items, n_mels, frames) -> logits.
        scale: least and most value that the model is to get.
    """

    def __init__(self, model: nn.Module, *scale: float) -> None:
        super().__init__()
        self.scale = scale
        self.model = model

    def forward(self, picture: Tensor) -> Tensor:
        log_mel = picture[:, 0]
        if self.scale:
            least, most = self.scale
            log_mel = log_mel * (most - least) + least
        return self.model(log_mel)


def _imported(name: str, *, package: str | None = None) -> Any:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return importlib.import_module(name)
    except ModuleNotFoundError as error:
        missing = f"; {error.name} is missing" if error.name != name.partition(".")[0] else ""
        raise UnavailableError(f"{package or name} is not installed{missing}") from error
    except Exception as error:  # whatever an old library meets beside a new torch
        reason = " ".join(str(error).split())[:120]
        raise UnavailableError(
            f"{package or name} cannot be imported: {type(error).__name__}: {reason}"
        ) from error


@contextmanager
def _stand_in_for_torchvision() -> Iterator[None]:
    """Let lucent be imported beside a torch of another build than torchvision's.

    lucent takes one class from torchvision, `Normalize`, for preprocessing that is turned off here.
    """
    names = ("torchvision", "torchvision.transforms")
    if "lucent.optvis.render" in sys.modules or _can_be_imported(names[1]):
        yield
        return
    for name in [name for name in sys.modules if name.partition(".")[0] == names[0]]:
        del sys.modules[name]  # what was imported of it before it failed
    modules: dict[str, Any] = {name: types.ModuleType(name) for name in names}
    modules[names[1]].Normalize = None
    sys.modules.update(modules)
    try:
        yield
    finally:
        for name in names:
            del sys.modules[name]


def _can_be_imported(name: str) -> bool:
    try:
        importlib.import_module(name)
    except Exception:
        return False
    return True
