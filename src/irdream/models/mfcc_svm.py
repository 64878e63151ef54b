"""Statistics of MFCCs and a support vector machine, or another classical system.

    python main.py task=train model=mfcc_svm model.classifier=gmm

A window becomes the mean and the standard deviation over its frames, of its MFCCs and of their
first differences: 80 numbers for 20 coefficients. For each instrument a machine with an RBF kernel
tells the windows that have it from all others. Its decision value becomes a probability by Platt's
sigmoid, fitted to recordings that the machine was not trained on.

scikit-learn fits it in one go, and it is copied into tensors. After that it runs, is saved and is
loaded as a network is. The time of a fit grows nearly with the square of the windows (4,000: 10 s
of one core); nearly all become support vectors, of 0.4 kB each in a checkpoint.

In its place: `knn`, the nearest windows weighed by exp(-gamma d^2), the share with an instrument
being its probability (S. Dudani, IEEE SMC-6, 1976); `gmm`, for each instrument a Gaussian mixture
with diagonal covariances for the windows with it and one for those without (as D. Reynolds, Speech
Communication 17, 1995). `temporal` adds what A. Eronen and A. Klapuri (ICASSP 2000) take of the
envelope: its spread, the steepest rise and fall, and the centroid in time.

Sources: C. Cortes, V. Vapnik, "Support-vector networks", Machine Learning 20, 1995; J. Platt,
"Probabilistic outputs for support vector machines", Advances in Large Margin Classifiers, 1999.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, ClassVar, Literal, NamedTuple

import joblib
import numpy as np
import torch
from torch import Tensor, nn

from irdream.arguments import Count, Positive, checked
from irdream.audio.stft import dct_basis
from irdream.errors import InputError, need
from irdream.networks import check_size

FOLDS = 3  # of recordings, for the sigmoid
_TINY = 1e-6  # added to a variance: the root of zero has no gradient


@checked
class MfccSvm(nn.Module):
    """log-mel (batch, n_mels, frames) -> logits (batch, instruments), by support vectors.

    It has a gradient, so that one can dream toward its instruments. In training every instrument
    that is a label of an excerpt is present in all of its windows. Before it is fitted its logits
    are all zero.
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
        coefficients: Count = 20,  # of the MFCCs; a log-mel needs as many mel bands
        penalty: Positive = 10.0,  # C, of a window on the wrong side; larger: a better fit
        gamma: Positive | None = None,  # of exp(-gamma d^2), standardized; None: 1 / features
        balanced: bool = False,  # weigh windows with an instrument as all those without it
        max_windows: Count = 20_000,  # that it is fitted on, at most
        classifier: Literal["svm", "knn", "gmm"] = "svm",  # see above
        neighbors: Count = 11,  # of `knn`
        components: Count = 8,  # of each mixture of `gmm`
        temporal: bool = False,  # add four features of the envelope
        instruments: int = 11,
    ) -> None:
        super().__init__()
        features = 4 * coefficients + 4 * temporal
        self.classifier, self.temporal = classifier, temporal
        self.neighbors, self.components = neighbors, components
        width = 2 * features + 1 if classifier == "gmm" else features
        self.coefficients, self.max_windows = coefficients, max_windows
        self.penalty, self.balanced = penalty, balanced
        self.gamma = 1 / features if gamma is None else gamma
        fitted = {
            "mean": torch.zeros(features),
            "scale": torch.ones(features),
            "support_vectors": torch.zeros(0, width),
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
        return torch.cat([*found, *([_envelope(log_mel)] if self.temporal else [])], dim=1)

    def forward(self, log_mel: Tensor) -> Tensor:
        """Return the logits of each window, in full precision; InputError when it is too small."""
        with torch.autocast(log_mel.device.type, enabled=False):
            standardized = (self.statistics(log_mel) - self.mean) / self.scale
            vectors = self.support_vectors
            if self.classifier == "gmm" or (self.classifier == "knn" and not len(vectors)):
                return self._mixture_logits(standardized)
            squares = standardized.square().sum(1, keepdim=True) + vectors.square().sum(1)
            distances = (squares - 2 * standardized @ vectors.T).clamp(min=0)  # squared
            if self.classifier == "knn":
                nearest, places = distances.topk(min(self.neighbors, len(vectors)), largest=False)
                weights = (-self.gamma * nearest).softmax(dim=1)[:, :, None]
                share = (weights * self.weights[places]).sum(1)  # Jeffreys' half on either side
                return torch.logit((self.neighbors * share + 0.5) / (self.neighbors + 1))
            decisions = torch.exp(-self.gamma * distances) @ self.weights + self.offset
            return self.sigmoid_scale * decisions + self.sigmoid_offset

    def _mixture_logits(self, standardized: Tensor) -> Tensor:
        """Return log-likelihood ratios (batch, instruments); zeros before the fit.

        A row of the vectors is a component: half of its negative precisions, these times its mean,
        and a constant. Its weight is 1 for its instrument's presence, -1 for absence.
        """
        if not len(self.support_vectors):
            return standardized.new_zeros(len(standardized), len(self.offset))
        ones = torch.ones_like(standardized[:, :1])
        logs = torch.cat([standardized.square(), standardized, ones], 1) @ self.support_vectors.T
        signed = [(self.weights * sign > 0).log() for sign in (1, -1)]  # 0 or minus infinity
        present, absent = ((logs[:, :, None] + one).logsumexp(1) for one in signed)
        return present - absent + self.offset

    def fit(self, statistics: Tensor, labels: Tensor, recordings: Sequence[str], seed: int) -> None:
        """Fit the machines to windows.

        `statistics` are (windows, features), not standardized, `labels` (windows, instruments),
        above zero where an instrument is present, `recordings` those of the windows; one is never
        on both sides of a split. Raises InputError when statistics are not finite, or there are not
        as many of each.
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
        if self.classifier == "knn":
            return self._keep(support_vectors=standardized, weights=present)
        if self.classifier == "gmm":
            return self._fit_mixtures(standardized, present, seed)
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

    def _fit_mixtures(self, standardized: np.ndarray, present: np.ndarray, seed: int) -> None:
        """Fit two mixtures for each instrument that some windows have and some have not."""
        from sklearn.mixture import GaussianMixture

        rows, weights, offset = [], [], np.zeros(present.shape[1])
        for i, has in enumerate(present.T):
            offset[i] = math.log((has.sum() + 1) / (len(has) - has.sum() + 1))
            sides = standardized[has], standardized[~has]
            if min(map(len, sides)) < 2:  # then the prior alone
                sides = standardized, standardized
            for sign, some in zip((1.0, -1.0), sides, strict=True):
                least = max(1, min(self.components, len(some) // 10))
                how = {"covariance_type": "diag", "reg_covar": 1e-2, "random_state": seed}
                one: Any = GaussianMixture(least, **how).fit(some)
                precisions, means = one.precisions_, one.means_
                logs = np.log(precisions) - precisions * means**2 - math.log(2 * math.pi)
                constant = np.log(one.weights_) + 0.5 * logs.sum(axis=1)
                rows.append(np.column_stack([-0.5 * precisions, precisions * means, constant]))
                weights.append(np.zeros((least, len(offset))))
                weights[-1][:, i] = sign
        self._keep(
            support_vectors=np.concatenate(rows), weights=np.concatenate(weights), offset=offset
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


def _envelope(log_mel: Tensor) -> Tensor:
    """Return spread, steepest rise and fall, and centroid in time of the level, (batch, 4)."""
    level = log_mel.logsumexp(1)
    shares = level.softmax(1) * torch.linspace(0, 1, level.shape[1]).to(level)
    spread = (level.var(1, unbiased=False) + _TINY).sqrt()
    return torch.stack([spread, level.diff().amax(1), level.diff().amin(1), shares.sum(1)], 1)


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
