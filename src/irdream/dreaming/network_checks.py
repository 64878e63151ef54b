"""What a network is asked before it is dreamed on, so that what does not fit is said in one line.

It gets two copies of a window of the start: which shape it takes, which of its outputs are the
logits, whether they are numbers and have a gradient. All raise InputError.
"""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from irdream.dreaming.best import Dreams
from irdream.dreaming.network import frozen
from irdream.dreaming.objectives import Objective
from irdream.errors import InputError
from irdream.frontends import Waveform
from irdream.networks import unwrapped
from irdream.recognizer import Output, Recognizer

LARGEST_PEAK = 10.0  # 20 dB above full scale: a waveform beyond it has another scale
_SURE = 0.999  # a probability above which there is nothing left to be dreamed


class Given(nn.Module):
    """A placeholder for an unknown front end: log-mels are given as they are."""

    sample_rate_hz = hop_samples = 1  # so that a second is a frame

    def forward(self, waveform: Tensor) -> Tensor:
        """Refuse a sound."""
        raise InputError(
            "the network was given log-mels, and how they are made of a sound is not known; "
            "expected frontend=..., such as irdream.frontends.LogMel()"
        )


def as_network(model: Any) -> nn.Module:
    """Return a network itself, without what compiled or distributed it."""
    name = getattr(model, "__name__", type(model).__name__)
    if isinstance(model, type) and issubclass(model, nn.Module):
        raise InputError(f"model is the class {name}; expected an object: {name}(...)")
    if not isinstance(model, nn.Module):
        raise InputError(
            f"model is {name}; expected a torch.nn.Module, whose weights and eval mode are known, "
            "a Recognizer or a checkpoint; call a function from the forward of a module"
        )
    model = unwrapped(model)
    if any(is_lazy(weight) or weight.is_meta for weight in model.parameters()):
        raise InputError(f"{name} has weights without values; load them, or call it once")
    expected = "one that can: not exported, and made without torch.inference_mode"
    with (
        _told(f"{name} cannot be held in eval mode with its weights fixed", expected),
        frozen(model),
    ):
        return model


@torch.no_grad()
def recognizer_around(
    model: nn.Module,
    signal: Tensor,
    *,
    rate_hz: int,
    frontend: nn.Module | None,
    labels: Sequence[str] | None,
    output: Output | None,
    window_frames: int | None,
) -> Recognizer:
    """Put a network into a recognizer of such signals; for the arguments see `dream`.

    Waveforms that no front end takes have `rate_hz`.
    """
    if frontend is None:
        frontend = Given() if signal.ndim == 3 else Waveform(sample_rate_hz=rate_hz)
    if not isinstance(frontend, nn.Module):
        raise InputError(
            f"frontend is a {type(frontend).__name__}; expected a torch.nn.Module, such as "
            "irdream.frontends.LogMel()"
        )
    frontend = copy.deepcopy(frontend).to(signal)
    recognizer = Recognizer(
        frontend=frontend, model=model, instruments=() if labels is None else labels, output=output
    )
    log_mel = log_mel_of(recognizer, signal[:1])
    recognizer.window_frames = window_frames or log_mel.shape[-1]
    seconds_a_frame = recognizer.hop_samples / recognizer.sample_rate_hz
    recognizer.window_seconds = recognizer.window_frames * seconds_a_frame
    if signal.ndim == 2:  # a front end may give a frame more
        whole_seconds = signal.shape[1] / recognizer.sample_rate_hz
        recognizer.window_seconds = min(recognizer.window_seconds, whole_seconds)
    with frozen(recognizer):
        logits = logits_of(recognizer, recognizer.windows(log_mel)[:, 0])
    if logits.shape[1] < 2:
        raise InputError(
            f"{_name(recognizer)} gave {tuple(logits.shape)}, a single class, which is always "
            "certain; expected at least two: of one logit z give (z / 2, -z / 2), whose softmax is "
            "the sigmoid of z, and of which both can be explained"
        )
    recognizer.instruments = recognizer.instruments or tuple(map(str, range(logits.shape[1])))
    return recognizer


def log_mel_of(recognizer: Recognizer, signal: Tensor) -> Tensor:
    """Return what a front end makes of waveforms (items, samples); log-mels stay."""
    if signal.ndim == 3 or isinstance(recognizer.frontend, Waveform):
        return signal
    name, shape = type(recognizer.frontend).__name__, tuple(signal.shape)
    expected = "(batch, samples) -> (batch, n_mels, frames), floating point"
    with _told(f"frontend {name} failed on {shape}", expected):
        log_mel = recognizer.log_mel(signal)
    if not isinstance(log_mel, Tensor) or log_mel.ndim != 3 or not log_mel.is_floating_point():
        found = getattr(log_mel, "shape", None)
        shown = type(log_mel).__name__ if found is None else str(tuple(found))
        raise InputError(f"frontend {name} gave {shown} for {shape}; expected {expected}")
    if torch.is_grad_enabled() and signal.requires_grad and not log_mel.requires_grad:
        raise InputError(
            f"frontend {name} has no gradient with respect to the sound; expected one without "
            "torch.no_grad, detach or a detour through NumPy; its spectrograms are dreamed with "
            "parametrization=LogMel() and explained with method=Occlusion()"
        )
    return log_mel


@torch.no_grad()
def check_start(recognizer: Recognizer, signal: Tensor) -> None:
    """Check that a start has the scale and the bands of what a front end takes and gives."""
    if signal.ndim == 2:
        if (peak := float(signal.abs().amax())) > LARGEST_PEAK:
            raise InputError(
                f"start reaches {peak:.4g}; expected waveforms with a full scale of 1: divide them "
                "by their largest magnitude, or by 32768 if they come from 16 bits"
            )
        return
    seconds = max(1.0, recognizer.window_seconds)
    silence = signal.new_zeros(1, round(seconds * recognizer.sample_rate_hz))
    bands = log_mel_of(recognizer, silence).shape[1]
    if signal.shape[1] != bands:
        raise InputError(
            f"start has {signal.shape[1]} bands; expected {bands}, as front end "
            f"{type(recognizer.frontend).__name__} gives them: (items, {bands}, frames)"
        )


def check_answers(recognizer: Recognizer, signal: Tensor, *, has_gradient: bool = True) -> None:
    """Check that a network's outputs are numbers, and have a gradient where one is needed."""
    name = _name(recognizer)
    with frozen(recognizer), torch.enable_grad():
        log_mel = log_mel_of(recognizer, signal[:1])
        if not bool(log_mel.isfinite().all()):
            raise InputError(
                f"frontend {type(recognizer.frontend).__name__} gives values that are not finite "
                "for the start; expected a floor before the logarithm: log(x + 1e-5)"
            )
        window = recognizer.windows(log_mel)[:, 0].detach().clone().requires_grad_(has_gradient)
        logits, slope = logits_of(recognizer, window), None
        if not bool(logits.isfinite().all()):
            raise InputError(
                f"{name} gives values that are not finite for the start; check its weights, and "
                "the unit and range of its input"
            )
        if not has_gradient:
            return
        if logits.requires_grad:
            try:
                (slope,) = torch.autograd.grad(logits.sum(), window, allow_unused=True)
            except Exception as error:  # whatever the user's own code raises
                raise InputError(f"{name} cannot be differentiated ({_line(error)})") from error
    if slope is None:
        raise InputError(
            f"{name}'s outputs have no gradient with respect to its input; expected a forward "
            "without torch.no_grad, detach, argmax or a detour through NumPy"
        )
    if not bool(slope.isfinite().all()):
        raise InputError(
            f"the gradient of {name} is not finite for the start; check for the root or the "
            "logarithm of 0"
        )


@torch.no_grad()
def doubt_of_output(recognizer: Recognizer, signal: Tensor) -> str | None:
    """Say that a network seems to give probabilities where logits are expected.

    Its outputs add up to one, or lie between 0 and 1 whatever it gets.
    """
    window = recognizer.windows(log_mel_of(recognizer, signal[:1]))[:, 0]
    generator = torch.Generator().manual_seed(0)
    noise = torch.randn(8, *window.shape[1:], generator=generator, device="cpu")
    loud = window + 10.0 * (1.0 + window.abs().amax()) * noise.to(window)
    with frozen(recognizer):
        logits = recognizer.logits(window)
        add_up = bool((logits.sum(dim=1) - 1).abs() < 1e-3)
        try:
            within = _are_shares(logits) and (add_up or _are_shares(recognizer.logits(loud)))
        except Exception:  # whatever the user's own code says of such an input
            within = False
    if not within:
        return None
    return (
        f"{_name(recognizer)}'s outputs lie between 0 and 1{' and add up to 1' * add_up}: "
        "probabilities, it seems, where logits are expected; leave out its own softmax or sigmoid, "
        "or give output='probabilities' from Python (output='softmax' if they are logits)"
    )


@torch.no_grad()
def doubt_of_chance(recognizer: Recognizer, signal: Tensor) -> str | None:
    """Say that a network gives something else each time, or beside others, for the same window."""
    window = recognizer.windows(log_mel_of(recognizer, signal[:1]))[:, 0]
    with frozen(recognizer):
        first, second = (recognizer.logits(window) for _ in range(2))
        beside = recognizer.logits(torch.cat([window, window / 2]))[:1]
    change, change_beside = (
        (first - x).abs().amax() / first.abs().amax() for x in (second, beside)
    )
    if change > 1e-3:
        return (
            f"{_name(recognizer)} gives other outputs each time it gets the same: dropout that is "
            "left on in eval mode (F.dropout without training=self.training), random numbers or a "
            "state; what is predicted is one of many answers, and the same seed gives other dreams"
        )
    if change_beside > 0.03:  # in bfloat16 rounding alone may be 0.01
        return (
            f"{_name(recognizer)} gives a window other outputs when another is beside it: batch "
            "norm that is left on in eval mode, or a mean over the whole batch; what is predicted "
            "and dreamed depends on what is predicted and dreamed with it"
        )
    return None


def doubt_of_dreams(objective: Objective, dreams: Dreams, targets: Tensor) -> str | None:
    """Say which dreams did not move although they had not arrived."""
    curves = torch.stack([dreams.objective_curve, dreams.probability_curve])
    stuck = ((curves == curves[:, :1]) | curves.isnan()).all(dim=1).all(dim=0) & ~dreams.reached
    if objective.reads_output:
        stuck &= dreams.before.of_target(targets) < _SURE
    items = stuck.nonzero()[:, 0].tolist()
    if curves.shape[1] < 2 or not items:
        return None
    return (
        f"{len(items)} of {len(stuck)} dreams did not move, such as item {items[0]}: the network "
        f"or objective {objective!r} has no gradient there (a rounding, a threshold, units that "
        "are all off), its steps are lost in rounding, or a constraint or a range holds it"
    )


def logits_of(recognizer: Recognizer, window: Tensor) -> Tensor:
    """Return the logits of a window (1, n_mels, frames) or (1, samples), asked twice and alone."""
    shape = "(batch, n_mels, frames)" if window.ndim == 3 else "(batch, samples)"
    expected = (
        f"a network that gives logits (batch, classes) for {shape}, or for (batch, 1, ...), and "
        "takes batches of any size; of a fixed length by window_frames or window_seconds"
    )
    for count in (2, 1):
        windows = window.expand(count, *window.shape[1:])
        with _told(f"{_name(recognizer)} failed on {tuple(windows.shape)}", expected):
            logits = recognizer.logits(windows)
    return logits


def _are_shares(values: Tensor) -> bool:
    within = (values >= 0) & (values <= 1)
    return bool(within.all() & ((values > 0) & (values < 1)).any())  # and not all off or on


def _name(recognizer: Recognizer) -> str:
    return type(recognizer.model).__name__


def _line(error: Exception) -> str:
    """Return an exception as one line of moderate length."""
    return f"{type(error).__name__}: {' '.join(str(error).split())[:160]}"


@contextlib.contextmanager
def _told(problem: str, expected: str) -> Iterator[None]:
    """Turn whatever the user's own code raises into an InputError."""
    try:
        yield
    except InputError:
        raise
    except Exception as error:
        raise InputError(f"{problem} ({_line(error)}); expected {expected}") from error
