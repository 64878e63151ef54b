"""How far scores can be taken for probabilities, and the one number that makes them better ones.

ECE is the sum over 15 bins of (pairs in the bin / pairs) * abs(mean of y - mean of s) over all
pairs of excerpt and instrument with score s and truth y; `top1_ece`, over the highest scores of
excerpts with one label, is that of Guo et al. (ICML 2017). Brier (1950): the mean of (s - y)^2. s1
alone is calibrated. A softmax sums to one: on k labels an excerpt and n instruments, ECE over pairs
is (k - 1) / n or more. A temperature divides the logits of every window; it is the one with the
lowest mean of -y ln s - (1 - y) ln(1 - s) over the pairs of other excerpts.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar
from scipy.special import expit, logit, softmax

Array = NDArray[np.floating]
Flags = NDArray[np.bool_]

BINS = 15
LOWEST, HIGHEST = 0.05, 20.0  # temperatures tried
_LEAST = 1e-7  # of a score, where its logarithm is taken


@dataclass(frozen=True, kw_only=True)
class Reliability:
    """Scores in bins of equal width over 0..1: counts, mean scores, shares that are true."""

    counts: NDArray[np.integer]
    scores: Array
    shares: Array

    @property
    def ece(self) -> float:
        """Return the expected calibration error; NaN without scores."""
        if not self.counts.any():
            return float("nan")
        gaps = np.abs(self.shares - self.scores)
        return float(np.nansum(gaps * self.counts) / self.counts.sum())


def reliability(truth: Flags, scores: Array, *, bins: int = BINS) -> Reliability:
    """Sort scores in 0..1 into bins, which hold their upper ends; 0 is in the first."""
    places = np.clip(np.ceil(scores.ravel() * bins).astype(int) - 1, 0, bins - 1)
    counts = np.bincount(places, minlength=bins)
    sums = [np.bincount(places, x.ravel().astype(float), bins) for x in (scores, truth)]
    means = [np.divide(x, counts, out=np.full(bins, np.nan), where=counts > 0) for x in sums]
    return Reliability(counts=counts, scores=means[0], shares=means[1])


@dataclass(frozen=True, kw_only=True)
class Calibration:
    """Scores beside the truth: of pairs, of the highest ones, and the Brier score."""

    pairs: Reliability
    top1: Reliability
    brier: float

    @classmethod
    def of(cls, truth: Flags, scores: Array) -> Calibration:
        """Compare scores in 0..1 with labels, both (excerpts, instruments)."""
        single = truth.sum(axis=1) == 1
        right = scores[single].argmax(axis=1) == truth[single].argmax(axis=1)
        return cls(
            pairs=reliability(truth, scores),
            top1=reliability(right, scores[single].max(axis=1)),
            brier=float(np.square(scores - truth).mean()),
        )

    def measures(self) -> dict[str, float]:
        """Return ece, top1_ece and brier."""
        return {"ece": self.pairs.ece, "top1_ece": self.top1.ece, "brier": self.brier}


def log_loss(truth: Flags, scores: Array) -> float:
    """Return the mean negative log-likelihood of labels given scores of the same shape, nats."""
    likely = np.clip(np.where(truth, scores, 1 - scores), _LEAST, 1)
    return float(-np.log(likely).mean())


def temperature_scaled(window_scores: Sequence[Array], temperature: float, output: str) -> Array:
    """Return s1 at another temperature: (excerpts, instruments).

    A softmax or sigmoid gives the windows' logits but for what is the same for all instruments.
    Scores of exactly 0 or 1 are taken for 1e-7 from there. `window_scores` has for each excerpt an
    array (windows, instruments); `output` made them: "sigmoid", or "softmax" and what sums to one.
    """
    kept = np.clip(np.concatenate(window_scores).astype(float), _LEAST, 1 - _LEAST)
    if output == "sigmoid":
        scaled = expit(logit(kept) / temperature)
    else:
        scaled = softmax(np.log(kept) / temperature, axis=1)
    ends = np.cumsum([len(scores) for scores in window_scores])[:-1]
    return np.stack([scores.mean(axis=0) for scores in np.split(scaled, ends)])


def fit_temperature(truth: Flags, window_scores: Sequence[Array], output: str) -> float:
    """Return the temperature, 0.05 to 20, with the lowest loss of s1."""

    def loss(logarithm: float) -> float:
        return log_loss(truth, temperature_scaled(window_scores, float(np.exp(logarithm)), output))

    ends = (float(np.log(LOWEST)), float(np.log(HIGHEST)))
    found: Any = minimize_scalar(loss, bounds=ends, method="bounded", options={"xatol": 1e-3})
    return float(np.exp(found.x))
