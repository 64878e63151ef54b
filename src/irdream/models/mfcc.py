"""What the classical baselines share: statistics of MFCCs, standardized, for a fitted classifier.

MFCCs are the first coefficients of an orthonormal DCT-II over the mel bands of a log-mel in the
natural logarithm of the magnitude. A window becomes the mean and the standard deviation over its
frames, of the MFCCs and of their first differences: 80 numbers for 20 coefficients.

A classifier is fitted by scikit-learn in one go and copied into tensors. After that there is no
scikit-learn any more: it is heard, saved and loaded as a network is. How large these tensors are
is known only then, so a model takes their lengths from the checkpoint that it loads.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor, nn

from irdream.errors import InputError
from irdream.models.checks import check_size

_TINY = 1e-6  # added to a variance: the root of zero has no gradient


def mfcc(log_mel: Tensor, coefficients: int) -> Tensor:
    """Return MFCCs (batch, coefficients, frames) of log-mels (batch, n_mels, frames)."""
    n_mels = log_mel.shape[1]
    places = torch.arange(n_mels, dtype=torch.float64) + 0.5
    orders = torch.arange(coefficients, dtype=torch.float64)[:, None]
    basis = math.sqrt(2 / n_mels) * torch.cos(math.pi / n_mels * orders * places)
    basis[0] /= math.sqrt(2)
    return basis.to(log_mel) @ log_mel


def statistics_of(series: Tensor) -> Tensor:
    """Return (batch, 4 x series) of (batch, series, frames): means, deviations, of changes too."""
    parts = []
    for values in (series, series.diff(dim=2)):
        parts += [values.mean(2), (values.var(2, unbiased=False) + _TINY).sqrt()]
    return torch.cat(parts, dim=1)


class MfccModel(nn.Module, ABC):
    """log-mel (batch, n_mels, frames) -> logits (batch, instruments), by a fitted classifier.

    A classifier adds its tensors to `fitted` by `hold`, and has `_fit` and `classify`. What it
    says of an instrument is a probability of its own, so that several may be heard at once; in
    training every instrument that is a label of an excerpt is present in all of its windows.
    Before it is fitted its logits are all zero.

    Args:
        coefficients: of the MFCCs; a log-mel needs as many mel bands.
        max_windows: that it is fitted on, at most.
        instruments: the number of outputs.

    Raises:
        InputError: when one of them is below one.
    """

    output: ClassVar[str] = "sigmoid"
    any_length: ClassVar[bool] = True
    mean: Tensor
    scale: Tensor

    def __init__(self, *, coefficients: int, max_windows: int, instruments: int) -> None:
        super().__init__()
        check_counts(coefficients=coefficients, max_windows=max_windows, instruments=instruments)
        self.coefficients, self.max_windows = coefficients, max_windows
        self.instruments, self.features = instruments, 4 * coefficients
        self.fitted: list[str] = []
        self.hold("mean", torch.zeros(self.features))
        self.hold("scale", torch.ones(self.features))

    def hold(self, name: str, values: Tensor) -> None:
        """Add a tensor that is fitted; its first axis may get another length."""
        self.register_parameter(name, nn.Parameter(values, requires_grad=False))
        self.fitted.append(name)

    def keep(self, name: str, values: ArrayLike) -> None:
        """Set a fitted tensor, whatever the length of its first axis."""
        held = getattr(self, name)
        held.data = torch.as_tensor(np.asarray(values)).to(held)

    def statistics(self, log_mel: Tensor) -> Tensor:
        """Return (batch, features) of windows; InputError when they are too small."""
        check_size(log_mel, n_mels=self.coefficients, frames=2)
        return statistics_of(mfcc(log_mel, self.coefficients))

    def forward(self, log_mel: Tensor) -> Tensor:
        """Return the logits of each window, in full precision; InputError when it is too small."""
        with torch.autocast(log_mel.device.type, enabled=False):
            return self.classify((self.statistics(log_mel) - self.mean) / self.scale)

    @abstractmethod
    def classify(self, standardized: Tensor) -> Tensor:
        """Return logits (batch, instruments) of standardized statistics (batch, features)."""

    def fit(self, statistics: Tensor, labels: Tensor, recordings: Sequence[str], seed: int) -> None:
        """Fit the classifier to windows.

        Args:
            statistics: (windows, features), not standardized.
            labels: (windows, instruments), above zero where an instrument is present.
            recordings: of each window; one is never on both sides of a split.
            seed: of all that is random.

        Raises:
            InputError: when statistics are not finite, or there are not as many of each.
        """
        from sklearn.preprocessing import StandardScaler

        if not len(statistics) == len(labels) == len(recordings) or not len(labels):
            raise InputError(
                f"{len(statistics)} windows, {len(labels)} labels and {len(recordings)} "
                "recordings to fit; expected as many of each, and at least one"
            )
        if not bool(statistics.isfinite().all()):
            raise InputError("windows to fit have values that are not finite; check the sounds")
        scaler: Any = StandardScaler().fit(statistics.cpu().double().numpy())
        self.keep("mean", scaler.mean_)
        self.keep("scale", scaler.scale_)
        standardized = (statistics.to(self.mean) - self.mean) / self.scale
        present = labels.cpu().numpy() > 0
        self._fit(standardized.float().cpu().numpy(), present, recordings, seed)

    @abstractmethod
    def _fit(
        self, standardized: np.ndarray, present: np.ndarray, recordings: Sequence[str], seed: int
    ) -> None:
        """Fit to (windows, features) and (windows, instruments), and keep the tensors."""

    def misfit(self) -> str | None:
        """Return what is wrong with tensors that were loaded, if anything is."""
        return None

    def _load_from_state_dict(
        self, state_dict: dict[str, Any], prefix: str, *args: Any, **named: Any
    ) -> None:
        """Take the lengths from a checkpoint; all else must be as it is."""
        for name in self.fitted:
            held, given = getattr(self, name), state_dict.get(prefix + name)
            if given is not None and given.ndim and given.shape[1:] == held.shape[1:]:
                held.data = held.new_zeros(given.shape)
        super()._load_from_state_dict(state_dict, prefix, *args, **named)
        errors: list[str] = args[-1]
        if not errors and (wrong := self.misfit()) is not None:
            errors.append(f"{type(self).__name__}: {wrong}")


def check_counts(**counts: int) -> None:
    """Check settings of a model that have to be 1 or more.

    Raises:
        InputError: when one of them is not.
    """
    for name, count in counts.items():
        if count < 1:
            raise InputError(f"model.{name}={count}; expected 1 or more")


def prior_log_odds(present: np.ndarray) -> np.ndarray:
    """Return the log-odds (instruments,) of (windows, instruments), finite where all are equal."""
    count = present.sum(axis=0)
    return np.log((count + 1) / (len(present) - count + 1))
