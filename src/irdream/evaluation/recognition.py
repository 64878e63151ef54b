"""Recognition scores of excerpts from the scores of their windows, after Han et al. 2016.

An excerpt has any number of windows, so its window scores come as an array (windows,
instruments) and a data set's as a list of them. Two aggregations make one row per excerpt:

- S1: the mean of the windows' scores.
- S2: their sum, divided by its maximum over the instruments, so that the best one has 1.

A single threshold for all instruments turns a row into labels. It must be chosen on other
excerpts than the ones that are scored; the oracle threshold, the best one on the scored
excerpts themselves, is an upper bound and no result. Thresholds per instrument were
rejected: the published scores use one.

Macro averages are over the instruments that occur in the labels. On IRMAS these are all
eleven; on a folder of flutes and pianos an average over eleven would say little. Top-1 is
over the excerpts with exactly one label, and is the same for S1 and S2. scikit-learn does the
arithmetic; choosing a threshold for the IRMAS test set takes about 0.3 s.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import confusion_matrix, f1_score, precision_recall_fscore_support

from irdream.errors import InputError
from irdream.evaluation.intervals import Interval, bootstrap
from irdream.evaluation.published import is_whole_irmas_test

Array = NDArray[np.floating]
Flags = NDArray[np.bool_]

AGGREGATIONS = ("s1", "s2")
_ZERO: Any = 0  # for 0 / 0; scikit-learn's own annotation is str
THRESHOLDS: Array = np.arange(1, 100) / 100  # 0.01 .. 0.99


def aggregate(window_scores: Sequence[Array], aggregation: str) -> Array:
    """Return the excerpts' scores (excerpts, instruments) by aggregation "s1" or "s2".

    Args:
        window_scores: for each excerpt an array (windows, instruments), at least one window.
        aggregation: "s1" or "s2", see the module.

    Raises:
        InputError: for another aggregation.
    """
    check_aggregation(aggregation)
    means = np.stack([np.asarray(scores, float).mean(axis=0) for scores in window_scores])
    return means if aggregation == "s1" else _divide_by_maximum(means)


def check_aggregation(aggregation: str) -> None:
    """Raise InputError unless `aggregation` is one of AGGREGATIONS."""
    if aggregation not in AGGREGATIONS:
        expected = " or ".join(repr(name) for name in AGGREGATIONS)
        raise InputError(f"unknown aggregation {aggregation!r}; expected {expected}")


def _divide_by_maximum(scores: Array) -> Array:
    # The sum over the windows is their mean times their number, which the division removes.
    maxima = scores.max(axis=1, keepdims=True)
    return np.divide(scores, maxima, out=np.zeros_like(scores), where=maxima > 0)


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
    f1 = np.array([_micro_f1(truth, predict(scores, threshold)) for threshold in thresholds])
    best = np.flatnonzero(f1 == f1.max())
    chosen = best[len(best) // 2]
    return float(thresholds[chosen]), float(f1[chosen])


def _micro_f1(truth: Flags, predicted: Flags) -> float:
    return float(f1_score(truth, predicted, average="micro", zero_division=_ZERO))


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
        scores: excerpts' scores (excerpts, instruments) by aggregation, both of them.
        thresholds: by aggregation; the one of `aggregation` must be there.
        aggregation: the one that the headline scores use.
    """

    dataset: str
    instruments: tuple[str, ...]
    names: tuple[str, ...]
    truth: Flags
    scores: Mapping[str, Array]
    thresholds: Mapping[str, float]
    aggregation: str = "s1"

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
        oracle, _ = choose_threshold(self.scored(self.aggregation), self.scored_truth)
        settings = {name: (name, threshold) for name, threshold in self.thresholds.items()}
        settings["oracle"] = (self.aggregation, oracle)
        return {
            name: {
                **average_scores(self.scored_truth, predict(self.scored(by), threshold)),
                "threshold": threshold,
            }
            for name, (by, threshold) in settings.items()
        }

    def metrics(self) -> dict[str, float]:
        """Return the run's metrics; the names are stable.

        eval/micro_f1, eval/macro_f1 and their precision and recall, eval/threshold: by the
        headline aggregation. eval/s1_..., eval/s2_...: the same by each aggregation.
        eval/oracle_...: by the threshold that is best on the scored excerpts themselves.
        eval/top1: left out when no excerpt has a single label. eval/excerpts: scored ones.
        """
        metrics = {f"eval/{name}": x for name, x in self.averages[self.aggregation].items()}
        for setting, averages in self.averages.items():
            metrics |= {f"eval/{setting}_{name}": x for name, x in averages.items()}
        if not np.isnan(self.top1):
            metrics["eval/top1"] = self.top1
        return metrics | {"eval/excerpts": float(self.labelled.sum())}


def recognition_intervals(report: Report) -> dict[str, Interval]:
    """Return micro F1, macro F1 and top-1 of a report, excerpts being drawn."""
    truth, scores = report.scored_truth, report.scored(report.aggregation)
    predicted = report.predicted[report.labelled]
    excerpts = range(len(truth))
    return {
        "micro_f1": bootstrap(lambda rows: _f1(truth[rows], predicted[rows])[0], excerpts),
        "macro_f1": bootstrap(lambda rows: _f1(truth[rows], predicted[rows])[1], excerpts),
        "top1": bootstrap(lambda rows: top1_accuracy(scores[rows], truth[rows]), excerpts),
    }


def _f1(truth: Flags, predicted: Flags) -> tuple[float, float]:
    """Return micro and macro F1 as `average_scores` does, in a fiftieth of its time."""
    hits, named = (truth & predicted).sum(axis=0), truth.sum(axis=0)
    sizes = named + predicted.sum(axis=0)
    present = named > 0
    return float(2 * hits.sum() / sizes.sum()), float((2 * hits[present] / sizes[present]).mean())
