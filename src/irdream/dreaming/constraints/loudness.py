"""The dream is as loud as the original. That is its level: no ear's weighting, not LUFS."""

from __future__ import annotations

from torch import Tensor

from irdream.dreaming.constraints.base import Constraint, Kind
from irdream.dreaming.constraints.planes import is_gain, log_magnitude
from irdream.dreaming.parametrizations.base import Origin
from irdream.recognizer import Recognizer

LEAST_ENERGY = 1e-12  # sum of squares that digital silence counts as


class LoudnessLock(Constraint):
    """The dream keeps the original's energy, by one gain for the whole item.

    The energy of a plane is the sum of its squared magnitudes (of a gain: after the gain), that
    of a sound the sum of its squares, so that its root mean square is kept.
    """

    acts_on: tuple[Kind, ...] = ("spectrogram", "sound")

    def prepare(self, recognizer: Recognizer, origin: Origin, kind: Kind) -> Origin:
        """Return the energy, (items,), a plane's in natural log; the magnitudes of a gain."""
        if kind == "sound":
            return {"LoudnessLock.energy": _energy(origin["waveform"])}
        level = log_magnitude(recognizer, origin)
        prepared = {"LoudnessLock.energy": _log_energy(level)}
        return prepared | ({"LoudnessLock.level": level} if is_gain(origin) else {})

    def __call__(self, signal: Tensor, origin: Origin) -> Tensor:
        """Return the signal at the original's level."""
        energy = origin["LoudnessLock.energy"]
        if signal.ndim == 2:
            return signal * (energy / _energy(signal)).sqrt()[:, None]
        level = origin.get("LoudnessLock.level")
        now = _log_energy(signal if level is None else signal + level)
        return signal + 0.5 * (energy - now)[:, None, None]


def _energy(sound: Tensor) -> Tensor:
    return sound.square().sum(dim=1).clamp(min=LEAST_ENERGY)


def _log_energy(level: Tensor) -> Tensor:
    return (2.0 * level).flatten(1).logsumexp(dim=1)
