"""How well scores rank, whatever the threshold: LRAP and mean average precision.

Label-ranking average precision asks, excerpt by excerpt, how far above the other instruments
the labelled ones stand. Average precision asks, instrument by instrument, how far above the
other excerpts those with the label stand. scikit-learn does the arithmetic.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import average_precision_score, label_ranking_average_precision_score

Array = NDArray[np.floating]
Flags = NDArray[np.bool_]


@dataclass(frozen=True, kw_only=True)
class Ranking:
    """Scores of a ranking, in 0..1.

    Attributes:
        lrap: label-ranking average precision, the mean over the excerpts.
        precision: average precision of each instrument; NaN for those without a label.
        map: its mean over the instruments with a label.
        micro: average precision of all pairs of excerpt and instrument in one ranking.
    """

    lrap: float
    precision: Array
    map: float
    micro: float

    def measures(self) -> dict[str, float]:
        """Return lrap, map and map_micro."""
        return {"lrap": self.lrap, "map": self.map, "map_micro": self.micro}


def ranking(truth: Flags, scores: Array) -> Ranking:
    """Rank scores (excerpts, instruments) against labels; each excerpt has at least one."""
    present = np.flatnonzero(truth.any(axis=0))
    precision = np.full(truth.shape[1], np.nan)
    for i in present:
        precision[i] = average_precision_score(truth[:, i], scores[:, i])
    return Ranking(
        lrap=float(label_ranking_average_precision_score(truth, scores)),
        precision=precision,
        map=float(precision[present].mean()),
        micro=float(average_precision_score(truth.ravel(), scores.ravel())),
    )
