"""Methods that need gradients alone, so that they hold for any network.

All give a gradient times what the excerpt has above the baseline: a band that is as quiet as
silence has no relevance, and on a linear network all three are its weights times the input.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor

from irdream.arguments import Amount, Count, Positive, checked
from irdream.attribution.base import (
    Baseline,
    baseline_of,
    check_single,
    convolutions,
    mean_gradient,
    over_windows,
    parts_of,
    target_logits,
    watching,
)
from irdream.dreaming.ascent import Ascent
from irdream.dreaming.network import check_layers
from irdream.dreaming.objectives import Complement, LogProbability, MeanGain
from irdream.dreaming.parametrizations import StftMask
from irdream.dreaming.parametrizations.base import NATURAL_PER_DB
from irdream.dreaming.probe import probing
from irdream.dreaming.random_streams import item_keys, normal
from irdream.errors import InputError
from irdream.recognizer import Recognizer


@checked
class GradientXInput:
    """Gradient x (input - baseline) (Shrikumar et al. 2016, arXiv:1605.01713).

    Args:
        baseline: see `baseline_of`.
    """

    def __init__(self, *, baseline: Baseline = "silence") -> None:
        self.baseline: Baseline = baseline

    def __call__(self, recognizer: Recognizer, log_mel: Tensor, targets: Tensor) -> Tensor:
        """Return relevance (items, n_mels, frames)."""
        base = baseline_of(recognizer, log_mel, self.baseline)
        return mean_gradient(recognizer, log_mel, targets) * (log_mel - base)


@checked
class IntegratedGradients:
    """The gradient's mean on the line from the baseline (Sundararajan et al. 2017, equation 1).

    The sum of the relevance is the logit of the excerpt less that of the baseline, but for the
    rule that integrates: the midpoints of `steps` parts.

    Args:
        steps: of the line.
        baseline: see `baseline_of`.
    """

    def __init__(self, *, steps: Count = 32, baseline: Baseline = "silence") -> None:
        self.steps = steps
        self.baseline: Baseline = baseline

    def __call__(self, recognizer: Recognizer, log_mel: Tensor, targets: Tensor) -> Tensor:
        """Return relevance (items, n_mels, frames)."""
        base = baseline_of(recognizer, log_mel, self.baseline).expand_as(log_mel)

        def point(items: Tensor, numbers: Tensor) -> Tensor:
            share = ((numbers + 0.5) / self.steps).to(log_mel)[:, None, None]
            return torch.lerp(base[items], log_mel[items], share)

        gradient = mean_gradient(recognizer, log_mel, targets, point=point, count=self.steps)
        return gradient * (log_mel - base)


@checked
class SmoothGrad:
    """The gradient's mean over noisy copies (Smilkov et al. 2017), x (input - baseline).

    The noise is the same for all items, so that none depends on the others.

    Args:
        samples: noisy copies.
        noise_db: standard deviation of the noise on the log-mel.
        baseline: see `baseline_of`.
        seed: of the noise.
    """

    def __init__(
        self,
        *,
        samples: Count = 16,
        noise_db: Amount = 6.0,
        baseline: Baseline = "silence",
        seed: int = 0,
    ) -> None:
        self.samples, self.noise_db, self.seed = samples, noise_db, seed
        self.baseline: Baseline = baseline

    def __call__(self, recognizer: Recognizer, log_mel: Tensor, targets: Tensor) -> Tensor:
        """Return relevance (items, n_mels, frames)."""
        base = baseline_of(recognizer, log_mel, self.baseline)
        keys = item_keys([self.seed + i for i in range(self.samples)], log_mel.device)

        def point(items: Tensor, numbers: Tensor) -> Tensor:
            noise = normal(keys[numbers], 0, *log_mel.shape[1:]).to(log_mel)
            return log_mel[items] + self.noise_db * NATURAL_PER_DB * noise

        gradient = mean_gradient(recognizer, log_mel, targets, point=point, count=self.samples)
        return gradient * (log_mel - base)


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


@checked
class Occlusion:
    """Patches side by side are set to the baseline (Zeiler and Fergus 2014, section 4.2).

    What the logit of a window falls by is spread evenly over the patch's bins. On a network that
    adds up its input, the sum of the relevance is that of the logit less the baseline's.

    Args:
        bands: height of a patch.
        frames: its width; half a window away from an edge it is cut off there.
        baseline: see `baseline_of`.
    """

    def __init__(
        self, *, bands: Count = 16, frames: Count = 11, baseline: Baseline = "silence"
    ) -> None:
        self.bands, self.frames = bands, frames
        self.baseline: Baseline = baseline

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
class AscendedMask:
    """A gain m of 0 to 1 on the spectrum that maximizes log p(m) + log(1 - p(1-m)) - s mean(m).

    p is the target's probability in a window of the sound that m lets through, the mean over
    windows is taken; s is `sparsity`. What L-MAC (Paissan et al. 2024) trains a decoder for is here
    found for each excerpt, as a dream: `parametrization=stft_mask`, `objective=mask`, Adam.

    Args:
        steps: of the ascent.
        step_size: Adam's, on the logit of the gain.
        sparsity: what a gain of 1 everywhere costs.
        bins: of the spectrum to a point of the mask's grid.
        frames: to a point of it.
    """

    needs_sound = gives_mask = True

    def __init__(
        self,
        *,
        steps: Count = 20,
        step_size: Positive = 0.3,
        sparsity: Amount = 4.0,
        bins: Count = 4,
        frames: Count = 4,
    ) -> None:
        self.ascent = Ascent(
            parametrization=StftMask(bins=bins, frames=frames),
            objective=LogProbability() + Complement() - sparsity * MeanGain(),
            optimizer=torch.optim.Adam,
            step_size=step_size,
            steps=steps,
            confidence=None,
            keep="last",
        )

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
        seeds = [0] * len(targets)  # nothing is random
        dreams = self.ascent.run(recognizer, waveform, targets, seeds)
        basis = cast(Tensor, recognizer.stft_grid.mel_basis)
        gain = (basis / basis.sum(dim=1, keepdim=True)) @ dreams.signal.exp()
        return gain[..., : log_mel.shape[-1]]
