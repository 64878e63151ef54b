"""Objectives on the network's outputs, and penalties on the dream itself.

A penalty is at least 0, and larger where a dream is rougher, further away or easier to hear:
`log_probability - 0.01 * total_variation`. Penalties read the log-mel (items, n_mels, frames)
before random views, in dB; or, where a network takes sound, a waveform (items, samples), in units
of full scale and along its one axis.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from irdream.arguments import Amount, checked
from irdream.audio.stft import NATURAL_PER_DB, stft
from irdream.dreaming.batch import Originals
from irdream.dreaming.objectives.base import (
    ForwardOutput,
    Objective,
    Prepared,
    ReadLayers,
    of_target,
)
from irdream.errors import InputError

LEAST_POWER = 1e-30  # so that nothing is divided by 0


class LogProbability(Objective):
    """log p of the target, averaged over the windows: low windows pull hardest.

    The default. The score cannot run away as a logit does, since it ends at zero.
    """

    reads_output = True

    def __call__(self, output: ForwardOutput, targets: Tensor) -> Tensor:
        return of_target(output.log_probabilities, targets).mean(dim=1)

    def goal(self, confidence: float) -> float:
        return math.log(confidence)


class Probability(Objective):
    """The target's probability, averaged over the windows; its gradient vanishes at 0 and 1."""

    reads_output = True

    def __call__(self, output: ForwardOutput, targets: Tensor) -> Tensor:
        return of_target(output.log_probabilities, targets).exp().mean(dim=1)

    def goal(self, confidence: float) -> float:
        return confidence


class Logit(Objective):
    """The target's logit, averaged over the windows, as in DeepDream.

    Under a softmax it can grow without raising the probability.
    """

    reads_output = True

    def __call__(self, output: ForwardOutput, targets: Tensor) -> Tensor:
        return of_target(output.logits, targets).mean(dim=1)


class Margin(Objective):
    """The target's log-odds: log p_t less the log-sum-exp of the others' log p.

    It is straight where log p bends, and neither ends nor runs away with what all logits share.
    """

    reads_output = True

    def __call__(self, output: ForwardOutput, targets: Tensor) -> Tensor:
        logs = output.log_probabilities
        return (of_target(logs, targets) - _of_others(logs, targets)).mean(dim=1)

    def goal(self, confidence: float) -> float:
        return math.log(confidence / (1.0 - confidence))


class Complement(Objective):
    """log(1 - p) of the target in the original less the dream, averaged over the windows.

    Beside `LogProbability` it asks for a part of the sound that has the answer and whose rest has
    lost it (Paissan, Ravanelli and Subakan 2024, "Listenable Maps for Audio Classifiers").
    """

    reads_output = True
    _recognizer: Any = None  # of the run

    def prepare(self, read_layers: ReadLayers, originals: Originals) -> Prepared:
        """Keep the recognizer, which is asked about the rest in each step."""
        self._recognizer = originals.recognizer
        return {}

    def __call__(self, output: ForwardOutput, targets: Tensor) -> Tensor:
        """Return (items,); InputError where the dream is no sound."""
        if output.waveform is None or output.start_waveform is None:
            raise InputError(
                "objective Complement of dreams that are no sound; expected a parametrization that "
                "makes sound: parametrization=stft_mask"
            )
        rest = self._recognizer.log_mel(output.start_waveform - output.waveform)
        logs = self._recognizer.log_probabilities(self._recognizer.window_logits(rest))
        return _of_others(logs, targets).mean(dim=1)


class MeanGain(Objective):
    """The mean of the gain, where the parametrization is one: of a mask, how much it lets through.

    To be subtracted. A gain of 1 everywhere costs 1.
    """

    def __call__(self, output: ForwardOutput, targets: Tensor) -> Tensor:
        return _mean(output.signal.exp())


class TotalVariation(Objective):
    """The mean absolute step from band to band and from frame to frame, summed, in dB.

    One edge costs as much as a slope to the same height. Source: Rudin, Osher and Fatemi 1992.
    """

    def __call__(self, output: ForwardOutput, targets: Tensor) -> Tensor:
        steps = [output.log_mel.diff(dim=axis) for axis in range(1, output.log_mel.ndim)]
        total = torch.stack([_mean(step.abs()) for step in steps]).sum(dim=0)
        return _unit(output) * total


class L1(Objective):
    """The mean absolute change from the start, in dB; it leaves most places as they were."""

    def __call__(self, output: ForwardOutput, targets: Tensor) -> Tensor:
        return _unit(output) * _mean((output.log_mel - output.start).abs())


class L2(Objective):
    """The mean square of the change from the start, in dB^2.

    The square and not its root: a root has no gradient at the start, where every dream begins.
    """

    def __call__(self, output: ForwardOutput, targets: Tensor) -> Tensor:
        return _unit(output) ** 2 * _mean((output.log_mel - output.start).square())


@checked
@dataclass(kw_only=True, repr=False, eq=False)
class Blur(Objective):
    """The mean squared difference to the blurred log-mel, along each axis on its own, in dB^2.

    The blur is [1 2 1] / 4 with repeated edges: a slope costs nothing, what alternates costs
    most. Subtracted, it draws a dream toward its blur a little in each step (after Yosinski and
    others 2015, "Understanding neural networks through deep visualization").
    """

    mels: Amount = 1.0  # weight of the blur along the mel bands
    frames: Amount = 1.0  # of that along the frames, or a waveform's samples

    def __call__(self, output: ForwardOutput, targets: Tensor) -> Tensor:
        log_mel = output.log_mel
        along_frames = self.frames * _mean(_from_blur(log_mel, -1).square())
        if log_mel.ndim < 3:
            return along_frames
        along_mels = self.mels * _mean(_from_blur(log_mel, -2).square())
        return _unit(output) ** 2 * (along_mels + along_frames)


@dataclass(kw_only=True, repr=False, eq=False)
class MaskingPenalty(Objective):
    """How far the change lies above the masking threshold, in dB, the mean over all bins.

    Bins below the threshold count as 0, so that only what is audible is pushed down, as in Qin et
    al. (2019), section 4; in dB, since of powers the loudest bin alone would rule the gradient.
    Where the parametrization makes sound, the bins are those of its spectrum; otherwise mel bands,
    whose threshold is the sum of their bins' (as magnitudes), weighed as the front end does.
    """

    margin_db: float = 0.0  # how far below the threshold the change should stay
    full_scale_db: float | None = None  # dB SPL of a sine of amplitude 1; None: loudest bin is 96

    def __post_init__(self) -> None:
        self._frontend: Any = None  # of the run

    def prepare(self, read_layers: ReadLayers, originals: Originals) -> Prepared:
        """Return the powers from which a change is audible, of bins and of mel bands."""
        frontend = self._frontend = originals.recognizer.stft_grid
        bins = (originals.masked_for(self) * 10.0 ** (-self.margin_db / 10.0)).clamp(
            min=LEAST_POWER
        )
        basis = frontend.mel_basis.to(bins.dtype)
        bands = torch.matmul(basis, bins[..., : originals.log_mel.shape[-1]].sqrt()).square()
        return {f"{self!r} bins": bins, f"{self!r} bands": bands}

    def __call__(self, output: ForwardOutput, targets: Tensor) -> Tensor:
        if output.waveform is None or output.start_waveform is None:
            power = (output.log_mel.exp() - output.start.exp()).square()
            threshold = output.prepared[f"{self!r} bands"]
        else:
            change = stft(output.waveform - output.start_waveform, self._frontend)
            power = change.real.square() + change.imag.square()
            threshold = output.prepared[f"{self!r} bins"]
        # From 1 up, that is from 0 dB: a logarithm of 0 never appears, nor in a gradient.
        ratio = (power / threshold).clamp(min=1.0)
        return 10.0 * ratio.log10().mean(dim=(1, 2))


def _of_others(logs: Tensor, targets: Tensor) -> Tensor:
    """Return log(1 - p) of the targets, (items, windows), of log p (items, windows, classes)."""
    own = torch.zeros_like(logs[:, :1], dtype=torch.bool).scatter(2, targets[:, None, None], True)
    return logs.masked_fill(own, -torch.inf).logsumexp(dim=2)


def _from_blur(values: Tensor, axis: int) -> Tensor:
    """Return [1 2 1] / 4 of the values less the values: a quarter of their second difference."""
    first, last = values.narrow(axis, 0, 1), values.narrow(axis, values.shape[axis] - 1, 1)
    return values.diff(n=2, dim=axis, prepend=first, append=last) / 4.0


def _mean(values: Tensor) -> Tensor:
    """Return (items,), zero where an axis of length one has no steps."""
    return values.flatten(1).sum(dim=1) / max(1, math.prod(values.shape[1:]))


def _unit(output: ForwardOutput) -> float:
    """Return dB for each unit of a log-mel; a waveform's unit stays."""
    return 1.0 / NATURAL_PER_DB if output.log_mel.ndim == 3 else 1.0
