"""How a gradient becomes a step: normalized for each item, so that a step has a known size."""

from __future__ import annotations

from typing import Literal

from torch import Tensor

from irdream.errors import InputError

Norm = Literal["rms", "mean_abs", "sign", "none"]
_TINY = 1e-20


class NormalizedAscent:
    """gradient (items, ...) -> direction of the same shape, to be multiplied by a step size.

    Args:
        norm: "rms": the root mean square of the direction is one; "mean_abs": its mean
            magnitude is one, as in DeepDream (Mordvintsev et al. 2015); "sign": the sign;
            "none": the gradient as it is.
    """

    def __init__(self, *, norm: Norm = "rms") -> None:
        if norm not in ("rms", "mean_abs", "sign", "none"):
            raise InputError(f"optimizer.norm={norm!r}; expected rms, mean_abs, sign or none")
        self.norm = norm

    def __call__(self, gradient: Tensor) -> Tensor:
        """Return the direction; zero where the gradient is zero."""
        if self.norm == "none":
            return gradient
        if self.norm == "sign":
            return gradient.sign()
        axes = tuple(range(1, gradient.ndim))
        if self.norm == "mean_abs":
            return gradient / gradient.abs().mean(dim=axes, keepdim=True).clamp(min=_TINY)
        # Scaled by the largest magnitude first: squares of tiny gradients underflow.
        gradient = gradient / gradient.abs().amax(dim=axes, keepdim=True).clamp(min=_TINY)
        return gradient / gradient.square().mean(dim=axes, keepdim=True).sqrt().clamp(min=_TINY)
