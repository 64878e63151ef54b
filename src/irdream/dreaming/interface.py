"""Dreaming from Python in a few lines, without configuration and tracking.

    from irdream import dream

    dreams = dream(my_network, log_mels, target=3)                 # hears log-mels
    dreams = dream(my_network, waveforms, target=3, frontend=my_frontend)
    dreams = dream(my_network, waveforms, target=3)                # hears waveforms
    dreams = dream("shipped", "my.wav", target="flute", step_size=0.5, octaves=3)

It is the loop of `irdream.dreaming.ascent`; all of its settings can be given.
"""

from __future__ import annotations

import contextlib
import operator
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

from irdream.audio import load_audio
from irdream.dreaming.ascent import Ascent, Octave
from irdream.dreaming.listener import frozen
from irdream.dreaming.objectives import LogProbability
from irdream.dreaming.optimizers import NormalizedAscent
from irdream.dreaming.parametrizations import LogMel, Waveform
from irdream.dreaming.record import Dreams
from irdream.errors import InputError, nearest
from irdream.instruments import CODES
from irdream.instruments import parse as parse_instrument
from irdream.progress import dream_bar
from irdream.recognizer import Recognizer, load_recognizer

Start = Tensor | np.ndarray | str | Path


def dream(
    model: nn.Module | str | Path,
    start: Start,
    target: int | str | Sequence[int | str],
    *,
    frontend: nn.Module | None = None,
    labels: Sequence[str] | None = None,
    output: Literal["softmax", "sigmoid"] | None = None,
    window_frames: int | None = None,
    sample_rate_hz: int = 22_050,
    on_octave: Callable[[Octave], None] = lambda octave: None,
    progress: bool = True,
    seed: int = 0,
    step_sizes: Sequence[float] | None = None,
    groups: Sequence[int] | None = None,
    **settings: Any,
) -> Dreams:
    """Change sounds or log-mels until a network hears what is asked for.

    Args:
        model: a `Recognizer`, a checkpoint folder or "shipped", or any network: with
            `frontend`, or where `start` has three axes, from log-mels (batch, n_mels, frames)
            to logits (batch, classes); otherwise from waveforms (batch, samples). It is left as
            it was.
        start: waveforms (items, samples) or (samples,); log-mels (items, n_mels, frames), natural
            log of the magnitude; or the path of a sound file. On the model's device or not.
        target: a class, by its number or its label; or one for each item. A single start is
            dreamed toward each of several targets.
        frontend: of a network on log-mels: (batch, samples) -> (batch, n_mels, frames), with
            `sample_rate_hz` and `hop_samples`, such as `irdream.frontends.HanLogMel()`.
        labels: of the classes; None: their numbers, or those of the recognizer.
        output: how logits become probabilities; None: as `model.output` says, or "softmax".
        window_frames: what a network sees at once, in frames of the log-mel or in samples of a
            waveform; an item's probability is the mean over its windows. None: all of `start`.
        sample_rate_hz: of a sound file that is read for a network without a front end.
        on_octave: called after each octave.
        progress: show a bar on a terminal.
        seed: of all random numbers; item i has a stream of its own.
        step_sizes: of each item, in the parametrization's step unit.
        groups: equal numbers for items whose objective depends on each other, side by side.
        settings: of `Ascent`: objective, parametrization, optimizer, step_size, steps, octaves,
            constraint, transform, confidence, ... By default what is heard is dreamed, toward
            log p, in steps of 0.25 dB, or of 0.25 % of the RMS of a waveform.

    Raises:
        InputError: bad start, target or setting.
    """
    if isinstance(model, str | Path):
        model = load_recognizer(model)
    rate = getattr(model if isinstance(model, Recognizer) else frontend, "sample_rate_hz", None)
    signal = _signal(start, rate or sample_rate_hz)
    if isinstance(model, Recognizer):
        if any(given is not None for given in (frontend, labels, output, window_frames)):
            raise InputError(
                "frontend, labels, output and window_frames belong to the recognizer; expected "
                "none of them, or recognizer.model in its place"
            )
        recognizer = model
    else:
        frontend = None if signal.ndim == 3 else frontend
        like = _like_weights(signal, model)
        recognizer = _recognizer(model, frontend, like, labels, output, window_frames)
    signal = _like_weights(signal, recognizer.model)
    targets = _targets(target, recognizer.instruments).to(recognizer.device)
    signal, targets = _paired(signal, targets)
    heard_as_sound = isinstance(recognizer.frontend, Given) and signal.ndim == 2
    chosen = {
        "parametrization": Waveform() if heard_as_sound else LogMel(),
        "objective": LogProbability(),
        "optimizer": NormalizedAscent(),
        **settings,
    }
    if unknown := [name for name in chosen if name not in Ascent.__dataclass_fields__]:
        raise InputError(
            f"unknown setting {unknown[0]!r}{nearest(unknown[0], Ascent.__dataclass_fields__)}; "
            f"expected some of {', '.join(Ascent.__dataclass_fields__)}"
        )
    sizes = None if step_sizes is None else _one_each("step_sizes", step_sizes, signal)
    if sizes is not None and not bool((sizes > 0).all()):
        raise InputError(f"step_sizes={list(step_sizes or ())}; expected numbers above 0")
    with dream_bar(len(signal), shown=progress) as bar:
        show = bar.started()
        return Ascent(**chosen).run(
            recognizer,
            None if signal.ndim == 3 else signal,
            targets,
            [(seed * 1_000_003 + i) % 2**63 for i in range(len(signal))],
            lambda record: show(record.step, record.dropped),
            log_mel=signal if signal.ndim == 3 else None,
            step_sizes=sizes,
            groups=None if groups is None else _one_each("groups", groups, signal),
            on_octave=on_octave,
        )


class Given(nn.Module):
    """A front end that gives what it is given: log-mels, or waveforms, as they are."""

    sample_rate_hz = hop_samples = 1  # so that a second is a frame

    def forward(self, signal: Tensor) -> Tensor:
        """Return the same."""
        return signal


def _signal(start: Start, sample_rate_hz: int) -> Tensor:
    """Return (items, samples) or (items, n_mels, frames)."""
    if isinstance(start, str | Path):
        start = load_audio(start, sample_rate_hz=sample_rate_hz)
    signal = torch.as_tensor(start)
    signal = signal[None] if signal.ndim == 1 else signal
    if signal.ndim not in (2, 3) or not signal.is_floating_point() or 0 in signal.shape:
        raise InputError(
            f"start has shape {tuple(signal.shape)} and type {signal.dtype}; expected floating "
            "point (items, samples), (samples,) or (items, n_mels, frames)"
        )
    if not bool(torch.isfinite(signal).all()):
        raise InputError("start has values that are not finite; replace them")
    return signal


def _like_weights(signal: Tensor, model: nn.Module) -> Tensor:
    """Return the signal on the device and in the floating type of a network."""
    return signal.to(next((w for w in model.parameters() if w.is_floating_point()), signal))


def _recognizer(
    model: nn.Module,
    frontend: nn.Module | None,
    signal: Tensor,
    labels: Sequence[str] | None,
    output: Literal["softmax", "sigmoid"] | None,
    window_frames: int | None,
) -> Recognizer:
    """Put a network into a recognizer that hears such signals."""
    frontend = Given() if frontend is None else frontend
    with frozen(model), torch.no_grad():
        heard = frontend.to(signal.device)(signal[:1])
        seen = window_frames or heard.shape[-1]
        logits = model(heard[..., :seen])
    if logits.ndim != 2 or len(logits) != 1:
        raise InputError(
            f"{type(model).__name__} gave {tuple(logits.shape)} for an input "
            f"{tuple(heard[..., :seen].shape)}; expected (batch, classes)"
        )
    if labels is not None and len(labels) != logits.shape[1]:
        raise InputError(
            f"{len(labels)} labels for a network with {logits.shape[1]} outputs; expected one each"
        )
    recognizer = Recognizer(
        frontend=frontend,
        model=model,
        instruments=labels or [str(i) for i in range(logits.shape[1])],
        output=output,
        window_seconds=seen * frontend.hop_samples / frontend.sample_rate_hz,  # type: ignore[operator, arg-type]
    )
    recognizer.window_frames = seen
    return recognizer


def _targets(target: int | str | Sequence[int | str], labels: Sequence[str]) -> Tensor:
    """Return class numbers."""
    several = [target] if np.ndim(target) == 0 else list(target)  # type: ignore[arg-type]
    return torch.tensor([_class(one, list(labels)) for one in several], dtype=torch.long)


def _class(target: Any, labels: list[str]) -> int:
    """Return the number of a class that is given by its number or its label."""
    number: Any = target
    if isinstance(target, str) and target in labels:
        number = labels.index(target)
    elif isinstance(target, str) and tuple(labels) == CODES:
        number = CODES.index(parse_instrument(target))
    with contextlib.suppress(TypeError):  # of what is no whole number
        if 0 <= operator.index(number) < len(labels):
            return operator.index(number)
    raise InputError(
        f"unknown target {target!r}; expected a number from 0 to {len(labels) - 1} or one of "
        f"{', '.join(labels)}{nearest(str(target), labels)}"
    )


def _paired(signal: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """Repeat a single start or a single target."""
    items = max(len(signal), len(targets))
    if not {len(signal), len(targets)} <= {1, items}:
        raise InputError(
            f"{len(targets)} targets for {len(signal)} starts; expected one target, one start, or "
            "as many of one as of the other"
        )
    return signal.expand(items, *signal.shape[1:]), targets.expand(items)


def _one_each(name: str, values: Sequence[float], signal: Tensor) -> Tensor:
    if len(values) != len(signal):
        raise InputError(
            f"{name} has {len(values)} values; expected one for each of {len(signal)} items"
        )
    return torch.tensor(values, device=signal.device)
