"""Tables of the paper's reproduction: ways from dream to sound; before and after.

Measures of controls stand beside those of dreams. Intervals are 95 % by bootstrap over
recordings (`irdream.evaluation.intervals`).
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from irdream.evaluation.intervals import (
    Interval,
    mean_interval,
    median_interval,
    share_interval,
)
from irdream.evaluation.tables import rows_of

MEDIANS = (
    "realized_correlation", "snr_db", "segmental_snr_db", "db_x", "log_spectral_distance_db",
    "noise_to_mask_db", "masking_excess_db", "wav_target_probability", "wav_rmse_db", "rmse_db",
    "flatness", "voiced_share", "total_variation_db", "visqol",
)  # fmt: skip
MEANS = ("masking_violation", "transfer_on_top", "transfer_wav_on_top", "wav_on_top")


def ways_table(dreams: pd.DataFrame) -> pd.DataFrame:
    """Compare ways from dream to sound: a row for each way and kind, each measure with bounds.

    `survival` is the share of the dreams with success on the spectrogram that have it on the
    WAV too; for a control, the share of all. Of the other measures medians, of shares means.

    Args:
        dreams: a row for each dream, way and kind.
    """
    rows = []
    for way, kind in dict.fromkeys(zip(dreams["way"], dreams["kind"], strict=True)):
        group = rows_of(dreams, way=way, kind=kind)
        alive = rows_of(group, success=True) if kind == "dream" else group
        row: dict[str, object] = {"way": way, "kind": kind, "dreams": len(group)}
        row |= _bounds("survival", share_interval(alive["wav_success"], alive["recording"]))
        for names, interval in ((MEDIANS, median_interval), (MEANS, mean_interval)):
            for name in [name for name in names if name in group]:
                row |= _bounds(name, interval(group[name].astype(float), group["recording"]))
        rows.append(row)
    return pd.DataFrame(rows)


def before_after_table(dreams: pd.DataFrame) -> pd.DataFrame:
    """Return confidence and accuracy before and after: a row for each `set` and `toward`."""
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
                "≥ 0.9": group["success"].mean(),
                "p before": group["before"].mean(),
                "p": group["target_probability"].mean(),
                "least p": group["target_probability"].min(),
                "steps": group["steps"].median(),
                "to flip": group["steps_to_flip"].median(),
                "to 0.9": group["steps_to_confidence"].median(),
                "RMSE dB": group["rmse_db"].mean(),
                "MSE dB²": group["mse_db2"].mean(),
                "max dB": group["max_abs_db"].mean(),
                "transfer": group["transfer_on_top"].mean() if transfer else np.nan,
            }
        )
    return pd.DataFrame(rows)


def _bounds(name: str, interval: Interval) -> dict[str, float]:
    return {name: interval.estimate, f"{name}_low": interval.low, f"{name}_high": interval.high}
