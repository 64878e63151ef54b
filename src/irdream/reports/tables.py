"""A recognition report as tables, and tables as CSV files.

Every row that averages over a data set names that data set, so that a table can be read apart
from the run that wrote it, and a score on rendered music is not taken for one on IRMAS.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from irdream import instruments
from irdream.files import replacing
from irdream.measures.published import IRMAS_TEST_EXCERPTS, PUBLISHED
from irdream.measures.recognition import Flags, Report

NOT_COMPARABLE = "not the IRMAS test set: not comparable with the published rows"
UPPER_BOUND = "threshold chosen on the scored excerpts themselves: an upper bound"


def save_table(table: pd.DataFrame, path: str | Path) -> None:
    """Write a table as CSV (UTF-8, six decimals), whole or not at all.

    Raises:
        OSError: from the system (no such folder, no permission, full disk).
    """
    text = table.to_csv(index=False, float_format="%.6f", lineterminator="\n")
    with replacing(path) as file:
        file.write(text.encode("utf-8", errors="surrogateescape"))


def rows_of(table: pd.DataFrame, **values: object) -> pd.DataFrame:
    """Return the rows in which each of these columns has this value, or one of these (a list)."""
    keep = np.ones(len(table), bool)
    for name, value in values.items():
        keep &= table[name].isin(value if isinstance(value, list) else [value]).to_numpy()
    return table.iloc[np.flatnonzero(keep)]


def mean_of(table: pd.DataFrame, name: str) -> float:
    """Return the mean of a column."""
    return float(table[name].to_numpy(dtype=float).mean())


def records(table: pd.DataFrame) -> list[dict[str, Any]]:
    """Return a dictionary for each row."""
    return [dict(zip(map(str, table.columns), row, strict=True)) for row in table.to_numpy()]


def instrument_table(report: Report) -> pd.DataFrame:
    """One row per instrument: precision, recall, F1, labels, predictions."""
    scores = report.per_instrument
    return pd.DataFrame(
        {
            "instrument": report.instruments,
            "name": [instruments.NAMES.get(code, code) for code in report.instruments],
            "precision": scores.precision,
            "recall": scores.recall,
            "f1": scores.f1,
            "labels": scores.support,
            "predictions": report.predicted[report.labelled].sum(axis=0),
        }
    )


def summary_table(report: Report) -> pd.DataFrame:
    """Ours (each aggregation, and the oracle threshold), then the published rows.

    Columns: system, data, excerpts, threshold, micro and macro precision, recall and F1,
    top1, note. The note says when ours cannot be compared, and the source of the others.
    """
    scored = int(report.labelled.sum())
    rows = []
    for setting, averages in report.averages.items():
        is_oracle = setting == "oracle"
        by = f"{report.aggregation.upper()}, oracle threshold" if is_oracle else setting.upper()
        notes = [UPPER_BOUND] * is_oracle + [NOT_COMPARABLE] * (not report.is_irmas_test)
        notes += report.doubts
        rows.append(
            {
                "system": f"irdream ({by})",
                "data": report.dataset,
                "excerpts": scored,
                **averages,
                "top1": report.top1,
                "note": "; ".join(notes),
            }
        )
    for row in PUBLISHED:
        rows.append(
            {
                "system": row.system,
                "data": "IRMAS test set",
                "excerpts": IRMAS_TEST_EXCERPTS,
                "micro_f1": row.micro_f1,
                "macro_f1": row.macro_f1,
                "note": row.citation,
            }
        )
    columns = [
        "system", "data", "excerpts", "threshold", "micro_precision", "micro_recall", "micro_f1",
        "macro_precision", "macro_recall", "macro_f1", "top1", "note",
    ]  # fmt: skip
    return pd.DataFrame(rows, columns=columns)


def prediction_table(report: Report) -> pd.DataFrame:
    """One row per excerpt: name, labels, predicted labels, top-1, score per instrument.

    Where it is known, also what the recognizer had it for: training, validation or nothing.
    """
    scores = report.scores[report.aggregation]
    columns = {
        "name": report.names,
        "labels": [_codes(report, row) for row in report.truth],
        "predicted": [_codes(report, row) for row in report.predicted],
        "top1": [report.instruments[i] for i in scores.argmax(axis=1)],
    }
    if report.seen:
        columns["seen_in"] = report.seen
    return pd.DataFrame(columns | {code: scores[:, i] for i, code in enumerate(report.instruments)})


def _codes(report: Report, flags: Flags) -> str:
    return " ".join(code for code, is_set in zip(report.instruments, flags, strict=True) if is_set)


def confusion_table(report: Report) -> pd.DataFrame:
    """Counts over the single-label excerpts: a row per label, a column per highest score."""
    counts = pd.DataFrame(report.confusion, columns=list(report.instruments))
    counts.insert(0, "label", list(report.instruments))
    return counts
