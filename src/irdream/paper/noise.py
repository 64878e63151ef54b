"""Cochran and Kim's second experiment: noise dreamed toward every instrument.

A residual is what the dream added to its noise, in dB. Whether an instrument has a pattern is
tested by permuting the targets within each noise (Good, "Permutation, parametric and bootstrap
tests", 2005; Phipson and Smyth 2010), since two residuals of one noise share that noise. The
silhouette is Rousseeuw's (1987); recurring bands are tested by the maximum statistic (Nichols and
Holmes 2002). Whether dreams sound alike is measured on the WAVs.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import ndimage, stats

from irdream.audio.stft import DB_PER_NATURAL
from irdream.datasets.starts import NoiseStart
from irdream.dreaming.targets import Item
from irdream.errors import InputError
from irdream.paper.study import Found, Study
from irdream.progress import Stopwatch

Array = NDArray[np.floating]

COLORS = ("white", "pink")
ASCENTS = ("log_mel", "stft_gain")
LEVEL = 0.05  # how often bands may be said to recur where none do
SMOOTH_BANDS = 2.0  # standard deviation of the Gaussian over the bands that may recur
LEAST_BANDS = 3  # side by side that are called recurring


class Consistency(NamedTuple):
    """How much more alike residuals toward one target are than those toward different ones."""

    within: float  # mean Pearson correlation of two residuals of different noises, same target
    between: float  # the same of different noises, different targets
    p: float  # share of the orders of the targets with a difference as large; one-sided
    d: float  # Cohen's: over the pooled standard deviation of the pairs; NaN where they are equal
    silhouette: float  # mean over the residuals, with distance 1 - r; -1 to 1


@dataclass(frozen=True, kw_only=True)
class NoiseFindings:
    """What the experiment found, of `count` noises of each color in so many `steps`."""

    count: int
    steps: int
    found: dict[tuple[str, str], Found]  # by color and ascent; noise after noise, all targets each
    table: pd.DataFrame  # rows of `Trial`, and so on, with `color` and `ascent`
    patterns: pd.DataFrame  # rows of `Consistency`
    bands: dict[str, NDArray[np.bool_]]  # by color, see `recurring_bands`
    distances: pd.DataFrame  # see `sound_distances`


def dream_noise(
    study: Study, *, count: int, steps: int, permutations: int, stopwatch: Stopwatch
) -> NoiseFindings:
    """Run the experiment, or resume it; for the numbers see conf/config.yaml."""
    rate_hz, seconds = study.recognizer.sample_rate_hz, study.recognizer.window_seconds
    items = [Item(i, target) for i in range(count) for target in study.recognizer.instruments]
    found, bands, tables, distances, patterns = {}, {}, [], [], []
    for color in COLORS:
        start = NoiseStart(count=count, seconds=seconds, color=color, seed=study.seed)
        noises, _ = start.excerpts(sample_rate_hz=rate_hz, min_seconds=seconds)
        for ascent in [name for name in ASCENTS if name in study.ascents]:
            with stopwatch(f"dreams of noise, {ascent}"):
                dreams = study.run(
                    f"{color} noise, {ascent}", ascent, noises, items, ways=["gain"], steps=steps,
                    keep=lambda item, kind: item.excerpt == 0 and kind == "dream",
                )  # fmt: skip
            about = {"color": color, "ascent": ascent}
            found[color, ascent] = dreams
            tables.append(dreams.table.assign(**about))
            distances.append(sound_distances(dreams, count).assign(**about))
            residuals = DB_PER_NATURAL * by_noise(dreams.of("dream") - dreams.of("original"), count)
            profiles = residuals.mean(axis=3)  # a network that pools over time finds them any time
            with stopwatch("patterns"):
                for compared, values in (("in place", residuals), ("over the bands", profiles)):
                    one = consistency(values, permutations=permutations, seed=study.seed)
                    row = {"noise": color, "dreamed": ascent, "compared": compared}
                    patterns.append(row | one._asdict())
                if ascent == "log_mel":
                    bands[color] = recurring_bands(
                        profiles, permutations=permutations, seed=study.seed
                    )
    return NoiseFindings(
        count=count,
        steps=steps,
        found=found,
        table=pd.concat(tables, ignore_index=True),
        patterns=pd.DataFrame(patterns),
        bands=bands,
        distances=pd.concat(distances, ignore_index=True),
    )


def by_noise(values: Array, count: int) -> Array:
    """Return (noises, targets, ...) of (noises * targets, ...)."""
    return values.reshape(count, -1, *values.shape[1:])


def sound_distances(dreams: Found, count: int) -> pd.DataFrame:
    """Compare the sounds of dreams with their noise, with each other, and noises with noises.

    `rmse_db` is between log-mels, `profile_db` between their means over the frames.
    """
    way = next(name for name in dreams.arrays if name.startswith("wav-"))
    sounds = DB_PER_NATURAL * by_noise(dreams.of(way), count)
    noises = DB_PER_NATURAL * by_noise(dreams.of("original"), count)[:, 0]
    pairs = []
    for sound, noise in zip(sounds, noises, strict=True):
        pairs += [("dream and its noise", one, noise) for one in sound]
        pairs += [("two targets, one noise", *two) for two in itertools.combinations(sound, 2)]
    for i, j in itertools.combinations(range(count), 2):
        pairs.append(("two noises", noises[i], noises[j]))
        both = zip(sounds[i], sounds[j], strict=True)
        pairs += [("one target, two noises", *two) for two in both]
    return pd.DataFrame(
        {
            "pair": pair,
            "rmse_db": float(np.sqrt(np.mean((one - other) ** 2))),
            "profile_db": float(np.sqrt(np.mean((one - other).mean(axis=1) ** 2))),
        }
        for pair, one, other in pairs
    )


def consistency(residuals: Array, *, permutations: int, seed: int = 0) -> Consistency:
    """Compare residuals of different noises toward the same target and toward different ones.

    Args:
        residuals: in dB, (noises, targets, ...), the noises in the same order for each target.
        permutations: orders of the targets drawn; the least p is 1 / (1 + permutations).

    Raises:
        InputError: when a residual has no correlation.
    """
    noises, targets = residuals.shape[:2]
    rows = residuals.reshape(noises * targets, -1)
    if not (np.isfinite(rows).all() and np.ptp(rows, axis=1).all()):
        raise InputError(
            "residuals are constant or not finite for some noise and target; expected a dream "
            "that differs from its noise"
        )
    r = np.corrcoef(rows).reshape(noises, targets, noises, targets)
    apart = np.triu(np.ones((noises, noises), bool), 1)[:, None, :, None]
    same = np.eye(targets, dtype=bool)[None, :, None, :]
    within, between = r[apart & same], r[apart & ~same]

    def sum_within(*orders: NDArray[np.intp], axis: int) -> Array:
        two = itertools.combinations(range(noises), 2)
        return np.sum([r[n, orders[n], m, orders[m]].sum(axis=axis) for n, m in two], axis=0)

    # The sum over all pairs stays as it is: the difference grows with the sum of those within.
    test = _permuted_targets(sum_within, noises, targets, permutations, seed)
    squares = sum(((one - one.mean()) ** 2).sum() for one in (within, between))
    spread = np.sqrt(squares / (len(within) + len(between) - 2))
    difference = within.mean() - between.mean()
    return Consistency(
        within=float(within.mean()),
        between=float(between.mean()),
        p=float(test.pvalue),
        d=float(difference / spread) if spread > 0 else float("nan"),
        silhouette=_silhouette(r),
    )


def recurring_bands(profiles: Array, *, permutations: int, seed: int = 0) -> NDArray[np.bool_]:
    """Return which bands are brighter, or darker, toward one target than toward the others.

    Each profile is smoothed and standardized, what a noise's profiles have in common is taken away,
    and each band is divided by its standard deviation over all dreams. A band recurs when its mean
    over the noises is farther from 0 than any band of any target is in all but 5 % of the
    permutations.

    Args:
        profiles: means of residuals over the frames, (noises, targets, n_mels).

    Returns:
        (targets, n_mels).
    """
    smooth = ndimage.gaussian_filter1d(profiles, SMOOTH_BANDS, axis=2)
    scores = np.asarray(stats.zscore(smooth, axis=2))
    scores = scores - scores.mean(axis=1, keepdims=True)
    scores /= scores.std(axis=(0, 1)).clip(1e-12)
    noises, targets = scores.shape[:2]

    def largest(*orders: NDArray[np.intp], axis: int) -> Array:
        means = sum(one[order] for one, order in zip(scores, orders, strict=True)) / noises
        return np.abs(means).max(axis=(axis - 1, axis))

    null = _permuted_targets(largest, noises, targets, permutations, seed).null_distribution
    limit = np.sort(null)[-max(1, int(LEVEL * (len(null) + 1)))]
    means, side_by_side = scores.mean(axis=0), np.ones((1, LEAST_BANDS), bool)
    bright = ndimage.binary_opening(means > limit, side_by_side)
    return np.logical_or(bright, ndimage.binary_opening(means < -limit, side_by_side))


def _permuted_targets(
    statistic: Callable[..., Array], noises: int, targets: int, permutations: int, seed: int
) -> Any:
    """Test a statistic of the order of the targets in each noise, (..., targets) each."""
    return stats.permutation_test(
        (np.arange(targets),) * noises, statistic, permutation_type="pairings", vectorized=True,
        n_resamples=permutations, alternative="greater", rng=np.random.default_rng(seed),
    )  # fmt: skip


def _silhouette(r: Array) -> float:
    """Return the mean of (b - a) / max(a, b), with the mean distances to other noises' residuals.

    a: those toward the same target; b: those toward the other target that is nearest.
    """
    noises, targets = r.shape[:2]
    distances = 1.0 - r
    distances[np.arange(noises), :, np.arange(noises)] = 0.0  # left out
    to_targets = distances.sum(axis=2) / (noises - 1)  # (noises, targets, targets)
    is_own = np.broadcast_to(np.eye(targets, dtype=bool), to_targets.shape)
    a = to_targets[is_own].reshape(noises, targets)
    b = np.where(is_own, np.inf, to_targets).min(axis=2)
    return float(np.mean((b - a) / np.maximum(a, b).clip(1e-12)))
