"""What is told of dreams: one table for dreams.csv, metrics, printed tables, galleries, searches.

The bars are fixed, so that runs with other settings can be compared: `dream.confidence` says
where a dream stops, and nothing here depends on it. An objective without a target, such as a
layer's, has measures of its own.

Nothing heavy is imported here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

BAR = 0.9  # the target's probability that `at_0.9` asks for
UNCHANGED = "dream/unchanged"  # how many dreams are as their originals were
UNCHANGED_DB = 1e-3  # RMSE of a dream that is its original, but for rounding


@dataclass(frozen=True)
class Measure:
    """A number about each dream.

    Attributes:
        name: the column of dreams.csv; its mean is the metric `dream/<name>`.
        label: heading in tables and galleries.
        digits: after the point.
        needs: "target", "no target", or "" where it is told of every dream.
        is_share: whether it says yes or no, so that it has no median.
        in_table: whether it stands in the table that a run prints.
        in_gallery: whether a sweep's gallery shows it.
    """

    name: str
    label: str
    digits: int = 2
    needs: Literal["", "target", "no target"] = ""
    is_share: bool = False
    in_table: bool = False
    in_gallery: bool = False


MEASURES = (
    Measure("target_probability_before", "p before", needs="target", in_table=True),
    Measure("target_probability", "p", needs="target", in_table=True, in_gallery=True),
    Measure("target_probability_wav", "p WAV", needs="target", in_table=True, in_gallery=True),
    Measure("wav_at_0.9", "WAV at 0.9", needs="target", is_share=True, in_gallery=True),
    Measure("wav_on_top", "WAV on top", needs="target", is_share=True, in_gallery=True),
    Measure("at_0.9", "at 0.9", needs="target", is_share=True),
    Measure("on_top", "on top", needs="target", is_share=True),
    Measure("target_score", "score", needs="target"),
    Measure("window_share", "windows at 0.9", needs="target"),
    Measure("objective_before", "before", 3, needs="no target", in_table=True),
    Measure("objective", "objective", 3, needs="no target", in_table=True, in_gallery=True),
    Measure("steps", "steps", 0, in_table=True),
    Measure("rmse_db", "RMSE dB", in_table=True, in_gallery=True),
    Measure("max_abs_db", "max dB", 1),
    Measure("snr_db", "SNR dB", 1, in_table=True, in_gallery=True),
)
HEADLINES = (  # metrics of a sweep's jobs; the first one there is orders the comparison
    "dream/wav_at_0.9", "dream/wav_on_top", "dream/at_0.9", "dream/on_top", "dream/objective",
    "dream/rmse_db", "dream/snr_db", UNCHANGED,
)  # fmt: skip
SEARCHED = "dream/wav_at_0.9"  # what a search maximizes by default


def setting_words(row: Mapping[str, Any], names: Sequence[str]) -> list[str]:
    """Return in words what a dream's settings are, such as `step size 0.25`."""
    words = {
        "step_size": "step size {:g}",
        "budget_db": "budget {:g} dB",
        "variation": "variation {}",
    }
    return [words[name].format(row[name]) for name in names]
