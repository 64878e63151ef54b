"""Dreaming from Python, by `irdream.dreaming.ascent`, without configuration and tracking.

from irdream import dream

dreams = dream(my_network, log_mels, target=3)                 # a network on log-mels
dreams = dream(my_network, waveforms, target=3, frontend=my_frontend)
dreams = dream(my_network, waveforms, target=3)                # a network on waveforms
dreams = dream("robust", "my.wav", target="flute")              # the sound, as heard
dreams.sound(), dreams.save("folder"), dreams.show(), dreams.after.probabilities
dreams = dream(["robust", my_recognizer], "my.wav", "flute")    # each must hear it
"""

from __future__ import annotations

import contextlib
import operator
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

from irdream import frontends
from irdream.arguments import Count, check
from irdream.audio import load_audio
from irdream.checkpoint_folder import load_recognizer
from irdream.dreaming.ascent import Ascent, Octave
from irdream.dreaming.constraints import Constraint
from irdream.dreaming.network_checks import (
    as_network,
    check_answers,
    check_start,
    doubt_of_chance,
    doubt_of_dreams,
    doubt_of_output,
    log_mel_of,
    recognizer_around,
)
from irdream.dreaming.objectives import ForwardOutput, LogProbability, Objective, as_objective
from irdream.dreaming.optimizers import NormalizedAscent
from irdream.dreaming.parametrizations import (
    LogMel,
    LowResolution,
    Parametrization,
    StftGain,
    Waveform,
)
from irdream.dreaming.parametrizations.base import is_other_unit
from irdream.dreaming.transforms import Transform, robust_views
from irdream.dreams import DreamResult
from irdream.ensemble import Ensemble, as_one
from irdream.errors import InputError, nearest
from irdream.instruments import find, in_words
from irdream.progress import dream_bar
from irdream.recognizer import Output, Recognizer, tensor_of
from irdream.reports.dreams import fitting_judge, independent_judge

Start = Tensor | np.ndarray | str | Path
Model = nn.Module | str | Path
_OF_START = ("parametrization", "objective", "optimizer", "step_size", "steps", "keep")
LOUDEST = 3.5  # natural log of a magnitude, 30 dB: no front end gives more within full scale


@torch.inference_mode(False)
def dream(
    model: Model | Sequence[Model],
    start: Start,
    target: int | str | Sequence[int | str],
    *,
    judge: Model | Sequence[Model] | None = None,
    parametrization: Parametrization | None = None,
    objective: Objective | Callable[[ForwardOutput, Tensor], Tensor] | None = None,
    optimizer: Any = None,
    step_size: float | None = None,
    steps: int | None = None,
    octaves: int = 1,
    octave_ratio: Sequence[float] = (1.4, 1.4),
    transform: Transform | Literal["default"] | None = "default",
    constraint: Constraint | Sequence[Constraint] | None = None,
    start_noise: float = 0.0,
    confidence: float | Literal["default"] | None = "default",
    patience: int | None = None,
    keep: Literal["best", "last"] | None = None,
    slice_windows: int | None = None,
    mixed_precision: bool = False,
    step_sizes: Sequence[float] | None = None,
    groups: Sequence[int] | None = None,
    seed: int = 0,
    frontend: nn.Module | None = None,
    labels: Sequence[str] | None = None,
    output: Output | None = None,
    window_frames: int | None = None,
    sample_rate_hz: int = 22_050,
    on_octave: Callable[[Octave], None] = lambda octave: None,
    progress: bool = True,
) -> DreamResult:
    """Change sounds or log-mels until a network predicts what is asked for.

    Sounds are dreamed as `task=dream` does it (see `sound_settings`), where the front end is one
    of irdream's or has an `n_fft`. Otherwise the network's input is dreamed, at most 100 steps of
    0.25 dB, or of 0.25 % of the RMS of a waveform, until the probability is 0.9. What is None or
    "default" below is that.

    Args:
        model: "robust", "shipped", "second", a checkpoint's folder, a `Recognizer`, or any
            network: with `frontend`, or where `start` has three axes, from log-mels (batch, n_mels,
            frames) to logits (batch, classes); otherwise from waveforms (batch, samples). It may
            want an axis of channels, (batch, 1, ...), and may give several tensors, of which the
            one called "logits" or the only one of that shape is taken. It is left as it was. Or
            several recognizers and checkpoints, see `irdream.ensemble`: each must hear the target.
        start: waveforms (items, samples) or (samples,); log-mels (items, n_mels, frames), natural
            log of the magnitude; or the path of a sound file, which is scaled to a peak of 1;
            waveforms are taken as they are. On the model's device or not. One channel's axis,
            (items, 1, ...), is left out.
            Spectrograms in another unit are dreamed within their own range, with a warning.
        target: a class, by its number or its label; or one for each item. A single start is
            dreamed toward each of several targets.
        judge: predicts the dreams and their originals, and had no part in them; like `model`.
        parametrization: what is changed: `irdream.dreaming.parametrizations`.
        objective: what is maximized: `irdream.dreaming.objectives`, or a function of what the
            network gives and of the targets, (items,). None: log p of the target.
        optimizer: `irdream.dreaming.optimizers`, a torch.optim class or a partial of one, or a
            function from gradient to direction. None: `NormalizedAscent()`.
        step_size: length of a step, in the parametrization's `step_unit`.
        steps: at most, in each octave.
        octaves: levels, the coarsest first; 1: full size alone.
        octave_ratio: how much coarser each level is, along (mel bands, frames).
        transform: random views before each step, `irdream.dreaming.transforms`; None: none.
        constraint: what the iterates obey, `irdream.dreaming.constraints`; one or several.
        start_noise: RMS of noise added to the start, in step sizes.
        confidence: probability of the target at which an item stops; None: never.
        patience: steps without a better iterate after which an item stops; None: never.
        keep: of an item's iterates the "best", or the "last".
        slice_windows: windows in one forward pass; None: by the device.
        mixed_precision: the network in bfloat16, on CUDA.
        step_sizes: of each item, in place of `step_size`.
        groups: equal numbers for items whose objective depends on each other, side by side.
        seed: of all random numbers; item i has a stream of its own.
        frontend: of a network on log-mels: (batch, samples) -> (batch, n_mels, frames), with
            `sample_rate_hz` and `hop_samples`, such as `irdream.frontends.LogMel()`.
        labels: of the classes; None: their numbers, or those of the recognizer.
        output: how logits become probabilities, "softmax" or "sigmoid"; "probabilities": the
            network gives these itself; None: as `model.output` says, or "softmax".
        window_frames: what a network sees at once, in frames of the log-mel or in samples of a
            waveform; an item's probability is the mean over its windows. None: all of `start`.
        sample_rate_hz: of the sounds of a network without a front end.
        on_octave: called after each octave.
        progress: show a bar on a terminal.

    Returns:
        The dreams: `sound()`, `save(folder)`, `show()`, and what `DreamResult` names.

    Raises:
        InputError: bad start, target or setting; a network that cannot be dreamed on.

    Warns:
        of a start in another unit, of a network that seems to give probabilities instead of
        logits, or whose answers change, of dreams that cannot move.
    """
    settings = _given(locals())
    check({"seed": (seed, int)})
    judge = None if judge is None else _judge(judge)
    network = _network(model)
    recognizer, signal = _opened(
        network, start, sample_rate_hz, frontend=frontend, labels=labels, output=output,
        window_frames=window_frames,
    )  # fmt: skip
    targets = _classes(target, recognizer).to(signal.device)
    file = Path(start).expanduser() if isinstance(start, str | Path) else None
    numbers = [f"start-{i}" for i in range(len(signal))] if len(signal) > 1 else ["start"]
    names = [file.stem] if file else numbers
    signal, targets = _paired(signal, targets)
    usual, doubt = _usual(recognizer, signal)
    chosen = {"objective": LogProbability(), "optimizer": NormalizedAscent(), **usual, **settings}
    objective = chosen["objective"] = as_objective(chosen["objective"])
    ascent = Ascent(**chosen)
    doubts = [doubt] if parametrization is None else []
    sizes = None if step_sizes is None else _one_each("step_sizes", step_sizes, signal)
    if sizes is not None and not bool((sizes > 0).all()):
        raise InputError(f"step_sizes={list(step_sizes or ())}; expected numbers above 0")
    if objective.reads_output:
        check_answers(recognizer, signal)
        doubts += _doubts(network, recognizer, signal, output)
    _warn(doubts)
    with dream_bar(len(signal), steps=ascent.steps * ascent.octaves, shown=progress) as bar:
        dreams = ascent.run(
            recognizer,
            None if signal.ndim == 3 else signal,
            targets,
            [(int(seed) * 1_000_003 + i) % 2**63 for i in range(len(signal))],
            lambda best: bar.show(best.step, len(signal), best.dropped),
            log_mel=signal if signal.ndim == 3 else None,
            step_sizes=sizes,
            groups=None if groups is None else _one_each("groups", groups, signal),
            on_octave=on_octave,
        )
    _warn([doubt_of_dreams(objective, dreams, targets)])
    if judge := judge and independent_judge(judge, recognizer):
        wanted = [recognizer.instruments[i] for i in targets.tolist() if objective.reads_output]
        hop = 1 if signal.ndim == 2 else recognizer.hop_samples
        judge = fitting_judge(judge, wanted, [signal.shape[-1] * hop / recognizer.sample_rate_hz])
    return DreamResult(
        **vars(dreams), recognizer=recognizer, ascent=ascent, start=signal, targets=targets,
        names=names, file=file, judge=judge,
        step_sizes=None if step_sizes is None else [float(size) for size in step_sizes],
    )  # fmt: skip


def _given(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Return those arguments of `dream` that are fields of `Ascent` and not at their default."""
    fields = Ascent.__dataclass_fields__
    given = {name: value for name, value in arguments.items() if name in fields}
    unset = {name: None if name in _OF_START else "default" for name in given}
    return {name: x for name, x in given.items() if not (x is unset[name] or x == "default")}


def _opened(
    model: nn.Module, start: Start, rate_hz: int, **about: Any
) -> tuple[Recognizer, Tensor]:
    """Return a recognizer, or one around a network, and the start that it fits."""
    check({"window_frames": (about["window_frames"], Count | None)})
    knows = model if isinstance(model, Recognizer) else about["frontend"]
    signal = _signal(start, getattr(knows, "sample_rate_hz", None) or rate_hz)
    signal = _like_weights(signal, model)
    if not isinstance(model, Recognizer):
        recognizer = recognizer_around(model, signal, rate_hz=rate_hz, **about)
        if about["frontend"] is not None:
            check_start(recognizer, signal)
        return recognizer, signal
    if any(given is not None for given in about.values()):
        raise InputError(
            "frontend, labels, output and window_frames belong to the recognizer; expected "
            "none of them, or recognizer.model in its place"
        )
    check_start(model, signal)
    if signal.ndim == 2:
        model.check_length(signal, "start")
    return model, signal


def _judge(judge: Model | Sequence[Model]) -> Recognizer:
    """Return a recognizer that judges."""
    found = _network(judge)
    if not isinstance(found, Recognizer):
        raise InputError(
            f"judge is a {type(found).__name__}; expected a checkpoint or a recognizer: "
            "Recognizer(frontend=..., model=..., instruments=...)"
        )
    return found


def _network(model: Model | Sequence[Model]) -> nn.Module:
    """Return a network as it is, a checkpoint loaded, several of them as one."""
    if not isinstance(model, list | tuple):
        is_path = isinstance(model, str | Path)
        return as_one([load_recognizer(model)]) if is_path else as_network(model)
    members: list[Any] = [_network(one) for one in model]
    if others := [type(one).__name__ for one in members if not isinstance(one, Recognizer)]:
        raise InputError(
            f"model has a {others[0]} among several; expected recognizers and checkpoints: "
            "Recognizer(frontend=..., model=..., instruments=...)"
        )
    return as_one(members)


def sound_settings() -> dict[str, Any]:
    """Return how sounds are dreamed by default: what is dreamed is what is heard.

    A gain on the sound's spectrum, on coarse and fine grids at once, a fixed number of steps, other
    random views in each: what `task=dream` does.
    """
    return {
        "parametrization": LowResolution(of=StftGain(max_gain_db=15.0, keep_peak=True)),
        "transform": robust_views(),
        "step_size": 0.5,
        "steps": 60,
        "confidence": None,
        "keep": "last",
    }


def _doubts(
    network: nn.Module, recognizer: Recognizer, signal: Tensor, output: Output | None
) -> list[str | None]:
    """Return warnings about a network's outputs; about their range where `output` is not known."""
    is_said = output is not None or isinstance(getattr(network, "output", None), str)
    unit = None if is_said else doubt_of_output(recognizer, signal)
    return [doubt_of_chance(recognizer, signal), unit]


def _warn(doubts: Sequence[str | None]) -> None:
    """Issue warnings at the line that called `dream` or `attribute`."""
    for doubt in filter(None, doubts):
        warnings.warn(doubt, stacklevel=4)  # past these and their decorator


def _signal(start: Start, sample_rate_hz: int) -> Tensor:
    """Return (items, samples) or (items, n_mels, frames)."""
    if isinstance(start, str | Path):
        start = load_audio(start, sample_rate_hz=sample_rate_hz)
    if isinstance(start, list | tuple) and any(isinstance(one, str | Path) for one in start):
        raise InputError(
            f"start is a {type(start).__name__} of {len(start)} paths; expected one sound file: "
            "call this once for each of them"
        )
    signal = tensor_of(start, "start")
    signal = signal[None] if signal.ndim == 1 else signal
    signal = signal.squeeze(1) if signal.ndim > 2 else signal  # of a single channel
    if signal.ndim not in (2, 3) or not signal.is_floating_point() or 0 in signal.shape:
        raise InputError(
            f"start has shape {tuple(signal.shape)} and type {signal.dtype}; expected floating "
            "point (items, samples), (samples,) or (items, n_mels, frames); divide sounds of 16 "
            "bits by 32768"
        )
    if signal.ndim == 2 and signal.shape[1] <= 8 < len(signal):  # channels, as files are read
        raise InputError(
            f"start has shape {tuple(signal.shape)}; expected (items, samples): start.T, or "
            "start.mean(1) of one sound's channels"
        )
    return signal


def _like_weights(signal: Tensor, model: nn.Module) -> Tensor:
    """Return the signal on a network's device, in its floating type but not below float32."""
    if isinstance(model, Recognizer):
        return signal.to(model.device, model.dtype)
    weights = next((w for w in model.parameters() if w.is_floating_point()), signal)
    return signal.to(weights.device, torch.promote_types(weights.dtype, torch.float32))


def _usual(recognizer: Recognizer, signal: Tensor) -> tuple[dict[str, Any], str | None]:
    """Return the default settings, and a warning where the unit of the input is in doubt."""
    own = type(recognizer.frontend)
    is_ours = issubclass(own, frontends.Spectral) and own.__module__ == frontends.__name__
    is_ours |= isinstance(recognizer, Ensemble)
    parametrization, doubt = _parametrization(recognizer, signal, is_ours)
    has_stft = is_ours or hasattr(recognizer.frontend, "n_fft")
    if signal.ndim == 2 and has_stft and doubt is None:
        return sound_settings(), None
    return {"parametrization": parametrization}, doubt


def _parametrization(
    recognizer: Recognizer, signal: Tensor, is_ours: bool
) -> tuple[Parametrization, str | None]:
    """Return the parametrization of the network's input, and a warning about its unit."""
    if signal.ndim == 2 and isinstance(recognizer.frontend, frontends.Waveform):
        return Waveform(), None
    with torch.no_grad():
        lowest, highest = torch.stack(log_mel_of(recognizer, signal).aminmax()).tolist()
    is_other, is_positive = is_other_unit(lowest, highest), 0.0 <= lowest < highest
    if is_ours:  # the unit of the front end is known
        if signal.ndim == 2 or is_other or not (is_positive or highest > LOUDEST):
            return LogMel(), None
        return LogMel(), (
            f"log-mels from {lowest:.4g} to {highest:.4g} are louder than a sound within full "
            "scale; expected the natural log of magnitudes, as front end "
            f"{type(recognizer.frontend).__name__} gives it"
        )
    if not (is_other or is_positive):
        return LogMel(), None
    return LogMel(range_db=None), (
        f"spectrograms from {lowest:.4g} to {highest:.4g} are no natural log of magnitudes: they "
        "are dreamed within their own range, of which a step of 1 is 1/120, and dB of constraints "
        "and transforms are 0.1151 of their unit; parametrization=LogMel(range_db=None) says so, "
        "LogMel() that they are such logs"
    )


def _classes(target: Any, recognizer: Recognizer) -> Tensor:
    """Return the numbers of one class or several, (targets,)."""
    several = [target] if np.ndim(target) == 0 else target
    classes = [_class(one, list(recognizer.instruments)) for one in several]
    return torch.tensor(classes, dtype=torch.long)


def _class(target: Any, labels: list[str]) -> int:
    """Return the number of a class that is given by its number or its label."""
    number: Any = target
    if isinstance(target, str) and (found := target if target in labels else find(target, labels)):
        number = labels.index(found)
    with contextlib.suppress(TypeError):  # of what is no whole number
        if not isinstance(number, bool) and 0 <= operator.index(number) < len(labels):
            return operator.index(number)
    raise InputError(
        f"unknown target {target!r}; expected a number from 0 to {len(labels) - 1} or one of "
        f"{in_words(labels)}{nearest(target, labels) if isinstance(target, str) else ''}"
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
    count, items = len(values) if np.ndim(values) else "no list of", len(signal)
    if count != items:
        raise InputError(f"{name} has {count} values; expected one for each of {items} items")
    return torch.as_tensor(values, device=signal.device)
