"""Statistics of MFCCs and a support vector machine, the classical baseline.

    python main.py task=train model=mfcc_svm

A window becomes the mean and the standard deviation over its frames, of its MFCCs and of their
first differences: 80 numbers for 20 coefficients. For each instrument a machine with an RBF kernel
tells the windows that have it from all others. Its decision value becomes a probability by Platt's
sigmoid, fitted to recordings that the machine was not trained on, since the values of its own
windows are too good. (scikit-learn's `SVC(probability=True)` does not regard recordings.)

scikit-learn fits it in one go, and it is copied into tensors. After that it runs, is saved and is
loaded as a network is, without scikit-learn. The time of a fit grows nearly with the square of the
windows: 4,000 took 10 s of one core, 10,000 took 47 s. Nearly all windows become support vectors,
and a checkpoint has 0.4 kB for each.

Sources: C. Cortes, V. Vapnik, "Support-vector networks", Machine Learning 20, 1995; J. Platt,
"Probabilistic outputs for support vector machines", Advances in Large Margin Classifiers, 1999.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, ClassVar, NamedTuple

import joblib
import numpy as np
import torch
from torch import Tensor, nn

from irdream.arguments import Count, Positive, checked
from irdream.audio.stft import dct_basis
from irdream.errors import InputError, need
from irdream.models.inputs import check_size

FOLDS = 3  # of recordings, for the sigmoid
_TINY = 1e-6  # added to a variance: the root of zero has no gradient


@checked
class MfccSvm(nn.Module):
    """log-mel (batch, n_mels, frames) -> logits (batch, instruments), by support vectors.

    It has a gradient, so that one can dream toward its instruments. In training every instrument
    that is a label of an excerpt is present in all of its windows. Before it is fitted its logits
    are all zero.

    Args:
        coefficients: of the MFCCs; a log-mel needs as many mel bands.
        penalty: of a window on the wrong side of the margin, C; larger: a better fit.
        gamma: of the kernel exp(-gamma d^2), d over standardized statistics; None: 1 / features.
        balanced: weigh windows with an instrument as much as all those without it.
        max_windows: that it is fitted on, at most.
    """

    output: ClassVar[str] = "sigmoid"
    any_length: ClassVar[bool] = True
    mean: Tensor  # (features,), of the statistics
    scale: Tensor  # (features,)
    support_vectors: Tensor  # (vectors, features), of all machines
    weights: Tensor  # (vectors, instruments), zero where a vector is not of a machine
    offset: Tensor  # (instruments,)
    sigmoid_scale: Tensor
    sigmoid_offset: Tensor

    def __init__(
        self,
        *,
        coefficients: Count = 20,
        penalty: Positive = 10.0,
        gamma: Positive | None = None,
        balanced: bool = False,
        max_windows: Count = 20_000,
        instruments: int = 11,
    ) -> None:
        super().__init__()
        features = 4 * coefficients
        self.coefficients, self.max_windows = coefficients, max_windows
        self.penalty, self.balanced = penalty, balanced
        self.gamma = 1 / features if gamma is None else gamma
        fitted = {
            "mean": torch.zeros(features),
            "scale": torch.ones(features),
            "support_vectors": torch.zeros(0, features),
            "weights": torch.zeros(0, instruments),
            "offset": torch.zeros(instruments),
            "sigmoid_scale": torch.zeros(instruments),
            "sigmoid_offset": torch.zeros(instruments),
        }
        for name, values in fitted.items():
            self.register_parameter(name, nn.Parameter(values, requires_grad=False))

    def statistics(self, log_mel: Tensor) -> Tensor:
        """Return (batch, features) of windows; InputError when they are too small."""
        check_size(log_mel, n_mels=self.coefficients, frames=2)
        series = mfcc(log_mel, self.coefficients)
        found = []
        for values in (series, series.diff(dim=2)):
            found += [values.mean(2), (values.var(2, unbiased=False) + _TINY).sqrt()]
        return torch.cat(found, dim=1)

    def forward(self, log_mel: Tensor) -> Tensor:
        """Return the logits of each window, in full precision; InputError when it is too small."""
        with torch.autocast(log_mel.device.type, enabled=False):
            standardized = (self.statistics(log_mel) - self.mean) / self.scale
            vectors = self.support_vectors
            squares = standardized.square().sum(1, keepdim=True) + vectors.square().sum(1)
            distances = (squares - 2 * standardized @ vectors.T).clamp(min=0)  # squared
            decisions = torch.exp(-self.gamma * distances) @ self.weights + self.offset
            return self.sigmoid_scale * decisions + self.sigmoid_offset

    def fit(self, statistics: Tensor, labels: Tensor, recordings: Sequence[str], seed: int) -> None:
        """Fit the machines to windows.

        Args:
            statistics: (windows, features), not standardized.
            labels: (windows, instruments), above zero where an instrument is present.
            recordings: of each window; one is never on both sides of a split.
            seed: of all that is random.

        Raises:
            InputError: when statistics are not finite, or there are not as many of each.
        """
        need("sklearn")
        from sklearn.preprocessing import StandardScaler

        if not len(statistics) == len(labels) == len(recordings) or not len(labels):
            raise InputError(
                f"{len(statistics)} windows, {len(labels)} labels and {len(recordings)} "
                "recordings to fit; expected as many of each, and at least one"
            )
        if not bool(statistics.isfinite().all()):
            raise InputError("windows to fit have values that are not finite; check the sounds")
        scaler: Any = StandardScaler().fit(statistics.cpu().double().numpy())
        self._keep(mean=scaler.mean_, scale=scaler.scale_)
        standardized = ((statistics.to(self.mean) - self.mean) / self.scale).float().cpu().numpy()
        present = labels.cpu().numpy() > 0
        fit = joblib.delayed(self._machine)
        parallel: Any = joblib.Parallel(n_jobs=torch.get_num_threads(), prefer="threads")
        machines = parallel(fit(standardized, one, recordings, seed) for one in present.T)
        weights = np.stack([machine.weights for machine in machines], axis=1)
        used = np.flatnonzero(weights.any(axis=1))
        self._keep(
            support_vectors=standardized[used],
            weights=weights[used],
            offset=np.array([machine.offset for machine in machines]),
            sigmoid_scale=np.array([machine.sigmoid_scale for machine in machines]),
            sigmoid_offset=np.array([machine.sigmoid_offset for machine in machines]),
        )

    def _machine(
        self, standardized: np.ndarray, present: np.ndarray, recordings: Sequence[str], seed: int
    ) -> _Machine:
        """Fit the machine of one instrument; where all or no windows have it, the prior alone."""
        from sklearn.calibration import CalibratedClassifierCV
        from sklearn.model_selection import PredefinedSplit
        from sklearn.svm import SVC

        weights, count = np.zeros(len(present)), present.sum()
        if present.all() or not present.any():
            return _Machine(weights, 0.0, 1.0, math.log((count + 1) / (len(present) - count + 1)))
        settings: dict[str, Any] = {"C": self.penalty, "gamma": self.gamma, "cache_size": 500}
        svc: Any = SVC(**settings, class_weight="balanced" if self.balanced else None)
        slope, bias = -1.0, 0.0  # Platt's: 1 / (1 + exp(slope f + bias))
        folds = folds_of(present, recordings, seed)
        if folds is None:
            svc.fit(standardized, present)
        else:
            whole: Any = {"cv": PredefinedSplit(folds), "ensemble": False}
            both: Any = CalibratedClassifierCV(svc, **whole)
            calibrated = both.fit(standardized, present).calibrated_classifiers_[0]
            svc, sigmoid = calibrated.estimator, calibrated.calibrators[0]
            slope, bias = sigmoid.a_, sigmoid.b_
        weights[svc.support_] = svc.dual_coef_[0]
        return _Machine(weights, svc.intercept_[0], -slope, -bias)

    def _keep(self, **fitted: np.ndarray) -> None:
        """Set fitted tensors, whatever the lengths of their first axes."""
        for name, values in fitted.items():
            parameter = getattr(self, name)
            parameter.data = torch.as_tensor(values).to(parameter)

    def _load_from_state_dict(
        self, state_dict: dict[str, Any], prefix: str, *args: Any, **named: Any
    ) -> None:
        """Take the number of support vectors from a checkpoint; all else must be as it is."""
        vectors = state_dict.get(prefix + "support_vectors", self.support_vectors)
        for parameter in (self.support_vectors, self.weights):
            parameter.data = parameter.new_zeros(len(vectors), parameter.shape[1])
        super()._load_from_state_dict(state_dict, prefix, *args, **named)


class _Machine(NamedTuple):
    """A machine, and the sigmoid of its decision values f: log-odds = scale f + offset."""

    weights: np.ndarray  # of all windows, zero where one is no support vector
    offset: float
    sigmoid_scale: float
    sigmoid_offset: float


def mfcc(log_mel: Tensor, coefficients: int) -> Tensor:
    """Return MFCCs (batch, coefficients, frames) of log-mels (batch, n_mels, frames).

    They are the first coefficients of an orthonormal DCT-II over the mel bands.
    """
    return dct_basis(log_mel.shape[1], coefficients).to(log_mel) @ log_mel


def folds_of(present: np.ndarray, recordings: Sequence[str], seed: int) -> np.ndarray | None:
    """Return a fold for each window (windows,); None where a kind has fewer than two recordings.

    Recordings stay whole, and each fold has some with and some without the instrument.
    """
    names, which = np.unique(np.asarray(recordings), return_inverse=True)
    has = np.zeros(len(names), dtype=bool)
    np.logical_or.at(has, which, present)
    count = min(FOLDS, int(has.sum()), int((~has).sum()))
    if count < 2:
        return None
    order = np.random.default_rng(seed).permutation(len(names))
    folds = np.empty(len(names), dtype=int)
    for kind in (has, ~has):
        dealt = order[kind[order]]
        folds[dealt] = np.arange(len(dealt)) % count
    return folds[which]
