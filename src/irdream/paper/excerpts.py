"""Cochran and Kim's first experiment: excerpts dreamed toward their own and another instrument.

Three sets of dreams. *Until heard*: every excerpt toward its first label and toward a random
other instrument, until the target has the confidence, on the log-mel, on a gain of the spectrum
and on the waveform; sonified in every way, with controls. *All targets*: some excerpts of each
instrument toward all eleven, log-mels, a fixed number of steps whatever is heard: only so are
changes of one size compared, and an excerpt that is heard rightly from the start changes at all.

Files in the folder excerpts/: recognition/ (Figure 1 and its tables), dreams.csv and
all_targets.csv (a row for each dream, way and kind), ways.csv, before_after.csv, pairs.csv,
distances.csv, figure_2.png and the other figures, sounds/, abx.html.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from irdream.datasets.base import DataSet, Excerpt, tell_skipped
from irdream.datasets.starts import ExcerptStart
from irdream.dreaming.targets import Item, plan
from irdream.errors import InputError
from irdream.measures.dreams import mse_db2
from irdream.measures.recognition import Report
from irdream.measures.scoring import score
from irdream.paper.study import Found, Study
from irdream.recognizer import Recognizer
from irdream.stopwatch import Stopwatch

GRID_WAYS = ("gain",)


@dataclass(frozen=True, kw_only=True)
class ExcerptFindings:
    """What the experiment found.

    Attributes:
        data: what was dreamed on, in words.
        report: the recognizer's scores on the test part.
        second: the second recognizer's; None without one.
        excerpts: those that were dreamed; some of them are those of the grid.
        until_confident: by the name of the ascent.
        grid: all targets.
        grid_steps: of each of these dreams.
        table: the rows of all dreams toward own and other until heard, with a column `ascent`.
        pairs: a row for each excerpt of the grid and wrong target: mse_cw, mse_oc, mse_ow, rho.
    """

    data: str
    report: Report
    second: Report | None
    excerpts: list[Excerpt]
    until_confident: dict[str, Found]
    grid: Found
    grid_steps: int
    table: pd.DataFrame
    pairs: pd.DataFrame


def dream_excerpts(
    study: Study,
    dataset: DataSet,
    *,
    per_instrument: int,
    grid_per_instrument: int,
    steps: int,
    seconds: float,
    stopwatch: Stopwatch,
) -> ExcerptFindings:
    """Run the experiment, or go on with it.

    Args:
        study: how to dream.
        dataset: its test part is scored and dreamed on.
        per_instrument: excerpts of each instrument that are dreamed until heard.
        grid_per_instrument: excerpts of each that are dreamed toward all targets.
        steps: of these dreams.
        seconds: of each excerpt, from its beginning.
        stopwatch: counts where the time goes.

    Raises:
        InputError: when there is nothing to dream on, or an excerpt has no label.
    """
    with stopwatch("recognition"):
        report, skipped = _scored(study.recognizer, dataset, study.seed)
        second = None if study.second is None else _scored(study.second, dataset, study.seed)[0]
    tell_skipped(skipped)
    instruments = study.recognizer.instruments
    start = ExcerptStart(
        dataset=dataset,
        count=per_instrument * len(instruments),
        seconds=seconds,
        seed=study.seed,
    )
    excerpts, bad = start.excerpts(
        sample_rate_hz=study.recognizer.sample_rate_hz,
        min_seconds=study.recognizer.window_seconds,
    )
    if not excerpts:
        raise InputError(f"nothing to dream on: {bad[0]}")
    excerpts = at_most(excerpts, per_instrument)
    until_confident = {}
    for name in study.ascents:
        with stopwatch(f"dreams of {name}"):
            items = own_and_other(excerpts, study.seed)
            until_confident[name] = study.run(
                f"until heard, {name}", study.trial(name), excerpts, items, keep=_kept(excerpts)
            )
    with stopwatch("dreams toward all targets"):
        chosen = first_of_each(excerpts, instruments, grid_per_instrument)
        items = [Item(i, target) for i in chosen for target in instruments]
        trial = study.trial("log_mel", ways=GRID_WAYS, steps=steps)
        shown = examples(excerpts)
        grid = study.run(
            "all targets",
            trial,
            excerpts,
            items,
            keep=lambda item, kind: item.excerpt in shown and kind == "dream",
        )
    table = pd.concat(
        [found.table.assign(ascent=name) for name, found in until_confident.items()],
        ignore_index=True,
    )
    return ExcerptFindings(
        data=getattr(dataset, "about", dataset.name),
        report=report,
        second=second,
        excerpts=excerpts,
        until_confident=until_confident,
        grid=grid,
        grid_steps=steps,
        table=table,
        pairs=wrong_pairs(grid, excerpts),
    )


def at_most(excerpts: Sequence[Excerpt], count: int) -> list[Excerpt]:
    """Return the first excerpts of each first label, so many of each at most.

    Raises:
        InputError: when one has no label.
    """
    found: dict[str, int] = defaultdict(int)
    chosen = []
    for excerpt in excerpts:
        if not excerpt.labels:
            raise InputError(
                f"excerpt {excerpt.name!r} has no label, and dreams are to go toward it and toward "
                "others; label it, or take it out of the data set"
            )
        found[excerpt.labels[0]] += 1
        if found[excerpt.labels[0]] <= count:
            chosen.append(excerpt)
    return chosen


def own_and_other(excerpts: Sequence[Excerpt], seed: int) -> list[Item]:
    """Return an item toward the own and one toward a random other instrument, side by side."""
    names, labels = [e.name for e in excerpts], [e.labels for e in excerpts]
    own = plan(["correct"], names, labels, seed=seed)
    other = plan(["incorrect"], names, labels, seed=seed)
    return [item for pair in zip(own, other, strict=True) for item in pair]


def first_of_each(excerpts: Sequence[Excerpt], instruments: Sequence[str], count: int) -> list[int]:
    """Return the first excerpts of each instrument; those with a single label come first."""
    chosen = []
    for code in instruments:
        of_code = [i for i, e in enumerate(excerpts) if e.labels[0] == code]
        chosen += sorted(of_code, key=lambda i: len(excerpts[i].labels))[:count]
    return sorted(chosen)


def examples(excerpts: Sequence[Excerpt]) -> list[int]:
    """Return the cello and the saxophone of Figure 2; without both the first of two others."""
    others = dict.fromkeys(e.labels[0] for e in excerpts)
    return first_of_each(excerpts, ("cel", "sax"), 1) or first_of_each(excerpts, [*others], 1)[:2]


def wrong_pairs(grid: Found, excerpts: Sequence[Excerpt]) -> pd.DataFrame:
    """Compare for each excerpt the dream toward its label with those toward wrong instruments.

    Columns: excerpt, recording, own, wrong, mse_cw, mse_oc, mse_ow in dB^2 and rho, which is
    mse_cw / (mse_oc + mse_ow): 1 for changes at right angles, less where they share, more where
    they oppose. `farther`: whether the two dreams differ more than either from the original.
    """
    place = {(item.excerpt, item.target): i for i, item in enumerate(grid.items)}
    rows = []
    for (i, target), at in place.items():
        labels = excerpts[i].labels
        if target in labels or (i, labels[0]) not in place:
            continue
        original, wrong = _spectrogram(grid, "original", at), _spectrogram(grid, "dream", at)
        own = _spectrogram(grid, "dream", place[i, labels[0]])
        cw, oc, ow = (
            float(mse_db2(*two)) for two in ((own, wrong), (original, own), (original, wrong))
        )
        rows.append(
            {
                "excerpt": excerpts[i].name,
                "recording": excerpts[i].recording or excerpts[i].name,
                "own": labels[0],
                "wrong": target,
                "mse_cw": cw,
                "mse_oc": oc,
                "mse_ow": ow,
                "rho": cw / (oc + ow) if oc + ow else np.nan,
                "farther": cw > max(oc, ow),
            }
        )
    return pd.DataFrame(rows)


def _spectrogram(found: Found, name: str, i: int) -> Tensor:
    return torch.from_numpy(found.planes[name][i])[None]


def _kept(excerpts: Sequence[Excerpt]) -> Callable[[Item, str], bool]:
    """Keep the WAVs of one excerpt an instrument toward another one, and of the undreamed."""
    first = set(first_of_each(excerpts, sorted({e.labels[0] for e in excerpts}), 1))

    def keep(item: Item, kind: str) -> bool:
        is_own = item.target in excerpts[item.excerpt].labels
        return item.excerpt in first and not is_own and kind != "random"

    return keep


def _scored(recognizer: Recognizer, dataset: DataSet, seed: int) -> tuple[Report, list[str]]:
    """Return the scores on the test part, and why excerpts could not be read."""
    report, _, skipped = score(
        recognizer=recognizer,
        dataset=dataset,
        part="test",
        threshold="checkpoint",
        aggregation="s1",
        batch_windows=128,
        validation_share=0.15,
        seed=seed,
        stopwatch=Stopwatch(),
    )
    return report, skipped
