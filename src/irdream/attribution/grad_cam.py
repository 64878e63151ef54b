"""Grad-CAM: which places of a layer speak for the target."""

from __future__ import annotations

from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from irdream.arguments import checked
from irdream.attribution.base import CONVOLUTIONS, over_windows, parts_of, watching
from irdream.attribution.inspection import check_single
from irdream.dreaming.network import unwrapped
from irdream.errors import InputError
from irdream.recognizer import Recognizer


@checked
class GradCAM:
    """Channels of a layer weighed by their mean gradient, summed, and rectified.

    Selvaraju et al. 2017, equations 1 and 2. It is interpolated from the layer's grid to that of
    the log-mel, window by window; a layer that pools all of time says nothing about time.

    Args:
        layer: its name, with output (windows, channels, bands, frames) or (windows, channels,
            frames); None: the last convolution.
    """

    def __init__(self, *, layer: str | None = None) -> None:
        self.layer = layer

    def __call__(self, recognizer: Recognizer, log_mel: Tensor, targets: Tensor) -> Tensor:
        """Return relevance (items, n_mels, frames), none below 0.

        Raises:
            InputError: for several networks, an unknown layer, one without such an output.
        """
        check_single(recognizer, "Grad-CAM")
        layer = self.layer or _last_convolution(unwrapped(recognizer.model))

        def maps(windows: Tensor, wanted: Tensor) -> Iterator[Tensor]:
            for x, t in zip(parts_of(windows), parts_of(wanted), strict=True):
                logits, values = activations(x.detach().requires_grad_())
                value = logits.gather(1, t[:, None]).sum()
                yield _cam(values, torch.autograd.grad(value, values)[0], tuple(x.shape[1:]))

        with watching(recognizer, layer, "attribution.layer") as activations, torch.enable_grad():
            return over_windows(
                recognizer, log_mel, lambda x, items: torch.cat([*maps(x, targets[items])])
            )


def _cam(activations: Tensor, gradient: Tensor, size: tuple[int, ...]) -> Tensor:
    """Return the rectified map (windows, n_mels, frames) of a layer."""
    weights = gradient.flatten(2).mean(dim=2)
    summed = torch.einsum("nc,nc...->n...", weights, activations.detach()).relu()
    summed = summed if summed.ndim == 3 else summed[:, None]
    return F.interpolate(summed[:, None], size=size, mode="bilinear", align_corners=False)[:, 0]


def _last_convolution(model: nn.Module) -> str:
    """Return the name of the last convolution; InputError where there is none."""
    names = [name for name, module in model.named_modules() if isinstance(module, CONVOLUTIONS)]
    if not names:
        raise InputError(f"{type(model).__name__} has no convolution; give attribution.layer")
    return names[-1]
