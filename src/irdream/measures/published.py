"""Published results on the IRMAS test set (2874 recorded excerpts, 4917 labels), beside ours.

A score on anything else, rendered music above all, is not comparable with them. Only the averages
are kept: the bars of the papers exist as pictures alone.
"""

from __future__ import annotations

from typing import NamedTuple

IRMAS_TEST_EXCERPTS = 2874
IRMAS_TEST_LABELS = 4917


class PublishedScore(NamedTuple):
    """One published system: micro and macro F1 in 0..1 (None: not given), and its source."""

    system: str
    micro_f1: float
    macro_f1: float | None
    citation: str


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


def is_whole_irmas_test(*, excerpts: int, labels: int) -> bool:
    """Say whether as many excerpts and labels were scored as the IRMAS test set has."""
    return (excerpts, labels) == (IRMAS_TEST_EXCERPTS, IRMAS_TEST_LABELS)
