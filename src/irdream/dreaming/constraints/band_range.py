"""A range of values for each mel band, such as the one that training data keep to."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from torch import Tensor

from irdream.dreaming.constraints.base import Constraint, Kind
from irdream.dreaming.constraints.planes import limited
from irdream.dreaming.parametrizations.base import Origin
from irdream.dreaming.parametrizations.log_mel import NATURAL_PER_DB
from irdream.errors import InputError
from irdream.files import ExistingPath
from irdream.recognizer import Recognizer


class BandRange(Constraint):
    """The values of a row of the plane stay in that row's range, also where the original's do not.

    Args:
        least_db: one number, or one for each row of the plane: of a log-mel in dB re
            magnitude 1, of a gain in dB.
        most_db: the same for the largest.
        path: of a .npy file with the two, (2, n_mels), which is used instead; None: none.

    Raises:
        InputError: when the file cannot be used or a range is none; from `prepare`, when there
            are neither one nor as many numbers as rows.
    """

    acts_on: tuple[Kind, ...] = ("spectrogram",)

    def __init__(
        self,
        *,
        least_db: float | Sequence[float] = -100.0,
        most_db: float | Sequence[float] = 20.0,
        path: ExistingPath | None = None,
    ) -> None:
        self.name = "least_db, most_db" if path is None else f"path={str(path)!r}"
        least, most = (least_db, most_db) if path is None else _read(path)
        self.least_db, self.most_db = np.atleast_1d(least), np.atleast_1d(most)
        if len({len(self.least_db), len(self.most_db)} - {1}) > 1:
            raise InputError(
                f"constraint.least_db has {len(self.least_db)} numbers and most_db "
                f"{len(self.most_db)}; expected as many, or one for all bands"
            )
        empty = np.flatnonzero(~(self.least_db < self.most_db))  # NaN is found as well
        if len(empty):
            band = int(empty[0])
            pair = np.broadcast_arrays(self.least_db, self.most_db)
            raise InputError(
                f"constraint.{self.name}: {pair[0][band]:g} to {pair[1][band]:g} in band {band}; "
                "expected the least below the most, such as -100 and 20"
            )
        self._key = f"BandRange({least_db},{most_db},{path})"

    def prepare(self, recognizer: Recognizer, origin: Origin, kind: Kind) -> Origin:
        """Return the two limits in natural log, (items, 1 or rows, 1) each."""
        rows = origin["signal"].shape[1]
        count = max(len(self.least_db), len(self.most_db))
        if count not in (1, rows):
            raise InputError(
                f"constraint.{self.name} has {count} numbers; expected {rows}, one for each "
                "band of the front end, or a single one"
            )
        return {
            f"{self._key}.{name}": _column(values, origin["signal"])
            for name, values in (("least", self.least_db), ("most", self.most_db))
        }

    def __call__(self, signal: Tensor, origin: Origin) -> Tensor:
        """Return the nearest signal that obeys."""
        return limited(signal, origin[f"{self._key}.least"], origin[f"{self._key}.most"])


def _column(values_db: np.ndarray, signal: Tensor) -> Tensor:
    column = signal.new_tensor((values_db * NATURAL_PER_DB).tolist())
    return column[None, :, None].repeat(len(signal), 1, 1)


def _read(path: str | Path) -> np.ndarray:
    try:
        limits = np.load(Path(path).expanduser(), allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise InputError(
            f"constraint.path={str(path)!r} cannot be read ({error}); expected a .npy file as "
            "numpy.save writes it"
        ) from error
    if not (isinstance(limits, np.ndarray) and limits.ndim == 2 and len(limits) == 2):
        raise InputError(
            f"constraint.path={str(path)!r} holds {getattr(limits, 'shape', 'no array')}; "
            "expected (2, n_mels): the least and the most of each band, in dB"
        )
    return limits.astype(np.float64)
