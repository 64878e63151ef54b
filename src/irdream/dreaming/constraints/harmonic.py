"""Where tones, and where strokes, make up the original (Fitzgerald 2010).

A tone is a ridge along time, a stroke one along frequency. The median over some frames keeps the
one and loses the other, the median over some bands the reverse; a bin belongs to the louder of
the two. Medians do not care for the scale, so they are taken of the logarithm.

Source: D. Fitzgerald, "Harmonic/percussive separation using median filtering", DAFx-10, 2010,
with the margin of J. Driedger, M. Müller and S. Disch, "Extending harmonic-percussive
separation of audio signals", ISMIR 2014. Hard masks, where Fitzgerald prefers soft ones.
"""

from __future__ import annotations

import torch
from torch import Tensor

from irdream.dreaming.constraints.base import Kind
from irdream.dreaming.constraints.masks import Mask
from irdream.dreaming.constraints.planes import log_magnitude
from irdream.dreaming.parametrizations.base import Origin
from irdream.dreaming.parametrizations.log_mel import NATURAL_PER_DB
from irdream.errors import InputError
from irdream.recognizer import Recognizer


class Part(Mask):
    """Changes are allowed where one part of the original is louder than the other by a margin.

    Args:
        frames: whose median is the harmonic part, an odd number; 17 are 0.4 s of the default
            front end.
        bands: mel bands, or bins, whose median is the percussive part, an odd number.
        margin_db: how much louder the part has to be; what lies between belongs to neither.

    Raises:
        InputError: when a number is even or below 1.
    """

    sign: float

    def __init__(self, *, frames: int = 17, bands: int = 17, margin_db: float = 0.0) -> None:
        for name, value in {"frames": frames, "bands": bands}.items():
            if value < 1 or value % 2 == 0:
                raise InputError(f"constraint.{name}={value}; expected an odd number, such as 17")
        self.frames, self.bands, self.margin_db = frames, bands, margin_db
        super().__init__(f"{frames},{bands},{margin_db}")

    def mask(self, recognizer: Recognizer, origin: Origin, kind: Kind) -> Tensor:
        """Return (items, rows, frames)."""
        level = log_magnitude(recognizer, origin)
        # One item at a time: the medians take as much memory as their frames or bands times it.
        harmonic = torch.stack([running_median(one, self.frames) for one in level])
        percussive = torch.stack([running_median(one.T, self.bands).T for one in level])
        return self.sign * (harmonic - percussive) > self.margin_db * NATURAL_PER_DB


class Harmonic(Part):
    """Changes are allowed in tones; for the arguments see `Part`."""

    sign = 1.0


class Percussive(Part):
    """Changes are allowed in strokes; for the arguments see `Part`."""

    sign = -1.0


def running_median(rows: Tensor, size: int) -> Tensor:
    """Return the median of `size` values around each, (rows, values), mirrored at the ends."""
    values = rows.shape[1]
    around = torch.arange(-(size // 2), values + size // 2, device=rows.device) % (2 * values)
    mirrored = torch.minimum(around, 2 * values - 1 - around)
    return rows[:, mirrored].unfold(1, size, 1).median(dim=2).values
