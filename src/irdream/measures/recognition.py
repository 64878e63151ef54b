"""Recognition scores of excerpts, after Han et al. 2016, and whether they can be taken as such.

One threshold for all instruments turns scores into labels; the oracle's, the best on the scored
excerpts themselves, is an upper bound and no result. Macro averages are over the instruments that
occur in the labels, top-1 over the excerpts with exactly one. Label-ranking average precision
(LRAP) and average precision (mAP: its mean over instruments with a label) need no threshold. All
numbers are those of scikit-learn, from sums over excerpts (`tallies`), so that thousands of draws
are cheap.

ECE is the sum over 15 bins of (pairs in the bin / pairs) * abs(mean of y - mean of s) over all
pairs of excerpt and instrument with score s and truth y; `top1_ece`, over the highest scores of
excerpts with one label, is that of Guo et al. (ICML 2017). Brier (1950): the mean of (s - y)^2. s1
alone is calibrated. A softmax sums to one: on k labels an excerpt and n instruments, ECE over pairs
is (k - 1) / n or more. A temperature divides the logits of every window; it is the one with the
lowest mean of -y ln s - (1 - y) ln(1 - s) over the pairs of other excerpts.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import minimize_scalar
from scipy.special import expit, logit, softmax

from irdream.instruments import CODES
from irdream.measures.bootstrap import Interval, bootstrap
from irdream.measures.table import IRMAS_TEST_EXCERPTS, IRMAS_TEST_LABELS

Array = NDArray[np.floating]
Flags = NDArray[np.bool_]

THRESHOLDS: Array = np.arange(1, 100) / 100  # 0.01 .. 0.99
RANKED = ("top1", "lrap", "map", "map_micro")  # need no threshold
TALLIED = ("micro_f1", "macro_f1", "top1", "lrap")
ORACLE = "oracle"
BINS = 15
LOWEST, HIGHEST = 0.05, 20.0  # temperatures tried
_LEAST = 1e-7  # of a score, where its logarithm is taken


def rates(hits: ArrayLike, labels: ArrayLike, predictions: ArrayLike) -> dict[str, Array]:
    """Return precision, recall and F1 from counts of any shape; 0 where 0 / 0."""
    hits, labels, predictions = (np.asarray(x, float) for x in (hits, labels, predictions))
    return {
        "precision": hits / np.maximum(predictions, 1),
        "recall": hits / np.maximum(labels, 1),
        "f1": 2 * hits / np.maximum(labels + predictions, 1),
    }


def choose_threshold(scores: Array, truth: Flags) -> tuple[float, float]:
    """Return the threshold with the highest micro F1 and that F1; of equals the middle one."""
    predicted = [scores >= threshold for threshold in THRESHOLDS]
    hits = [(truth & one).sum() for one in predicted]
    f1 = rates(hits, truth.sum(), [one.sum() for one in predicted])["f1"]
    best = np.flatnonzero(f1 == f1.max())
    chosen = best[len(best) // 2]
    return float(THRESHOLDS[chosen]), float(f1[chosen])


def instrument_scores(truth: Flags, predicted: Flags) -> dict[str, Array]:
    """Return precision, recall and f1 of each instrument, and its labels and predictions."""
    hits, labels, predictions = (x.sum(axis=0) for x in (truth & predicted, truth, predicted))
    return rates(hits, labels, predictions) | {"labels": labels, "predictions": predictions}


def confusion(scores: Array, truth: Flags) -> NDArray[np.integer]:
    """Return counts (label, highest score) over the single-label excerpts."""
    single = truth.sum(axis=1) == 1
    counts = np.zeros((truth.shape[1], truth.shape[1]), int)
    np.add.at(counts, (truth[single].argmax(axis=1), scores[single].argmax(axis=1)), 1)
    return counts


def excerpt_lrap(truth: Flags, scores: Array) -> Array:
    """Return the label-ranking average precision of each excerpt, 1 without labels: (excerpts,).

    Of each label, the share of labels among the instruments that score no less; the mean of it.
    """
    no_less = scores[:, None, :] >= scores[:, :, None]  # (excerpts, label, others)
    precision = (no_less & truth[:, None, :]).sum(axis=2) / no_less.sum(axis=2)
    labels = truth.sum(axis=1)
    return np.where(labels > 0, (precision * truth).sum(axis=1) / np.maximum(labels, 1), 1.0)


def average_precision(truth: Flags, scores: Array, times: Array | None = None) -> Array:
    """Return the average precision of rows that count several times or never: (draws,).

    `truth` and `scores` are (rows,); rows of equal score are taken together. `times`, (draws,
    rows), says how often each counts; None: one draw, each once. NaN where no labelled one counts.
    """
    times = np.ones((1, len(truth))) if times is None else times
    order = np.argsort(-scores, kind="stable")
    truth, scores, times = truth[order], scores[order], times[:, order]
    ends = np.searchsorted(-scores, -scores, side="right") - 1
    places = np.flatnonzero(truth)
    labelled = times[:, places]
    right = labelled.cumsum(axis=1)[:, truth.cumsum()[ends[places]] - 1]
    precision = right / np.maximum(times.cumsum(axis=1)[:, ends[places]], 1)
    with np.errstate(invalid="ignore"):
        return (labelled * precision).sum(axis=1) / labelled.sum(axis=1)


def instrument_precisions(truth: Flags, scores: Array) -> Array:
    """Return the average precision of each instrument; NaN for those without a label."""
    found = np.full(truth.shape[1], np.nan)
    for i in np.flatnonzero(truth.any(axis=0)):
        found[i] = average_precision(truth[:, i], scores[:, i])[0]
    return found


def scores_of(truth: Flags, scores: Array, threshold: float) -> dict[str, float]:
    """Return all scores of labelled excerpts (excerpts, instruments) at a threshold.

    Those of `tallied`, threshold, map, and map_micro, which has all pairs of excerpt and instrument
    in one ranking.
    """
    found = tallied(tallies(truth, scores >= threshold, scores).sum(axis=0))
    ranked = {name: float(found.pop(name)) for name in ("top1", "lrap")}
    return {
        **{name: float(value) for name, value in found.items()},
        "threshold": threshold,
        **ranked,
        "map": float(np.nanmean(instrument_precisions(truth, scores))),
        "map_micro": float(average_precision(truth.ravel(), scores.ravel())[0]),
    }


def tallies(truth: Flags, predicted: Flags, scores: Array) -> Array:
    """Return a row of counts for each excerpt, whose sums `tallied` takes.

    The columns, 3 instruments + 4: hits, labels and predictions of each instrument; one label that
    has the highest score; one label; LRAP; 1.
    """
    single = truth.sum(axis=1) == 1
    right = single & (scores.argmax(axis=1) == truth.argmax(axis=1))
    columns = [right, single, excerpt_lrap(truth, scores), np.ones(len(truth))]
    return np.column_stack([truth & predicted, truth, predicted, *columns]).astype(float)


def tallied(sums: Array) -> dict[str, Array]:
    """Return measures from sums (..., columns) of `tallies`; NaN where undefined.

    They are micro_precision ... macro_f1, top1 and lrap. Macro is the mean over the instruments
    that have a label.
    """
    counts = np.split(sums[..., :-4], 3, axis=-1)
    right, single, ranked, excerpts = np.moveaxis(sums[..., -4:], -1, 0)
    micro, present = rates(*(one.sum(axis=-1) for one in counts)), counts[1] > 0
    found = {f"micro_{name}": values for name, values in micro.items()}
    with np.errstate(invalid="ignore"):
        for name, each in rates(*counts).items():
            found[f"macro_{name}"] = (each * present).sum(axis=-1) / present.sum(axis=-1)
        return found | {"top1": right / single, "lrap": ranked / excerpts}


# Calibration


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


# All scores of a recognizer


@dataclass(frozen=True, kw_only=True)
class Report:
    """The scores of one recognizer on one part of one data set."""

    dataset: str  # what was scored, as it is to stand in tables and figures
    instruments: tuple[str, ...]  # codes, the order of every axis `instruments`
    names: tuple[str, ...]  # of the excerpts
    truth: Flags  # labels (excerpts, instruments); excerpts without any are not scored
    scores: Mapping[str, Array]  # (excerpts, instruments) by aggregation, s1 among them
    thresholds: Mapping[str, float]  # by aggregation, that of the headline among them
    aggregation: str = "s1"  # of the headline
    chosen_on: str = "given"  # where thresholds come from; or "checkpoint" or "validation"
    recordings: tuple[str, ...] = ()  # of the excerpts; empty: not known
    genres: tuple[str, ...] = ()  # likewise
    temperature: float | None = None  # as chosen on other excerpts
    temperature_scaled: Array | None = None  # s1 at that temperature
    seen: tuple[str, ...] = ()  # what it had them for: "training", "validation" or ""; likewise
    doubts: tuple[str, ...] = ()  # sentences that say why the scores are not those of a test
    has_parts: bool = True  # whether the data set has a test part of its own

    @cached_property
    def labelled(self) -> Flags:
        """Which excerpts have a label: (excerpts,)."""
        return np.asarray(self.truth.any(axis=1))

    @cached_property
    def scored_truth(self) -> Flags:
        """The labels of the excerpts that are scored."""
        return self.truth[self.labelled]

    def scored(self, aggregation: str = "") -> Array:
        """The scores of the excerpts that are scored; "": by the headline aggregation."""
        return self.scores[aggregation or self.aggregation][self.labelled]

    @cached_property
    def groups(self) -> list[str]:
        """What each excerpt belongs to: its recording, or itself where none is known."""
        known = self.recordings or ("",) * len(self.names)
        return [recording or f"excerpt {i}" for i, recording in enumerate(known)]

    @property
    def has_irmas_labels(self) -> bool:
        """Whether all labels are instruments of IRMAS, as in the published results."""
        return set(self.instruments) <= set(CODES)

    @property
    def is_irmas_test(self) -> bool:
        """Whether as many excerpts and labels were scored as in the published results."""
        scored = int(self.labelled.sum()), int(self.scored_truth.sum())
        return scored == (IRMAS_TEST_EXCERPTS, IRMAS_TEST_LABELS)

    @cached_property
    def predicted(self) -> Flags:
        """The predicted labels of all excerpts, by the headline aggregation."""
        return self.scores[self.aggregation] >= self.thresholds[self.aggregation]

    @cached_property
    def found(self) -> dict[tuple[str, str], dict[str, float]]:
        """The scores (`scores_of`) by aggregation and where the threshold is from, or ORACLE."""
        found = {}
        for by in self.scores:
            truth, scores = self.scored_truth, self.scored(by)
            if by in self.thresholds:
                found[by, self.chosen_on] = scores_of(truth, scores, self.thresholds[by])
            best, _ = choose_threshold(scores, truth)
            found[by, ORACLE] = scores_of(truth, scores, best)
        return found

    @property
    def settings(self) -> dict[tuple[str, str], float]:
        """The thresholds by each of `found`."""
        return {by: scores["threshold"] for by, scores in self.found.items()}

    @property
    def headline(self) -> dict[str, float]:
        """The scores by the headline aggregation and its threshold."""
        return self.found[self.aggregation, self.chosen_on]

    @cached_property
    def calibrations(self) -> dict[str, Calibration]:
        """How far s1 can be taken for probabilities: as it is, and scaled by a temperature."""
        found = {"s1": Calibration.of(self.scored_truth, self.scored("s1"))}
        if self.temperature_scaled is not None:
            scores = self.temperature_scaled[self.labelled]
            found["temperature_scaled"] = Calibration.of(self.scored_truth, scores)
        return found

    @cached_property
    def intervals(self) -> dict[str, Interval]:
        """Micro F1, macro F1, top-1, LRAP and mAP, whole recordings being drawn."""
        truth, scores = self.scored_truth, self.scored()
        counts = tallies(truth, self.predicted[self.labelled], scores)
        present = np.flatnonzero(truth.any(axis=0))

        def statistics(times: Array) -> dict[str, Array]:
            each = [average_precision(truth[:, i], scores[:, i], times) for i in present]
            is_there = ~np.isnan(each)
            with np.errstate(invalid="ignore"):
                mean = np.where(is_there, each, 0).sum(axis=0) / is_there.sum(axis=0)
            found = tallied(times @ counts)
            return {name: found[name] for name in TALLIED} | {"map": mean}

        groups = [self.groups[i] for i in np.flatnonzero(self.labelled)]
        return bootstrap(statistics, groups)

    def count_seen(self, use: str) -> float:
        """Return how many of the scored excerpts the recognizer had for "training" or so."""
        return float(sum(self.seen[i] == use for i in np.flatnonzero(self.labelled)))

    def metrics(self) -> dict[str, float]:
        """Return the run's metrics, which docs/measures.md explains, without those not known.

        Plain names such as eval/micro_f1 are by the headline aggregation, eval/oracle_... by the
        threshold that is best on the scored excerpts themselves; eval/excerpts counts scored ones.
        """
        metrics = dict(self.headline)
        for (by, source), scores in self.found.items():
            by_threshold = {name: x for name, x in scores.items() if name not in RANKED}
            if source != ORACLE:
                metrics |= {f"{by}_{name}": x for name, x in by_threshold.items()}
                continue
            for name in ("micro_f1", "macro_f1", "threshold"):
                metrics[f"oracle_{by}_{name}"] = scores[name]
            if by == self.aggregation:
                metrics |= {f"oracle_{name}": x for name, x in by_threshold.items()}
        for kind, found in self.calibrations.items():
            prefix = "" if kind == "s1" else f"{kind}_"
            metrics |= {f"{prefix}{name}": x for name, x in found.measures().items()}
        if self.temperature is not None:
            metrics["temperature"] = self.temperature
        for name, interval in self.intervals.items():
            metrics |= {f"{name}_low": interval.low, f"{name}_high": interval.high}
        if not self.has_parts:
            metrics["no_test_part"] = 1.0
        if self.seen:
            metrics["trained_on"] = self.count_seen("training")
            metrics["validated_on"] = self.count_seen("validation")
        metrics["excerpts"] = float(self.labelled.sum())
        return {f"eval/{name}": x for name, x in metrics.items() if not np.isnan(x)}
