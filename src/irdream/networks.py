"""What is asked of any network: its mode, what it is wrapped in, the logits among its outputs."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from typing import Any

from torch import Tensor, nn


def unwrapped(model: nn.Module) -> nn.Module:
    """Return the network inside what `torch.compile` or a data-parallel wrapper made of it."""
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
    modes = [(part, part.training) for part in module.modules()]
    try:
        module.eval()
        yield
    finally:
        for part, training in modes:
            part.training = training


def logits_among(output: Any, batch: int, classes: int | None = None) -> Tensor | None:
    """Return the logits (batch, classes) among what a network gives; None: there are none.

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
    """Return what a network gives by names or numbers."""
    if isinstance(output, Tensor):
        return {0: output}
    if isinstance(output, Mapping):
        return output
    if isinstance(output, tuple | list):
        return getattr(output, "_asdict", lambda: dict(enumerate(output)))()
    return getattr(output, "__dict__", {})


def shapes(output: Any) -> str:
    """Describe what a network gives: (2, 11), or a tuple of (2, 11), (2, 512)."""
    if isinstance(output, Tensor):
        return str(tuple(output.shape))
    found = [
        (f"{name}=" if isinstance(name, str) else "")
        + (str(tuple(value.shape)) if isinstance(value, Tensor) else type(value).__name__)
        for name, value in _named(output).items()
    ]
    return f"a {type(output).__name__}" + (f" of {', '.join(found)}" if found else "")
