"""Dream excerpts, files or noise toward instruments, turn the dreams into sound, measure them.

Files in `output_dir`: index.html (a page to hear and see them), dreams.csv (a row a dream),
probabilities.csv (what both networks predict, before and after), curves.csv (probability and
objective over steps), curves.png, `spectrograms/NAME.png`, `sounds/NAME-original.wav`, `-dream.wav`
and `-difference.wav` on one scale, `steps/STEPS/NAME.wav` (the first dreams on the way). The WAV of
a dream is read again: what is predicted of it stands beside what is predicted of the spectrogram.

What writes tables and figures is imported where it is used: the first step waits for none of it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from irdream.arguments import Count, Natural, Several, checked
from irdream.datasets.base import Excerpt, counted, warn_long
from irdream.datasets.identity import fingerprint_of_sounds
from irdream.datasets.starts import Listed, Start
from irdream.dreaming.ascent import Ascent, Strength, with_strength
from irdream.dreaming.best import Best
from irdream.dreaming.constraints import RmseBudget
from irdream.dreaming.objectives import as_objective
from irdream.dreaming.targets import Item, batches, item_seed, parse_targets, several
from irdream.errors import InputError
from irdream.processes import Interrupted, keeping, stopping
from irdream.progress import DreamBar, Stopwatch, dream_bar
from irdream.recognizer import Recognizer
from irdream.reports.dreams import (
    FinishedDream,
    Sonify,
    file_names,
    fitting_judge,
    independent_judge,
    index_of,
    one_by_one,
)
from irdream.sonification import GriffinLim, StftGain
from irdream.tasks.common import log_results, plan_items, read_start
from irdream.tracking import Tracker

FILES = (
    "index.html", "dreams.csv", "probabilities.csv", "curves.csv", "curves.png", "spectrograms",
    "sounds", "steps",
)  # fmt: skip
GB_A_MINUTE = 0.3  # of one sound, by default settings
BATCH_SECONDS = 2048.0  # of sound that is dreamed at once: memory stays the same for any count


@checked
def dream(
    *,
    recognizer: Recognizer,
    start: Start,
    target: str | Sequence[str],
    ascent: Ascent,
    tracker: Tracker,
    output_dir: Path,
    strength: Strength = None,
    judge: Recognizer | None = None,
    sonification: Sonify | None = None,
    step_size: Several | None = None,
    budget_db: Several | None = None,
    variations: Count = 1,
    figures: Natural = 4,
    seed: int = 0,
    info: bool = False,
    command: Sequence[str] = (),
    progress: Callable[[float], object] = lambda share: None,
    stopwatch: Stopwatch | None = None,
) -> dict[str, float]:
    """Dream every excerpt of `start` toward every target, with every step size and budget.

    Arguments that conf/config.yaml has as keys, at its top or of `dream`, are explained there.

    Args:
        recognizer: what is to predict the target; left as it was.
        strength: see `with_strength`; a list of step sizes stays as it is.
        judge: predicts the WAVs, and the undreamed ones; None, or the recognizer again: none.
        sonification: makes sound of a dreamed spectrogram; None: a gain on the original's
            spectrum, or Griffin-Lim where the start is noise or not what is changed. Not used
            where dreams are sound.
        step_size, budget_db: a list of them is items of one batch; None: the ascent's own, any.
        command: the words that were typed, for the page.
        progress: is given the share of the dreaming that is done, 0 to 1.

    Returns `dream/<measure>` and `dream/<measure>_median`, see `summary`. Raises InputError for bad
    targets, step sizes, budgets or numbers of variations, or nothing to dream on; Interrupted by a
    signal, after the dreams that are finished were written.
    """
    stopwatch = stopwatch or Stopwatch()
    step_sizes, budgets_db = several(step_size), several(budget_db)
    if len(step_sizes) == 1 and step_sizes[0] is not None:  # then files are not named by it
        ascent, step_sizes = replace(ascent, step_size=step_sizes[0]), [None]
    ascent = with_strength(ascent, strength)
    _check(recognizer, ascent, budget_db)
    has_target, labels = as_objective(ascent.objective).reads_output, recognizer.instruments
    targets = parse_targets(target, labels) if has_target else [""]
    lists = {"step_size": step_sizes, "budget_db": budgets_db, "variation": range(variations)}
    varied = [name for name, values in lists.items() if len(values) > 1]
    planned: Callable[[Listed], list[Item]] = partial(
        plan_items, targets, known=labels, seed=seed, step_sizes=step_sizes, budgets_db=budgets_db,
        variations=variations,
    )  # fmt: skip
    if info:
        ascent.check(recognizer)
    words = {"step_size": "step size", "budget_db": "budget", "variation": "variation"}
    several_of = [counted(len(lists[name]), words[name]) for name in varied]
    print(_intended(start, recognizer, ascent, targets, several_of, planned), flush=True)
    judge = judge and independent_judge(judge, recognizer)
    if info:
        return {}
    with stopwatch("reading audio"):
        excerpts, bad = read_start(start, recognizer, "dream on")
        warn_long(excerpts, recognizer.sample_rate_hz, gb_a_minute=GB_A_MINUTE)
        items = planned([(excerpt.name, excerpt.labels) for excerpt in excerpts])
    bare = sorted({*range(len(excerpts))} - {item.excerpt for item in items})
    bad += [f"{excerpts[i].name!r}: no label is left to dream toward" for i in bare]
    seconds = [len(one.waveform) / recognizer.sample_rate_hz for one in excerpts]
    judge = fitting_judge(judge, (item.target for item in items), seconds)
    with stopwatch("tracking"):
        tracker.log_data(
            getattr(start, "name", "start"), fingerprint_of_sounds(excerpts), context="start",
            source=str(getattr(start, "path", "")), excerpts=len(excerpts),
        )  # fmt: skip
    if sonification is None:
        changed = start.has_original and ascent.parametrization.from_original
        sonification = StftGain() if changed else GriffinLim()
    written = _Written(
        recognizer, judge, sonification, items, varied, figures, output_dir, stopwatch
    )
    shown = dream_bar(len(items), steps=ascent.steps * ascent.octaves, told=progress)
    with stopping() as signals, keeping(written.kept), shown as bar:
        samples = [len(excerpt.waveform) for excerpt in excerpts]
        for batch in batches(items, samples, BATCH_SECONDS * recognizer.sample_rate_hz):
            with stopwatch("dreaming"):
                watched = [i for i, item in enumerate(batch) if item in items[:figures]]
                of_batch = (ascent, excerpts, batch, watched, seed, bar, signals)
                dreamt = list(_dream_batch(recognizer, *of_batch))
            written.add(bar.writing(dreamt), signals)
            if signals:
                break
    if not written.rows:
        raise Interrupted(written.kept(), number=signals[0])
    with keeping(written.kept):
        metrics = written.finish(tracker, bad, command)
    if signals:
        raise Interrupted(written.kept(), number=signals[0])
    return metrics


def _check(recognizer: Recognizer, ascent: Ascent, budget_db: object) -> None:
    """Raise InputError where the budget is given twice, or no sound can be made."""
    if budget_db is not None and any(isinstance(one, RmseBudget) for one in ascent.constraints):
        raise InputError(
            "dream.budget_db and constraint=rmse_budget are both given; expected one of them"
        )
    if "sound" not in ascent.parametrization.kinds and not recognizer.is_invertible:
        raise InputError(
            f"no sound can be made of what {type(recognizer.frontend).__name__} gives; expected "
            "parametrization=low_resolution_stft_gain, stft_gain or waveform, which dream the sound"
        )


def _intended(
    start: Start,
    recognizer: Recognizer,
    ascent: Ascent,
    targets: Sequence[str],
    several_of: Sequence[str],
    planned: Callable[[Listed], list[Item]],
) -> str:
    """Say what will be dreamed; errors come before a data set is decoded."""
    toward = ", ".join(targets)
    what, dreams = f"the excerpts of {getattr(start, 'name', 'the start')}", ""
    if hasattr(start, "listed"):  # a start of a user's may have no list
        rate_hz, seconds = recognizer.sample_rate_hz, recognizer.window_seconds
        found = start.listed(sample_rate_hz=rate_hz, min_seconds=seconds)  # type: ignore
        what, count = counted(len(found), "excerpt"), len(planned(found))
        dreams = f": {count} dreams" if count != len(found) else ""
    words = [f"toward {toward}" if toward else f"by {ascent.objective!r}", *several_of]
    may_stop = (toward and ascent.confidence is not None) or ascent.patience is not None
    steps, octaves = counted(ascent.steps, "step"), counted(ascent.octaves, "octave")
    return (
        f"dream: {what} {', '.join(words)}{dreams}, {'at most ' if may_stop else ''}"
        f"{steps} x {octaves}, {recognizer.where}"
    )


def _dream_batch(
    recognizer: Recognizer,
    ascent: Ascent,
    excerpts: Sequence[Excerpt],
    items: Sequence[Item],
    watched: Sequence[int],
    seed: int,
    bar: DreamBar,
    signals: Sequence[int],
) -> Iterator[FinishedDream]:
    """Dream items of one length, and split the result into single dreams on the CPU.

    Once a signal came, no further step is made; the items that are finished come out.
    """
    unfinished: set[int] = set()

    def on_step(best: Best) -> bool:
        bar.show(best.step, len(items), best.dropped)
        if signals:
            unfinished.update(best.unfinished())
        return bool(signals)

    device = recognizer.device
    originals = [excerpts[item.excerpt] for item in items]
    waveform = torch.stack([original.waveform for original in originals]).to(device)
    targets = torch.tensor([index_of(item.target, recognizer) for item in items], device=device)
    seeds = [
        item_seed(seed, excerpt.name, item.target, item.variation)
        for item, excerpt in zip(items, originals, strict=True)
    ]
    sizes = [item.step_size or ascent.step_size for item in items]
    if budgets := [item.budget_db for item in items if item.budget_db is not None]:
        ascent = replace(ascent, constraint=[*ascent.constraints, RmseBudget(db=budgets)])
    first_variations = [replace(item, variation=0) for item in items]
    groups = torch.tensor([first_variations.index(one) for one in first_variations]).to(device)
    dreams = ascent.run(
        recognizer, waveform, targets, seeds, on_step,
        step_sizes=torch.tensor(sizes, device=device), groups=groups, watched=watched,
    )  # fmt: skip
    finished = one_by_one(
        dreams, recognizer, names=file_names(excerpts, items, recognizer.instruments), items=items,
        excerpts=originals, original=recognizer.analysis(waveform), step_sizes=sizes,
        parametrization=ascent.parametrization,
    )  # fmt: skip
    yield from (one for i, one in enumerate(finished) if i not in unfinished)


@dataclass
class _Written:
    """The dreams that are finished: their sounds and figures are files, each has a row."""

    recognizer: Recognizer
    judge: Recognizer | None
    sonify: Sonify
    items: Sequence[Item]  # that are to be dreamed
    varied: Sequence[str]
    figures: int
    folder: Path
    stopwatch: Stopwatch
    dreamt: list[FinishedDream] = field(default_factory=list)
    rows: list[dict[str, Any]] = field(default_factory=list)
    probabilities: list[dict[str, Any]] = field(default_factory=list)

    def add(self, batch: Iterator[FinishedDream], signals: Sequence[int]) -> None:
        """Write dreams and their rows, without figures once a signal came."""
        import pandas as pd

        from irdream.reports.dream_page import PROBABILITIES
        from irdream.reports.dream_table import write_dream
        from irdream.reports.tables import save_table

        drawn = self.items[: self.figures]
        try:
            for one in batch:
                row, probabilities = write_dream(
                    one, self.recognizer, self.sonify, self.folder, judge=self.judge,
                    varied=self.varied, is_drawn=not signals and one.item in drawn,
                    stopwatch=self.stopwatch,
                )  # fmt: skip
                self.dreamt.append(replace(one, full_band=lambda dream: None))  # holds the signal
                self.rows.append(row)
                self.probabilities += probabilities
        finally:
            if self.rows:
                save_table(pd.DataFrame(self.rows), self.folder / "dreams.csv")
                save_table(pd.DataFrame(self.probabilities), self.folder / PROBABILITIES)

    def finish(
        self, tracker: Tracker, bad: Sequence[str], command: Sequence[str]
    ) -> dict[str, float]:
        """Write, log and print the results in the order of the items; return the metrics."""
        import pandas as pd

        from irdream.reports.dream_page import write_run_page
        from irdream.reports.dream_table import print_dreams, summary, write_tables

        place = {one.item: i for i, one in enumerate(self.dreamt)}
        order = [place[item] for item in self.items if item in place]
        table, dreamt = pd.DataFrame([self.rows[i] for i in order]), [self.dreamt[i] for i in order]
        metrics, omitted = summary(table), max(0, len(table) - self.figures)
        with self.stopwatch("figures"):
            write_tables(table, dreamt, self.folder)
            labels = self.recognizer.instruments
            write_run_page(table, self.folder, command=command, labels=labels)
        with self.stopwatch("tracking"):
            _track_curves(tracker, dreamt)
            log_results(tracker, metrics, self.folder, FILES)
        print_dreams(table, metrics, bad, varied=self.varied, omitted=omitted)
        return metrics

    def kept(self) -> str:
        """Return a sentence on which dreams are kept."""
        if not self.rows:
            return "no dream was finished; type the same line again to dream all"
        kept, total = len(self.rows), len(self.items)
        if kept == total:
            return f"all dreams are finished and kept in {self.folder}"
        again = "type the same line again to dream all"
        return f"{kept} of {total} dreams are finished and kept in {self.folder}; {again}"


def _track_curves(tracker: Tracker, dreamt: Sequence[FinishedDream]) -> None:
    """Log the mean curves."""
    for name in ("target_probability", "objective"):
        curves = [one.curves[name] for one in dreamt]
        longest = max(map(len, curves))  # a finished dream holds its last value
        held = [np.pad(curve, (0, longest - len(curve)), mode="edge") for curve in curves]
        for step, value in enumerate(np.mean(held, axis=0)):
            if np.isfinite(value):  # not where the network was left before its output
                tracker.log_metrics({f"dream/curve/{name}": float(value)}, step=step)
