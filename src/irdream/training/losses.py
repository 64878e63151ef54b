"""Losses, of windows with one label or several, unchanged or adversarial.

`categorical`: -sum_k t_k log p_k with p = `recognizer.probabilities`: of a softmax, or of sigmoids
rescaled to sum to one, as Keras did for Han et al. (2016); t are shares that sum to one. `binary`:
the sum of each instrument's cross-entropy; all that has a share of the label is present.

Networks that stay right are trained on adversarial windows: a change is a log-mel whose values are
at most `epsilon_db`, in the direction that raises the loss.

| method | source | forward and backward passes for a step of the optimizer |
| --- | --- | --- |
| fgsm | one step from a random start (Wong, Rice and Kolter 2020) | 2 |
| free | the step on the weights gives the one on the change, too (Shafahi et al. 2019) | 1 |
| pgd | `steps` steps from a random start (Madry et al. 2018) | steps + 1 |
| trades | clean loss, and the divergence to the changed (Zhang et al. 2019) | steps + 2 to 3 |

`free` makes `steps` optimizer steps on each batch: divide train.epochs by it. The others seek
changes on the network in eval mode. The size rises over the first epochs. For a categorical loss
changes are sought with a softmax of the same logits, since rescaled sigmoids hardly change where
several are near 1; not so in `free`, which has one gradient for both.
"""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Callable, Iterator
from dataclasses import KW_ONLY, dataclass, field
from typing import Annotated, Literal

import torch
import torch.nn.functional as F
from annotated_types import Ge, Le
from torch import Tensor, nn

from irdream.arguments import Count, Natural, Positive, checked
from irdream.audio.stft import DB_PER_NATURAL
from irdream.errors import InputError
from irdream.recognizer import Recognizer
from irdream.runtime import has_bfloat16

Method = Literal["fgsm", "free", "pgd", "trades"]
Objective = Callable[[Tensor], Tensor]
VALIDATION_STEPS = 3


@checked
@dataclass(frozen=True)
class Loss:
    """logits and labels (batch, instruments) -> the loss of each, (batch, instruments).

    `label_smoothing` is the share of the labels that is spread evenly: over all instruments, or for
    `binary` over present and absent.
    """

    kind: Literal["categorical", "binary"] = "categorical"
    label_smoothing: Annotated[float, Ge(0), Le(0.99)] = 0.0

    def check(self, recognizer: Recognizer) -> None:
        """Raise InputError where the loss does not fit the recognizer's output function."""
        if self.kind == "binary" and recognizer.output != "sigmoid":
            raise InputError(
                f"train.loss=binary needs sigmoids, and {type(recognizer.model).__name__} has a "
                "softmax; give model.output=sigmoid"
            )

    def __call__(
        self, recognizer: Recognizer, logits: Tensor, labels: Tensor, *, smooth: bool = False
    ) -> Tensor:
        """Return the terms of the loss, of which a window's is the sum; smoothed in training."""
        smoothing = self.label_smoothing if smooth else 0.0
        if self.kind == "binary":
            present = (labels > 0).to(logits.dtype)
            targets = present * (1 - smoothing) + smoothing / 2 if smoothing else present
            return F.binary_cross_entropy_with_logits(logits, targets, reduction="none")
        shares = labels / labels.sum(dim=1, keepdim=True).clamp(min=1e-9)
        if smoothing:
            shares = shares * (1 - smoothing) + smoothing / labels.shape[1]
        return -(shares * recognizer.log_probabilities(logits))

    def divergence(self, recognizer: Recognizer, logits: Tensor, others: Tensor) -> Tensor:
        """Return the terms of the Kullback-Leibler divergence from `logits` to `others`."""
        if self.kind == "binary":
            present, absent = logits.sigmoid(), (-logits).sigmoid()
            return present * (F.logsigmoid(logits) - F.logsigmoid(others)) + absent * (
                F.logsigmoid(-logits) - F.logsigmoid(-others)
            )
        one, other = recognizer.log_probabilities(logits), recognizer.log_probabilities(others)
        return one.exp() * (one - other)


@dataclass
class ForwardPass:
    """A recognizer in training: its outputs, their loss, and the precision of both.

    `network` is used in the model's place, such as an average of its weights.
    """

    recognizer: Recognizer
    terms: Loss = field(default_factory=Loss)
    mixed_precision: bool = False
    network: nn.Module | None = None

    def logits(self, windows: Tensor) -> Tensor:
        """Return (batch, instruments) in float32; InputError for less windows than it needs."""
        device = self.recognizer.device
        enabled = self.mixed_precision and has_bfloat16(device)
        try:
            with torch.autocast(device.type, dtype=torch.bfloat16, enabled=enabled):
                return self.recognizer.logits(windows, self.network).float()
        except ValueError as error:
            if "more than 1 value per channel" not in str(error):
                raise
            raise InputError(
                f"{type(self.recognizer.model).__name__} has a batch norm that cannot be trained "
                f"on {len(windows)} window at a time; give a larger train.batch_size, or more sound"
            ) from error

    def loss(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Return the mean loss of training, with smoothed labels where that was asked for."""
        return self.terms(self.recognizer, logits, labels, smooth=True).sum(dim=1).mean()

    def divergence(self, logits: Tensor, others: Tensor) -> Tensor:
        """Return the mean divergence from `logits` to `others`."""
        return self.terms.divergence(self.recognizer, logits, others).sum(dim=1).mean()


# Adversarial windows


def perturb(
    objective: Objective, windows: Tensor, *, start: Tensor, epsilon: float, steps: int
) -> Tensor:
    """Return windows changed by at most `epsilon`, in the direction in which `objective` rises.

    A step is 2.5 epsilon / steps, so that steps reach every change from every start; a single one
    is 1.25 epsilon, as is best from a random start (Wong, Rice and Kolter 2020).
    """
    step = epsilon * (1.25 if steps == 1 else 2.5 / max(1, steps))
    change = start.clamp(-epsilon, epsilon)
    with torch.enable_grad():
        for _ in range(steps):
            change = change.detach().requires_grad_()
            (gradient,) = torch.autograd.grad(objective(windows + change), change)
            change = (change.detach() + step * gradient.sign()).clamp(-epsilon, epsilon)
    return windows + change.detach()


@checked
@dataclass(eq=False)
class Robust:
    """Robust training by one of the methods above."""

    method: Method
    _: KW_ONLY
    epsilon_db: Positive = 1.0  # greatest change of a value of the log-mel
    steps: Count = 4  # of `pgd` and `trades`; how often `free` uses a batch
    ramp_epochs: Natural = 5  # over which the change grows to `epsilon_db`
    weight: Positive = 6.0  # of the divergence in `trades`

    def __post_init__(self) -> None:
        self._full = self._epsilon = self.epsilon_db / DB_PER_NATURAL
        self._change: Tensor | None = None  # what `free` takes from batch to batch

    def begin_epoch(self, epoch: int) -> None:
        """Set the size of the changes; epochs count from 1."""
        self._epsilon = self._full * min(1.0, epoch / max(1, self.ramp_epochs))
        self._change = None

    def losses(
        self, forward_pass: ForwardPass, windows: Tensor, labels: Tensor, generator: torch.Generator
    ) -> Iterator[Tensor]:
        """Yield a loss for each step of the optimizer on this batch."""
        if self.method == "free":
            yield from self._free(forward_pass, windows, labels, generator)
            return
        forward_pass.recognizer.eval()
        attacked = _with_softmax(forward_pass)
        objective = _loss_of(attacked, labels)
        if self.method == "trades":
            objective = _divergence_from(attacked, windows)
        changed = perturb(
            objective,
            windows,
            start=self._random(windows, generator),
            epsilon=self._epsilon,
            steps=1 if self.method == "fgsm" else self.steps,
        )
        forward_pass.recognizer.train()
        if self.method != "trades":
            yield forward_pass.loss(forward_pass.logits(changed), labels)
            return
        logits = forward_pass.logits(windows)
        apart = forward_pass.divergence(logits, forward_pass.logits(changed))
        yield forward_pass.loss(logits, labels) + self.weight * apart

    def _free(
        self, forward_pass: ForwardPass, windows: Tensor, labels: Tensor, generator: torch.Generator
    ) -> Iterator[Tensor]:
        """Yield the loss of a batch again and again, its change moved in between."""
        change = self._random(windows, generator) if self._change is None else self._change
        kept = change[len(windows) :]  # the last batch may be smaller
        change = change[: len(windows)].clamp(-self._epsilon, self._epsilon)
        for _ in range(self.steps):
            change = change.detach().requires_grad_()
            yield forward_pass.loss(forward_pass.logits(windows + change), labels)
            assert change.grad is not None  # the loop has gone back through the loss
            moved = change.detach() + self._epsilon * change.grad.sign()
            change = moved.clamp(-self._epsilon, self._epsilon)
        self._change = torch.cat([change.detach(), kept])

    def adversarial(self, forward_pass: ForwardPass, windows: Tensor, labels: Tensor) -> Tensor:
        """Return validation windows that raise the loss, at full size and without chance."""
        return perturb(
            _loss_of(_with_softmax(forward_pass), labels),
            windows,
            start=torch.zeros_like(windows),
            epsilon=self._full,
            steps=VALIDATION_STEPS,
        )

    def _random(self, windows: Tensor, generator: torch.Generator) -> Tensor:
        noise = torch.rand(windows.shape, generator=generator) * 2 - 1
        return (noise * self._epsilon).to(windows.device)


def _loss_of(forward_pass: ForwardPass, labels: Tensor) -> Objective:
    return lambda changed: forward_pass.loss(forward_pass.logits(changed), labels)


def _divergence_from(forward_pass: ForwardPass, windows: Tensor) -> Objective:
    with torch.no_grad():
        logits = forward_pass.logits(windows)
    return lambda changed: forward_pass.divergence(logits, forward_pass.logits(changed))


def _with_softmax(forward_pass: ForwardPass) -> ForwardPass:
    """Return the same forward pass, for a categorical loss with a softmax."""
    if forward_pass.terms.kind == "binary":
        return forward_pass
    recognizer = copy.copy(forward_pass.recognizer)  # shares its parts
    recognizer.output = "softmax"
    return dataclasses.replace(forward_pass, recognizer=recognizer)


def robust(
    method: Method | None,
    epsilon_db: Positive = 1.0,
    steps: Count = 4,
    ramp_epochs: Natural = 5,
    weight: Positive = 6.0,
) -> Robust | None:
    """Return robust training by its method; None for none."""
    if method is None:
        return None
    return Robust(
        method, epsilon_db=epsilon_db, steps=steps, ramp_epochs=ramp_epochs, weight=weight
    )
