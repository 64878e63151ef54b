"""Statistics of MFCCs and a support vector machine, the classical baseline.

    python main.py task=train model=mfcc_svm

For each instrument a machine with an RBF kernel tells the windows that have it from all others;
so one window may have several. Its decision value becomes a probability by Platt's sigmoid, which
is fitted to decision values of recordings that the machine has not seen (three folds), as those
of its own windows are too good. scikit-learn's `SVC(probability=True)`, which did the like
without regard for recordings, goes away in its version 1.11.

The time of a fit grows nearly with the square of the windows: 4,000 took 10 s of one core, 10,000
took 47 s. Nearly all windows become support vectors, and a checkpoint has 0.4 kB for each.

Sources: C. Cortes, V. Vapnik, "Support-vector networks", Machine Learning 20, 1995; J. Platt,
"Probabilistic outputs for support vector machines", Advances in Large Margin Classifiers, 1999.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import joblib
import numpy as np
import torch
from torch import Tensor

from irdream.errors import InputError
from irdream.models.mfcc import MfccModel, prior_log_odds

if TYPE_CHECKING:
    from sklearn.svm import SVC

FOLDS = 3  # of recordings, for the sigmoid


class MfccSvm(MfccModel):
    """log-mel (batch, n_mels, frames) -> logits (batch, instruments), by support vectors.

    It has a gradient, so that one can dream toward what it hears.

    Args:
        coefficients: of the MFCCs; a log-mel needs as many mel bands.
        penalty: of a window on the wrong side of the margin, C; larger: a better fit.
        gamma: of the kernel exp(-gamma d^2), d over standardized statistics; None: 1 / features.
        balanced: weigh windows with an instrument as much as all those without it.
        max_windows: that it is fitted on, at most.
        instruments: the number of outputs.

    Raises:
        InputError: when a number is not above zero.
    """

    support_vectors: Tensor  # (vectors, features), of all machines
    weights: Tensor  # (vectors, instruments), zero where a vector is not of a machine
    offset: Tensor  # (instruments,)
    sigmoid_scale: Tensor
    sigmoid_offset: Tensor

    def __init__(
        self,
        *,
        coefficients: int = 20,
        penalty: float = 10.0,
        gamma: float | None = None,
        balanced: bool = False,
        max_windows: int = 20_000,
        instruments: int = 11,
    ) -> None:
        super().__init__(
            coefficients=coefficients, max_windows=max_windows, instruments=instruments
        )
        for name, value in (("penalty", penalty), ("gamma", gamma)):
            if value is not None and not value > 0:
                raise InputError(f"model.{name}={value}; expected a number above 0")
        self.penalty, self.balanced = penalty, balanced
        self.gamma = 1 / self.features if gamma is None else gamma
        self.hold("support_vectors", torch.zeros(0, self.features))
        self.hold("weights", torch.zeros(0, instruments))
        for name in ("offset", "sigmoid_scale", "sigmoid_offset"):
            self.hold(name, torch.zeros(instruments))

    def decisions(self, standardized: Tensor) -> Tensor:
        """Return what each machine says, (batch, instruments): above zero is present."""
        vectors = self.support_vectors
        squares = standardized.square().sum(1, keepdim=True) + vectors.square().sum(1)
        distances = (squares - 2 * standardized @ vectors.T).clamp(min=0)  # squared
        return torch.exp(-self.gamma * distances) @ self.weights + self.offset

    def classify(self, standardized: Tensor) -> Tensor:
        """Return the log-odds of each instrument."""
        return self.sigmoid_scale * self.decisions(standardized) + self.sigmoid_offset

    def _fit(
        self, standardized: np.ndarray, present: np.ndarray, recordings: Sequence[str], seed: int
    ) -> None:
        fit = joblib.delayed(self._machine)
        parallel: Any = joblib.Parallel(n_jobs=torch.get_num_threads(), prefer="threads")
        machines = parallel(fit(standardized, one, recordings, seed) for one in present.T)
        weights = np.zeros(present.shape)
        offset, scale = np.zeros(present.shape[1]), np.ones(present.shape[1])
        sigmoid_offset = prior_log_odds(present)
        for i, machine in enumerate(machines):
            if machine is not None:
                weights[machine.svc.support_, i] = machine.svc.dual_coef_[0]
                offset[i] = machine.svc.intercept_[0]
                scale[i], sigmoid_offset[i] = machine.scale, machine.offset
        used = np.flatnonzero(weights.any(axis=1))
        self.keep("support_vectors", standardized[used])
        self.keep("weights", weights[used])
        self.keep("offset", offset)
        self.keep("sigmoid_scale", scale)
        self.keep("sigmoid_offset", sigmoid_offset)

    def _machine(
        self, standardized: np.ndarray, present: np.ndarray, recordings: Sequence[str], seed: int
    ) -> _Machine | None:
        """Return the machine of one instrument; None where all windows have it, or none has."""
        from sklearn.calibration import CalibratedClassifierCV
        from sklearn.svm import SVC

        if present.all() or not present.any():
            return None
        settings: dict[str, Any] = {"C": self.penalty, "gamma": self.gamma, "cache_size": 500}
        svc = SVC(**settings, class_weight="balanced" if self.balanced else None)
        folds = folds_of(present, recordings, seed)
        if folds is None:
            return _Machine(svc.fit(standardized, present), 1.0, 0.0)
        cv = [(np.flatnonzero(folds != k), np.flatnonzero(folds == k)) for k in np.unique(folds)]
        calibration: Any = CalibratedClassifierCV(svc, cv=cv, ensemble=False)  # type: ignore[arg-type]
        both = calibration.fit(standardized, present).calibrated_classifiers_[0]
        sigmoid = both.calibrators[0]  # 1 / (1 + exp(a f + b))
        return _Machine(both.estimator, -sigmoid.a_, -sigmoid.b_)

    def misfit(self) -> str | None:
        """Return what is wrong with tensors that were loaded, if anything is."""
        lengths = [len(getattr(self, name)) for name in self.fitted]
        features, _, vectors, weights, *others = lengths
        right = [self.features, self.features, vectors, vectors] + [self.instruments] * len(others)
        if lengths != right:
            return f"{vectors} support vectors with {weights} weights, of {features} features"
        return None


class _Machine(NamedTuple):
    """A machine, and the sigmoid of its decision values: log-odds = scale f + offset."""

    svc: SVC
    scale: float
    offset: float


def folds_of(present: np.ndarray, recordings: Sequence[str], seed: int) -> np.ndarray | None:
    """Return a fold for each window, so that recordings stay whole and each fold has both kinds.

    Args:
        present: (windows,).
        recordings: of each window.
        seed: of the order in which they are dealt.

    Returns:
        (windows,) from 0; None where fewer than two recordings have windows of a kind.
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
