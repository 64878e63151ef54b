"""Cochran and Kim's second experiment: noise dreamed toward every instrument.

White and pink noises, each toward all instruments in a fixed number of steps, whatever is heard
(undreamed noise can be heard as some instrument with certainty). Whether an instrument has a
pattern is tested on the residuals, dream minus noise; whether the dreams sound alike is measured
on the WAVs.

Files in the folder noise/: noises.csv (a row for each dream, way and kind), patterns.csv,
noise_distances.csv, figure_3_white.png, figure_3_pink.png, sounds/.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np
import pandas as pd

from irdream.datasets.base import Excerpt
from irdream.datasets.starts import NoiseStart
from irdream.dreaming.targets import Item
from irdream.measures.dreams import DB_PER_NATURAL
from irdream.paper.patterns import (
    Consistency,
    band_profiles,
    pattern_consistency,
    recurring_regions,
)
from irdream.paper.study import Found, Study
from irdream.stopwatch import Stopwatch

COLORS = ("white", "pink")
WAYS = ("gain",)
ASCENTS = ("log_mel", "stft_gain")
PLACES = ("in place", "over the bands")
LEAST_BANDS = 3  # of a region that is called recurring


@dataclass(frozen=True, kw_only=True)
class NoiseFindings:
    """What the experiment found.

    Attributes:
        noises: of each color, in order.
        found: dreams by color and ascent, a noise after the other, each toward all targets.
        table: the rows of all dreams, with the columns `color` and `ascent`.
        patterns: by color, ascent and place (`PLACES`): whether each target has a pattern.
        regions: by color, of the log-mel dreams: the bands that recur, (targets, n_mels, 1).
        distances: a row for each pair of sounds: color, ascent, pair, profile_db, rmse_db.
        steps: of each dream.
    """

    noises: dict[str, list[Excerpt]]
    found: dict[tuple[str, str], Found]
    table: pd.DataFrame
    patterns: dict[tuple[str, str, str], Consistency]
    regions: dict[str, np.ndarray]
    distances: pd.DataFrame
    steps: int


def dream_noise(
    study: Study, *, count: int, steps: int, permutations: int, stopwatch: Stopwatch
) -> NoiseFindings:
    """Run the experiment, or go on with it.

    Args:
        study: how to dream.
        count: noises of each color, at least 2.
        steps: of each dream.
        permutations: of the targets, for the tests.
        stopwatch: counts where the time goes.
    """
    rate_hz, seconds = study.recognizer.sample_rate_hz, study.recognizer.window_seconds
    targets = study.recognizer.instruments
    noises, found, patterns, regions = {}, {}, {}, {}
    tables, distances = [], []
    for color in COLORS:
        start = NoiseStart(count=count, seconds=seconds, color=color, seed=study.seed)
        noises[color], _ = start.excerpts(sample_rate_hz=rate_hz, min_seconds=seconds)
        items = [Item(i, target) for i in range(count) for target in targets]
        for ascent in [name for name in ASCENTS if name in study.ascents]:
            trial = study.trial(ascent, ways=WAYS, steps=steps)
            with stopwatch(f"dreams of noise, {ascent}"):
                dreams = study.run(
                    f"{color} noise, {ascent}", trial, noises[color], items, keep=_first_noise
                )
            found[color, ascent] = dreams
            tables.append(dreams.table.assign(color=color, ascent=ascent))
            distances.append(_distances(dreams, count).assign(color=color, ascent=ascent))
            with stopwatch("patterns"):
                differences = residuals(dreams, count)
                for place, values in zip(
                    PLACES, (differences, band_profiles(differences)), strict=True
                ):
                    patterns[color, ascent, place] = pattern_consistency(
                        values, permutations=permutations, seed=study.seed
                    )
                if ascent == "log_mel":
                    regions[color] = recurring_regions(
                        band_profiles(differences),
                        permutations=permutations,
                        least_bins=LEAST_BANDS,
                        seed=study.seed,
                    )
    return NoiseFindings(
        noises=noises,
        found=found,
        table=pd.concat(tables, ignore_index=True),
        patterns=patterns,
        regions=regions,
        distances=pd.concat(distances, ignore_index=True),
        steps=steps,
    )


def by_noise(values: np.ndarray, count: int) -> np.ndarray:
    """Return (noises, targets, ...) of (noises * targets, ...)."""
    return values.reshape(count, -1, *values.shape[1:])


def residuals(dreams: Found, count: int) -> np.ndarray:
    """Return dream minus noise in dB, (noises, targets, n_mels, frames)."""
    return DB_PER_NATURAL * by_noise(dreams.of("dream") - dreams.of("original"), count)


def _first_noise(item: Item, kind: str) -> bool:
    return item.excerpt == 0 and kind == "dream"


def _distances(dreams: Found, count: int) -> pd.DataFrame:
    """Compare the sounds of dreams with their noise, with each other, and noises with noises.

    `rmse_db` is between log-mels, frame by frame; `profile_db` between their means over the
    frames, which is what two noises of one color share and an ear compares.
    """
    way = next(name for name in dreams.planes if name.startswith("wav-"))
    heard = DB_PER_NATURAL * by_noise(dreams.of(way), count)
    noises = DB_PER_NATURAL * by_noise(dreams.of("original"), count)[:, 0]
    targets = range(heard.shape[1])
    rows = []
    for i in range(count):
        rows += [_distance("dream and its noise", heard[i, t], noises[i]) for t in targets]
        for t, u in itertools.combinations(targets, 2):
            rows.append(_distance("two targets, one noise", heard[i, t], heard[i, u]))
    for i, j in itertools.combinations(range(count), 2):
        rows.append(_distance("two noises", noises[i], noises[j]))
        rows += [_distance("one target, two noises", heard[i, t], heard[j, t]) for t in targets]
    return pd.DataFrame(rows)


def _distance(pair: str, one: np.ndarray, other: np.ndarray) -> dict[str, object]:
    difference = one - other
    return {
        "pair": pair,
        "rmse_db": float(np.sqrt(np.mean(difference**2))),
        "profile_db": float(np.sqrt(np.mean(difference.mean(axis=1) ** 2))),
    }
