"""Another sample rate, by torchaudio, whose import may need a repair."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

from torch import Tensor

from irdream.errors import InputError

_MAX_KERNEL_VALUES = 2**22


def resample(waveform: Tensor, *, from_hz: int, to_hz: int) -> Tensor:
    """Resample (..., samples) by a windowed sinc filter.

    The filter has numerator x denominator values: for rates without a common divisor that
    would be gigabytes, so such a ratio is rounded, which detunes by less than a cent.

    Raises:
        InputError: when torchaudio cannot be imported.
    """
    if from_hz == to_hz:
        return waveform
    ratio = Fraction(int(to_hz), int(from_hz))
    if ratio.numerator * ratio.denominator > _MAX_KERNEL_VALUES:
        ratio = ratio.limit_denominator(1000)
    return _torchaudio_functional().resample(waveform, ratio.denominator, ratio.numerator)


def _torchaudio_functional() -> Any:
    try:
        import torchaudio.functional
    except (OSError, ImportError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        remedy = "run `python -m irdream.repair_torchaudio`"
        raise InputError(f"torchaudio cannot be imported ({reason}); {remedy}") from error
    return torchaudio.functional
