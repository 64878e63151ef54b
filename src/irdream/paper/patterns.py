"""Whether dreams of different noises toward one instrument show one pattern.

A residual is what the dream added to its noise: dream minus noise of log-mels, in dB. If the
network has a picture of an instrument, the residuals of different noises toward it are more
alike than those toward different instruments, and some regions of the plane become brighter or
darker again and again. Both are tested by permuting the targets within each noise: where each
noise is dreamed toward every target, and the target does not matter, all of these orders are
equally probable, whatever the residuals of one noise have in common.

Two residuals of the same noise share that noise, and the step that the network takes for it;
such pairs are left out everywhere.

Sources: P. Good, "Permutation, parametric and bootstrap tests of hypotheses", 2005; B. Phipson
and G. Smyth, Stat. Appl. Genet. Mol. Biol. 9(1), 2010 (p values are never 0); J. Cohen,
"Statistical power analysis", 1988; P. Rousseeuw, J. Comput. Appl. Math. 20, 1987 (silhouette);
T. Nichols and A. Holmes, Human Brain Mapping 15, 2002 (the maximum statistic).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import ndimage

from irdream.errors import InputError

Array = NDArray[np.floating]
Flags = NDArray[np.bool_]


@dataclass(frozen=True, kw_only=True)
class Consistency:
    """How much more alike residuals toward one target are than those toward different ones.

    Attributes:
        within: mean Pearson correlation of two residuals of different noises, same target.
        between: the same of different noises, different targets.
        difference: within minus between.
        p_value: share of the orders of the targets with a difference as large; one-sided.
        effect_size: Cohen's d, the difference over the pooled standard deviation of the pairs;
            NaN where the pairs do not vary.
        silhouette: mean silhouette of the residuals, with distance 1 - r; -1 to 1.
        pairs_within, pairs_between: how many pairs of residuals there are.
    """

    within: float
    between: float
    difference: float
    p_value: float
    effect_size: float
    silhouette: float
    pairs_within: int
    pairs_between: int


def pattern_consistency(
    residuals: ArrayLike, *, permutations: int = 2000, seed: int = 0
) -> Consistency:
    """Compare residuals of different noises toward the same target and toward different ones.

    Args:
        residuals: dream minus noise in dB, (noises, targets, n_mels, frames), the noises in
            the same order for each target; or `band_profiles` of these.
        permutations: orders of the targets drawn for the p value, whose least value is
            1 / (1 + permutations).
        seed: of these.

    Raises:
        InputError: fewer than 2 noises or targets, or a residual without a correlation.
    """
    values = _checked(residuals)
    noises, targets = values.shape[:2]
    r = _correlations(values)
    apart = np.triu(np.ones((noises, noises), bool), 1)[:, None, :, None]
    same = np.eye(targets, dtype=bool)[None, :, None, :]
    within, between = r[apart & same], r[apart & ~same]
    # The sum over all pairs stays as it is: the difference grows with the sum of those within.
    sums = _permuted_sums(r, permutations, np.random.default_rng(seed))
    as_large = int((sums >= within.sum() - 1e-9 * len(within)).sum())
    return Consistency(
        within=float(within.mean()),
        between=float(between.mean()),
        difference=float(within.mean() - between.mean()),
        p_value=(1 + as_large) / (1 + permutations),
        effect_size=_cohens_d(within, between),
        silhouette=_silhouette(r),
        pairs_within=len(within),
        pairs_between=len(between),
    )


def band_profiles(residuals: ArrayLike) -> Array:
    """Return the means over the frames, (noises, targets, n_mels, 1).

    A network that pools over time hears a pattern wherever in time it is; two dreams can then
    show the same one in the bands, and in different frames.
    """
    return np.asarray(residuals, float).mean(axis=3, keepdims=True)


def recurring_regions(
    residuals: ArrayLike,
    *,
    smooth: tuple[float, float] = (2.0, 1.5),
    permutations: int = 1000,
    level: float = 0.05,
    least_bins: int = 12,
    seed: int = 0,
) -> Flags:
    """Return where residuals toward one target are brighter, or darker, than toward the others.

    Each residual is smoothed and brought to mean 0 and standard deviation 1; what a noise's
    residuals have in common is taken away, and each bin is divided by its standard deviation
    over all dreams, so that bins that always change much do not hide the rest. A bin recurs
    when its mean over the noises is farther from 0 than any bin of any target is in all but a
    share `level` of permutations of the targets. Without any pattern, something is found in no
    more than this share of sets of dreams.

    Args:
        residuals: dream minus noise in dB, (noises, targets, n_mels, frames).
        smooth: standard deviations of the Gaussian, in bands and in frames.
        permutations: of the targets within each noise.
        level: how often something may be found where nothing is.
        least_bins: smaller connected regions are dropped.
        seed: of the permutations.

    Returns:
        (targets, n_mels, frames).

    Raises:
        InputError: as `pattern_consistency`, and too few permutations for this level.
    """
    allowed = int(level * (permutations + 1))
    if allowed < 1:
        raise InputError(
            f"permutations={permutations}; expected at least 1 / level - 1 with level={level}"
        )
    scores = _contrasts(_standardized(_checked(residuals), (0.0, 0.0, *smooth)))
    noises, targets = scores.shape[:2]
    means = scores.mean(axis=0)
    rng = np.random.default_rng(seed)
    largest = [
        np.abs(_reordered(scores, order).mean(axis=0)).max()
        for order in _orders(noises, targets, permutations, rng)
    ]
    limit = np.sort(largest)[-allowed]
    is_bright = np.stack([_connected(plane > limit, least_bins) for plane in means])
    return is_bright | np.stack([_connected(plane < -limit, least_bins) for plane in means])


def _checked(residuals: ArrayLike) -> Array:
    """Return residuals that can be correlated."""
    values = np.asarray(residuals, float)
    if values.ndim != 4 or min(values.shape[:2]) < 2:
        raise InputError(
            f"residuals have shape {values.shape}; expected (noises, targets, n_mels, frames) "
            "with at least 2 noises and 2 targets"
        )
    if not np.isfinite(values).all() or not np.ptp(values, axis=(2, 3)).all():
        raise InputError(
            "residuals are constant or not finite for some noise and target; expected a dream "
            "that differs from its noise"
        )
    return values


def _standardized(values: Array, smooth: tuple[float, ...]) -> Array:
    """Return each residual smoothed, with mean 0 and standard deviation 1."""
    smoothed = ndimage.gaussian_filter(values, smooth) if any(smooth) else values
    centered = smoothed - smoothed.mean(axis=(2, 3), keepdims=True)
    return centered / centered.std(axis=(2, 3), keepdims=True)


def _contrasts(scores: Array) -> Array:
    """Return how each bin differs between targets, in its standard deviations."""
    contrasts = scores - scores.mean(axis=1, keepdims=True)
    return contrasts / contrasts.std(axis=(0, 1)).clip(1e-12)


def _correlations(values: Array) -> Array:
    """Return Pearson's r of all residuals, (noises, targets, noises, targets)."""
    rows = _standardized(values, ()).reshape(values.shape[0] * values.shape[1], -1)
    r = rows @ rows.T / rows.shape[1]
    return r.reshape(*values.shape[:2], *values.shape[:2])


def _orders(
    noises: int, targets: int, permutations: int, rng: np.random.Generator
) -> Iterator[NDArray[np.intp]]:
    """Draw orders of the targets for each noise, (noises, targets), one set after the other."""
    ordered = np.tile(np.arange(targets), (noises, 1))
    for _ in range(permutations):
        yield rng.permuted(ordered, axis=1)


def _reordered(scores: Array, order: NDArray[np.intp]) -> Array:
    return scores[np.arange(len(scores))[:, None], order]


def _permuted_sums(r: Array, permutations: int, rng: np.random.Generator) -> Array:
    """Return the sum of r over the pairs with one target, for permuted targets."""
    noises, targets = r.shape[:2]
    orders = np.stack(list(_orders(noises, targets, permutations, rng)))
    sums = np.zeros(permutations)
    for n in range(noises - 1):
        others = np.arange(n + 1, noises)[:, None]
        sums += r[n, orders[:, n, None], others, orders[:, n + 1 :]].sum(axis=(1, 2))
    return sums


def _cohens_d(first: Array, second: Array) -> float:
    squares = sum(((part - part.mean()) ** 2).sum() for part in (first, second))
    pooled = np.sqrt(squares / (len(first) + len(second) - 2))
    return float((first.mean() - second.mean()) / pooled) if pooled > 0 else float("nan")


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


def _connected(flags: Flags, least_bins: int) -> Flags:
    """Keep the regions of at least so many bins that touch along a band or a frame."""
    numbers = np.empty(flags.shape, np.intp)
    ndimage.label(flags, output=numbers)
    sizes = np.bincount(numbers.ravel())
    sizes[0] = 0  # what is in no region
    return flags & (sizes >= least_bins)[numbers]
