"""Tables of the paper's reproduction: ways from dream to sound; before and after.

Measures of controls stand beside those of dreams. Intervals are 95 % by bootstrap over
recordings (`irdream.measures.bootstrap`).
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd

from irdream.measures.bootstrap import (
    Interval,
    mean_interval,
    median_interval,
    share_interval,
)
from irdream.measures.table import UNCHANGED_DB
from irdream.reports.tables import records, rows_of

MEDIANS = (
    "realized_correlation", "snr_db", "segmental_snr_db", "db_x", "log_spectral_distance_db",
    "noise_to_mask_db", "masking_excess_db", "wav_target_probability", "wav_rmse_db", "rmse_db",
    "flatness", "voiced_share", "total_variation_db", "visqol",
)  # fmt: skip
OF_CHANGE = frozenset({"realized_correlation", "snr_db", "segmental_snr_db", "db_x"})
MEANS = ("masking_violation", "transfer_on_top", "transfer_wav_on_top", "wav_on_top")


def ways_table(dreams: pd.DataFrame) -> pd.DataFrame:
    """Compare ways from dream to sound: a row for each way and kind, each measure with bounds.

    `survival` is the share of the dreams at 0.9 on the spectrogram that are so on the WAV too;
    for a control, the share of all. Of the other measures medians, of shares means. `unchanged`
    counts the dreams that are as their originals were; what measures a change is of the others.
    `<measure>_undefined` counts the rest that have no finite value, where there are such.

    Args:
        dreams: a row for each dream, way and kind.
    """
    rows = []
    for way, kind in dict.fromkeys(zip(dreams["way"], dreams["kind"], strict=True)):
        group = rows_of(dreams, way=way, kind=kind)
        alive = rows_of(group, **{"at_0.9": True}) if kind == "dream" else group
        changed = group
        if kind == "dream":
            changed = group[group["rmse_db"] >= UNCHANGED_DB]
        row: dict[str, object] = {"way": way, "kind": kind, "dreams": len(group)}
        row["unchanged"] = len(group) - len(changed)
        row |= _bounds("survival", share_interval(alive["wav_at_0.9"], alive["recording"]))
        for names, interval in ((MEDIANS, median_interval), (MEANS, mean_interval)):
            for name in [name for name in names if name in group]:
                some = changed if name in OF_CHANGE else group
                finite = some[np.isfinite(some[name].astype(float))]
                row |= _bounds(name, interval(finite[name].astype(float), finite["recording"]))
                if len(finite) < len(some):
                    row[f"{name}_undefined"] = len(some) - len(finite)
        rows.append(row)
    return pd.DataFrame(rows)


def left_out(ways: pd.DataFrame, names: Mapping[str, str]) -> str:
    """Say of which dreams the measures of a `ways_table` are not; "" where they are of all.

    Args:
        ways: the table.
        names: of the measures that are shown, and their headings.
    """
    told = []
    for row in records(ways):
        where = f"{row['way']}, {row['kind']}"
        if row["unchanged"] and not OF_CHANGE.isdisjoint(names):
            told.append(f"{where}: {row['unchanged']} of {row['dreams']} changed nothing")
        for name, heading in names.items():
            count = row.get(f"{name}_undefined", np.nan)
            if 0 < count < row["dreams"]:
                told.append(f"{where}: {heading} of {count:.0f} of {row['dreams']} is not defined")
    return f"Left out: {'; '.join(told)}." if told else ""


def before_after_table(dreams: pd.DataFrame) -> pd.DataFrame:
    """Return confidence and accuracy before and after: a row for each `set` and `toward`.

    Steps to a flip and to 0.9 are medians over the dreams that got there, whose shares are
    "flipped" and "reached 0.9".
    """
    rows = []
    for name, toward in dict.fromkeys(zip(dreams["set"], dreams["toward"], strict=True)):
        group = rows_of(dreams, set=name, toward=toward)
        transfer = "transfer_on_top" in group
        rows.append(
            {
                "dreams": name,
                "toward": toward,
                "n": len(group),
                "top before": group["before_on_top"].mean(),
                "top": group["on_top"].mean(),
                "≥ 0.9": group["at_0.9"].mean(),
                "p before": group["before"].mean(),
                "p": group["target_probability"].mean(),
                "least p": group["target_probability"].min(),
                "steps": group["steps"].median(),
                "unchanged": len(group[group["rmse_db"] < UNCHANGED_DB]),
                "flipped": group["steps_to_flip"].notna().mean(),
                "to flip": group["steps_to_flip"].median(),
                "reached 0.9": group["steps_to_0.9"].notna().mean(),
                "to 0.9": group["steps_to_0.9"].median(),
                "RMSE dB": group["rmse_db"].mean(),
                "MSE dB²": group["mse_db2"].mean(),
                "max dB": group["max_abs_db"].mean(),
                "transfer": group["transfer_on_top"].mean() if transfer else np.nan,
            }
        )
    return pd.DataFrame(rows)


def _bounds(name: str, interval: Interval) -> dict[str, float]:
    return {name: interval.estimate, f"{name}_low": interval.low, f"{name}_high": interval.high}
