"""The table of a run's dreams: a row of measures each, their averages, and both in the terminal."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from rich import box
from rich.markup import escape
from rich.table import Table
from torch import Tensor

from irdream import instruments
from irdream.audio import load_audio
from irdream.datasets.base import counted, warn_skipped
from irdream.dreaming.best import Answer
from irdream.measures import dreams as measures
from irdream.measures.dreams import snr_db
from irdream.measures.table import BAR, MEASURES, UNCHANGED_DB, Measure, setting_words
from irdream.progress import Stopwatch
from irdream.recognizer import Recognizer
from irdream.reports.dreams import (
    FinishedDream,
    Sonify,
    answer_rows,
    figure_of,
    of_label,
    predict_file,
    write_iterates,
    write_sounds,
)
from irdream.reports.tables import ROWS_SHOWN, save_table, wide_console

HEADINGS = {"step_size": "step", "budget_db": "budget dB", "variation": "variation"}


def write_dream(
    one: FinishedDream,
    recognizer: Recognizer,
    sonify: Sonify,
    folder: Path,
    *,
    judge: Recognizer | None = None,
    varied: Sequence[str] = (),
    is_drawn: bool = True,
    stopwatch: Stopwatch | None = None,
) -> tuple[dict[str, object], list[dict[str, object]]]:
    """Write a dream's sounds and picture, and return its rows of dreams.csv and probabilities.csv.

    Args:
        sonify: makes sound of it where it is a spectrogram.
        folder: gets `sounds/`, `spectrograms/`, and `steps/` where its iterates were kept.
        judge: a network that had no part in it, asked where it knows the target.
        varied: the settings that are lists in this run.
        is_drawn: whether there is a picture.
    """
    stopwatch, target = stopwatch or Stopwatch(), one.item.target
    with stopwatch("sound"):
        sound, path = write_sounds(one, recognizer, sonify, folder / "sounds")
        undreamed = path.with_name(f"{one.name}-original.wav")
        on_wav = predict_file(path, target, recognizer)
        row = measure(one, on_wav, sound, recognizer.instruments)
        row |= kept_in(undreamed, path, recognizer)
        answers = {"recognizer": (recognizer.instruments, one.before, on_wav)}
        if judge is not None and (known := instruments.find(target, judge.instruments)):
            of_original, of_dream = (predict_file(x, known, judge) for x in (undreamed, path))
            answers["judge"] = judge.instruments, of_original, of_dream
            said = of_label(of_dream, known, judge.instruments)
            row["judge_probability"], row["judge_on_top"] = said
            row["undreamed_judge_on_top"] = of_label(of_original, known, judge.instruments)[1]
        rows = answer_rows(one.name, answers)
        write_iterates(one, recognizer, sonify, folder / "steps")
    if not is_drawn:
        return row, rows
    from irdream.reports.figures import save_figure  # 0.6 s, for matplotlib

    with stopwatch("figures"):
        bar, title = BAR if one.item.target else None, title_of(row, varied)
        figure = figure_of(one, recognizer, title=title, bar=bar, on_wav=on_wav)
        save_figure(figure, folder / "spectrograms" / f"{one.name}.png")
    return row, rows


def kept_in(undreamed: Path, path: Path, recognizer: Recognizer) -> dict[str, float]:
    """Return how well a dream's WAV keeps the onsets, pitch and steady gain of its original's."""
    rate_hz, grid = recognizer.sample_rate_hz, recognizer.analysis
    sounds = [
        load_audio(each, sample_rate_hz=rate_hz, allow_silence=True)[None]
        for each in (undreamed, path)
    ]
    with torch.no_grad():
        log_mels = [grid(sound.to(recognizer.device)).cpu() for sound in sounds]
    frames_a_second = rate_hz / grid.hop_samples
    return {
        "onset_correlation": measures.onset_correlation(*log_mels).item(),
        "pitch_error_cents": measures.pitch_error_cents(*sounds, sample_rate_hz=rate_hz).item(),
        "warble_db": measures.warble_db(*log_mels, frames_a_second=frames_a_second).item(),
    }


def measure(
    one: FinishedDream, on_wav: Answer, dreamed: Tensor, labels: Sequence[str]
) -> dict[str, object]:
    """Return a dream's row of the table; measures of a target or a judge are None without one.

    `on_wav` is the answer on its WAV, `dreamed` its waveform (samples,), `labels` those of answers.
    """
    original, dream, objective = one.original[None], one.dream[None], one.curves["objective"]
    rmse_db = measures.rmse_db(original, dream).item()
    values: dict[str, object] = {
        "objective_before": float(objective[0]),
        "objective": float(objective[one.steps]),
        "steps": one.steps,
        "rmse_db": rmse_db,
        "max_abs_db": measures.max_abs_db(original, dream).item(),
        "snr_db": snr_db(one.excerpt.waveform[None], dreamed[None]).item(),
    }
    if one.item.target:
        target = torch.tensor([labels.index(one.item.target)])
        for name, answer in (("", one.after), ("wav_", on_wav)):
            values[f"{name}on_top"] = answer.on_top(target).item()
            values[f"{name}at_0.9"] = answer.on_top(target, BAR).item()
        for name, answer in (("_before", one.before), ("", one.after), ("_wav", on_wav)):
            values[f"target_probability{name}"] = answer.of_target(target).item()
        values["target_score"] = one.after.scores[0, target].item()
        values["window_share"] = (one.after.windows >= BAR).float().mean().item()
    predictions = {"_before": one.before, "": one.after, "_wav": on_wav}
    return {
        "name": one.excerpt.name,
        "labels": ";".join(one.excerpt.labels),
        "target": one.item.target or None,
        "step_size": one.step_size,
        "budget_db": one.item.budget_db,
        "variation": one.item.variation,
        **{f"prediction{end}": labels[int(answer.top())] for end, answer in predictions.items()},
        **{each.name: values.get(each.name) for each in MEASURES},
        "unchanged": rmse_db < UNCHANGED_DB,
        "file": one.name,
    }


def how_to_read(table: pd.DataFrame) -> str:
    """Return a sentence on what the headings of a table mean."""
    first = "before, objective: what is maximized, at the start and in the dream"
    if has_target(table):
        first = "p: probability of the target, before, in the dream, in the WAV that was written"
        first += ", and of the WAV by a network that had no part (judge)" * is_judged(table)
    return (
        f"{first}; RMSE: change of the spectrogram; SNR: the original over the change in the "
        "sound, higher is quieter"
    )


def measures_of(table: pd.DataFrame) -> list[Measure]:
    """Return the measures that apply to these dreams, with or without a target and a judge."""
    has = {"": True, "target": has_target(table), "no target": not has_target(table)}
    has["judge"] = is_judged(table)
    return [each for each in MEASURES if has[each.needs]]


def is_judged(table: pd.DataFrame) -> bool:
    """Say whether a judge was asked."""
    return bool(table["judge_on_top"].notna().to_numpy().any())


def has_target(table: pd.DataFrame) -> bool:
    """Say whether the dreams had a target."""
    return bool(table["target"].notna().to_numpy().any())


def summary(table: pd.DataFrame) -> dict[str, float]:
    """Return `dream/count`, `dream/unchanged`, and of each measure its mean and its median.

    They are `dream/<measure>` and, but for shares, `dream/<measure>_median`. The SNR is of those
    that changed. `dream/<measure>_undefined` counts more that have no finite value (as the SNR of
    silence has none) and are left out, where there are such.
    """
    is_unchanged = table["unchanged"].to_numpy(dtype=bool)
    metrics = {"dream/count": float(len(table)), "dream/unchanged": float(is_unchanged.sum())}
    for each in measures_of(table):
        values = table[each.name].to_numpy(dtype=float)
        values = values[~is_unchanged] if each.name == "snr_db" else values
        finite = values[np.isfinite(values)]
        if len(finite) < len(values):
            metrics[f"dream/{each.name}_undefined"] = float(len(values) - len(finite))
        if len(finite):
            metrics[f"dream/{each.name}"] = float(finite.mean())
            if not each.is_share:
                metrics[f"dream/{each.name}_median"] = float(np.median(finite))
    return metrics


def title_of(row: Mapping[str, Any], varied: Sequence[str]) -> str:
    """Return the title of a dream's figure: which one it is, and its result."""
    toward = f" toward {instruments.name(row['target'])}" if row["target"] else ""
    which = ", ".join([f"{row['name']}{toward}", *setting_words(row, varied)])
    if toward:
        values = (row[f"target_probability{end}"] for end in ("_before", "", "_wav"))
        return "{}: {:.2f} → {:.2f}, as WAV {:.2f}".format(which, *values)
    before, after = f"{row['objective_before']:.4g}", f"{row['objective']:.4g}"
    said, of_wav = (instruments.name(row[f"prediction{end}"]) for end in ("", "_wav"))
    return f"{which}: objective {before} → {after}; predicted {said}, as WAV {of_wav}"


def print_dreams(
    table: pd.DataFrame,
    metrics: Mapping[str, float],
    bad: Sequence[str],
    *,
    varied: Sequence[str],
    omitted: int,
) -> None:
    """Print the first dreams, the medians, how many succeeded, and what could not be read.

    `metrics` are the `summary` of the table, `varied` the settings that are lists in this run;
    `omitted` dreams have no figure.
    """
    console = wide_console()
    console.print(_shown(table, metrics, varied))
    lines = [how_to_read(table)]
    if len(table) > ROWS_SHOWN:
        lines.append(f"{len(table) - ROWS_SHOWN} more dreams in dreams.csv")
    if omitted:
        lines.append(f"{counted(omitted, 'dream')} without a figure (dream.figures)")
    count = len(table)
    if unchanged := int(metrics["dream/unchanged"]):
        lines.append(
            f"{unchanged} of {count} dreams changed nothing; the SNR is of the {count - unchanged} "
            "that changed"
        )
    for each in measures_of(table):
        undefined = int(metrics.get(f"dream/{each.name}_undefined", 0))
        if undefined and not each.is_partial:
            lines.append(f"{each.heading} is not defined for {undefined} of {count} dreams")
    for line in [*lines, result(table)]:
        console.print(escape(line), soft_wrap=True)
    warn_skipped(bad)


def write_tables(table: pd.DataFrame, dreamt: Sequence[FinishedDream], output_dir: Path) -> None:
    """Write dreams.csv, curves.csv and curves.png; a row of the table for each of the dreams."""
    from irdream.reports.figures import curve_figure, save_figure

    exact = table.astype({"step_size": object, "budget_db": object})  # they tell dreams apart
    save_table(exact, output_dir / "dreams.csv")
    curves = [
        pd.DataFrame({"file": one.name, "step": range(len(one.curves["objective"])), **one.curves})
        for one in dreamt
    ]
    save_table(pd.concat(curves, ignore_index=True), output_dir / "curves.csv")
    is_toward = has_target(table)
    shown = [one.curves["target_probability" if is_toward else "objective"] for one in dreamt]
    more: Any = {"bar": BAR} if is_toward else {"label": "objective", "limits": None}
    figure = curve_figure(shown, title=counted(len(dreamt), "dream"), **more)
    save_figure(figure, output_dir / "curves.png")


def _shown(table: pd.DataFrame, metrics: Mapping[str, float], varied: Sequence[str]) -> Table:
    """Return the printed table: each dream's measures, and their medians."""
    columns = [each for each in measures_of(table) if each.in_table]
    words = {"target": "toward"} if has_target(table) else {"prediction_wav": "predicted"}
    words |= {name: HEADINGS[name] for name in varied}
    shown = Table(box=box.SIMPLE, pad_edge=False, padding=(0, 1, 0, 0))
    shown.add_column("excerpt")
    for heading in (*words.values(), *(each.heading for each in columns)):
        shown.add_column(heading, justify="right", no_wrap=True)
    for row in table.head(ROWS_SHOWN).to_dict("records"):
        which = [row[name] if isinstance(row[name], str) else f"{row[name]:g}" for name in words]
        cells = [f"{row[each.name]:.{each.digits}f}" for each in columns]
        if row["unchanged"]:
            cells[-1] = "unchanged"
        shown.add_row(escape(str(row["name"])), *which, *cells)
    shown.add_section()
    medians = ((metrics.get(f"dream/{each.name}_median"), each.digits) for each in columns)
    cells = ["-" if median is None else f"{median:.{digits}f}" for median, digits in medians]
    shown.add_row("median", *("" for _ in words), *cells)
    return shown


def result(table: pd.DataFrame) -> str:
    """Return the result of the dreams in one line."""
    count = len(table)
    if not has_target(table):
        tops = Counter(table["prediction_wav"]).most_common()
        told = ", ".join(f"{instruments.name(code)} {n}" for code, n in tops)
        before, after = (np.median(table[name]) for name in ("objective_before", "objective"))
        return f"objective {before:.4g} → {after:.4g} (median); first guess of the WAVs: {told}"
    first, *others = dict.fromkeys(table["target"])
    shares = [each.name for each in measures_of(table) if each.is_share]
    sums = {name: sum(yes is True for yes in table[name].tolist()) for name in shares}
    line = (
        f"{'the target' if others else instruments.name(first)} is the first guess in "
        f"{sums['wav_on_top']} of {counted(count, 'WAV')}, at {BAR:g} or more in "
        f"{sums['wav_at_0.9']}"
    )
    spectrograms = sums["on_top"], sums["at_0.9"]
    if spectrograms != (sums["wav_on_top"], sums["wav_at_0.9"]):  # something was lost
        line += f" (of the spectrograms: {spectrograms[0]}, {spectrograms[1]})"
    if "judge_on_top" in sums:
        undreamed = sums["undreamed_judge_on_top"]
        asked = len(table["judge_on_top"].dropna())  # the judge may not know a target
        of = f" of {asked} that it was asked about" * (asked < count)
        line += f"; the judge agrees in {sums['judge_on_top']}{of} (undreamed {undreamed})"
    return line
