"""A recognition report in detail: every aggregation and threshold, groups, intervals, calibration.

Beside `tables.py`, which sets the headline scores beside published ones. All scores are over the
excerpts that have a label, and groups and intervals are by the headline aggregation.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pandas as pd

from irdream import instruments
from irdream.measures.calibration import BINS, Reliability
from irdream.measures.recognition import (
    Flags,
    Report,
    average_scores,
    instrument_scores,
    predict,
    top1_accuracy,
)
from irdream.measures.tallies import excerpt_lrap
from irdream.reports.tables import NOT_COMPARABLE, UPPER_BOUND

ORACLE = "oracle"


def aggregation_table(report: Report) -> pd.DataFrame:
    """A row per aggregation and threshold: the chosen one, where there is one, and the oracle's.

    Columns: data, aggregation, threshold_from, threshold, micro and macro precision, recall and
    F1, top1, lrap, map, map_micro, note. The last four but the note need no threshold.
    """
    rows = []
    for by, source, threshold in _thresholds(report):
        averages = report.oracle[by] if source == ORACLE else report.averages[by]
        notes = [UPPER_BOUND] * (source == ORACLE) + [NOT_COMPARABLE] * (not report.is_irmas_test)
        notes += report.doubts
        rows.append(
            {
                "data": report.dataset,
                "aggregation": by,
                "threshold_from": source,
                "threshold": threshold,
                **{name: x for name, x in averages.items() if name != "threshold"},
                "top1": top1_accuracy(report.scored(by), report.scored_truth),
                **report.rankings[by].measures(),
                "note": "; ".join(notes + left_out(report)),
            }
        )
    return pd.DataFrame(rows)


def left_out(report: Report) -> list[str]:
    """Say which instruments the macro averages and mAP leave out; nothing where they have all."""
    absent = np.flatnonzero(~report.scored_truth.any(axis=0))
    codes = " ".join(report.instruments[i] for i in absent)
    return [f"macro averages and mAP without {codes}: no excerpt has this label"] if codes else []


def all_instruments_table(report: Report) -> pd.DataFrame:
    """A row per aggregation, threshold and instrument.

    Columns: aggregation, threshold_from, threshold, instrument, name, precision, recall, f1,
    average_precision (empty without labels), labels, predictions.
    """
    parts = []
    for by, source, threshold in _thresholds(report):
        predicted = predict(report.scored(by), threshold)
        scores = instrument_scores(report.scored_truth, predicted)
        parts.append(
            pd.DataFrame(
                {
                    "aggregation": by,
                    "threshold_from": source,
                    "threshold": threshold,
                    "instrument": report.instruments,
                    "name": [instruments.NAMES.get(code, code) for code in report.instruments],
                    "precision": scores.precision,
                    "recall": scores.recall,
                    "f1": scores.f1,
                    "average_precision": report.rankings[by].precision,
                    "labels": scores.support,
                    "predictions": predicted.sum(axis=0),
                }
            )
        )
    return pd.concat(parts, ignore_index=True)


def _thresholds(report: Report) -> Iterator[tuple[str, str, float]]:
    """Yield aggregation, where its threshold comes from, and the threshold."""
    for by in report.scores:
        if by in report.thresholds:
            yield by, report.chosen_on, report.thresholds[by]
        yield by, ORACLE, report.oracle[by]["threshold"]


def group_table(report: Report) -> pd.DataFrame:
    """A row per number of labels, and per genre where the names tell any.

    Columns: by ("labels" or "genre"), group, excerpts, labels, micro precision, recall and F1,
    macro F1, top1, lrap. Macro F1 is over the instruments of the group.
    """
    counts = report.scored_truth.sum(axis=1)
    rows = [_group(report, "labels", str(count), counts == count) for count in np.unique(counts)]
    genres = np.array(report.genres or ("",) * len(report.names))[report.labelled]
    if genres.astype(bool).any():
        for genre in sorted(set(genres.tolist()), key=lambda genre: (genre == "", genre)):
            rows.append(_group(report, "genre", genre or "unknown", genres == genre))
    return pd.DataFrame(rows)


def _group(report: Report, by: str, group: str, chosen: Flags) -> dict[str, object]:
    truth, predicted = report.scored_truth[chosen], report.predicted[report.labelled][chosen]
    scores = report.scored(report.aggregation)[chosen]
    averages = average_scores(truth, predicted)
    shown = ("micro_precision", "micro_recall", "micro_f1", "macro_f1")
    return {
        "by": by,
        "group": group,
        "excerpts": int(chosen.sum()),
        "labels": int(truth.sum()),
        **{name: averages[name] for name in shown},
        "top1": top1_accuracy(scores, truth),
        "lrap": float(excerpt_lrap(truth, scores).mean()),
    }


def interval_table(report: Report) -> pd.DataFrame:
    """A row per headline measure: estimate, low and high of 95 %, what was drawn."""
    count = len(set(report.groups))
    drawn = "excerpts" if count == len(report.groups) else "recordings"
    rows = [
        {"measure": name, **one._asdict(), "drawn": drawn, "count": count}
        for name, one in report.intervals.items()
    ]
    return pd.DataFrame(rows)


def calibration_table(report: Report) -> pd.DataFrame:
    """A row for S1 as it is, and one at the temperature where one was fitted.

    Columns: data, temperature, pairs, ece, top1_ece, brier, loss; see `calibration`.
    """
    rows = [
        {
            "data": report.dataset,
            "temperature": 1.0 if kind == "s1" else report.temperature,
            "pairs": int(found.pairs.counts.sum()),
            **found.measures(),
            "loss": found.loss,
        }
        for kind, found in report.calibrations.items()
    ]
    return pd.DataFrame(rows)


def reliability_table(report: Report) -> pd.DataFrame:
    """A row per bin of every reliability curve that is drawn; means are empty in empty bins."""
    parts = []
    for kind, found in report.calibrations.items():
        for what, curve in (("pairs", found.pairs), ("highest scores", found.top1)):
            parts.append(_curve(curve, scores=kind, of=what))
    return pd.concat(parts, ignore_index=True)


def _curve(curve: Reliability, *, scores: str, of: str) -> pd.DataFrame:
    edges = np.arange(BINS + 1) / BINS
    return pd.DataFrame(
        {
            "scores": scores,
            "of": of,
            "low": edges[:-1],
            "high": edges[1:],
            "count": curve.counts,
            "mean_score": curve.scores,
            "share_true": curve.shares,
        }
    )
