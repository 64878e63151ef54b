"""What is asked of any network: mode, wrapping, size of its input, logits among its outputs."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from irdream.errors import InputError

# Held by the thread that has changed a network's modes; in another they would be changed back in
# the middle, and remembered as those to go back to.
ONE_THREAD = threading.RLock()


def unwrapped(model: nn.Module) -> nn.Module:
    """Return the network inside a wrapper of `torch.compile` or of data parallelism."""
    while True:
        if isinstance(model, nn.DataParallel | nn.parallel.DistributedDataParallel):
            model = model.module
        elif type(model).__name__ == "OptimizedModule":  # a class whose import takes a second
            model = model._orig_mod  # type: ignore[assignment]
        else:
            return model


@contextlib.contextmanager
def in_eval(module: nn.Module) -> Iterator[None]:
    """Hold a module in eval mode; each of its parts has its own mode again after the block."""
    with ONE_THREAD:
        # torch.jit.freeze takes the mode away
        modes = [(part, getattr(part, "training", False)) for part in module.modules()]
        try:
            module.eval()
            yield
        finally:
            for part, training in modes:
                part.training = training


def logits_among(output: Any, batch: int, classes: int | None = None) -> Tensor | None:
    """Return the logits (batch, classes) in a network's output; None: there are none.

    Of a tuple, list, mapping or object of several tensors the one named "logits" is taken, or the
    only one of that shape. `classes`: None: any number.
    """
    named = _named(output)
    fit = [
        value
        for value in ([named["logits"]] if "logits" in named else named.values())
        if isinstance(value, Tensor) and value.ndim == 2 and len(value) == batch
        if classes in (None, value.shape[1])
    ]
    return fit[0] if len(fit) == 1 else None


def _named(output: Any) -> Mapping[Any, Any]:
    """Return the parts of a network's output by their names or numbers."""
    if isinstance(output, Tensor):
        return {0: output}
    if isinstance(output, Mapping):
        return output
    if isinstance(output, tuple | list):
        return getattr(output, "_asdict", lambda: dict(enumerate(output)))()
    return getattr(output, "__dict__", {})


def shapes(output: Any) -> str:
    """Describe a network's output: (2, 11), or a tuple of (2, 11), (2, 512)."""
    if isinstance(output, Tensor):
        return str(tuple(output.shape))
    found = [
        (f"{name}=" if isinstance(name, str) else "")
        + (str(tuple(value.shape)) if isinstance(value, Tensor) else type(value).__name__)
        for name, value in _named(output).items()
    ]
    return f"a {type(output).__name__}" + (f" of {', '.join(found)}" if found else "")


def check_size(log_mel: Tensor, *, n_mels: int, frames: int) -> None:
    """Raise InputError for a log-mel of other axes, or smaller than a network can take."""
    if log_mel.ndim != 3 or log_mel.shape[1] < n_mels or log_mel.shape[2] < frames:
        raise InputError(
            f"log_mel={tuple(log_mel.shape)}; expected (batch, n_mels, frames) with at least "
            f"{n_mels} mel bands and {frames} frames; take more bands or longer windows"
        )


def check_network(name: str, part: object) -> None:
    """Raise InputError when the argument `name` is no network; from a yaml it may be anything."""
    if not isinstance(part, nn.Module):
        raise InputError(
            f"{name}={part!r}; expected a torch.nn.Module; in a yaml give its class by _target_"
        )


@torch.no_grad()
def initialize(network: nn.Module, draw: Callable[[Tensor], object]) -> None:
    """Draw the weights of convolutions and dense layers; their biases are 0."""
    for layer in network.modules():
        if isinstance(layer, nn.Conv2d | nn.Linear):
            draw(layer.weight)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
