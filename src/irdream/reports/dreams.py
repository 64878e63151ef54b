"""What is kept of a finished dream: its name, three sounds, a figure."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from irdream import instruments
from irdream.audio import load_audio, write_wav
from irdream.audio.stft import DB_PER_NATURAL
from irdream.datasets.base import Excerpt
from irdream.dreaming.best import Answer, Dreams
from irdream.dreaming.network_checks import Given
from irdream.dreaming.parametrizations import Parametrization
from irdream.dreaming.parametrizations.base import full_band
from irdream.dreaming.targets import Item
from irdream.ensemble import members_of
from irdream.files import distinct_names
from irdream.recognizer import Recognizer, same_weights

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Sonify = Callable[..., Tensor]
FULL_SCALE = 0.99


@dataclass(frozen=True, kw_only=True)
class FinishedDream:
    """One dream, on the CPU."""

    name: str  # for its files
    item: Item
    excerpt: Excerpt
    original: Tensor  # log-mel (n_mels, frames)
    dream: Tensor
    waveform: Tensor | None  # (samples,) where the dream is sound
    before: Answer  # of the recognizer, for one item
    after: Answer
    steps: int
    step_size: float  # in the parametrization's unit
    curves: dict[str, np.ndarray]  # target_probability and objective, (steps + 1,) each
    # of the dream's waveform: see `irdream.dreaming.parametrizations.base`
    full_band: Callable[[Tensor], tuple[Tensor, Tensor, int] | None] = lambda dream: None
    iterates: Mapping[int, Tensor] = field(default_factory=dict)  # by steps: waveforms or log-mels

    def sound(self, dream: Tensor, recognizer: Recognizer, sonify: Sonify) -> Tensor:
        """Return the waveform (samples,) of a log-mel."""
        arguments = {"dream": dream, "original": self.original, "waveform": self.excerpt.waveform}
        batch = {name: x[None].to(recognizer.device) for name, x in arguments.items()}
        return sonify(**batch, frontend=recognizer.frontend)[0].cpu()


def one_by_one(
    dreams: Dreams,
    recognizer: Recognizer,
    *,
    names: Sequence[str],
    items: Sequence[Item],
    excerpts: Sequence[Excerpt],
    original: Tensor,
    step_sizes: Sequence[float],
    parametrization: Parametrization,
) -> Iterator[FinishedDream]:
    """Split what an ascent returned into single dreams on the CPU.

    `original` are log-mels (items, n_mels, frames), as of `recognizer.analysis`.
    """
    log_mels, before = dreams.log_mel, original.cpu()
    if dreams.waveform is not None and recognizer.analysis is not recognizer.frontend:
        log_mels = recognizer.analysis(dreams.waveform)  # of a network on waveforms
    log_mels = log_mels.cpu()
    curves = {
        "target_probability": dreams.probability_curve.cpu().numpy(),
        "objective": dreams.objective_curve.cpu().numpy(),
    }
    for i, (name, item, excerpt) in enumerate(zip(names, items, excerpts, strict=True)):
        steps, iterates = int(dreams.steps[i]), dreams.iterates.get(i, {})
        seen = int(np.isfinite(curves["objective"][:, i]).sum())
        more = {}
        if excerpt.path is not None and parametrization.from_original:
            of_dream = (excerpt.path, recognizer, parametrization, excerpt.waveform)
            more["full_band"] = functools.partial(
                full_band, *of_dream, dreams.signal[i].cpu(), offset=excerpt.offset
            )
        yield FinishedDream(
            name=name, item=item, excerpt=excerpt, original=before[i], dream=log_mels[i],
            waveform=None if dreams.waveform is None else dreams.waveform[i].cpu(),
            before=dreams.before.one(i), after=dreams.after.one(i), steps=steps,
            step_size=step_sizes[i],
            curves={name: curve[:seen, i] for name, curve in curves.items()},
            iterates={after: one.cpu() for after, one in iterates.items() if after < steps},
            **more,
        )  # fmt: skip


def file_names(
    excerpts: Sequence[Excerpt], items: Sequence[Item], instruments: Sequence[str]
) -> list[str]:
    """Return a name for the files of each item's dream, unlike that of any other item.

    `excerpts` and `instruments` are all that items may be of, or go toward.
    """
    of_excerpt = distinct_names([excerpt.name for excerpt in excerpts])
    of_target = dict(zip(instruments, distinct_names(instruments), strict=True))
    several, names = any(item.variation for item in items), []
    for item in items:
        parts = [of_excerpt[item.excerpt]]
        parts += [f"to-{of_target[item.target]}"] if item.target else []
        parts += [f"step-{_number(item.step_size)}"] if item.step_size is not None else []
        parts += [f"budget-{_number(item.budget_db)}"] if item.budget_db is not None else []
        parts += [f"variation-{item.variation}"] if several else []
        names.append("-".join(parts))
    return names


def _number(value: float) -> str:
    """Return the shortest text of a number that keeps all its digits."""
    return f"{value:g}" if float(f"{value:g}") == value else repr(value)


def write_sounds(
    one: FinishedDream, recognizer: Recognizer, sonify: Sonify, folder: Path
) -> tuple[Tensor, Path]:
    """Write original, dream and difference as WAVs, in all channels of the source at its rate.

    Original and dream share one scale, which is 1 unless one of them exceeds full scale; so does
    the difference, but where it alone would exceed full scale.

    Returns:
        The dream's waveform (samples,), before scaling, and the path of its WAV.
    """
    original, dreamed = one.excerpt.waveform, one.waveform
    if dreamed is None:
        dreamed = one.sound(one.dream, recognizer, sonify)
    wide = one.full_band(dreamed) or (original, dreamed, recognizer.sample_rate_hz)
    sounds = {"original": wide[0], "dream": wide[1], "difference": wide[1] - wide[0]}
    peaks = {kind: float(sound.abs().max()) for kind, sound in sounds.items()}
    loudest = max(peaks["original"], peaks["dream"])
    shared = FULL_SCALE / loudest if loudest > 1 else 1.0
    for kind, sound in sounds.items():
        scale = shared if peaks[kind] * shared <= 1 else FULL_SCALE / peaks[kind]
        write_wav(folder / f"{one.name}-{kind}.wav", sound * scale, sample_rate_hz=wide[2])
    return dreamed, folder / f"{one.name}-dream.wav"


def write_iterates(
    one: FinishedDream, recognizer: Recognizer, sonify: Sonify, folder: Path
) -> None:
    """Write what lay between original and dream as `folder/STEPS/NAME.wav`, within full scale.

    What an earlier dream of this name left there is removed.
    """
    for earlier in folder.glob(f"*/{one.name}.wav"):
        earlier.unlink()
    for steps, iterate in one.iterates.items():
        sound = iterate if iterate.ndim == 1 else one.sound(iterate, recognizer, sonify)
        _, sound, rate_hz = one.full_band(sound) or (None, sound, recognizer.sample_rate_hz)
        path = folder / str(steps) / f"{one.name}.wav"
        write_wav(path, scaled(sound), sample_rate_hz=rate_hz)


def scaled(sound: Tensor) -> Tensor:
    """Return a sound scaled down where it exceeds full scale."""
    return sound * (FULL_SCALE / max(FULL_SCALE, float(sound.abs().max())))


def index_of(target: str, recognizer: Recognizer) -> int:
    """Return the index of a target among the instruments; 0 where there is no target."""
    return recognizer.instruments.index(target) if target else 0


def independent_judge(judge: Recognizer, recognizer: Recognizer) -> Recognizer | None:
    """Return the judge; None, and print why, where it dreams itself or shares no label."""
    pairs = itertools.product(members_of(judge), members_of(recognizer))
    if any(same_weights(*pair) for pair in pairs):
        why = "it is one of the recognizers"
    elif not any(instruments.find(x, judge.instruments) for x in recognizer.instruments):
        why = "it knows none of the labels"
    else:
        return judge
    print(f"judge: none, since {why}; another can be chosen", flush=True)
    return None


def fitting_judge(
    judge: Recognizer | None, targets: Iterable[str], seconds: Iterable[float]
) -> Recognizer | None:
    """Return the judge, and print the targets it does not know; None where a sound is too short."""
    if judge and (shortest := min(seconds)) < judge.window_seconds:
        window = f"its window is {judge.window_seconds:g} s and a sound has {shortest:.3f} s"
        print(f"judge: none, since {window}; another can be chosen", flush=True)
        return None
    named = [target for target in dict.fromkeys(targets) if target]
    unknown = [x for x in named if judge and not instruments.find(x, judge.instruments)]
    if unknown:
        print(f"judge: not asked about {instruments.in_words(unknown)}, which it does not know")
    return judge


def answer_rows(
    file: str, answers: Mapping[str, tuple[Sequence[str], Answer, Answer]]
) -> list[dict[str, object]]:
    """Return rows of probabilities.csv: by network its labels, answers before and after."""
    return [
        {"file": file, "network": name, "label": label, "original": before, "dream": after}
        for name, (labels, *both) in answers.items()
        for label, before, after in zip(
            labels, *(answer.probabilities[0].tolist() for answer in both), strict=True
        )
    ]


def of_label(answer: Answer, label: str, labels: Sequence[str]) -> tuple[float, bool]:
    """Return the probability of a label in the answer on one item, and whether it is on top."""
    index = torch.tensor([labels.index(label)])
    return answer.of_target(index).item(), bool(answer.on_top(index))


@torch.no_grad()
def predict_file(path: Path, target: str, recognizer: Recognizer) -> Answer:
    """Read a sound file as the recognizer would and return its answer, on the CPU."""
    waveform = load_audio(path, sample_rate_hz=recognizer.sample_rate_hz, allow_silence=True)
    targets = torch.tensor([index_of(target, recognizer)], device=recognizer.device)
    log_mel = recognizer.log_mel(waveform[None].to(recognizer.device))
    return Answer.of_log_mel(recognizer, log_mel, targets).one(0)


def figure_of(
    one: FinishedDream,
    recognizer: Recognizer,
    *,
    title: str,
    bar: float | None = None,
    on_wav: Answer | None = None,
) -> Figure:
    """Draw original, dream and difference with the recognizer's outputs below, and a bar's line."""
    from irdream.reports.figures import spectrograms_figure  # 0.6 s, for matplotlib

    is_known = not isinstance(recognizer.frontend, Given)
    hop_seconds = recognizer.analysis.hop_samples / recognizer.sample_rate_hz
    return spectrograms_figure(
        one.original.numpy() * DB_PER_NATURAL,
        one.dream.numpy() * DB_PER_NATURAL,
        hop_seconds=hop_seconds if is_known else None,
        frequencies_hz=recognizer.centers_hz() if is_known else None,
        title=title,
        instruments=recognizer.instruments,
        probabilities_before=one.before.probabilities[0].numpy(),
        probabilities_after=one.after.probabilities[0].numpy(),
        probabilities_wav=None if on_wav is None else on_wav.probabilities[0].numpy(),
        target=one.item.target,
        confidence=bar,
    )
