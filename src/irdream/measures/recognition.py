"""Recognition scores of excerpts, and labels made of them by a threshold, after Han et al. 2016.

A single threshold for all instruments turns a row into labels. It must be chosen on other
excerpts than the ones that are scored; the oracle threshold, the best one on the scored
excerpts themselves, is an upper bound and no result. Thresholds per instrument were
rejected: the published scores use one.

Macro averages are over the instruments that occur in the labels. On IRMAS these are all
eleven; on a folder of flutes and pianos an average over eleven would say little. Top-1 is
over the excerpts with exactly one label, and is the same for S1 and S2 but not for max.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import confusion_matrix, precision_recall_fscore_support

from irdream.measures.aggregation import AGGREGATIONS as AGGREGATIONS
from irdream.measures.aggregation import aggregate as aggregate
from irdream.measures.aggregation import check_aggregation as check_aggregation
from irdream.measures.bootstrap import Interval, map_interval
from irdream.measures.calibration import Calibration
from irdream.measures.published import is_whole_irmas_test
from irdream.measures.ranking import Ranking, ranking
from irdream.measures.tallies import Tallies

Array = NDArray[np.floating]
Flags = NDArray[np.bool_]

_ZERO: Any = 0  # for 0 / 0; scikit-learn's own annotation is str
THRESHOLDS: Array = np.arange(1, 100) / 100  # 0.01 .. 0.99


def predict(scores: Array, threshold: float) -> Flags:
    """Return the predicted labels, the scores that reach the threshold; same shape."""
    return np.greater_equal(scores, threshold)


def choose_threshold(
    scores: Array, truth: Flags, *, thresholds: Array = THRESHOLDS
) -> tuple[float, float]:
    """Return the threshold with the highest micro F1 and that F1; of equals the middle one.

    Args:
        scores: (excerpts, instruments).
        truth: labels of the same shape.
        thresholds: the ones tried.
    """
    f1 = np.array([_f1(truth, predict(scores, threshold))[0] for threshold in thresholds])
    best = np.flatnonzero(f1 == f1.max())
    chosen = best[len(best) // 2]
    return float(thresholds[chosen]), float(f1[chosen])


def _f1(truth: Flags, predicted: Flags) -> tuple[float, float]:
    """Return micro and macro F1 as `average_scores` does, in a fiftieth of its time."""
    hits, named = (truth & predicted).sum(axis=0), truth.sum(axis=0)
    sizes = named + predicted.sum(axis=0)
    present = named > 0
    each = 2 * hits[present] / sizes[present]
    return float(2 * hits.sum() / max(sizes.sum(), 1)), float(each.mean() if each.size else 0)


@dataclass(frozen=True, kw_only=True)
class InstrumentScores:
    """Precision, recall and F1 in 0..1, and the number of labels: each (instruments,)."""

    precision: Array
    recall: Array
    f1: Array
    support: NDArray[np.integer]


def instrument_scores(truth: Flags, predicted: Flags) -> InstrumentScores:
    """Return the scores per instrument from labels (excerpts, instruments); 0 where 0 / 0."""
    columns = precision_recall_fscore_support(truth, predicted, average=None, zero_division=_ZERO)
    precision, recall, f1, support = (np.asarray(column) for column in columns)
    return InstrumentScores(precision=precision, recall=recall, f1=f1, support=support)


def average_scores(truth: Flags, predicted: Flags) -> dict[str, float]:
    """Return micro and macro precision, recall and F1: micro_precision ... macro_f1.

    Macro is the mean over the instruments that occur in `truth`.
    """
    present = np.flatnonzero(truth.any(axis=0))
    averages = {}
    for average, labels in (("micro", None), ("macro", present)):
        values = precision_recall_fscore_support(
            truth, predicted, average=average, labels=labels, zero_division=_ZERO
        )
        for measure, value in zip(("precision", "recall", "f1"), values, strict=False):
            averages[f"{average}_{measure}"] = float(np.asarray(value))
    return averages


def top1_accuracy(scores: Array, truth: Flags) -> float:
    """Return the share of single-label excerpts whose highest score is their label.

    NaN when no excerpt has exactly one label.
    """
    single = truth.sum(axis=1) == 1
    if not single.any():
        return float("nan")
    return float((scores[single].argmax(axis=1) == truth[single].argmax(axis=1)).mean())


def confusion(scores: Array, truth: Flags) -> NDArray[np.integer]:
    """Return counts (label, highest score) over the single-label excerpts."""
    single = truth.sum(axis=1) == 1
    count = truth.shape[1]
    if not single.any():
        return np.zeros((count, count), dtype=int)
    rows, columns = truth[single].argmax(axis=1), scores[single].argmax(axis=1)
    return np.asarray(confusion_matrix(rows, columns, labels=np.arange(count)))


@dataclass(frozen=True, kw_only=True)
class Report:
    """The scores of one recognizer on one part of one data set.

    Args:
        dataset: what was scored, as it is to stand in tables and figures.
        instruments: codes, the order of every axis `instruments`.
        names: of the excerpts.
        truth: labels (excerpts, instruments); excerpts without any are not scored.
        scores: excerpts' scores (excerpts, instruments) by aggregation.
        thresholds: by aggregation; the one of `aggregation` must be there.
        aggregation: the one that the headline scores use.
        chosen_on: where the thresholds come from: "checkpoint", "validation" or "given".
        recordings: of the excerpts; those of one are alike. Empty: each is one of its own.
        genres: of the excerpts; "" where it is not known. Empty: of none.
        temperature: of the softmax or the sigmoids, as chosen on other excerpts.
        temperature_scaled: S1 at this temperature, (excerpts, instruments).
        seen: of the excerpts, what the recognizer had them for: "training", "validation", or ""
            nothing. Empty: it is not known.
        doubts: sentences that say why the scores are not those of a test.
        has_parts: whether the data set has a test part of its own.
    """

    dataset: str
    instruments: tuple[str, ...]
    names: tuple[str, ...]
    truth: Flags
    scores: Mapping[str, Array]
    thresholds: Mapping[str, float]
    aggregation: str = "s1"
    chosen_on: str = "given"
    recordings: tuple[str, ...] = ()
    genres: tuple[str, ...] = ()
    temperature: float | None = None
    temperature_scaled: Array | None = None
    seen: tuple[str, ...] = ()
    doubts: tuple[str, ...] = ()
    has_parts: bool = True

    @cached_property
    def labelled(self) -> Flags:
        """Which excerpts have a label: (excerpts,)."""
        return np.asarray(self.truth.any(axis=1))

    @cached_property
    def scored_truth(self) -> Flags:
        """The labels of the excerpts that are scored."""
        return self.truth[self.labelled]

    def scored(self, aggregation: str) -> Array:
        """The scores of the excerpts that are scored."""
        return self.scores[aggregation][self.labelled]

    @cached_property
    def groups(self) -> list[str]:
        """What each scored excerpt belongs to: its recording, or itself where none is known."""
        known = self.recordings or ("",) * len(self.names)
        each = [recording or f"excerpt {i}" for i, recording in enumerate(known)]
        return [each[i] for i in np.flatnonzero(self.labelled)]

    @property
    def is_irmas_test(self) -> bool:
        """Whether as many excerpts and labels were scored as in the published results."""
        scored, labels = int(self.labelled.sum()), int(self.scored_truth.sum())
        return is_whole_irmas_test(excerpts=scored, labels=labels)

    @cached_property
    def predicted(self) -> Flags:
        """The predicted labels of all excerpts, by the headline aggregation."""
        return predict(self.scores[self.aggregation], self.thresholds[self.aggregation])

    @cached_property
    def per_instrument(self) -> InstrumentScores:
        """Precision, recall and F1 of each instrument, by the headline aggregation."""
        return instrument_scores(self.scored_truth, self.predicted[self.labelled])

    @cached_property
    def confusion(self) -> NDArray[np.integer]:
        """Counts (label, highest score) over the single-label excerpts."""
        return confusion(self.scored(self.aggregation), self.scored_truth)

    @cached_property
    def top1(self) -> float:
        """Top-1 accuracy over the single-label excerpts; NaN without any."""
        return top1_accuracy(self.scored(self.aggregation), self.scored_truth)

    @cached_property
    def averages(self) -> dict[str, dict[str, float]]:
        """Micro and macro scores by aggregation, and `oracle` of the headline aggregation.

        Each also has its `threshold`. An aggregation without a threshold is left out.
        """
        averages = {by: self._averages(by, threshold) for by, threshold in self.thresholds.items()}
        return averages | {"oracle": self.oracle[self.aggregation]}

    @cached_property
    def oracle(self) -> dict[str, dict[str, float]]:
        """Micro and macro scores and `threshold` of each aggregation by its oracle threshold."""
        best = {by: choose_threshold(self.scored(by), self.scored_truth)[0] for by in self.scores}
        return {by: self._averages(by, threshold) for by, threshold in best.items()}

    def _averages(self, aggregation: str, threshold: float) -> dict[str, float]:
        predicted = predict(self.scored(aggregation), threshold)
        return {**average_scores(self.scored_truth, predicted), "threshold": threshold}

    @cached_property
    def rankings(self) -> dict[str, Ranking]:
        """How well the scores rank, by aggregation."""
        return {by: ranking(self.scored_truth, self.scored(by)) for by in self.scores}

    @cached_property
    def calibrations(self) -> dict[str, Calibration]:
        """How far S1 can be taken for probabilities: as it is, and scaled by a temperature."""
        found = {"s1": Calibration.of(self.scored_truth, self.scored("s1"))}
        if self.temperature_scaled is not None:
            scores = self.temperature_scaled[self.labelled]
            found["temperature_scaled"] = Calibration.of(self.scored_truth, scores)
        return found

    @cached_property
    def intervals(self) -> dict[str, Interval]:
        """Micro F1, macro F1, top-1 and LRAP, see `recognition_intervals`."""
        return recognition_intervals(self)

    def count_seen(self, use: str) -> float:
        """Return how many of the scored excerpts the recognizer had for "training" or so."""
        return float(sum(self.seen[i] == use for i in np.flatnonzero(self.labelled)))

    def metrics(self) -> dict[str, float]:
        """Return the run's metrics; the names are stable.

        eval/micro_f1, eval/macro_f1 and their precision and recall, eval/threshold: by the
        headline aggregation. eval/s1_..., eval/s2_..., eval/max_...: the same by each one.
        eval/oracle_...: by the threshold that is best on the scored excerpts themselves, and
        eval/oracle_s1_... by each aggregation. eval/top1: left out when no excerpt has a single
        label. eval/excerpts: scored ones. eval/lrap, eval/map, eval/map_micro: see `Ranking`.
        eval/ece, eval/top1_ece, eval/brier: see `Calibration`; eval/temperature and
        eval/temperature_scaled_...: where one was fitted. eval/micro_f1_low, ..._high: of 95 %.
        eval/trained_on, eval/validated_on: excerpts that the recognizer had before, where that is
        known. eval/no_test_part: 1 where the data set has none.
        """
        metrics = {f"eval/{name}": x for name, x in self.averages[self.aggregation].items()}
        for setting, averages in self.averages.items():
            metrics |= {f"eval/{setting}_{name}": x for name, x in averages.items()}
        for by, averages in self.oracle.items():
            for name in ("micro_f1", "macro_f1", "threshold"):
                metrics[f"eval/oracle_{by}_{name}"] = averages[name]
        metrics["eval/top1"] = self.top1
        metrics |= self._threshold_free_metrics()
        for name, interval in self.intervals.items():
            metrics |= {f"eval/{name}_low": interval.low, f"eval/{name}_high": interval.high}
        if not self.has_parts:
            metrics["eval/no_test_part"] = 1.0
        if self.seen:
            metrics["eval/trained_on"] = self.count_seen("training")
            metrics["eval/validated_on"] = self.count_seen("validation")
        known = {name: x for name, x in metrics.items() if not np.isnan(x)}
        return known | {"eval/excerpts": float(self.labelled.sum())}

    def _threshold_free_metrics(self) -> dict[str, float]:
        ranked = self.rankings[self.aggregation]
        metrics = {f"eval/{name}": x for name, x in ranked.measures().items()}
        for kind, found in self.calibrations.items():
            prefix = "eval/" if kind == "s1" else f"eval/{kind}_"
            metrics |= {f"{prefix}{name}": x for name, x in found.measures().items()}
        if self.temperature is not None:
            metrics["eval/temperature"] = self.temperature
        return metrics


def recognition_intervals(report: Report) -> dict[str, Interval]:
    """Return micro F1, macro F1, top-1, LRAP and mAP of a report, whole recordings being drawn."""
    tallies = Tallies.of(
        report.scored_truth, report.predicted[report.labelled], report.scored(report.aggregation)
    )
    scores = report.scored(report.aggregation)
    return {
        **tallies.intervals(report.groups),
        "map": map_interval(report.scored_truth, scores, report.groups),
    }
