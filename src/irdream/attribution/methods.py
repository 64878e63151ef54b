"""Methods by gradients, by maps of a layer, by silenced patches, and by a mask that is found."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor

from irdream.arguments import Amount, Count, Positive, checked
from irdream.attribution.base import (
    Baseline,
    FromBaseline,
    baseline_of,
    check_single,
    convolutions,
    mean_gradient,
    over_windows,
    parts_of,
    target_logits,
    watching,
)
from irdream.audio.stft import NATURAL_PER_DB
from irdream.dreaming.ascent import Ascent
from irdream.dreaming.network import check_layers
from irdream.dreaming.objectives import Complement, LogProbability, MeanGain
from irdream.dreaming.parametrizations import StftMask
from irdream.dreaming.probe import probing
from irdream.dreaming.random_streams import item_keys, normal
from irdream.errors import InputError
from irdream.recognizer import Recognizer


@checked
@dataclass(kw_only=True)
class GradientXInput(FromBaseline):
    """Gradient x (input - baseline) (Shrikumar et al. 2016, arXiv:1605.01713)."""

    baseline: Baseline = "silence"

    def gradient(self, recognizer: Recognizer, log_mel: Tensor, targets: Tensor) -> Tensor:
        return mean_gradient(recognizer, log_mel, targets)


@checked
@dataclass(kw_only=True)
class IntegratedGradients(FromBaseline):
    """The gradient's mean on the line from the baseline (Sundararajan et al. 2017, equation 1).

    The sum of the relevance is the logit of the excerpt less that of the baseline, but for the
    rule that integrates: the midpoints of `steps` parts.
    """

    steps: Count = 32  # of the line
    baseline: Baseline = "silence"

    def gradient(self, recognizer: Recognizer, log_mel: Tensor, targets: Tensor) -> Tensor:
        base = baseline_of(recognizer, log_mel, self.baseline).expand_as(log_mel)

        def point(items: Tensor, numbers: Tensor) -> Tensor:
            share = ((numbers + 0.5) / self.steps).to(log_mel)[:, None, None]
            return torch.lerp(base[items], log_mel[items], share)

        return mean_gradient(recognizer, log_mel, targets, point=point, count=self.steps)


@checked
@dataclass(kw_only=True)
class SmoothGrad(FromBaseline):
    """The gradient's mean over noisy copies (Smilkov et al. 2017), x (input - baseline).

    The noise is the same for all items, so that none depends on the others.
    """

    samples: Count = 16  # noisy copies
    noise_db: Amount = 6.0  # standard deviation of the noise on the log-mel
    baseline: Baseline = "silence"
    seed: int = 0  # of the noise

    def gradient(self, recognizer: Recognizer, log_mel: Tensor, targets: Tensor) -> Tensor:
        keys = item_keys([self.seed + i for i in range(self.samples)], log_mel.device)

        def point(items: Tensor, numbers: Tensor) -> Tensor:
            noise = normal(keys[numbers], 0, *log_mel.shape[1:]).to(log_mel)
            return log_mel[items] + self.noise_db * NATURAL_PER_DB * noise

        return mean_gradient(recognizer, log_mel, targets, point=point, count=self.samples)


@checked
@dataclass(kw_only=True)
class GradCAM:
    """Channels of a layer weighed by their mean gradient, summed, and rectified.

    Selvaraju et al. 2017, equations 1 and 2. It is interpolated from the layer's grid to that of
    the log-mel, window by window; a layer that pools all of time says nothing about time.

    Args:
        layer: its name, with output (windows, channels, bands, frames) or (windows, channels,
            frames); None: the last convolution.
    """

    layer: str | None = None

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
                (gradient,) = torch.autograd.grad(value, values, allow_unused=True)
                if gradient is None:
                    raise InputError(
                        f"layer {layer!r} has no part in the logits; choose another by "
                        "attribution.layer"
                    )
                yield _cam(values, gradient, tuple(x.shape[1:]))

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


@checked
@dataclass(kw_only=True)
class Occlusion:
    """Patches side by side are set to the baseline (Zeiler and Fergus 2014, section 4.2).

    What the logit of a window falls by is spread evenly over the patch's bins; it needs no
    gradient. On a network that adds up its input, the sum of the relevance is that of the logit
    less the baseline's.
    """

    needs_gradient = False

    bands: Count = 16  # height of a patch
    frames: Count = 11  # its width; half a window away from an edge it is cut off there
    baseline: Baseline = "silence"  # see `baseline_of`

    @torch.no_grad()
    def __call__(self, recognizer: Recognizer, log_mel: Tensor, targets: Tensor) -> Tensor:
        """Return relevance (items, n_mels, frames)."""
        base = baseline_of(recognizer, log_mel, self.baseline).expand(*log_mel.shape[:2], 1)

        with probing(recognizer) as probe:

            def explain(windows: Tensor, items: Tensor) -> Tensor:
                def logit(given: Tensor) -> Tensor:
                    parts = probe.slices(given)
                    return torch.cat([target_logits(probe(given[p])[0], wanted[p]) for p in parts])

                wanted, relevance = targets[items], torch.zeros_like(windows)
                whole, height, width = logit(windows), *windows.shape[1:]
                corners = product(range(0, height, self.bands), range(0, width, self.frames))
                for top, left in corners:
                    patch = (..., slice(top, top + self.bands), slice(left, left + self.frames))
                    silenced = windows.clone()
                    silenced[patch] = base[items][:, top : top + self.bands]
                    bins = relevance[patch][0].numel()
                    relevance[patch] = ((whole - logit(silenced)) / bins)[:, None, None]
                return relevance

            return over_windows(recognizer, log_mel, explain)


@checked
@dataclass(kw_only=True)
class AscendedMask:
    """A gain m of 0 to 1 on the spectrum that maximizes log p(m) + log(1 - p(1-m)) - s mean(m).

    p is the target's probability in a window of the sound that m lets through, the mean over
    windows is taken; s is `sparsity`. What L-MAC (Paissan et al. 2024) trains a decoder for is here
    found for each excerpt, as a dream: `parametrization=stft_mask`, `objective=mask`, Adam.
    """

    needs_sound = gives_mask = True

    steps: Count = 20  # of the ascent
    step_size: Positive = 0.3  # Adam's, on the logit of the gain
    sparsity: Amount = 4.0  # what a gain of 1 everywhere costs
    bins: Count = 4  # of the spectrum to a point of the mask's grid
    frames: Count = 4  # to a point of it

    def __call__(
        self,
        recognizer: Recognizer,
        log_mel: Tensor,
        targets: Tensor,
        *,
        waveform: Tensor | None = None,
    ) -> Tensor:
        """Return the mean gain of the bins of each band, 0 to 1; InputError without a waveform."""
        if waveform is None:
            raise InputError(
                "AscendedMask masks the sound, and a log-mel alone was given; give a sound file or "
                "waveforms, or choose another method, such as SmoothGrad()"
            )
        ascent = Ascent(
            parametrization=StftMask(bins=self.bins, frames=self.frames),
            objective=LogProbability() + Complement() - self.sparsity * MeanGain(),
            optimizer=torch.optim.Adam, steps=self.steps, step_size=self.step_size,
            confidence=None, keep="last",
        )  # fmt: skip
        seeds = [0] * len(targets)  # nothing is random
        dreams = ascent.run(recognizer, waveform, targets, seeds)
        basis = cast(Tensor, recognizer.stft_grid.mel_basis)
        gain = (basis / basis.sum(dim=1, keepdim=True)) @ dreams.signal.exp()
        return gain[..., : log_mel.shape[-1]]
