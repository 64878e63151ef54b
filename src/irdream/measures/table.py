"""The numbers about dreams and recognizers, once: names, labels, units, which way is better.

All that shows or searches numbers reads it; a metric is named `<task>/<name>`. The bars are fixed,
so that runs with other settings can be compared. Nothing heavy is imported here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

BAR = 0.9  # the target's probability that `at_0.9` asks for
UNCHANGED = "dream/unchanged"  # how many dreams are as their originals were
UNCHANGED_DB = 1e-3  # RMSE of a dream that is its original, but for rounding
IRMAS_TEST_EXCERPTS = 2874
IRMAS_TEST_LABELS = 4917


@dataclass(frozen=True)
class Measure:
    """A number about each dream, or about a recognizer."""

    name: str  # a column of dreams.csv, or of the table of a recognizer's scores
    label: str  # heading in tables and galleries
    better: Literal["", "higher", "lower"] = ""  # "": neither is
    unit: str = ""  # such as "dB"; "" for shares, probabilities and counts
    digits: int = 2  # after the point
    needs: Literal["", "target", "no target", "judge"] = ""  # a judge needs a target, too
    is_share: bool = False  # says yes or no of a dream, so that it has no median
    in_table: bool = False  # of those that a run of dreams prints
    in_gallery: bool = False  # of those that a sweep's gallery shows
    is_partial: bool = False  # of many dreams it has no value, which is not told then

    @property
    def heading(self) -> str:
        """Return label and unit, such as "RMSE dB"."""
        return f"{self.label} {self.unit}".strip()

    @property
    def direction(self) -> Literal["maximize", "minimize"]:
        """Return which way a search goes."""
        return "minimize" if self.better == "lower" else "maximize"


MEASURES = (  # of dreams
    Measure("target_probability_before", "p before", needs="target", in_table=True),
    Measure(
        "target_probability", "p", "higher", needs="target", in_table=True, in_gallery=True
    ),
    Measure(
        "target_probability_wav", "p WAV", "higher", needs="target", in_table=True,
        in_gallery=True,
    ),
    Measure("wav_at_0.9", "WAV at 0.9", "higher", needs="target", is_share=True, in_gallery=True),
    Measure("wav_on_top", "WAV on top", "higher", needs="target", is_share=True, in_gallery=True),
    Measure(
        "judge_probability", "p judge", "higher", needs="judge", in_table=True, in_gallery=True
    ),
    Measure(
        "judge_on_top", "judge on top", "higher", needs="judge", is_share=True, in_gallery=True
    ),
    Measure("undreamed_judge_on_top", "judge on top undreamed", needs="judge", is_share=True),
    Measure("at_0.9", "at 0.9", "higher", needs="target", is_share=True),
    Measure("on_top", "on top", "higher", needs="target", is_share=True),
    Measure("target_score", "score", "higher", needs="target"),
    Measure("window_share", "windows at 0.9", "higher", needs="target"),
    Measure("objective_before", "before", digits=3, needs="no target", in_table=True),
    Measure(
        "objective", "objective", "higher", digits=3, needs="no target", in_table=True,
        in_gallery=True,
    ),
    Measure("steps", "steps", digits=0, in_table=True),
    Measure("rmse_db", "RMSE", "lower", "dB", in_table=True, in_gallery=True),
    Measure("max_abs_db", "max", "lower", "dB", digits=1),
    Measure("snr_db", "SNR", "higher", "dB", digits=1, in_table=True, in_gallery=True),
    Measure("onset_correlation", "onsets kept", "higher", is_partial=True),
    Measure("pitch_error_cents", "pitch error", "lower", "cents", digits=0, is_partial=True),
    Measure("warble_db", "warble", "lower", "dB/s", digits=0),
)  # fmt: skip
ATTRIBUTION = (  # of relevance maps, see irdream.measures.attribution
    Measure("probability", "p", needs="target", in_gallery=True),
    Measure("probability_relevant", "p relevant", "higher", needs="target", in_gallery=True),
    Measure("probability_rest", "p rest", "lower", needs="target", in_gallery=True),
    Measure("increase", "increase", "higher", is_share=True, in_gallery=True),
    Measure("drop", "drop", "lower", in_gallery=True),
    Measure("gain", "gain", "higher", in_gallery=True),
    Measure("faithfulness", "faithfulness", "higher", in_gallery=True),
    Measure("insertion", "insertion", "higher", in_gallery=True),
    Measure("deletion", "deletion", "lower", in_gallery=True),
    Measure("sparsity", "sparsity", "higher", in_gallery=True),
    Measure("energy_share", "energy", in_gallery=True),
    Measure("change_share", "change in it", in_gallery=True),
    Measure("judge_whole", "judge, whole", needs="judge", is_share=True, in_gallery=True),
    Measure("judge_agrees", "judge", "higher", needs="judge", is_share=True, in_gallery=True),
)
SCORES = (  # of recognizers, as metrics of the tasks evaluate and compare
    Measure("micro_f1", "micro F1", "higher", digits=3),
    Measure("macro_f1", "macro F1", "higher", digits=3),
    Measure("top1", "top-1", "higher", digits=3),
    Measure("lrap", "LRAP", "higher", digits=3),
    Measure("map", "mAP", "higher", digits=3),
    Measure("ece", "ECE", "lower", digits=3),
    Measure("robust_accuracy_1dB", "robust top-1 at 1 dB", "higher", digits=3),
)
TRAINING = (
    Measure("loss", "validation loss", "lower", digits=3),
    Measure("top1", "validation top-1", "higher", digits=3),
)
METRICS: dict[str, Measure] = {  # by the name of their metric
    f"{task}/{each.name}": each
    for task, measures in (
        ("dream", MEASURES),
        ("attribute", ATTRIBUTION),
        ("eval", SCORES),
        ("val", TRAINING),
    )
    for each in measures
} | {UNCHANGED: Measure("unchanged", "unchanged", "lower", digits=0)}
SEARCHED = {  # by default, for each task
    "dream": "dream/wav_at_0.9",
    "attribute": "attribute/faithfulness",
    "evaluate": "eval/micro_f1",
    "train": "val/loss",
}
HEADLINES = (  # metrics of a sweep's jobs; the first one there is orders the comparison
    "dream/wav_at_0.9", "dream/wav_on_top", "dream/judge_on_top", "dream/at_0.9", "dream/on_top",
    "dream/objective", "dream/rmse_db", "dream/snr_db", UNCHANGED, "attribute/faithfulness",
    "attribute/insertion", "attribute/deletion", "eval/micro_f1", "eval/macro_f1",
    "eval/top1", "eval/robust_accuracy_1dB", "val/loss", "val/top1",
)  # fmt: skip


def setting_words(row: Mapping[str, Any], names: Sequence[str]) -> list[str]:
    """Return in words what a dream's settings are, such as `step size 0.25`."""
    words = {
        "step_size": "step size {:g}",
        "budget_db": "budget {:g} dB",
        "variation": "variation {}",
    }
    return [words[name].format(row[name]) for name in names]


# Published


class PublishedScore(NamedTuple):
    """A system on the IRMAS test set: micro and macro F1 in 0..1 (None: not given), and its source.

    A score on anything else, rendered music above all, is not comparable. Only the averages are
    kept: the bars of the papers exist as pictures alone.
    """

    system: str
    micro_f1: float
    macro_f1: float | None
    note: str


_BOSCH = (
    "J. J. Bosch, J. Janer, F. Fuhrmann, P. Herrera: A comparison of sound segregation techniques "
    "for predominant instrument recognition in musical audio signals. ISMIR 2012"
)
_HAN = (
    "Y. Han, J. Kim, K. Lee: Deep convolutional neural networks for predominant instrument "
    "recognition in polyphonic music"
)
_HAN_JOURNAL = (
    f"{_HAN}. IEEE/ACM Transactions on Audio, Speech, and Language Processing 25(1), 2017"
)
_PONS = (
    "J. Pons, O. Slizovskaia, R. Gong, E. Gómez, X. Serra: Timbre analysis of music audio "
    "signals with convolutional neural networks. EUSIPCO 2017 (arXiv:1703.06697)"
)
_KRATIMENOS = (
    "A. Kratimenos, K. Avramidis, C. Garoufis, A. Zlatintsi, P. Maragos: Augmentation methods on "
    "monophonic audio for instrument classification in polyphonic music. EUSIPCO 2020 "
    "(arXiv:1911.12505)"
)
_REGHUNATH = (
    "L. C. Reghunath, R. Rajan: Transformer-based ensemble method for multiple predominant "
    "instruments recognition in polyphonic music. EURASIP Journal on Audio, Speech, and Music "
    "Processing, 2022"
)
_ZHONG = (
    "L. Zhong, E. Cooper, J. Yamagishi, N. Minematsu: Exploring isolated musical notes as "
    "pre-training data for predominant instrument recognition in polyphonic music. "
    "arXiv:2306.08850, 2023"
)
_PASST = (
    "MusDetect (github.com/timoniko/MusDetect), fine-tuning K. Koutini et al.: Efficient training "
    "of audio transformers with patchout. Interspeech 2022; no validation set was held out"
)
PUBLISHED = (
    PublishedScore("Bosch et al. 2012", 0.503, 0.432, _BOSCH),
    PublishedScore("Han et al. 2016 (arXiv v1)", 0.602, 0.503, f"{_HAN}. arXiv:1605.09507v1, 2016"),
    PublishedScore("Han et al. 2017 (journal)", 0.619, 0.513, _HAN_JOURNAL),
    PublishedScore("Pons et al. 2017 (single layer)", 0.559, 0.484, _PONS),
    PublishedScore("Pons et al. 2017 (multi layer)", 0.589, 0.516, _PONS),
    PublishedScore("Kratimenos et al. 2020", 0.647, 0.546, _KRATIMENOS),
    PublishedScore("Reghunath & Rajan 2022", 0.66, 0.62, _REGHUNATH),
    PublishedScore("Zhong et al. 2023", 0.674, None, _ZHONG),
    PublishedScore("PaSST, waveform mixing", 0.692, 0.621, _PASST),
)
