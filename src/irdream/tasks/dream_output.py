"""What is kept of a finished dream: three sounds, a row of measures, a figure; and their table."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table
from torch import Tensor

from irdream import instruments
from irdream.audio import load_audio, write_wav
from irdream.datasets.base import Excerpt, tell_skipped
from irdream.dreaming.record import Answer
from irdream.dreaming.targets import Item
from irdream.evaluation import dreams as measures
from irdream.evaluation.dream_figures import DreamFigures, Outputs, Series
from irdream.evaluation.sounds import snr_db
from irdream.files import distinct_names
from irdream.recognizer import Recognizer

Sonify = Callable[..., Tensor]
FULL_SCALE = 0.99
ROWS_SHOWN = 24  # of the table that is printed
COLUMNS = {  # of the table that is printed: heading and digits
    "target_probability_before": ("before", 2),
    "target_probability": ("dream", 2),
    "target_probability_wav": ("WAV", 2),
    "steps": ("steps", 0),
    "rmse_db": ("RMSE dB", 2),
    "max_abs_db": ("max dB", 1),
    "snr_db": ("SNR dB", 1),
}


@dataclass(frozen=True, kw_only=True)
class FinishedDream:
    """One dream, on the CPU.

    Attributes:
        name: for its files.
        item, excerpt: where it came from and went to.
        original, dream: log-mels (n_mels, frames).
        waveform: (samples,) where the dream is sound, else None.
        before, after: what the recognizer says, for one item.
        steps: from the original to the dream.
        step_size: of each, in the parametrization's unit.
        curves: target probability and objective over steps, (steps + 1,) each.
    """

    name: str
    item: Item
    excerpt: Excerpt
    original: Tensor
    dream: Tensor
    waveform: Tensor | None
    before: Answer
    after: Answer
    steps: int
    step_size: float
    curves: dict[str, np.ndarray]


def file_names(
    excerpts: Sequence[Excerpt], items: Sequence[Item], instruments: Sequence[str]
) -> list[str]:
    """Return a name for the files of each item's dream, unlike that of any other item.

    Args:
        excerpts: all that items may be of.
        items: some or all.
        instruments: all that items may go toward.
    """
    of_excerpt = distinct_names([excerpt.name for excerpt in excerpts])
    of_target = dict(zip(instruments, distinct_names(instruments), strict=True))
    return [_file_name(of_excerpt[item.excerpt], of_target[item.target], item) for item in items]


def _file_name(excerpt: str, target: str, item: Item) -> str:
    parts = [f"{excerpt}-to-{target}"]
    parts += [f"step-{_number(item.step_size)}"] if item.step_size is not None else []
    parts += [f"budget-{_number(item.budget_db)}"] if item.budget_db is not None else []
    parts += [f"variation-{item.variation}"] if item.variation else []
    return "-".join(parts)


def _number(value: float) -> str:
    """Return all digits of a number, and none that says nothing."""
    return f"{value:g}" if float(f"{value:g}") == value else repr(value)


def write_sounds(
    one: FinishedDream, recognizer: Recognizer, sonify: Sonify, folder: Path
) -> tuple[Tensor, Path]:
    """Write original, dream and difference as WAVs on one scale.

    Returns:
        The dream's waveform (samples,), before scaling, and the path of its WAV.
    """
    original, dreamed = one.excerpt.waveform, one.waveform
    if dreamed is None:
        arguments = {"dream": one.dream, "original": one.original, "waveform": original}
        batch = {name: x[None].to(recognizer.device) for name, x in arguments.items()}
        dreamed = sonify(**batch, frontend=recognizer.frontend)[0].cpu()
    sounds = {"original": original, "dream": dreamed, "difference": dreamed - original}
    peak = max(float(sound.abs().max()) for sound in sounds.values())
    scale = min(1.0, FULL_SCALE / peak) if peak > 0 else 1.0
    folder.mkdir(parents=True, exist_ok=True)
    for kind, sound in sounds.items():
        path = folder / f"{one.name}-{kind}.wav"
        write_wav(path, sound * scale, sample_rate_hz=recognizer.sample_rate_hz)
    return dreamed, folder / f"{one.name}-dream.wav"


@torch.no_grad()
def hear_file(path: Path, target: str, recognizer: Recognizer) -> Answer:
    """Read a sound file as the recognizer would and return its answer, on the CPU."""
    waveform = load_audio(path, sample_rate_hz=recognizer.sample_rate_hz, allow_silence=True)
    targets = torch.tensor([recognizer.instruments.index(target)], device=recognizer.device)
    log_mel = recognizer.log_mel(waveform[None].to(recognizer.device))
    return Answer.to(recognizer, log_mel, targets).one(0)


def measure(
    one: FinishedDream,
    on_wav: Answer,
    dreamed: Tensor,
    instruments: tuple[str, ...],
    *,
    confidence: float,
) -> dict[str, object]:
    """Return a dream's row of the table.

    Args:
        one: the dream.
        on_wav: the answer on its WAV.
        dreamed: its waveform (samples,).
        instruments: the codes on the axis of the answers.
        confidence: the target's probability that counts as success.
    """
    target = torch.tensor([instruments.index(one.item.target)])
    original, dream = one.original[None], one.dream[None]
    return {
        "name": one.excerpt.name,
        "labels": " ".join(one.excerpt.labels),
        "target": one.item.target,
        "step_size": one.step_size,
        "budget_db": one.item.budget_db,
        "variation": one.item.variation,
        "success": bool(one.after.success(target, confidence)[0]),
        "success_wav": bool(on_wav.success(target, confidence)[0]),
        "target_probability_before": float(one.before.of_target(target)[0]),
        "target_probability": float(one.after.of_target(target)[0]),
        "target_probability_wav": float(on_wav.of_target(target)[0]),
        "target_score": float(one.after.scores[0, target[0]]),
        "window_share": float((one.after.windows >= confidence).float().mean()),
        "steps": one.steps,
        "rmse_db": float(measures.rmse_db(original, dream)[0]),
        "max_abs_db": float(measures.max_abs_db(original, dream)[0]),
        "snr_db": float(snr_db(one.excerpt.waveform[None], dreamed[None])[0]),
        "file": one.name,
    }


def dream_figures(recognizer: Recognizer, *, confidence: float) -> DreamFigures:
    """Return what draws the dreams of one recognizer."""
    series = Series(
        hop_seconds=recognizer.hop_samples / recognizer.sample_rate_hz,
        mel_frequencies_hz=recognizer.mel_centers_hz().numpy(),
        instruments=recognizer.instruments,
        confidence=confidence,
    )
    return DreamFigures(series)


def draw(
    one: FinishedDream, row: dict[str, object], on_wav: Answer, figures: DreamFigures, *, path: Path
) -> None:
    """Draw original, dream and difference with the recognizer's outputs below."""
    path.parent.mkdir(parents=True, exist_ok=True)
    target = instruments.name(one.item.target)
    figures.write(
        path,
        one.original.numpy() * measures.DB_PER_NATURAL,
        one.dream.numpy() * measures.DB_PER_NATURAL,
        title=(
            f"{one.excerpt.name} toward {target}: {row['target_probability_before']:.2f} → "
            f"{row['target_probability']:.2f}, as WAV {row['target_probability_wav']:.2f}"
        ),
        outputs=Outputs(
            before=one.before.probabilities[0].numpy(),
            after=one.after.probabilities[0].numpy(),
            on_wav=on_wav.probabilities[0].numpy(),
            target=one.item.target,
        ),
    )


def print_dreams(
    table: pd.DataFrame, metrics: dict[str, float], bad: Sequence[str], *, omitted: int
) -> None:
    """Print the first dreams, the summary, and what could not be read."""
    console = Console()
    shown = Table(box=box.SIMPLE, pad_edge=False)
    shown.add_column("excerpt")
    for column in ("toward", *(heading for heading, _ in COLUMNS.values())):
        shown.add_column(column, justify="right", no_wrap=True)
    for row in table.head(ROWS_SHOWN).to_dict("records"):
        cells = [f"{row[key]:.{digits}f}" for key, (_, digits) in COLUMNS.items()]
        shown.add_row(escape(str(row["name"])), str(row["target"]), *cells)
    shown.add_section()
    medians = [
        f"{metrics.get(f'dream/{key}_median', np.nan):.{digits}f}"
        for key, (_, digits) in COLUMNS.items()
    ]
    shown.add_row("median", "", *medians)
    console.print(shown)
    if len(table) > ROWS_SHOWN:
        console.print(f"{len(table) - ROWS_SHOWN} more dreams in dreams.csv")
    if omitted:
        console.print(f"{omitted} dreams without a figure (dream.figures)")
    console.print(
        f"heard as the target: {metrics['dream/success']:.0%} of the spectrograms, "
        f"{metrics['dream/success_wav']:.0%} of the WAVs"
    )
    tell_skipped(bad)
