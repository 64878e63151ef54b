"""Cochran and Kim's first experiment: excerpts dreamed toward their own and another instrument.

*Until confident*: every excerpt toward its first label and toward a random other instrument, as
log-mel, gain on the spectrum and waveform; sonified in every way, with controls. *All targets*:
some excerpts of each instrument toward all eleven, as log-mel, in a fixed number of steps: only so
are changes of one size compared, and an excerpt that is recognized from the start changes at all.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from irdream.audio.stft import DB_PER_NATURAL
from irdream.datasets.base import DataSet, Excerpt, warn_skipped
from irdream.datasets.starts import ExcerptStart
from irdream.dreaming.targets import Item, plan
from irdream.errors import InputError
from irdream.measures.recognition import Report
from irdream.measures.scoring import Scoring
from irdream.paper.study import Found, Study
from irdream.progress import Stopwatch


@dataclass(frozen=True, kw_only=True)
class ExcerptFindings:
    """What the experiment found."""

    data: str  # what was dreamed on, in words
    report: Report  # scores of the recognizer on the test part
    second: Report | None  # of the second one
    excerpts: list[Excerpt]  # those that were dreamed; some of them are those of the grid
    until_confident: dict[str, Found]  # by the name of the ascent
    table: pd.DataFrame  # the rows of all of these, with a column `ascent`
    grid: Found  # all targets, in so many steps
    steps: int
    pairs: pd.DataFrame  # see `wrong_pairs`


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
    """Run the experiment, or resume it; for the numbers see conf/config.yaml.

    Raises InputError when there is nothing to dream on, or an excerpt has no label.
    """
    recognizer, instruments = study.recognizer, study.recognizer.instruments
    both = [one for one in (recognizer, study.second) if one is not None]
    with stopwatch("recognition"):
        scored = [Scoring(seed=study.seed).score(one, dataset, Stopwatch()) for one in both]
    (report, _, skipped), *others = scored
    warn_skipped(skipped)
    count = per_instrument * len(instruments)
    start = ExcerptStart(dataset=dataset, count=count, seconds=seconds, seed=study.seed)
    excerpts, bad = start.excerpts(
        sample_rate_hz=recognizer.sample_rate_hz, min_seconds=recognizer.window_seconds
    )
    if not excerpts:
        raise InputError(f"nothing to dream on: {bad[0]}")
    excerpts = at_most(excerpts, per_instrument)
    own_labels = sorted({excerpt.labels[0] for excerpt in excerpts})
    sounding = first_of_each(excerpts, own_labels, 1)

    def keep(item: Item, kind: str) -> bool:
        is_own = item.target in excerpts[item.excerpt].labels
        return item.excerpt in sounding and not is_own and kind != "random"

    items, until_confident = own_and_other(excerpts, instruments, study.seed), {}
    for name in study.ascents:
        with stopwatch(f"dreams of {name}"):
            until_confident[name] = study.run(
                f"until confident, {name}", name, excerpts, items, keep=keep
            )
    with stopwatch("dreams toward all targets"):
        chosen = first_of_each(excerpts, instruments, grid_per_instrument)
        items = [Item(i, target) for i in chosen for target in instruments]
        shown = examples(excerpts)
        grid = study.run(
            "all targets", "log_mel", excerpts, items, ways=["gain"], steps=steps,
            keep=lambda item, kind: item.excerpt in shown and kind == "dream",
        )  # fmt: skip
    tables = [found.table.assign(ascent=name) for name, found in until_confident.items()]
    return ExcerptFindings(
        data=getattr(dataset, "about", dataset.name),
        report=report,
        second=others[0][0] if others else None,
        excerpts=excerpts,
        until_confident=until_confident,
        table=pd.concat(tables, ignore_index=True),
        grid=grid,
        steps=steps,
        pairs=wrong_pairs(grid, excerpts),
    )


def at_most(excerpts: Sequence[Excerpt], count: int) -> list[Excerpt]:
    """Return the first excerpts of each first label; raise InputError where one has no label."""
    if bare := next((one.name for one in excerpts if not one.labels), ""):
        raise InputError(
            f"excerpt {bare!r} has no label, and dreams are to go toward it and toward "
            "others; label it, or take it out of the data set"
        )
    firsts = [one.labels[0] for one in excerpts]
    return [one for i, one in enumerate(excerpts) if firsts[:i].count(firsts[i]) < count]


def own_and_other(excerpts: Sequence[Excerpt], known: Sequence[str], seed: int) -> list[Item]:
    """Return an item toward the own and one toward a random other of `known`, side by side."""
    names, labels = [e.name for e in excerpts], [e.labels for e in excerpts]
    plans = [plan([w], names, labels, seed=seed, known=known) for w in ("correct", "incorrect")]
    return [item for pair in zip(*plans, strict=True) for item in pair]


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
    for (excerpt, target), i in place.items():
        one = excerpts[excerpt]
        if target in one.labels:
            continue
        original, wrong = grid.arrays["original"][i], grid.arrays["dream"][i]
        own = grid.arrays["dream"][place[excerpt, one.labels[0]]]
        pairs = {"mse_cw": own - wrong, "mse_oc": own - original, "mse_ow": wrong - original}
        mse = {name: float(np.mean((DB_PER_NATURAL * x) ** 2)) for name, x in pairs.items()}
        about = {"excerpt": one.name, "recording": one.recording or one.name}
        rows.append({**about, "own": one.labels[0], "wrong": target, **mse})
    table = pd.DataFrame(rows)
    sides = table[["mse_oc", "mse_ow"]]
    rho = table["mse_cw"] / sides.sum(axis=1).where(lambda moved: moved > 0)
    return table.assign(rho=rho, farther=table["mse_cw"] > sides.max(axis=1))
