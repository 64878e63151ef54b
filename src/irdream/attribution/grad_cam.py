"""Grad-CAM: which places of a layer speak for the target."""

from __future__ import annotations

from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor

from irdream.arguments import checked
from irdream.attribution.base import convolutions, over_windows, parts_of, watching
from irdream.attribution.inspection import check_single
from irdream.dreaming.network import check_layers
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

    def check(self, recognizer: Recognizer) -> str:
        """Return the layer; InputError for several networks, and where there is no such layer."""
        check_single(recognizer, "Grad-CAM")
        layer = self.layer or convolutions(recognizer, "attribution.layer")[-1]
        check_layers(recognizer, [layer])
        return layer

    def __call__(self, recognizer: Recognizer, log_mel: Tensor, targets: Tensor) -> Tensor:
        """Return relevance (items, n_mels, frames), none below 0; InputError as `check`."""
        layer = self.check(recognizer)

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
