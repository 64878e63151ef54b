"""What methods share: the value that is explained, its gradient, and what counts as absent."""

from __future__ import annotations

import contextlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from typing import Any, Literal, Protocol, cast

import torch
from torch import Tensor, nn

from irdream.audio.stft import with_mel_gain
from irdream.dreaming.network import frozen
from irdream.dreaming.network_checks import Given, log_mel_of
from irdream.dreaming.probe import probing
from irdream.ensemble import Ensemble
from irdream.errors import InputError
from irdream.networks import shapes, unwrapped
from irdream.recognizer import Recognizer, window_starts

BATCH_WINDOWS = 16
CONVOLUTIONS = (nn.Conv1d, nn.Conv2d)
Baseline = Literal["silence", "mean"]
Logits = Callable[[Tensor], Tensor]  # (items, n_mels, frames) -> (items, windows, classes)
OTHERS = (
    "choose gradient_x_input, integrated_gradients, smoothgrad, occlusion, deconvolution, "
    "guided_backprop or mask"
)


class Inspected(Ensemble):
    """A recognizer of the log-mels of one sound, around a member that gets anything.

    A log-mel is made a sound, by a gain on each bin of the spectrum (`with_mel_gain`), and this is
    what the network gets. So every method explains bands and frames, although the network knows
    none. It is a single window, as long as the sound, of which the logits of all the member's
    windows are given.

    Source: the virtual inspection layer of Vielhaben, Lapuschkin, Montavon and Samek 2024,
    "Explainable AI for time series via virtual inspection layers", section 3.

    Args:
        recognizer: the member.
        sound: (1, samples), at its sample rate.
    """

    def __init__(self, recognizer: Recognizer, sound: Tensor) -> None:
        super(Ensemble, self).__init__(
            frontend=recognizer.stft_grid,
            model=nn.ModuleList([recognizer]),
            instruments=recognizer.instruments,
            output=recognizer.output,
            window_seconds=sound.shape[-1] / recognizer.sample_rate_hz,
        )
        self.sound, self.own = sound, self.frontend(sound).detach()
        self.window_frames = self.own.shape[-1]

    def window_logits(
        self,
        log_mel: Tensor,
        hop_frames: int | None = None,
        *,
        ask: Callable[[int, Tensor], Tensor] | None = None,
    ) -> Tensor:
        """Return the member's logits (batch, windows, instruments) of (batch, n_mels, frames)."""
        (member,), sounds = self.members, self.sound.expand(len(log_mel), -1)
        given = log_mel_of(member, with_mel_gain(sounds, log_mel - self.own, self.frontend))
        return ask(0, given) if ask else member.window_logits(given)


def inspected(
    recognizer: Recognizer, waveform: Tensor | None
) -> Iterator[tuple[Recognizer, slice]]:
    """Yield what gives logits of log-mels of `recognizer.stft_grid`, and of which of the items.

    It is the recognizer itself, for all items, where it gets such log-mels, or there is no sound.
    """
    if waveform is None or recognizer.stft_grid is recognizer.frontend:
        yield recognizer, slice(None)
        return
    for i in range(len(waveform)):
        yield Inspected(recognizer, waveform[i : i + 1]), slice(i, i + 1)


def check_single(recognizer: Recognizer, what: str, remedy: str = OTHERS) -> None:
    """Raise an InputError for what knows the layers of a single network on log-mels alone."""
    if isinstance(recognizer, Inspected):
        frontend = type(recognizer.members[0].frontend).__name__
        raise InputError(
            f"{what} of a network that gets no log-mel (front end {frontend}); {remedy}"
        )
    if isinstance(recognizer, Ensemble):
        raise InputError(f"{what} of several networks; expected a single one: checkpoint=robust")


class Attribution(Protocol):
    """What `attribution=...` must be.

    It may have `needs_sound`, and then takes `waveform` as well; `needs_gradient`, False where it
    explains any function; `gives_mask`: its relevance is what is heard, 0 to 1, and not the most
    relevant share of it; and `check(recognizer)`, which raises an InputError of what does not suit
    it.
    """

    def __call__(self, recognizer: Recognizer, log_mel: Tensor, targets: Tensor) -> Tensor:
        """Return the relevance (items, n_mels, frames) of log-mels for targets (items,)."""
        ...


class FromBaseline(ABC):
    """Gradient x (input - baseline): what is as quiet as the baseline has no relevance.

    On a linear network it is the weights times the input.
    """

    baseline: Baseline  # see `baseline_of`

    @abstractmethod
    def gradient(self, recognizer: Recognizer, log_mel: Tensor, targets: Tensor) -> Tensor:
        """Return a gradient of the targets' logits, as the log-mels."""

    def __call__(self, recognizer: Recognizer, log_mel: Tensor, targets: Tensor) -> Tensor:
        """Return relevance (items, n_mels, frames); InputError as `gradient`."""
        base = baseline_of(recognizer, log_mel, self.baseline)
        return self.gradient(recognizer, log_mel, targets) * (log_mel - base)


def check_method(attribution: Attribution, recognizer: Recognizer) -> None:
    """Raise the InputError of a method that does not suit a recognizer of sounds."""
    if check := getattr(attribution, "check", None):
        samples = round(recognizer.window_seconds * recognizer.sample_rate_hz)
        silence = torch.zeros(1, samples, device=recognizer.device)
        check(next(inspected(recognizer, silence))[0])


def convolutions(recognizer: Recognizer, key: str) -> list[str]:
    """Return the names of a network's convolutions; InputError where there is none."""
    model = unwrapped(recognizer.model)
    names = [name for name, module in model.named_modules() if isinstance(module, CONVOLUTIONS)]
    if not names:
        raise InputError(f"{type(model).__name__} has no convolution; name a layer by {key}")
    return names


def with_sound(attribution: Attribution, waveform: Tensor | None) -> Attribution:
    """Return a method that is given the sound as well, where it says `needs_sound`.

    The log-mels are those of `recognizer.stft_grid`; a network that gets no such ones is explained
    by those of its sound, see `Inspected`.
    """
    method = cast(Any, attribution)

    def explain(recognizer: Recognizer, log_mel: Tensor, targets: Tensor) -> Tensor:
        if getattr(attribution, "needs_sound", False):
            found = [method(recognizer, log_mel, targets, waveform=waveform)]
        else:
            parts = inspected(recognizer, waveform)
            found = [method(one, log_mel[p], targets[p]) for one, p in parts]
        bands = log_mel.shape[1:]
        for one in found:
            if not (isinstance(one, Tensor) and one.is_floating_point() and one.shape[1:] == bands):
                raise InputError(
                    f"{type(method).__name__} gave {shapes(one)}; expected the relevance of each "
                    f"bin, floating point (items, {bands[0]}, {bands[1]}), as the log-mels"
                )
        relevance = torch.cat(found).detach()
        if not bool(relevance.isfinite().all()):
            raise InputError(
                f"{type(method).__name__} gave values that are not finite; check it, and the "
                "network, for the root or the logarithm of 0 and for 0 / 0"
            )
        return relevance

    return explain


def target_logits(logits: Tensor, targets: Tensor) -> Tensor:
    """Return the mean over windows (items, windows, classes) of the targets' logits, (items,)."""
    return logits.mean(dim=1).gather(1, targets[:, None])[:, 0]


@torch.no_grad()
def baseline_of(recognizer: Recognizer, log_mel: Tensor, kind: Baseline) -> Tensor:
    """Return the log-mel that stands for an absent sound, (1 or items, n_mels, 1).

    Args:
        recognizer: its front end decides.
        log_mel: (items, n_mels, frames).
        kind: "silence": the front end's log-mel of digital silence; of log-mels that are given
            without one, each item's lowest value. "mean": each band's mean over time.

    Raises:
        InputError: when the front end gives no number for silence.
    """
    if kind == "mean":
        return log_mel.mean(dim=-1, keepdim=True)
    if isinstance(recognizer.frontend, Given):
        return log_mel.amin(dim=(1, 2), keepdim=True)
    samples = round(max(1.0, recognizer.window_seconds) * recognizer.sample_rate_hz)
    silence = recognizer.log_mel(log_mel.new_zeros(1, samples))
    middle = silence[..., silence.shape[-1] // 2, None]
    if not bool(middle.isfinite().all()):
        raise InputError(
            f"front end {type(recognizer.frontend).__name__} gives no number for silence; expected "
            "a floor under its logarithm, or attribution.baseline=mean"
        )
    return middle


def mean_gradient(
    recognizer: Recognizer,
    log_mel: Tensor,
    targets: Tensor,
    *,
    point: Callable[[Tensor, Tensor], Tensor] | None = None,
    count: int = 1,
    logits: Logits | None = None,
) -> Tensor:
    """Return the mean over points of the gradient of the target's logit, as the log-mels.

    All points of all items, `count` of each, are one batch, that the probe cuts into slices.

    Args:
        point: gives log-mels (n, n_mels, frames) for the places of items and the numbers of
            points, (n,) each; None: the log-mels (items, n_mels, frames) themselves.
        logits: computes them in the probe's place.
    """
    numbers = torch.arange(len(log_mel) * count, device=log_mel.device)
    total = torch.zeros_like(log_mel)
    with probing(recognizer) as probe, torch.enable_grad():
        for part in probe.slices(log_mel[:1].expand(len(numbers), -1, -1)):
            items, points = numbers[part] // count, numbers[part] % count
            x = log_mel[items] if point is None else point(items, points)
            x = x.detach().requires_grad_()
            found = logits(x) if logits else probe(x)[0]
            value = target_logits(found, targets[items]).sum()
            total.index_add_(0, items, torch.autograd.grad(value, x)[0])
    return total / count


def over_windows(
    recognizer: Recognizer,
    log_mel: Tensor,
    explain: Callable[[Tensor, Tensor], Tensor],
) -> Tensor:
    """Explain window by window, and put the relevance together, (items, n_mels, frames).

    `explain` takes windows (n, n_mels, window_frames) and the places of their items (n,), and
    returns the relevance of these windows. The recognizer is frozen meanwhile.
    """
    windows = recognizer.windows(log_mel)  # (items, windows, n_mels, window_frames)
    count, width = windows.shape[1], windows.shape[-1]
    items = torch.arange(len(log_mel), device=log_mel.device).repeat_interleave(count)
    with frozen(recognizer):
        found = explain(windows.flatten(0, 1), items).unflatten(0, windows.shape[:2])
    total = torch.zeros_like(log_mel)
    starts = window_starts(log_mel.shape[-1], width, max(1, recognizer.window_frames // 2))
    for i, first in enumerate(starts):
        total[..., first : first + width] += found[:, i]
    return total / count


def parts_of(windows: Tensor) -> tuple[Tensor, ...]:
    """Cut windows, or what belongs to them, into batches whose activations fit anywhere."""
    return windows.split(BATCH_WINDOWS)


@contextlib.contextmanager
def watching(
    recognizer: Recognizer, layer: str, key: str
) -> Iterator[Callable[[Tensor], tuple[Tensor, Tensor]]]:
    """Give what returns logits and a layer's output, (n, channels, ...), of windows.

    `layer` is a module's name in a single recognizer, and `key` what chose it, for the InputError
    of one that has no channels in places.
    """
    kept: list[Any] = []

    def keep(module: nn.Module, given: object, output: Any) -> Any:
        kept.append(output)
        return output.clone() if isinstance(output, Tensor) else output  # it may be overwritten

    def activations(windows: Tensor) -> tuple[Tensor, Tensor]:
        recognizer.settle(windows, recognizer.model)
        kept.clear()
        logits = recognizer.logits(windows)
        if not kept or getattr(kept[0], "ndim", 0) not in (3, 4):
            raise InputError(
                f"layer {layer!r} gave {shapes(kept[0]) if kept else 'nothing'}; expected "
                f"(windows, channels, bands, frames): choose another by {key}"
            )
        return logits, kept[0]

    handle = unwrapped(recognizer.model).get_submodule(layer).register_forward_hook(keep)
    try:
        yield activations
    finally:
        handle.remove()
